//! Values of `_id` as bytes that sort as the server sorts the values, so that places in a copy can be compared as positions are.
//!
//! The order is that of MongoDB's comparison of BSON values with the simple collation
//! (<https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/>): first the kind of a value, numbers of all types being
//! one kind, then the value. What has no such bytes here (Decimal128, code, DBPointer) says so.

use crate::format::elements::{Element, Elements, kind};

/// What comes behind everything an element can begin with.
const END: u8 = 0;

/// Kinds in the order of the server, from 1.
mod rank {
    pub(super) const MIN_KEY: u8 = 0x0A;
    pub(super) const NULL: u8 = 0x14;
    pub(super) const NUMBER: u8 = 0x1E;
    pub(super) const TEXT: u8 = 0x3C;
    pub(super) const DOCUMENT: u8 = 0x46;
    pub(super) const BINARY: u8 = 0x5A;
    pub(super) const OBJECT_ID: u8 = 0x64;
    pub(super) const BOOLEAN: u8 = 0x6E;
    pub(super) const DATE: u8 = 0x78;
    pub(super) const TIMESTAMP: u8 = 0x82;
    pub(super) const MAX_KEY: u8 = 0xF0;
}

/// Deepest nesting of documents that is followed: the server's own limit.
const DEEPEST: usize = 100;

/// The bytes of a value; none for one that has none here.
pub(crate) fn key(element: &Element<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(24);
    append(element, &mut out).then_some(out)
}

/// The same behind what is there; false, and nothing is added, for a value that has none.
pub(crate) fn append(element: &Element<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let has = write(element, out, 0);
    if !has {
        out.truncate(start);
    }
    has
}

fn write(element: &Element<'_>, out: &mut Vec<u8>, depth: usize) -> bool {
    match element.kind {
        kind::MIN_KEY => out.push(rank::MIN_KEY),
        kind::MAX_KEY => out.push(rank::MAX_KEY),
        kind::NULL => out.push(rank::NULL),
        kind::INT32 => {
            let Some(bytes) = element.value.first_chunk::<4>() else { return false };
            integer(i32::from_le_bytes(*bytes).into(), out);
        }
        kind::INT64 => {
            let Some(bytes) = element.value.first_chunk::<8>() else { return false };
            integer(i64::from_le_bytes(*bytes), out);
        }
        kind::DOUBLE => {
            let Some(bytes) = element.value.first_chunk::<8>() else { return false };
            double(f64::from_le_bytes(*bytes), out);
        }
        kind::STRING | kind::SYMBOL => {
            let Ok(text) = element.text_bytes() else { return false };
            out.push(rank::TEXT);
            terminated(text, out);
        }
        kind::OBJECT_ID => {
            out.push(rank::OBJECT_ID);
            out.extend_from_slice(element.value);
        }
        kind::BOOLEAN => {
            out.push(rank::BOOLEAN);
            out.extend_from_slice(element.value);
        }
        kind::DATE => {
            let Some(bytes) = element.value.first_chunk::<8>() else { return false };
            out.push(rank::DATE);
            out.extend_from_slice(&(i64::from_le_bytes(*bytes) ^ i64::MIN).to_be_bytes());
        }
        kind::TIMESTAMP => {
            let Some(bytes) = element.value.first_chunk::<8>() else { return false };
            out.push(rank::TIMESTAMP);
            out.extend_from_slice(&u64::from_le_bytes(*bytes).to_be_bytes());
        }
        kind::BINARY => {
            // By length, then subtype, then bytes. The length stands first, little endian, then the subtype.
            let Some((length, rest)) = element.value.split_first_chunk::<4>() else { return false };
            out.push(rank::BINARY);
            out.extend_from_slice(&u32::from_le_bytes(*length).to_be_bytes());
            out.extend_from_slice(rest);
        }
        kind::DOCUMENT => return depth < DEEPEST && document(element.value, out, depth),
        _ => return false,
    }
    true
}

/// Element by element: the kind of its value, its name, its value. The shorter of two that begin alike comes first.
fn document(bytes: &[u8], out: &mut Vec<u8>, depth: usize) -> bool {
    let Ok(elements) = Elements::of(bytes) else { return false };
    out.push(rank::DOCUMENT);
    for element in elements {
        let Ok(element) = element else { return false };
        let mut value = Vec::new();
        if !write(&element, &mut value, depth + 1) {
            return false;
        }
        let Some((rank, value)) = value.split_first() else { return false };
        out.push(*rank);
        // A name holds no NUL.
        out.extend_from_slice(element.name);
        out.push(END);
        out.extend_from_slice(value);
    }
    out.push(END);
    true
}

/// Text that may hold a NUL, ended so that a text comes before what it is the beginning of.
fn terminated(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xFF);
        }
    }
    out.push(END);
}

/// A number is the double below or at it, then how far it is above that double: integers of 64 bits lie between doubles.
fn integer(number: i64, out: &mut Vec<u8>) {
    let mut below = number as f64;
    // 2^63 is the one double that no i64 reaches; there the cast back saturates.
    if below as i128 > i128::from(number) {
        below = below.next_down();
    }
    let above = i128::from(number) - below as i128;
    sorted(below, out);
    out.extend_from_slice(&u64::try_from(above).unwrap_or(u64::MAX).to_be_bytes());
}

fn double(number: f64, out: &mut Vec<u8>) {
    sorted(number, out);
    out.extend_from_slice(&[0; 8]);
}

/// The bits of a double, in an order that bytes have; NaN is below all, and there is one zero.
fn sorted(number: f64, out: &mut Vec<u8>) {
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    let sorted = match (number.is_nan(), bits >> 63) {
        (true, _) => 0,
        (false, 1) => !bits,
        (false, _) => bits | 1 << 63,
    };
    out.push(rank::NUMBER);
    out.extend_from_slice(&sorted.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use bson::{Binary, Bson, DateTime, Document, Timestamp, doc, oid::ObjectId, spec::BinarySubtype};
    use futures::TryStreamExt as _;
    use proptest::prelude::*;

    use super::key;
    use crate::{format::elements::Elements, testing::Server};

    fn key_of(value: impl Into<Bson>) -> Option<Vec<u8>> {
        let bytes = doc! { "_id": value.into() }.to_vec().expect("BSON");
        let element = Elements::of(&bytes).expect("a document").next().expect("an element").expect("an element");
        key(&element)
    }

    fn ids() -> Vec<Bson> {
        let binary = |subtype, bytes: &[u8]| Bson::Binary(Binary { subtype, bytes: bytes.to_vec() });
        let mut ids: Vec<Bson> = vec![
            Bson::MinKey,
            Bson::MaxKey,
            Bson::Null,
            true.into(),
            false.into(),
            f64::NAN.into(),
            f64::NEG_INFINITY.into(),
            f64::INFINITY.into(),
            f64::MIN.into(),
            f64::MAX.into(),
            (-0.5).into(),
            0.0.into(),
            1e-300.into(),
            0.5.into(),
            1.5.into(),
            9_007_199_254_740_992.0.into(),
            9_223_372_036_854_775_808.0.into(),
            (-9_223_372_036_854_775_808.0).into(),
            1e19.into(),
            1_i32.into(),
            (-1_i32).into(),
            i32::MAX.into(),
            i32::MIN.into(),
            i64::MAX.into(),
            (i64::MAX - 1).into(),
            (i64::MIN + 1).into(),
            9_007_199_254_740_993_i64.into(),
            9_007_199_254_740_991_i64.into(),
            (-9_007_199_254_740_993_i64).into(),
            "".into(),
            "\0".into(),
            "\0a".into(),
            "a".into(),
            "a\0".into(),
            "a\0b".into(),
            "ab".into(),
            "Z".into(),
            "é".into(),
            "\u{1f980}".into(),
            ObjectId::from_bytes([0; 12]).into(),
            ObjectId::from_bytes([255; 12]).into(),
            ObjectId::from_bytes([1; 12]).into(),
            DateTime::from_millis(-1).into(),
            DateTime::from_millis(0).into(),
            DateTime::from_millis(i64::MAX).into(),
            DateTime::from_millis(i64::MIN).into(),
            Bson::Timestamp(Timestamp { time: 1, increment: 2 }),
            Bson::Timestamp(Timestamp { time: u32::MAX, increment: 0 }),
            Bson::Timestamp(Timestamp { time: 1, increment: 1 }),
            binary(BinarySubtype::Generic, b""),
            binary(BinarySubtype::Generic, b"b"),
            binary(BinarySubtype::Uuid, b"0123456789abcdef"),
            binary(BinarySubtype::Generic, b"0123456789abcdef"),
            binary(BinarySubtype::UserDefined(0x80), b"a"),
        ];
        let documents = [
            doc! {},
            doc! { "a": 1 },
            doc! { "a": 2 },
            doc! { "a": 1, "b": 1 },
            doc! { "b": 1 },
            doc! { "a": "1" },
            doc! { "a": Bson::Null },
            doc! { "ab": 1 },
            doc! { "a": { "b": 1 } },
            doc! { "a": {} },
            doc! { "a": { "b": 1 }, "c": 0 },
            doc! { "a": ObjectId::from_bytes([7; 12]) },
            doc! { "a": false },
            doc! { "": 1 },
        ];
        ids.extend(documents.map(Bson::from));
        ids
    }

    /// The server is asked how it sorts.
    #[tokio::test]
    async fn bytes_sort_as_the_server_sorts_values() {
        let (_server, client) = Server::mongod(false).await;
        let collection = client.database("d").collection::<Document>("c");
        collection.insert_many(ids().into_iter().map(|id| doc! { "_id": id })).await.expect("documents");
        let sorted: Vec<Document> = collection
            .find(doc! {})
            .sort(doc! { "_id": 1 })
            .await
            .expect("a cursor")
            .try_collect()
            .await
            .expect("documents");
        assert_eq!(sorted.len(), ids().len());
        let keys: Vec<(Bson, Vec<u8>)> = sorted
            .into_iter()
            .map(|mut document| {
                let id = document.remove("_id").expect("an id");
                (id.clone(), key_of(id).expect("it has a key"))
            })
            .collect();
        for pair in keys.windows(2) {
            assert!(pair[0].1 < pair[1].1, "{:?} comes before {:?}", pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn what_has_no_bytes_says_so() {
        assert_eq!(key_of(Bson::Decimal128("1.5".parse().expect("a decimal"))), None);
        assert_eq!(key_of(doc! { "a": Bson::Decimal128("1.5".parse().expect("a decimal")) }), None);
        assert_eq!(key_of(Bson::JavaScriptCode("f".to_owned())), None);
    }

    #[test]
    fn equal_numbers_have_equal_bytes() {
        for number in [0, 1, -1, i32::MAX, i32::MIN] {
            assert_eq!(key_of(number), key_of(i64::from(number)));
            assert_eq!(key_of(number), key_of(f64::from(number)));
        }
        assert_eq!(key_of(-0.0), key_of(0));
        assert_eq!(key_of(i64::MIN), key_of(-9_223_372_036_854_775_808.0));
    }

    proptest! {
        #[test]
        fn integers_and_doubles_sort_together(a in any::<i64>(), b in any::<i64>(), shift in 0_u32..64, d in any::<f64>()) {
            let (a, b) = (a >> shift, b >> shift);
            prop_assert_eq!(a.cmp(&b), key_of(a).cmp(&key_of(b)));
            prop_assume!(!d.is_nan());
            // Compared without rounding: by what is left of each other's whole part.
            let order = match d {
                d if d >= 9_223_372_036_854_775_808.0 => std::cmp::Ordering::Less,
                d if d < -9_223_372_036_854_775_808.0 => std::cmp::Ordering::Greater,
                d => (a, 0.0).partial_cmp(&(d.floor() as i64, d - d.floor())).expect("no NaN"),
            };
            prop_assert_eq!(order, key_of(a).cmp(&key_of(d)));
        }
    }
}
