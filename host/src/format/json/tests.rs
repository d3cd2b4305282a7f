use bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc, oid::ObjectId,
    spec::BinarySubtype,
};

use super::{Style, write_document, write_value};

fn json(document: &Document, style: Style) -> String {
    let mut out = Vec::new();
    write_document(&mut out, &document.to_vec().unwrap(), style).unwrap();
    String::from_utf8(out).unwrap()
}

fn regex(pattern: &str, options: &str) -> Bson {
    Bson::RegularExpression(Regex {
        pattern: pattern.to_owned().try_into().unwrap(),
        options: options.to_owned().try_into().unwrap(),
    })
}

/// Every BSON type, with values at the edges of each.
fn every_type() -> Document {
    let oid = ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap();
    let uuid = bson::Uuid::parse_str("01234567-89ab-4def-8123-456789abcdef").unwrap();
    doc! {
        "double": 1.5, "integral": 3.0, "negative_zero": -0.0, "tiny": 5e-7, "long": 0.1 + 0.2,
        "infinity": f64::INFINITY, "minus_infinity": f64::NEG_INFINITY, "nan": f64::NAN,
        "string": "plain", "empty": "", "escapes": "\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}é€😀\u{2028}",
        "na\"me\n": 1, "": "no name",
        "document": { "a": { "b": {} } }, "array": [1, "two", [3.0], [], {}],
        "binary": Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 1, 254, 255] },
        "no_bytes": Binary { subtype: BinarySubtype::Generic, bytes: vec![] },
        "uuid": uuid, "old": Binary { subtype: BinarySubtype::BinaryOld, bytes: vec![1, 2, 3] },
        "user": Binary { subtype: BinarySubtype::UserDefined(0x80), bytes: vec![7; 16] },
        "undefined": Bson::Undefined, "oid": oid, "yes": true, "no": false, "null": null,
        "date": DateTime::from_millis(1_769_860_800_123), "date_whole": DateTime::from_millis(1_769_860_800_000),
        "date_before": DateTime::from_millis(-1), "date_far": DateTime::from_millis(253_402_300_800_000),
        "regex": regex("^a/\"b", "xim"),
        "code": Bson::JavaScriptCode("f(\"x\")".into()), "symbol": Bson::Symbol("sym".into()),
        "scoped": Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "g()".into(), scope: doc! { "n": 1_i64 } }),
        "int32": i32::MIN, "int32_max": i32::MAX, "int64": i64::MIN, "int64_max": i64::MAX,
        "timestamp": Timestamp { time: u32::MAX, increment: 7 },
        "min": Bson::MinKey, "max": Bson::MaxKey,
        "decimal": "12345.6789".parse::<Decimal128>().unwrap(),
    }
}

#[test]
fn extended_json_is_that_of_the_bson_crate() {
    let document = every_type();
    let ours: serde_json::Value = serde_json::from_str(&json(&document, Style::Canonical)).unwrap();
    let theirs = Bson::Document(document.clone()).into_canonical_extjson();
    for (name, value) in theirs.as_object().unwrap() {
        assert_eq!(ours[name].to_string(), value.to_string(), "canonical {name}");
    }
    assert_eq!(json(&document, Style::Canonical), theirs.to_string());
    let theirs = Bson::Document(document.clone()).into_relaxed_extjson();
    assert_eq!(json(&document, Style::Relaxed), theirs.to_string());
}

#[test]
fn canonical_extended_json_reads_back_as_the_same_document() {
    let document = every_type();
    let value: serde_json::Value = serde_json::from_str(&json(&document, Style::Canonical)).unwrap();
    let Bson::Document(back) = Bson::try_from(value).unwrap() else { panic!("no document") };
    // NaN is not equal to itself, and the options of a regular expression come back in alphabetical order.
    let mut expected = document;
    expected.insert("regex", regex("^a/\"b", "imx"));
    assert!(back.get_f64("nan").unwrap().is_nan());
    expected.insert("nan", 0.0);
    let mut back = back;
    back.insert("nan", 0.0);
    assert_eq!(back, expected);
}

#[test]
fn plain_json_is_what_any_client_reads() {
    let text = json(&every_type(), Style::Plain);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, expected) in [
        ("double", "1.5"),
        ("integral", "3.0"),
        ("negative_zero", "-0.0"),
        ("tiny", "5e-7"),
        ("infinity", "\"Infinity\""),
        ("minus_infinity", "\"-Infinity\""),
        ("nan", "\"NaN\""),
        ("document", r#"{"a":{"b":{}}}"#),
        ("array", r#"[1,"two",[3.0],[],{}]"#),
        ("binary", "\"AAH+/w==\""),
        ("no_bytes", "\"\""),
        ("uuid", "\"01234567-89ab-4def-8123-456789abcdef\""),
        ("old", "\"AQID\""),
        ("undefined", "null"),
        ("oid", "\"65f0c0ffee0123456789abcd\""),
        ("yes", "true"),
        ("date", "\"2026-01-31T12:00:00.123Z\""),
        ("date_whole", "\"2026-01-31T12:00:00.000Z\""),
        ("date_far", "\"+010000-01-01T00:00:00.000Z\""),
        ("regex", r#""/^a/\"b/imx""#),
        ("code", r#""f(\"x\")""#),
        ("scoped", "\"g()\""),
        ("symbol", "\"sym\""),
        ("int64", "-9223372036854775808"),
        ("timestamp", r#"{"t":4294967295,"i":7}"#),
        ("min", "\"MinKey\""),
        ("max", "\"MaxKey\""),
        ("decimal", "\"12345.6789\""),
        ("escapes", &serde_json::Value::from("\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}é€😀\u{2028}").to_string()),
    ] {
        assert_eq!(value[name].to_string(), expected, "{name}");
    }
}

#[test]
fn dates_with_a_fraction_have_three_digits() {
    // The specification asks for three digits; the bson crate leaves trailing zeros out.
    let document = doc! { "d": DateTime::from_millis(500) };
    assert_eq!(json(&document, Style::Relaxed), r#"{"d":{"$date":"1970-01-01T00:00:00.500Z"}}"#);
}

#[test]
fn decimals_are_written_as_the_bson_crate_does() {
    let texts = [
        "0",
        "-0",
        "1",
        "-1",
        "0.1",
        "0.000001",
        "1E-7",
        "1.23E+5",
        "1E+6111",
        "9.999999999999999999999999999999999E+6144",
        "1E-6176",
        "0E+3",
        "0.00",
        "NaN",
        "Infinity",
        "-Infinity",
        "1234567890123456789012345678901234",
        "12.50",
        "-0.00000120",
    ];
    for text in texts {
        let decimal: Decimal128 = text.parse().unwrap();
        let document = doc! { "d": decimal };
        assert_eq!(json(&document, Style::Plain), format!(r#"{{"d":"{decimal}"}}"#), "{text}");
    }
}

#[test]
fn doubles_read_back_as_the_same() {
    for number in [f64::MIN, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e21, 1e-5, 123456789.125, 2f64.powi(53)] {
        for style in [Style::Plain, Style::Relaxed, Style::Canonical] {
            let text = json(&doc! { "d": number }, style);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let digits = match style {
                Style::Canonical => value["d"]["$numberDouble"].as_str().unwrap().to_owned(),
                _ => value["d"].to_string(),
            };
            assert_eq!(digits.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{text}");
        }
    }
}

#[test]
fn db_pointers_are_written() {
    // The crate cannot make one, so these are its bytes.
    let mut bytes = vec![0, 0, 0, 0, 0x0C, b'p', 0, 5, 0, 0, 0, b'd', b'.', b'c', b'x', 0];
    bytes.extend([0xAB; 12]);
    bytes.push(0);
    bytes[0] = bytes.len() as u8;
    let mut out = Vec::new();
    write_document(&mut out, &bytes, Style::Canonical).unwrap();
    let hex = "ab".repeat(12);
    let expected = format!(r#"{{"p":{{"$dbPointer":{{"$ref":"d.cx","$id":{{"$oid":"{hex}"}}}}}}}}"#);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let mut out = Vec::new();
    write_document(&mut out, &bytes, Style::Plain).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), format!(r#"{{"p":"{hex}"}}"#));
}

#[test]
fn broken_bytes_are_refused_and_leave_nothing_behind() {
    let good = every_type().to_vec().unwrap();
    // Each byte is changed to each of some values: no panic, and what is written is JSON.
    for at in 0..good.len() {
        for byte in [0, 1, 2, 3, 5, 0x0B, 0x0C, 0x0F, 0x7F, 0x80, 0xFF] {
            let mut bad = good.clone();
            bad[at] = byte;
            for style in [Style::Plain, Style::Relaxed, Style::Canonical] {
                let mut out = b"before".to_vec();
                match write_document(&mut out, &bad, style) {
                    Ok(()) => drop(serde_json::from_slice::<serde::de::IgnoredAny>(&out[6..]).unwrap()),
                    Err(_) => assert_eq!(out, b"before"),
                }
            }
        }
    }
}

#[test]
fn endless_nesting_is_refused() {
    let mut document = doc! {};
    for _ in 0..300 {
        document = doc! { "d": document };
    }
    assert!(write_document(&mut Vec::new(), &document.to_vec().unwrap(), Style::Plain).is_err());
}

#[test]
fn one_value_alone() {
    let mut out = Vec::new();
    write_value(&mut out, bson::raw::RawBsonRef::Int64(7), Style::Relaxed);
    assert_eq!(out, b"7");
}
