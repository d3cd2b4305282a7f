//! What guests do with a batch, by role.

use super::{At, Data, Deed, MARKER, STAMP_SUFFIX, Text};

/// What a role does that it should not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deeds {
    pub(super) marked: Option<Deed>,
    pub(super) after_calls: u32,
    pub(super) post_return: Option<Deed>,
}

/// What a guest does with the changes it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Accepts all changes.
    Validator,
    /// Leaves all documents as they are and says that they have the guest's version: header `schema_version`.
    Migrator,
    /// Sends all changes everywhere, with the header `version`: the guest's version and the number of the call (`v1/000017`).
    Router,
    /// Adds a header to each change, `s0` to one without headers, `s1` to one with one, and so on: the guest's version and
    /// the number of the call.
    Stamper,
    /// Makes of a change none, one or three, where its document contains `becomes-none`, `becomes-one` or `becomes-three`;
    /// each has the header `part`, from `0`. Others pass as they are.
    Multiplier,
}

/// A record of the arena, in bytes.
const OUTPUT: usize = 32;
const DESTINATION: usize = 32;
const HEADER: usize = 16;

impl Role {
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] = [Self::Validator, Self::Migrator, Self::Router, Self::Stamper, Self::Multiplier];

    /// The name in the contract.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Migrator => "migrator",
            Self::Router => "router",
            Self::Stamper | Self::Multiplier => "transformer",
        }
    }

    const fn function(self) -> &'static str {
        match self {
            Self::Validator => "validate",
            Self::Migrator => "migrate",
            Self::Router => "route",
            Self::Stamper | Self::Multiplier => "transform",
        }
    }

    /// Bytes of one result.
    const fn slot_size(self) -> usize {
        match self {
            Self::Migrator => 28,
            _ => 12,
        }
    }

    /// The function of the role.
    pub(super) fn wat(self, data: &mut Data, version: Text, deeds: Deeds) -> String {
        let marker = data.put(MARKER);
        let (before, each, after) = match self {
            Self::Validator => {
                (String::new(), String::new(), store_list("$area", 0, "(local.get $slots)", "(local.get $results)"))
            }
            Self::Migrator => (
                String::new(),
                // unchanged(version): the case is 0, the span stands at 4.
                format!("(call $store_span (i32.add (local.get $slot) (i32.const 4)) {version})"),
                arena() + &store_list("$area", 8, "(local.get $slots)", "(local.get $results)"),
            ),
            Self::Router => router(data, version),
            Self::Stamper => stamper(data, version),
            Self::Multiplier => multiplier(data),
        };
        include_str!("role.wat")
            .replace("{role}", self.name())
            .replace("{function}", self.function())
            .replace("{slot_size}", &self.slot_size().to_string())
            .replace("{marker}", &marker.to_string())
            .replace("{before}", &before)
            .replace("{each}", &each)
            .replace("{after}", &after)
            .replace("{after_calls}", &deeds.after_calls.to_string())
            .replace("{last}", &deeds.marked.and_then(Deed::at_last).unwrap_or_default())
            .replace("{post_return}", &deeds.post_return.map(Deed::anywhere).unwrap_or_default())
            .replace("{deed}", &deeds.marked.map(|deed| self.deed(deed, data)).unwrap_or_default())
    }

    fn deed(self, deed: Deed, data: &mut Data) -> String {
        // migrated: the case is 1; the spans of document, from-version and to-version stand at 4, 12 and 20.
        let migrated = |data: &mut Data, document: String, to: Option<&[u8]>| {
            assert_eq!(self, Self::Migrator, "{deed:?} is a migrator's");
            let to =
                to.map(|to| data.put(to)).map_or_else(|| "(i32.const 0) (i32.const 0)".into(), |to| to.to_string());
            format!(
                "(i32.store8 (local.get $slot) (i32.const 1)) \
                 (call $store_span (i32.add (local.get $slot) (i32.const 4)) {document}) \
                 (call $store_span (i32.add (local.get $slot) (i32.const 12)) (i32.const 0) (i32.const 0)) \
                 (call $store_span (i32.add (local.get $slot) (i32.const 20)) {to})"
            )
        };
        match deed {
            Deed::DropResult => "(local.set $results (i32.sub (local.get $count) (i32.const 1)))".into(),
            Deed::AddResult => "(local.set $results (i32.add (local.get $count) (i32.const 1)))".into(),
            Deed::Results(count) => format!("(local.set $results (i32.const {}))", count.cast_signed()),
            Deed::SpanOutside => migrated(data, "(i32.const 0x7fffff00) (i32.const 100)".into(), None),
            Deed::InvalidText => migrated(data, own_document(), Some(b"v\xff\xfe")),
            Deed::InvalidDocument => {
                let text = data.put("this is no BSON");
                migrated(data, text.to_string(), None)
            }
            Deed::CorruptDocument => {
                // { "a": a string that is said to be 2 GiB long }
                let text = data.put([13, 0, 0, 0, 2, b'a', 0, 0xff, 0xff, 0xff, 0x7f, 0, 0]);
                migrated(data, text.to_string(), None)
            }
            Deed::Fail => {
                assert_eq!(self, Self::Migrator, "{deed:?} is a migrator's");
                let reason = data.put("cannot do it");
                format!(
                    "(i32.store8 (local.get $slot) (i32.const 2)) \
                     (call $store_span (i32.add (local.get $slot) (i32.const 4)) {reason})"
                )
            }
            Deed::Reject(bytes) | Deed::RejectInNoUtf8(bytes) => {
                assert_eq!(self, Self::Validator, "{deed:?} is a validator's");
                let letter = if matches!(deed, Deed::Reject(_)) { b'x' } else { 0xff };
                let path = data.put("a.b");
                format!(
                    "(local.set $list (call $zeroed (i32.const 16))) \
                     (call $store_span (local.get $list) {path}) \
                     (local.set $entry (call $alloc (i32.const {bytes}))) \
                     (memory.fill (local.get $entry) (i32.const {letter}) (i32.const {bytes})) \
                     (call $store_span (i32.add (local.get $list) (i32.const 8)) (local.get $entry) (i32.const {bytes})) \
                     (i32.store8 (local.get $slot) (i32.const 1)) \
                     (call $store_span (i32.add (local.get $slot) (i32.const 4)) (local.get $list) (i32.const 1))"
                )
            }
            Deed::UnknownSink => {
                assert_eq!(self, Self::Router, "{deed:?} is a router's");
                // The second destination.
                "(call $store_span (i32.add (local.get $slot) (i32.const 4)) (i32.const 1) (i32.const 1))".into()
            }
            Deed::Store(At::Result, offset, value) => {
                format!("(i32.store offset={offset} (local.get $slot) (i32.const {}))", value.cast_signed())
            }
            Deed::Store(At::Output, offset, value) => {
                let (own, at) = match self {
                    // Its second destination becomes one that is everywhere, and then is spoilt.
                    Self::Router => (
                        format!(
                            "(call $store_span (i32.add (local.get $slot) (i32.const 4)) (i32.const 1) (i32.const 1))
                             (call $store_span (i32.add (local.get $entries) (i32.const {DESTINATION})) (i32.const 0) (i32.const 0))"
                        ),
                        format!("(i32.add (local.get $entries) (i32.const {DESTINATION}))"),
                    ),
                    Self::Stamper => (String::new(), "(local.get $entry)".to_owned()),
                    _ => panic!("{self:?} has no outputs"),
                };
                format!("{own} (i32.store offset={offset} {at} (i32.const {}))", value.cast_signed())
            }
            Deed::Headers(count) => {
                format!("(call $store_span (i32.add (local.get $entry) (i32.const 24)) (i32.const 0) (i32.const {count}))")
            }
            Deed::Violations(count) => format!(
                "(i32.store8 (local.get $slot) (i32.const 1))
                 (call $store_span (i32.add (local.get $slot) (i32.const 4)) (call $zeroed (i32.const {})) (i32.const {count}))",
                count * 16
            ),
            Deed::Document(text) => {
                let text = data.put(text);
                match self {
                    Self::Migrator => migrated(data, text.to_string(), None),
                    Self::Stamper => {
                        format!("(call $store_span (i32.add (local.get $entry) (i32.const 16)) {text})")
                    }
                    _ => panic!("{self:?} returns no documents"),
                }
            }
            other if other.at_last().is_some() => String::new(),
            other => other.anywhere(),
        }
    }
}

/// The document of the change as a span of the result: its address in the guest's memory.
fn own_document() -> String {
    "(i32.add (local.get $arena) (i32.load offset=24 (local.get $change))) (i32.load offset=28 (local.get $change))"
        .into()
}

/// All memory in use is the arena, so that addresses are spans.
fn arena() -> String {
    store_list("$area", 0, "(i32.const 0)", "(global.get $top)")
}

fn store_list(record: &str, offset: usize, list: &str, length: &str) -> String {
    format!("(call $store_span (i32.add (local.get {record}) (i32.const {offset})) {list} {length})\n    ")
}

/// One attribute, the stamp; destination 0 is everywhere, destination 1 a sink that is not there.
fn router(data: &mut Data, version: Text) -> (String, String, String) {
    let name = data.put("version");
    let nowhere = data.put("nowhere");
    let stamp_length = version.length + STAMP_SUFFIX;
    let before = format!(
        "(local.set $list (call $zeroed (i32.const {HEADER})))
    (call $store_span (local.get $list) {name})
    (call $store_span (i32.add (local.get $list) (i32.const 8)) (call $stamp) (i32.const {stamp_length}))
    (local.set $entries (call $zeroed (i32.const {})))
    (i32.store offset=28 (local.get $entries) (i32.const 1))
    (call $store_span (i32.add (local.get $entries) (i32.const {DESTINATION})) {nowhere})",
        2 * DESTINATION
    );
    // deliver(0, 1): the case is 0, the range stands at 4.
    let each = "(call $store_span (i32.add (local.get $slot) (i32.const 4)) (i32.const 0) (i32.const 1))".into();
    let after = arena()
        + &store_list("$area", 8, "(local.get $list)", "(i32.const 1)")
        + &store_list("$area", 16, "(local.get $entries)", "(i32.const 2)")
        + &store_list("$area", 24, "(local.get $slots)", "(local.get $results)");
    (before, each, after)
}

/// Fills `$entry` as an output that is the change itself.
fn copy_change() -> String {
    format!(
        "(i32.store8 (local.get $entry) (i32.load8_u offset=8 (local.get $change)))
        (i32.store offset=4 (local.get $entry) (i32.load offset=12 (local.get $change)))
        (call $store_span (i32.add (local.get $entry) (i32.const 16)) {})",
        own_document()
    )
}

fn transformed(headers: usize, outputs: &str) -> String {
    arena()
        + &store_list("$area", 8, "(local.get $namespaces)", "(local.get $namespaces_length)")
        + &store_list("$area", 16, "(local.get $list)", &format!("(i32.const {headers})"))
        + &store_list("$area", 24, "(local.get $entries)", outputs)
        + &store_list("$area", 32, "(local.get $slots)", "(local.get $results)")
}

/// One output for each change, with the header whose number is the count of headers it had.
fn stamper(data: &mut Data, version: Text) -> (String, String, String) {
    const NAMES: usize = 10;
    let names: Vec<Text> = (0..NAMES).map(|number| data.put(format!("s{number}"))).collect();
    let stamp_length = version.length + STAMP_SUFFIX;
    let mut before = format!(
        "(local.set $list (call $zeroed (i32.const {})))
    (local.set $parts (call $stamp))
    (local.set $entries (call $zeroed (i32.mul (local.get $count) (i32.const {OUTPUT}))))",
        NAMES * HEADER
    );
    for (number, name) in names.iter().enumerate() {
        let at = number * HEADER;
        before += &format!(
            "\n    (call $store_span (i32.add (local.get $list) (i32.const {at})) {name})
    (call $store_span (i32.add (local.get $list) (i32.const {})) (local.get $parts) (i32.const {stamp_length}))",
            at + 8
        );
    }
    let each = format!(
        "(local.set $entry (i32.add (local.get $entries) (i32.mul (local.get $i) (i32.const {OUTPUT}))))
        {}
        (call $store_span (i32.add (local.get $entry) (i32.const 24)) (i32.load offset=68 (local.get $change)) (i32.const 1))
        (i32.store8 (local.get $slot) (i32.const 1))
        (call $store_span (i32.add (local.get $slot) (i32.const 4)) (local.get $i) (i32.const 1))",
        copy_change()
    );
    (before, each, transformed(NAMES, "(local.get $count)"))
}

/// Up to three outputs for each change; `$parts` counts all of them.
fn multiplier(data: &mut Data) -> (String, String, String) {
    let part = data.put("part");
    let [none, one, three] = ["becomes-none", "becomes-one", "becomes-three"].map(|text| data.put(text));
    let mut before = format!(
        "(local.set $list (call $zeroed (i32.const {})))
    (local.set $entries (call $zeroed (i32.mul (local.get $count) (i32.const {}))))",
        3 * HEADER,
        3 * OUTPUT
    );
    for number in 0..3 {
        let (at, digit) = (number * HEADER, data.put(number.to_string()));
        before += &format!(
            "\n    (call $store_span (i32.add (local.get $list) (i32.const {at})) {part})
    (call $store_span (i32.add (local.get $list) (i32.const {})) {digit})",
            at + 8
        );
    }
    let mut each = String::new();
    for (text, outputs) in [(none, 0), (one, 1), (three, 3)] {
        let mut then = format!(
            "(i32.store8 (local.get $slot) (i32.const 1))
          (call $store_span (i32.add (local.get $slot) (i32.const 4)) (local.get $parts) (i32.const {outputs}))"
        );
        for number in 0..outputs {
            then += &format!(
                "\n          (local.set $entry (i32.add (local.get $entries) (i32.mul (local.get $parts) (i32.const {OUTPUT}))))
        {}
          (call $store_span (i32.add (local.get $entry) (i32.const 24)) (i32.const {number}) (i32.const 1))
          (local.set $parts (i32.add (local.get $parts) (i32.const 1)))",
                copy_change()
            );
        }
        each +=
            &format!("(if (call $document_has (local.get $arena) (local.get $change) {text}) (then {then}))\n        ");
    }
    (before, each, transformed(3, "(local.get $parts)"))
}
