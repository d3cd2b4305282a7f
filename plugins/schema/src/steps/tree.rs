//! A document that steps change: what no step looks into stays the bytes it was.

use std::borrow::Cow;

use tidegate_plugin::bson::{ArrayBuf, DocumentBuf, Error, Value};

/// A value on its way from one version to another.
#[derive(Clone, Debug)]
pub(crate) enum Item<'a> {
    /// As it lies in the document, or of a type that holds no bytes.
    Value(Value<'a>),
    /// New text.
    Text(String),
    Document(Fields<'a>),
    Array(Vec<Item<'a>>),
}

/// The fields of a document, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, Item<'a>)>);

impl<'a> Item<'a> {
    /// The value, where it is neither taken apart nor new text.
    pub(crate) fn value(&self) -> Option<Value<'_>> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Text(text) => Some(Value::String(text)),
            Self::Document(_) | Self::Array(_) => None,
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Document(_) => "object",
            Self::Array(_) => "array",
            Self::Value(_) | Self::Text(_) => self.value().map_or("undefined", |value| value.type_name()),
        }
    }

    /// The fields of a document, taken apart where it still is bytes.
    pub(crate) fn fields(&mut self) -> Result<Option<&mut Fields<'a>>, Error> {
        if let Self::Value(Value::Document(document)) = *self {
            *self = Self::Document(Fields::read(document.elements())?);
        }
        Ok(if let Self::Document(fields) = self { Some(fields) } else { None })
    }

    /// The elements of an array, likewise.
    pub(crate) fn elements(&mut self) -> Result<Option<&mut Vec<Item<'a>>>, Error> {
        if let Self::Value(Value::Array(array)) = *self {
            *self = Self::Array(array.values().map(|value| value.map(Item::Value)).collect::<Result<_, _>>()?);
        }
        Ok(if let Self::Array(items) = self { Some(items) } else { None })
    }
}

impl<'a> Fields<'a> {
    /// # Errors
    /// When the bytes are no BSON.
    pub(crate) fn read(elements: impl Iterator<Item = Result<(&'a str, Value<'a>), Error>>) -> Result<Self, Error> {
        let fields = elements.map(|element| element.map(|(name, value)| (Cow::Borrowed(name), Item::Value(value))));
        fields.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Item<'a>> {
        self.0.iter_mut().find(|(own, _)| own == name).map(|(_, item)| item)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Item<'a>> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }

    /// In its place if it is there, else at the end.
    pub(crate) fn set(&mut self, name: &str, item: Item<'a>) {
        match self.get_mut(name) {
            Some(place) => *place = item,
            None => self.0.push((Cow::Owned(name.to_owned()), item)),
        }
    }

    /// The field keeps its place. Another one of the new name goes.
    pub(crate) fn rename(&mut self, old: &str, new: &str) {
        if old == new || !self.has(old) {
            return;
        }
        self.remove(new);
        if let Some((name, _)) = self.0.iter_mut().find(|(name, _)| name == old) {
            *name = Cow::Owned(new.to_owned());
        }
    }

    pub(crate) fn write(&self, size: usize) -> DocumentBuf {
        let mut out = DocumentBuf::with_capacity(size);
        for (name, item) in &self.0 {
            match item {
                Item::Value(value) => out.append(name, *value),
                Item::Text(text) => out.append(name, text.as_str()),
                Item::Document(fields) => out.append(name, fields.write(64)),
                Item::Array(items) => out.append(name, array(items)),
            };
        }
        out
    }
}

fn array(items: &[Item<'_>]) -> ArrayBuf {
    let mut out = ArrayBuf::new();
    for item in items {
        match item {
            Item::Value(value) => out.push(*value),
            Item::Text(text) => out.push(text.as_str()),
            Item::Document(fields) => out.push(fields.write(64)),
            Item::Array(items) => out.push(array(items)),
        };
    }
    out
}
