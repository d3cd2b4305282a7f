//! The tree of a configuration file: YAML as it was parsed, each value and key with its place in the text.

use std::{collections::HashMap, ops::Range};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use super::{
    interpolate::interpolate,
    mask::{self, Masks},
    problem::{Draft, line_of},
};
use crate::error::Code;

/// What a variable stands for.
type Variables<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Aliases may repeat parts of a file, and parts of those parts: no more than this many values in all.
const MOST_NODES: usize = 100_000;

/// A value and its place, in bytes of the text.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Range<usize>,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// After interpolation.
    pub(super) text: String,
    /// Written without quotes: may be a number, a boolean or nothing.
    pub(super) plain: bool,
    /// The variables its text came from.
    pub(super) variables: Vec<String>,
    pub(super) origin: Origin,
}

/// Who wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stands in the file.
    File,
    /// It is the whole value of a variable that sets it.
    Setting,
    /// It stands in brackets in such a value.
    Brackets,
}

impl Scalar {
    fn of_text(text: String, plain: bool, variables: Vec<String>) -> Self {
        Self { text, plain, variables, origin: Origin::File }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Range<usize>,
}

impl Node {
    /// Nothing is written here: `key:` or `key: null`. What comes from a variable is never nothing.
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => {
                scalar.plain
                    && scalar.variables.is_empty()
                    && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The entry of a map.
    pub(super) fn entry(&self, name: &str) -> Option<(&Key, &Node)> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(key, node)| (key, node)),
            _ => None,
        }
    }

    /// An item of a list.
    pub(super) fn item(&self, index: usize) -> Option<&Node> {
        match &self.value {
            Value::List(items) => items.get(index),
            _ => None,
        }
    }

    /// Whether a value in it was written at this place.
    pub(super) fn holds(&self, offset: usize) -> bool {
        match &self.value {
            Value::Scalar(_) => self.place.start <= offset && offset <= self.place.end,
            Value::List(items) => items.iter().any(|item| item.holds(offset)),
            Value::Map(entries) => entries.iter().any(|(_, node)| node.holds(offset)),
        }
    }

    fn count(&self) -> usize {
        match &self.value {
            Value::Scalar(_) => 1,
            Value::List(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|(_, node)| node.count()).sum::<usize>(),
        }
    }
}

/// Parses one YAML document, which is this part of a text; its places are those of the whole. No node: there is nothing in the text but comments. The drafts are what is wrong with single values and keys, such as
/// a key given twice and a variable that is not set.
///
/// # Errors
/// What is no YAML.
pub(super) fn parse(
    source: &str,
    part: Range<usize>,
    env: &dyn Fn(&str) -> Option<String>,
    masks: &mut Masks,
) -> Result<(Option<Node>, Vec<Draft>), Vec<Draft>> {
    build(source, part, Some(env), masks)
}

/// [`parse`] of a text in which `${NAME}` is text like any other.
///
/// # Errors
/// What is no YAML, and a key given twice.
pub(super) fn parse_literal(source: &str, masks: &mut Masks) -> Result<Option<Node>, Vec<Draft>> {
    let (root, problems) = build(source, 0..source.len(), None, masks)?;
    if problems.is_empty() { Ok(root) } else { Err(problems) }
}

fn build(
    source: &str,
    part: Range<usize>,
    env: Option<Variables<'_>>,
    masks: &mut Masks,
) -> Result<(Option<Node>, Vec<Draft>), Vec<Draft>> {
    let mut builder = Builder {
        source,
        starts: part.start,
        env,
        parser: Parser::new_from_str(source.get(part).unwrap_or_default()),
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    let root = match builder.document() {
        Ok(root) => root,
        Err(stop) => {
            // Half a tree hides nothing reliably.
            *masks = Masks::unparsed();
            return Err(vec![*stop]);
        }
    };
    if let Some(root) = &root {
        hide_secrets(source, root, false, masks);
    }
    Ok((root, builder.problems))
}

struct Builder<'s, 'e> {
    source: &'s str,
    /// Where the document does.
    starts: usize,
    env: Option<Variables<'e>>,
    parser: Parser<'s, granit_parser::StrInput<'s>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// Problems that do not keep the rest from being read.
    problems: Vec<Draft>,
}

/// A problem that ends the reading; boxed, since it travels up through every level of the tree.
type Stop = Box<Draft>;

impl<'s> Builder<'s, '_> {
    fn next(&mut self) -> Result<(Event<'s>, Range<usize>), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.bytes(&span))),
            Some(Err(error)) => Err(Box::new(syntax_error(self.source, self.starts, &error))),
            None => Ok((Event::StreamEnd, self.source.len()..self.source.len())),
        }
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        let part = span.byte_range().unwrap_or(0..0);
        self.starts + part.start..self.starts + part.end
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentStart(..), place) if root.is_some() => {
                    let draft =
                        Draft::new(Code::ConfigSyntax, "there is more than one YAML document in the file").at(&place);
                    return Err(Box::new(
                        draft.help("remove the line `---` and what follows it; one file holds one configuration"),
                    ));
                }
                (event, place) if event.is_node() => {
                    let node = self.node(event, place)?;
                    root = (!node.is_null()).then_some(node);
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'s>, place: Range<usize>) -> Result<Node, Stop> {
        self.nodes += 1;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.core_suffix() != Some("str"));
                (self.scalar(&text, plain, place), anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => break end,
                        (event, place) if event.is_node() => items.push(self.node(event, place)?),
                        _ => {}
                    }
                };
                (Node { place: place.start..end.end.max(place.end), value: Value::List(items) }, anchor)
            }
            Event::MappingStart(_, anchor, _) => (self.map(place)?, anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    let draft =
                        Draft::new(Code::ConfigSyntax, "an alias refers to the value that it stands in").at(&place);
                    return Err(Box::new(draft.help("write the value out")));
                };
                self.nodes = self.nodes.saturating_add(node.count());
                (node, 0)
            }
            _ => (Node { place, value: Value::Scalar(Scalar::of_text(String::new(), true, Vec::new())) }, 0),
        };
        if self.nodes > MOST_NODES {
            let draft =
                Draft::new(Code::ConfigSyntax, format!("the file holds more than {MOST_NODES} values")).at(&node.place);
            return Err(Box::new(draft.help("aliases (`*name`) repeat what they stand for: write less of them")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self, start: Range<usize>) -> Result<Node, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged = Vec::new();
        let end = loop {
            let (event, place) = self.next()?;
            let (name, plain) = match event {
                Event::MappingEnd => break place,
                Event::Scalar(text, style, _, _) => (text.into_owned(), style == ScalarStyle::Plain),
                event if event.is_node() => {
                    let draft = Draft::new(Code::ConfigSyntax, "a key must be a word").at(&place);
                    return Err(Box::new(draft.help(FLOW_HELP)));
                }
                _ => continue,
            };
            let (event, value_place) = self.value()?;
            let node = self.node(event, value_place)?;
            if plain && name == "<<" {
                merged.push(node);
                continue;
            }
            match entries.iter().find(|(key, _)| key.name == name) {
                Some((first, _)) => {
                    let line =
                        line_of(self.source.get(self.starts..).unwrap_or_default(), first.place.start - self.starts);
                    let draft = Draft::new(Code::ConfigConflict, format!("key `{name}` is given twice")).at(&place);
                    self.problems
                        .push(draft.note(format!("it is first given in line {line}")).help("keep one of them"));
                }
                None => entries.push((Key { name, place }, node)),
            }
        };
        for node in merged {
            merge(&mut entries, node).map_err(Box::new)?;
        }
        Ok(Node { place: start.start..end.end.max(start.end), value: Value::Map(entries) })
    }

    /// The event that begins the value of a key.
    fn value(&mut self) -> Result<(Event<'s>, Range<usize>), Stop> {
        loop {
            let (event, place) = self.next()?;
            if event.is_node() || matches!(event, Event::StreamEnd) {
                return Ok((event, place));
            }
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, place: Range<usize>) -> Node {
        let Some(env) = self.env else {
            return Node { place, value: Value::Scalar(Scalar::of_text(text.to_owned(), plain, Vec::new())) };
        };
        let done = interpolate(text, env);
        for (offset, error) in &done.errors {
            let place = reference_place(self.source, &place, text, *offset);
            self.problems.push(error.draft().at(&place));
        }
        Node { place, value: Value::Scalar(Scalar::of_text(done.text, plain, done.variables)) }
    }
}

/// `<<: *other`: what the map does not say itself is taken from the other.
fn merge(entries: &mut Vec<(Key, Node)>, from: Node) -> Result<(), Draft> {
    match from.value {
        Value::Map(others) => {
            for (key, node) in others {
                if entries.iter().all(|(own, _)| own.name != key.name) {
                    entries.push((key, node));
                }
            }
            Ok(())
        }
        Value::List(maps) => maps.into_iter().try_for_each(|map| merge(entries, map)),
        Value::Scalar(_) => Err(Draft::new(Code::ConfigSyntax, "`<<` takes a map, or a list of maps")
            .at(&from.place)
            .help("write `<<: *name`")),
    }
}

/// The reference itself where it can be found in the source of the value, else the value.
fn reference_place(source: &str, place: &Range<usize>, text: &str, offset: usize) -> Range<usize> {
    let reference = text.get(offset..).unwrap_or_default();
    let reference = reference.find('}').and_then(|end| reference.get(..=end)).unwrap_or(reference);
    match source.get(place.clone()).and_then(|value| value.find(reference)) {
        Some(at) => place.start + at..place.start + at + reference.len(),
        None => place.clone(),
    }
}

fn hide_secrets(source: &str, node: &Node, secret: bool, masks: &mut Masks) {
    match &node.value {
        Value::Scalar(_) => {
            if secret {
                masks.hide(source, &node.place);
            }
        }
        Value::List(items) => items.iter().for_each(|item| hide_secrets(source, item, secret, masks)),
        Value::Map(entries) => {
            entries
                .iter()
                .for_each(|(key, node)| hide_secrets(source, node, secret || mask::is_secret_key(&key.name), masks));
        }
    }
}

const FLOW_HELP: &str = "between `{ }` and `[ ]`, put a value that holds `${...}`, `{`, `}`, `[`, `]` or `,` in quotes";

fn syntax_error(source: &str, starts: usize, error: &ScanError) -> Draft {
    let at = (starts + error.marker().byte_offset().unwrap_or(0)).min(source.len());
    let line_start = source.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line = source.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let help = match error.kind() {
        ErrorKind::TabInIndentation
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabAtBlockScalarStart => "indent with spaces; YAML takes no tabs there",
        ErrorKind::UnclosedQuotedScalar => "close the quote",
        ErrorKind::UnclosedFlowCollection { .. } => "close the bracket",
        ErrorKind::UnknownAnchor => {
            "an alias `*name` needs an anchor `&name` before it; put text that begins with `*` in quotes"
        }
        _ if line.contains("${") && line.contains(['{', '[']) => FLOW_HELP,
        _ => {
            "look at the indentation, brackets and quotes here and in the lines before; text with `: ` or ` #` in it needs quotes"
        }
    };
    let message = error.kind().to_string();
    Draft::new(Code::ConfigSyntax, format!("the file is not valid YAML: {message}")).at(&(at..at + 1)).help(help)
}
