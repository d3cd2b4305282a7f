//! Asks the reader itself what it would take in a place, by walking there with serde and looking what it asks for next. No value is needed
//! for that, so no field can be missed for want of one.

use std::{cell::RefCell, rc::Rc};

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
        value::StrDeserializer,
    },
};

/// What the reader takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A map with these keys.
    Struct(Vec<String>),
    /// One of these words, or a map with one of them.
    Choice(Vec<&'static str>),
    /// A choice's word that has no options.
    Word,
    /// A map with any keys.
    Map,
    /// A list.
    List,
    /// A single value, as JSON Schema calls it.
    Value(&'static str),
    /// Whatever it is.
    Any,
}

/// A step from a value to one in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the value of a key.
    Key(String),
    /// To the value of any key.
    Each,
    /// To an item.
    Item,
    /// To the options of a choice.
    Choose(&'static str),
}

/// What the reader of a type takes at the end of a path.
pub(super) fn shape<'de, T: Deserialize<'de>>(path: &[Step]) -> Shape {
    let found = Rc::default();
    drop(T::deserialize(Probe { path, found: Rc::clone(&found) }));
    let shape = found.borrow_mut().take();
    shape.unwrap_or_else(|| panic!("the reader does not go to {path:?}"))
}

/// The walk ends where it was to lead.
#[derive(Debug)]
struct End;

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the end of the path")
    }
}

impl std::error::Error for End {}

impl de::Error for End {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

#[derive(Clone)]
struct Probe<'p> {
    path: &'p [Step],
    found: Rc<RefCell<Option<Shape>>>,
}

impl<'p> Probe<'p> {
    fn end<T>(&self, shape: Shape) -> Result<T, End> {
        if self.path.is_empty() {
            *self.found.borrow_mut() = Some(shape);
        }
        Err(End)
    }

    fn further(&self) -> Self {
        Self { path: self.path.get(1..).unwrap_or_default(), found: Rc::clone(&self.found) }
    }

    fn step(&self) -> Option<&'p Step> {
        self.path.first()
    }
}

macro_rules! values {
    ($kind:literal $($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
            self.end(Shape::Value($kind))
        }
    )+};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = End;

    values! { "boolean" deserialize_bool }
    values! { "integer" deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }
    values! { "number" deserialize_f32 deserialize_f64 }
    values! { "string" deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
        self.end(Shape::Any)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
        self.end(Shape::Any)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
        self.end(Shape::Any)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, End> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, End> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        match self.step() {
            Some(Step::Item) => visitor.visit_seq(self.further()),
            _ => self.end(Shape::List),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, End> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, End> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        match self.step() {
            Some(Step::Each) => visitor.visit_map(Entry { of: self.further(), key: "a" }),
            _ => self.end(Shape::Map),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        let Some(Step::Key(wanted)) = self.step() else {
            let keys = fields.iter().filter(|field| !field.contains('|')).map(|field| (*field).to_owned());
            // What stands for several keys reads them itself.
            let parts =
                fields.iter().filter(|field| field.contains('|')).flat_map(|field| field.split('|')).map(str::to_owned);
            return self.end(Shape::Struct(keys.chain(parts).collect()));
        };
        match fields.iter().find(|field| field.split('|').any(|key| key == wanted)) {
            Some(field) if field.contains('|') => visitor.visit_map(Entry { of: self, key: field }),
            Some(field) => visitor.visit_map(Entry { of: self.further(), key: field }),
            None => Err(End),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        match self.step() {
            Some(Step::Choose(word)) => visitor.visit_enum(Chosen { of: self.further(), word }),
            _ => self.end(Shape::Choice(words.to_vec())),
        }
    }
}

struct Entry<'p> {
    of: Probe<'p>,
    key: &'static str,
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = End;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, End> {
        seed.deserialize(StrDeserializer::new(self.key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, End> {
        seed.deserialize(self.of.clone())
    }
}

impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = End;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, End> {
        seed.deserialize(self.clone()).map(Some)
    }
}

struct Chosen<'p> {
    of: Probe<'p>,
    word: &'static str,
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = End;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), End> {
        let variant = seed.deserialize(StrDeserializer::new(self.word))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = End;

    fn unit_variant(self) -> Result<(), End> {
        self.of.end(Shape::Word)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, End> {
        seed.deserialize(self.of)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, End> {
        Err(End)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, End> {
        Err(End)
    }
}
