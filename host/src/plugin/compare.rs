//! What two generations made of the same changes, held against each other.

use serde::Serialize;

use super::stage::{Casualty, Item};
use crate::{
    batch::{Delivery, Route},
    change::Change,
    format::lines::write_delivery,
    telemetry::metrics::DeadLetterKind,
};

/// Longest text of a result in an example, in bytes.
const LONGEST: usize = 600;

/// What came of comparing one change.
#[derive(Debug)]
pub(super) enum Outcome {
    Equal,
    Different(Example),
    NewReject(Example),
    GoneReject(Example),
    Failed(Example),
}

/// A change of which the candidate made something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// In a word: `different`, `new_reject`, `gone_reject`, `failed`.
    pub what: &'static str,
    /// Id of the change.
    pub change: String,
    /// Where its document lives.
    pub ns: String,
    /// Top-level fields of the document that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// What the running generation made of it, cut short. Only shown to those who may change something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What the candidate made of it, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Example {
    /// In a sentence, without what stands in documents.
    pub(super) fn said(&self) -> String {
        let fields = match self.fields.as_slice() {
            [] => String::new(),
            fields => format!(" in {}", fields.join(", ")),
        };
        format!("for instance change {} of {} ({}{fields})", self.change, self.ns, self.what.replace('_', " "))
    }
}

impl Outcome {
    pub(super) fn example(self) -> Option<Example> {
        match self {
            Self::Equal => None,
            Self::Different(example) | Self::NewReject(example) | Self::GoneReject(example) | Self::Failed(example) => {
                Some(example)
            }
        }
    }
}

/// What one generation made of one change of the batch.
struct Made<'a> {
    passed: Vec<&'a Item>,
    gone: Vec<&'a Casualty>,
}

/// The places in the batch of some changes, each once, with the first change of each.
pub(super) fn orders(items: &[Item]) -> Vec<(u32, Change)> {
    let mut orders: Vec<(u32, Change)> = Vec::new();
    for item in items {
        if orders.last().is_none_or(|(order, _)| *order != item.order) {
            orders.push((item.order, item.change.clone()));
        }
    }
    orders
}

type Side<'a> = (&'a [Item], &'a [Casualty]);

/// Compares what came of each change. What the running generation did not see is left out.
pub(super) fn outcomes(orders: &[(u32, Change)], running: Side<'_>, candidate: Side<'_>) -> Vec<Outcome> {
    let mut sides = [Walk::new(running), Walk::new(candidate)];
    orders
        .iter()
        .filter_map(|(order, change)| {
            let [before, after] = &mut sides;
            let (before, after) = (before.of(*order), after.of(*order));
            let unseen = before.gone.iter().any(|casualty| casualty.kind == DeadLetterKind::Breaker);
            (!unseen).then(|| outcome(change, &before, &after))
        })
        .collect()
}

/// The candidate could not even be started.
pub(super) fn all_failed(
    orders: &[(u32, Change)],
    after: &[Item],
    casualties: &[Casualty],
    reason: &str,
) -> Vec<Outcome> {
    let mut walk = Walk::new((after, casualties));
    let failed = |(order, change): &(u32, Change)| {
        let before = walk.of(*order).said();
        Outcome::Failed(Example {
            what: "failed",
            change: change.id.to_string(),
            ns: change.namespace.as_str().to_owned(),
            fields: Vec::new(),
            before: Some(before),
            after: Some(reason.to_owned()),
        })
    };
    orders.iter().map(failed).collect()
}

/// Walks through what is in the order of the batch.
struct Walk<'a> {
    items: &'a [Item],
    casualties: Vec<&'a Casualty>,
}

impl<'a> Walk<'a> {
    fn new((items, casualties): Side<'a>) -> Self {
        // A plugin of several roles puts changes out in each of them.
        let mut casualties: Vec<&Casualty> = casualties.iter().collect();
        casualties.sort_by_key(|casualty| std::cmp::Reverse(casualty.order));
        Self { items, casualties }
    }

    /// Asked in ascending order.
    fn of(&mut self, order: u32) -> Made<'a> {
        let end = self.items.iter().position(|item| item.order > order).unwrap_or(self.items.len());
        let (mine, rest) = self.items.split_at(end);
        self.items = rest;
        let passed = mine.iter().filter(|item| item.order == order).collect();
        let mut gone = Vec::new();
        while let Some(casualty) = self.casualties.pop_if(|casualty| casualty.order <= order) {
            if casualty.order == order {
                gone.push(casualty);
            }
        }
        Made { passed, gone }
    }
}

/// Kinds that are the plugin's fault, and no decision of it.
fn is_failure(casualty: &Casualty) -> bool {
    !matches!(casualty.kind, DeadLetterKind::Rejected | DeadLetterKind::Failed)
}

fn same(before: &Made<'_>, after: &Made<'_>) -> bool {
    let gone = |one: &Casualty, other: &Casualty| {
        one.kind == other.kind
            && (is_failure(one) || (one.reason == other.reason && one.violations == other.violations))
    };
    before.passed.len() == after.passed.len()
        && before.gone.len() == after.gone.len()
        && before
            .passed
            .iter()
            .zip(&after.passed)
            .all(|(one, other)| one.change == other.change && one.route == other.route)
        && before.gone.iter().zip(&after.gone).all(|(one, other)| gone(one, other))
}

fn outcome(change: &Change, before: &Made<'_>, after: &Made<'_>) -> Outcome {
    if same(before, after) {
        return Outcome::Equal;
    }
    let failed = after.gone.iter().any(|casualty| is_failure(casualty));
    let (what, make): (_, fn(Example) -> Outcome) = match (before.gone.is_empty(), after.gone.is_empty()) {
        _ if failed => ("failed", Outcome::Failed),
        (true, false) => ("new_reject", Outcome::NewReject),
        (false, true) => ("gone_reject", Outcome::GoneReject),
        _ => ("different", Outcome::Different),
    };
    make(Example {
        what,
        change: change.id.to_string(),
        ns: change.namespace.as_str().to_owned(),
        fields: fields(before, after),
        before: Some(before.said()),
        after: Some(after.said()),
    })
}

/// Top-level fields of the document in which two results of one change differ.
fn fields(before: &Made<'_>, after: &Made<'_>) -> Vec<String> {
    let ([one], [other]) = (before.passed.as_slice(), after.passed.as_slice()) else { return Vec::new() };
    let (Some(one), Some(other)) = (&one.change.document, &other.change.document) else { return Vec::new() };
    let (one, other) = (one.as_raw(), other.as_raw());
    let mut names: Vec<String> = Vec::new();
    for (here, there) in [(one, other), (other, one)] {
        for (name, value) in here.iter().flatten() {
            let name = name.as_str();
            if there.get(name).ok().flatten() != Some(value) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

impl Made<'_> {
    fn said(&self) -> String {
        let mut text = Vec::new();
        for item in &self.passed {
            let mut put = |destination| write_delivery(&mut text, &Delivery { change: &item.change, destination });
            match &item.route {
                Route::Everywhere => put(None),
                Route::To(destinations) => destinations.iter().for_each(|destination| put(Some(destination))),
            }
        }
        let mut text = String::from_utf8_lossy(&text).trim_end().to_owned();
        for casualty in &self.gone {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(casualty.kind.as_str());
            text.push_str(": ");
            text.push_str(&casualty.reason);
        }
        if text.is_empty() {
            text.push_str("filtered");
        }
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push_str("...");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Casualty, Item, Outcome, orders, outcomes};
    use crate::{format::lines::read_change, telemetry::metrics::DeadLetterKind};

    fn item(order: u32, doc: &str) -> Item {
        let line = format!(r#"{{"id":"c-{order}","op":"insert","ns":"d.c","doc":{doc}}}"#);
        Item::new(order, read_change(line.as_bytes(), "in:1").unwrap())
    }

    fn gone(order: u32, kind: DeadLetterKind, reason: &str) -> Casualty {
        Casualty {
            order,
            change: item(order, "{}").change,
            original: None,
            kind,
            reason: reason.to_owned(),
            violations: Vec::new(),
            stage: 0,
            plugin: "p".into(),
            generation: 1,
            version: "1".into(),
            digest: "d".into(),
        }
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        use DeadLetterKind::{Breaker, Rejected, Trap};
        let before: Vec<Item> = (0..9).map(|order| item(order, r#"{"_id":1,"a":1}"#)).collect();
        let running =
            [item(0, r#"{"_id":1}"#), item(1, r#"{"_id":1,"a":1}"#), item(2, "{}"), item(6, "{}"), item(6, "{}")];
        let running_gone =
            [gone(3, Rejected, "r"), gone(4, Rejected, "r"), gone(5, Trap, "it trapped: a"), gone(8, Breaker, "")];
        let candidate =
            [item(0, r#"{"_id":1}"#), item(1, r#"{"_id":1,"a":2,"b":1}"#), item(4, "{}"), item(6, "{}"), item(8, "{}")];
        let candidate_gone =
            [gone(7, Trap, "t"), gone(5, Trap, "it trapped: b"), gone(3, Rejected, "other"), gone(2, Rejected, "r")];
        let told: Vec<String> = outcomes(&orders(&before), (&running, &running_gone), (&candidate, &candidate_gone))
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Equal => "equal".to_owned(),
                other => {
                    let example = other.example().unwrap();
                    format!("{} {}", example.change, example.what)
                }
            })
            .collect();
        assert_eq!(
            told,
            [
                "equal",
                "c-1 different",
                "c-2 new_reject",
                "c-3 different",
                "c-4 gone_reject",
                "equal",
                "c-6 different",
                "c-7 failed"
            ]
        );
        let different = outcomes(&orders(&before[1..2]), (&running[1..2], &[]), (&candidate[1..2], &[]));
        let Some(Outcome::Different(example)) = different.into_iter().next() else { panic!("equal") };
        assert_eq!(example.fields, ["a", "b"]);
        assert_eq!(example.said(), "for instance change c-1 of d.c (different in a, b)");
        assert!(example.after.unwrap().contains(r#""b":{"$numberInt":"1"}"#));
    }
}
