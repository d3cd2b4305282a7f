//! How the parts of a value are gone through.

use serde::de::{self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{
    super::node::{Key, Node, Value},
    Decoder, Failure, Path,
};

pub(super) struct Items<'a> {
    pub(super) of: Decoder<'a>,
    pub(super) items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = Path::Item(self.of.path, index);
        let decoder = self.of.at(node, None, &path);
        decoder.place(seed.deserialize(decoder)).map(Some)
    }
}

pub(super) struct Entries<'a> {
    of: Decoder<'a>,
    entries: std::slice::Iter<'a, (Key, Node)>,
    /// Fields that are made of several keys of this map; they come first.
    parts: std::slice::Iter<'static, &'static str>,
    next: Option<Next<'a>>,
    /// Of a struct: unknown keys were reported, and are passed over; a key with nothing behind it counts as not given.
    fields: Option<&'static [&'static str]>,
}

#[derive(Clone, Copy)]
enum Next<'a> {
    Value(&'a Key, &'a Node),
    Part,
}

impl<'a> Entries<'a> {
    pub(super) fn of_map(of: Decoder<'a>, entries: &'a [(Key, Node)]) -> Self {
        Self { of, entries: entries.iter(), parts: [].iter(), next: None, fields: None }
    }

    pub(super) fn of_struct(of: Decoder<'a>, entries: &'a [(Key, Node)], fields: &'static [&'static str]) -> Self {
        Self { of, entries: entries.iter(), parts: fields.iter(), next: None, fields: Some(fields) }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        if let Some(field) = self.parts.find(|field| field.contains('|')) {
            self.next = Some(Next::Part);
            return seed.deserialize(de::value::StrDeserializer::new(field)).map(Some);
        }
        let fields = self.fields;
        let passed = |key: &Key, node: &Node| {
            fields.is_some_and(|fields| !fields.contains(&key.name.as_str()) || node.is_null())
        };
        let Some((key, node)) = self.entries.find(|(key, node)| !passed(key, node)) else { return Ok(None) };
        self.next = Some(Next::Value(key, node));
        seed.deserialize(de::value::StrDeserializer::new(&key.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        match self.next.take() {
            // The struct around it gives an error its place.
            Some(Next::Part) => seed.deserialize(Decoder { is_part: true, ..self.of }),
            Some(Next::Value(key, node)) => {
                let path = Path::Key(self.of.path, &key.name);
                // Some types read text and judge it later: their error gets its place only here.
                let decoder = self.of.at(node, Some(key), &path);
                decoder.place(seed.deserialize(decoder))
            }
            None => Err(de::Error::custom("a value without a key")),
        }
    }
}

pub(super) struct Choice<'a> {
    pub(super) of: Decoder<'a>,
    pub(super) word: &'static str,
    /// `word: options`; none for a bare word.
    pub(super) options: Option<(&'a Key, &'a Node)>,
    /// The options are the whole value: the word does not stand in the file.
    pub(super) whole: bool,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        let variant = seed.deserialize(de::value::StrDeserializer::new(self.word))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        match self.options {
            None => Ok(()),
            Some(_) => Err(self.of.wrong_type("a word")),
        }
    }

    /// A bare word, or one with nothing behind it, stands for its options all at their defaults.
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        let Decoder { node, key, path, .. } = self.of;
        let named = Path::Key(path, self.word);
        let inner = if self.whole { path } else { &named };
        match self.options {
            Some((key, options)) if !options.is_null() => seed.deserialize(self.of.at(options, Some(key), inner)),
            given => {
                let empty = Node { place: node.place.clone(), value: Value::Map(Vec::new()) };
                seed.deserialize(self.of.at(&empty, given.map(|(key, _)| key).or(key), inner))
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Failure> {
        Err(self.of.wrong_type("a word"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Failure> {
        Err(self.of.wrong_type("a word"))
    }
}
