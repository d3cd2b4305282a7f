//! What a comparison found.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::scope::{Pair, Unordered};

/// How a document or a field differs, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The target lacks it.
    Missing,
    /// Only the target has it.
    Extra,
    /// The source kept changing while it was looked at, and the target was never seen in a state that the source was seen in.
    Unsettled,
    /// Values differ.
    Different,
    /// Only the types of numbers differ, not their values.
    NumberType,
    /// Only the order of fields differs.
    FieldOrder,
}

impl Kind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Unsettled => "unsettled",
            Self::Different => "different",
            Self::NumberType => "number type",
            Self::FieldOrder => "field order",
        }
    }
}

/// The whole comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    /// No difference at all.
    pub equal: bool,
    /// Documents read in the source.
    pub documents: u64,
    /// Documents that differ.
    pub differences: u64,
    /// Documents that differed at first, and did no more when they were read again.
    pub settled: u64,
    /// How long it took.
    pub seconds: f64,
    /// By the name in the source.
    pub collections: Vec<CollectionReport>,
}

/// Documents on both sides, as counted while they were read.
#[derive(Debug, Default, Serialize)]
pub struct Sides {
    /// In the source.
    pub source: u64,
    /// In the target.
    pub target: u64,
}

/// Documents that differ, by how.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// The target lacks them.
    pub missing: u64,
    /// Only the target has them.
    pub extra: u64,
    /// Values differ.
    pub different: u64,
    /// Only the types of numbers differ.
    pub number_type: u64,
    /// Only the order of fields differs.
    pub field_order: u64,
    /// They kept changing.
    pub unsettled: u64,
}

impl Counts {
    /// With their names.
    pub fn each(&self) -> [(Kind, u64); 6] {
        [
            (Kind::Missing, self.missing),
            (Kind::Extra, self.extra),
            (Kind::Different, self.different),
            (Kind::NumberType, self.number_type),
            (Kind::FieldOrder, self.field_order),
            (Kind::Unsettled, self.unsettled),
        ]
    }
}

/// One collection.
#[derive(Debug, Serialize)]
pub struct CollectionReport {
    /// Its name in the source.
    pub source: String,
    /// Its name in the target.
    pub target: String,
    /// Why it was compared as a whole: then what differs is not told one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_a_whole: Option<&'static str>,
    /// As a whole, it differs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub whole_differs: bool,
    /// Documents read.
    pub documents: Sides,
    /// Ranges read.
    pub ranges: u64,
    /// Those of which the hashes differed.
    pub differing_ranges: u64,
    /// Documents that differed at first, and did no more when they were read again.
    pub settled: u64,
    /// Documents that differ.
    pub counts: Counts,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// What differs in options and indexes.
    pub schema: Vec<String>,
}

/// A document that differs.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// How.
    pub kind: Kind,
    /// Its `_id`, as canonical Extended JSON.
    #[serde(rename = "_id")]
    pub id: Value,
    /// The fields that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDifference>,
    /// How many more do.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_fields: usize,
}

/// A field that differs.
#[derive(Debug, Serialize)]
pub struct FieldDifference {
    /// Names and places in arrays, with dots between them; empty: the document itself.
    pub path: String,
    /// How.
    pub kind: Kind,
    /// The value in the source, as canonical Extended JSON (Int32 as a plain number), or cut text where that is long.
    pub source: Value,
    /// The value in the target.
    pub target: Value,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl CollectionReport {
    pub(super) fn new(pair: &Pair<'_>) -> Self {
        Self {
            source: pair.source.name(),
            target: pair.target.name(),
            as_a_whole: pair.unordered().map(Unordered::as_str),
            whole_differs: false,
            documents: Sides::default(),
            ranges: 0,
            differing_ranges: 0,
            settled: 0,
            counts: Counts::default(),
            differences: Vec::new(),
            schema: Vec::new(),
        }
    }

    /// Documents that differ.
    pub fn differing(&self) -> u64 {
        self.counts.each().iter().map(|(_, count)| count).sum()
    }

    pub(super) fn count(&mut self, kind: Kind) {
        let counts = &mut self.counts;
        *match kind {
            Kind::Missing => &mut counts.missing,
            Kind::Extra => &mut counts.extra,
            Kind::Unsettled => &mut counts.unsettled,
            Kind::Different => &mut counts.different,
            Kind::NumberType => &mut counts.number_type,
            Kind::FieldOrder => &mut counts.field_order,
        } += 1;
    }
}

impl Report {
    pub(super) fn new(collections: Vec<CollectionReport>, took: Duration) -> Self {
        let sum = |of: &dyn Fn(&CollectionReport) -> u64| collections.iter().map(of).sum();
        let differences = sum(&CollectionReport::differing);
        let same = |collection: &CollectionReport| !collection.whole_differs && collection.schema.is_empty();
        Self {
            equal: differences == 0 && collections.iter().all(same),
            documents: sum(&|collection| collection.documents.source),
            differences,
            settled: sum(&|collection| collection.settled),
            seconds: took.as_secs_f64(),
            collections,
        }
    }
}
