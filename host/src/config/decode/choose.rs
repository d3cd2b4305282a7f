//! Choices: one word of several, bare or with its options.

use serde::de::Visitor;

use super::{
    super::{
        environment::in_brackets,
        node::{Key, Node, Value},
        problem::{Draft, did_you_mean},
    },
    Decoder, SWITCH,
    access::Choice,
    failure::Failure,
    scalar::resolve,
};
use crate::error::Code;

impl<'a> Decoder<'a> {
    /// The entries that choose. What a later file chooses takes the place of what one before it did.
    fn chosen(&self, entries: &'a [(Key, Node)], known: &[&str]) -> Vec<&'a (Key, Node)> {
        let mut chosen: Vec<_> = entries.iter().filter(|(key, _)| known.contains(&key.name.as_str())).collect();
        let file = |entry: &(Key, Node)| self.notes.ends.partition_point(|end| *end < entry.0.place.start);
        let newest = chosen.iter().map(|entry| file(entry)).max().unwrap_or_default();
        // A setting of the environment says more than it means to: it makes no choice.
        if newest < self.notes.ends.len() {
            let mut seen = self.notes.seen.borrow_mut();
            chosen.retain(|entry| {
                let stays = file(entry) == newest;
                if !stays {
                    seen.passed_over.push(entry.1.clone());
                }
                stays
            });
        }
        chosen
    }

    pub(super) fn choose<'de, V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.choose(name, known, visitor);
        }
        if let (SWITCH, Value::Map(_), Some(key)) = (name, &self.node.value, self.key) {
            let choice = Choice { of: self, word: "on", options: Some((key, self.node)), whole: true };
            return self.place(visitor.visit_enum(choice));
        }
        let words = known.join(", ");
        match &self.node.value {
            Value::Scalar(_) if self.node.is_null() => Err(self.wrong_type(&format!("one of {words}"))),
            Value::Scalar(scalar) => {
                if let Some(word) = known.iter().find(|word| **word == scalar.text) {
                    return self.place(visitor.visit_enum(Choice { of: self, word, options: None, whole: false }));
                }
                // What came from a variable may be anything, a secret too.
                let message = match scalar.variables.as_slice() {
                    [] if resolve(scalar).is_text() => format!("unknown value `{}` for {}", scalar.text, self.name()),
                    _ => format!("unknown value for {}", self.name()),
                };
                let draft = self.draft(Code::ConfigValue, message);
                let help = match (name, scalar.text.as_str()) {
                    ("WriteMode", "replace") => "it is called `mirror`: `mode: mirror`".to_owned(),
                    _ => did_you_mean(&scalar.text, "known values", known),
                };
                Err(Failure::Placed(Box::new(draft.help(help))))
            }
            Value::List(_) => Err(self.wrong_type(&format!("one of {words}"))),
            Value::Map(entries) => {
                let mut chosen = self.chosen(entries, known).into_iter();
                let (first, second) = (chosen.next(), chosen.next());
                let unknown: Vec<&Key> =
                    entries.iter().map(|(key, _)| key).filter(|key| !known.contains(&key.name.as_str())).collect();
                unknown.iter().for_each(|key| self.unknown_key(key, known));
                match (first, second) {
                    (Some((key, options)), None) => {
                        let word = known.iter().find(|word| **word == key.name).copied().unwrap_or_default();
                        let choice = Choice { of: self, word, options: Some((key, options)), whole: false };
                        self.place(visitor.visit_enum(choice))
                    }
                    (Some((first, _)), Some((second, _))) => {
                        let message = format!(
                            "{} has both `{}` and `{}`, but takes exactly one",
                            self.name(),
                            first.name,
                            second.name
                        );
                        let draft = Draft::new(Code::ConfigConflict, message).at(&second.place);
                        Err(Failure::Placed(Box::new(draft.help(format!("keep one of {words}")))))
                    }
                    (None, _) if !unknown.is_empty() => Err(Failure::Explained),
                    (None, _) => {
                        let draft = self.draft(Code::ConfigValue, format!("{} is empty", self.name()));
                        Err(Failure::Placed(Box::new(draft.help(format!("it takes exactly one of {words}")))))
                    }
                }
            }
        }
    }
}
