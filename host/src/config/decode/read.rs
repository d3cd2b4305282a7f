//! What serde asks for, out of the tree.

use serde::{Deserializer, de::Visitor};

use super::{
    super::{
        environment::in_brackets,
        node::{Key, Value},
    },
    Decoder, SECRET,
    access::{Entries, Items},
    failure::Failure,
    keys, meant,
    scalar::{Plain, resolve},
};

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            match self.number_text().and_then(|text| text.parse::<$type>().ok()) {
                Some(number) => self.place(visitor.$visit(number)),
                None => Err(self.wrong_type(&format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX))),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_any(visitor);
        }
        match &self.node.value {
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar(scalar) => self.place(match resolve(scalar) {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Unsigned(number) => visitor.visit_u64(number),
                Plain::Signed(number) => visitor.visit_i64(number),
                Plain::Float(number) => visitor.visit_f64(number),
                Plain::Text => visitor.visit_str(&scalar.text),
            }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.number_text() {
            Some("true" | "True" | "TRUE") => self.place(visitor.visit_bool(true)),
            Some("false" | "False" | "FALSE") => self.place(visitor.visit_bool(false)),
            _ => Err(self.wrong_type("`true` or `false`")),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.number_text().and_then(|text| text.parse::<f64>().ok()) {
            Some(number) => self.place(visitor.visit_f64(number)),
            None => Err(self.wrong_type("a number")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let text = self.text()?;
        if !self.is_secret {
            self.notes.seen.borrow_mut().open.push(self.node.place.clone());
        }
        self.place(visitor.visit_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() { self.place(visitor.visit_none()) } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() { self.place(visitor.visit_unit()) } else { Err(self.wrong_type("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        let is_secret = name == SECRET;
        if is_secret {
            self.notes.seen.borrow_mut().secret.push(self.node.place.clone());
        }
        visitor.visit_newtype_struct(Decoder { is_secret, ..self })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_seq(visitor);
        }
        let Value::List(items) = &self.node.value else {
            return Err(self.wrong_type("a list"));
        };
        self.place(visitor.visit_seq(Items { of: self, items: items.iter().enumerate() }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_map(visitor);
        }
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong_type("a map"));
        };
        self.place(visitor.visit_map(Entries::of_map(self, entries)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if let Some(node) = in_brackets(self.node) {
            return Decoder { node: &node, ..self }.deserialize_struct(name, fields, visitor);
        }
        let known = keys(fields);
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong_type(&format!("a map with the keys {}", known.join(", "))));
        };
        if self.is_part {
            return visitor.visit_map(Entries::of_struct(self, entries, fields));
        }
        let unknown: Vec<&Key> =
            entries.iter().map(|(key, _)| key).filter(|key| !known.contains(&key.name.as_str())).collect();
        unknown.iter().for_each(|key| self.unknown_key(key, &known));
        match visitor.visit_map(Entries::of_struct(self, entries, fields)) {
            // One misspelt key is one error, not two.
            Err(Failure::Missing(missing)) if unknown.iter().any(|key| meant(&key.name, missing, fields)) => {
                Err(Failure::Explained)
            }
            result => self.place(result),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.choose(name, known, visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}
