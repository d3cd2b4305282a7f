use super::*;

/// One field of every type, nested documents and an array.
fn every_type() -> DocumentBuf {
    let inner = DocumentBuf::new().with("x", 1).with("list", ArrayBuf::from_iter(["a", "b"]));
    DocumentBuf::new()
        .with("double", 1.5)
        .with("string", "text")
        .with("document", &inner)
        .with("array", ArrayBuf::new().with(1).with("two").with(&inner))
        .with("binary", Value::Binary { subtype: 4, bytes: &[1, 2, 3] })
        .with("undefined", Value::Undefined)
        .with("object_id", ObjectId([0xab; 12]))
        .with("bool", true)
        .with("date", DateTime(1_706_659_200_000))
        .with("null", Value::Null)
        .with("regex", Value::Regex { pattern: "^a", options: "i" })
        .with("db_pointer", Value::DbPointer { namespace: "a.b", id: ObjectId([1; 12]) })
        .with("javascript", Value::JavaScript("f()"))
        .with("symbol", Value::Symbol("s"))
        .with("code", Value::CodeWithScope { code: "g()", scope: inner.as_document() })
        .with("int", 7)
        .with("timestamp", Value::Timestamp { time: 9, increment: 2 })
        .with("long", 1_i64 << 40)
        .with("decimal", Value::Decimal128([3; 16]))
        .with("min", Value::MinKey)
        .with("max", Value::MaxKey)
}

const TYPE_NAMES: [&str; 21] = [
    "double",
    "string",
    "object",
    "array",
    "binData",
    "undefined",
    "objectId",
    "bool",
    "date",
    "null",
    "regex",
    "dbPointer",
    "javascript",
    "symbol",
    "javascriptWithScope",
    "int",
    "timestamp",
    "long",
    "decimal",
    "minKey",
    "maxKey",
];

#[test]
fn every_type_is_written_and_read_back() {
    let written = every_type();
    let document = written.as_document();
    document.check().unwrap();
    let elements: Vec<_> = document.elements().collect::<Result<_, _>>().unwrap();
    assert_eq!(elements.iter().map(|(_, value)| value.type_name()).collect::<Vec<_>>(), TYPE_NAMES);
    let mut again = DocumentBuf::new();
    for (name, value) in &elements {
        again.append(name, value);
    }
    assert_eq!(again.as_bytes(), written.as_bytes());
    assert_eq!(document.get("timestamp"), Some(Value::Timestamp { time: 9, increment: 2 }));
    assert_eq!(document.get("binary"), Some(Value::Binary { subtype: 4, bytes: &[1, 2, 3] }));
}

#[test]
fn bytes_are_those_of_the_specification() {
    let document = DocumentBuf::new().with("hello", "world");
    assert_eq!(document.as_bytes(), b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0");
    let nested = DocumentBuf::new().with("BSON", ArrayBuf::new().with("awesome").with(5.05).with(1986));
    assert_eq!(
        nested.as_bytes(),
        b"\x31\0\0\0\x04BSON\0\x26\0\0\0\x020\0\x08\0\0\0awesome\0\x011\0\x33\x33\x33\x33\x33\x33\x14\x40\x102\0\xc2\x07\0\0\0\0"
    );
}

#[test]
fn paths_reach_into_documents_and_arrays() {
    let written = every_type();
    let document = written.as_document();
    for (path, expected) in [
        ("document.x", Some("1")),
        ("array.2.list.1", Some("b")),
        ("string", Some("text")),
        ("document.list.1", Some("b")),
    ] {
        assert_eq!(document.get_path(path).and_then(|value| value.to_text()).as_deref(), expected, "{path}");
    }
    for path in ["", "nothing", "string.x", "array.3", "array.x", "document.", "document.x.y"] {
        assert_eq!(document.get_path(path), None, "{path}");
    }
}

#[test]
fn fields_are_found_in_any_order_and_the_first_of_two_counts() {
    let written = DocumentBuf::new().with("a", 1).with("b", 2).with("c", 3).with("a", 4);
    let values = written.as_document().fields(["c", "missing", "a"]);
    assert_eq!(values, [Some(Value::Int32(3)), None, Some(Value::Int32(1))]);
    assert_eq!(written.as_document().get("a"), Some(Value::Int32(1)));
}

#[test]
fn whole_doubles_are_integers() {
    for (value, expected) in [
        (Value::Int32(-3), Some(-3)),
        (Value::Int64(i64::MAX), Some(i64::MAX)),
        (Value::Double(3.0), Some(3)),
        (Value::Double(-0.0), Some(0)),
        (Value::Double(-9_007_199_254_740_992.0), Some(-(1 << 53))),
        (Value::Double(9_007_199_254_740_994.0), None),
        (Value::Double(3.5), None),
        (Value::Double(f64::NAN), None),
        (Value::Double(f64::INFINITY), None),
        (Value::String("3"), None),
        (Value::Bool(true), None),
    ] {
        assert_eq!(value.as_integer(), expected, "{value:?}");
    }
}

/// Looks at everything in every way there is, and keeps what was found from being optimised away.
fn look(bytes: &[u8]) -> bool {
    let document = Document::new(bytes);
    let names = ["double", "regex", "code", "array", "max", "nothing"];
    let fields = document.fields(names).iter().flatten().count();
    let singles = names.iter().filter(|name| document.get(name).is_some()).count();
    let nested = document.get_path("array.2.list.1").is_some() as usize;
    let mut editor = DocumentEditor::new(document);
    editor.set("int", 8).remove("symbol").replace("string", "text", "x").set("new", true);
    let edited = editor.finish().is_ok();
    std::hint::black_box((fields, singles, nested, edited));
    document.check().is_ok()
}

#[test]
fn no_truncation_is_taken_for_a_document() {
    let whole = every_type().into_bytes();
    assert!(look(&whole));
    for length in 0..whole.len() {
        assert!(!look(&whole[..length]), "cut to {length} bytes");
        assert!(format!("{:?}", Document::new(&whole[..length])).contains("malformed"));
        // Also with a length that fits, so that the cut is met inside.
        let mut cut = whole[..length].to_vec();
        if let Some(place) = cut.first_chunk_mut() {
            *place = i32::try_from(length).unwrap().to_le_bytes();
            look(&cut);
        }
    }
}

#[test]
fn no_corruption_of_a_byte_panics() {
    let whole = every_type().into_bytes();
    let mut refused = 0;
    for at in 0..whole.len() {
        for value in 0..=255 {
            let mut bytes = whole.clone();
            bytes[at] = value;
            refused += usize::from(!look(&bytes));
        }
    }
    assert!(refused > whole.len(), "corruption is mostly found: {refused}");
}

#[test]
fn malformed_values_are_named_with_their_place() {
    for (bytes, message) in [
        (&b""[..], "malformed BSON at byte 0: a document longer or shorter than it says"),
        (b"\x06\0\0\0\0\0", "malformed BSON at byte 4: bytes after the closing zero byte"),
        (b"\x04\0\0\0", "malformed BSON at byte 4: no closing zero byte"),
        (b"\x07\0\0\0\x0aab", "malformed BSON at byte 4: a field name without its zero byte"),
        (b"\x09\0\0\0\x08a\0\x02\0", "malformed BSON at byte 7: a boolean that is neither 0 nor 1"),
        (b"\x0e\0\0\0\x02a\0\x02\0\0\0xx\0", "malformed BSON at byte 11: text without its closing zero byte"),
        (b"\x0c\0\0\0\x02a\0\0\0\0\0\0", "malformed BSON at byte 7: a length too small for its type"),
        (b"\x0e\0\0\0\x02a\0\x02\0\0\0\xff\0\0", "malformed BSON at byte 11: text that is no UTF-8"),
        (b"\x0c\0\0\0\x02a\0\xff\xff\xff\x7f\0", "malformed BSON at byte 7: a value longer than its document"),
        (b"\x08\0\0\0\x42a\0\0", "malformed BSON at byte 7: an unknown type"),
        (b"\x08\0\0\0\x0a\xff\0\0", "malformed BSON at byte 5: a field name that is no UTF-8"),
    ] {
        let result = Document::new(bytes).check().map_err(|error| error.to_string());
        assert_eq!(result, Err(message.to_owned()), "{bytes:?}");
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let deep = (0..5_000).fold(DocumentBuf::new(), |inner, _| DocumentBuf::new().with("d", inner));
    assert!(deep.as_document().check().unwrap_err().to_string().contains("nested too deeply"));
}

#[test]
fn a_zero_character_in_a_name_does_not_cut_the_document() {
    let document = DocumentBuf::new().with("a\0b", 1).with("c", 2);
    assert_eq!(document.as_document().get("a\u{fffd}b"), Some(Value::Int32(1)));
    document.as_document().check().unwrap();
}

#[test]
fn an_editor_without_edits_changes_nothing() {
    let whole = every_type();
    assert_eq!(DocumentEditor::new(whole.as_document()).finish().unwrap().as_bytes(), whole.as_bytes());
}

#[test]
fn edits_keep_order_and_other_bytes() {
    let whole = every_type();
    let mut editor = DocumentEditor::new(whole.as_document());
    editor.set("int", "now text").remove("null").replace("date", "when", "2024").set("added", 1);
    let expected = {
        let mut expected = DocumentBuf::new();
        for element in whole.as_document().elements() {
            match element.unwrap() {
                ("int", _) => expected.append("int", "now text"),
                ("null", _) => &mut expected,
                ("date", _) => expected.append("when", "2024"),
                (name, value) => expected.append(name, value),
            };
        }
        expected.with("added", 1)
    };
    assert_eq!(editor.finish().unwrap().as_bytes(), expected.as_bytes());
}

#[test]
fn edits_see_those_before_them() {
    let document = DocumentBuf::new().with("a", 1).with("b", 2).with("c", 3);
    let edited = |edit: fn(&mut DocumentEditor<'_>)| {
        let mut editor = DocumentEditor::new(document.as_document());
        edit(&mut editor);
        editor.finish().unwrap()
    };
    let built =
        |fields: &[(&str, i32)]| fields.iter().fold(DocumentBuf::new(), |it, (name, value)| it.with(name, value));
    type Case<'a> = (fn(&mut DocumentEditor<'_>), &'a [(&'a str, i32)]);
    let cases: [Case<'_>; 8] = [
        (
            |it| {
                it.replace("a", "x", 9).set("x", 8);
            },
            &[("x", 8), ("b", 2), ("c", 3)],
        ),
        (
            |it| {
                it.replace("a", "x", 9).set("a", 8);
            },
            &[("x", 9), ("b", 2), ("c", 3), ("a", 8)],
        ),
        (
            |it| {
                it.replace("a", "x", 9).remove("x");
            },
            &[("b", 2), ("c", 3)],
        ),
        (
            |it| {
                it.replace("a", "x", 9).remove("a");
            },
            &[("x", 9), ("b", 2), ("c", 3)],
        ),
        (
            |it| {
                it.replace("a", "b", 9);
            },
            &[("b", 9), ("c", 3)],
        ),
        (
            |it| {
                it.set("new", 9).replace("new", "newer", 8);
            },
            &[("a", 1), ("b", 2), ("c", 3), ("newer", 8)],
        ),
        (
            |it| {
                it.remove("b").set("b", 7);
            },
            &[("a", 1), ("b", 7), ("c", 3)],
        ),
        (
            |it| {
                it.replace("missing", "x", 9);
            },
            &[("a", 1), ("b", 2), ("c", 3), ("x", 9)],
        ),
    ];
    for (index, (edit, expected)) in cases.into_iter().enumerate() {
        assert_eq!(edited(edit), built(expected), "case {index}");
    }
    let mut editor = DocumentEditor::new(document.as_document());
    editor.replace("a", "x", 9).remove("b");
    let seen = ["a", "b", "c", "x"].map(|name| editor.get(name));
    assert_eq!(seen, [None, None, Some(Value::Int32(3)), Some(Value::Int32(9))]);
}

#[test]
fn dates_are_read() {
    const MIDNIGHT: i64 = 1_706_659_200_000; // 2024-01-31T00:00:00Z
    const MORNING: i64 = MIDNIGHT + 34_200_000; // 09:30
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("2000-02-29", 951_782_400_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2024-01-31", MIDNIGHT),
        ("2024-01-31T09:30:00Z", MORNING),
        ("2024-01-31t09:30:00z", MORNING),
        ("2024-01-31 09:30Z", MORNING),
        ("2024-01-31T09:30:00", MORNING),
        ("2024-01-31T10:30:00+01:00", MORNING),
        ("2024-01-31T10:30:00+0100", MORNING),
        ("2024-01-31T04:00:00-05:30", MORNING),
        ("2024-01-31T10:30:00+01", MORNING),
        ("2024-01-31T09:30:00.5Z", MORNING + 500),
        ("2024-01-31T09:30:00,250Z", MORNING + 250),
        ("2024-01-31T09:30:00.123456", MORNING + 123),
        ("2024-01-31T09:30:00.999999999Z", MORNING + 999),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
    ] {
        assert_eq!(DateTime::parse_iso8601(text), Ok(DateTime(expected)), "{text}");
    }
}

#[test]
fn what_is_no_date_is_refused() {
    for text in [
        "",
        "2024",
        "2024-01",
        "2024-1-31",
        "20240131",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "2024-01-32",
        "2024-04-31",
        "2023-02-29",
        "1900-02-29",
        "2024-01-31T",
        "2024-01-31T09",
        "2024-01-31T24:00:00Z",
        "2024-01-31T09:60:00Z",
        "2024-01-31T09:30:60Z",
        "2024-01-31T09:59:61Z",
        "2024-01-31T09:30:00.Z",
        "2024-01-31T09:30:00.1234567890Z",
        "2024-01-31T09:30:00+24:00",
        "2024-01-31T09:30:00+01:60",
        "2024-01-31T09:30:00+1",
        "2024-01-31T09:30:00ZZ",
        "2024-01-31T09:30:00 Z",
        " 2024-01-31",
        "2024-01-31Z",
        "yesterday",
        "2024-01-3é",
        "+024-01-31",
        "２０２４-01-31",
        "2024-01-31T09:30:00+01:",
    ] {
        assert_eq!(DateTime::parse_iso8601(text), Err(InvalidDateTime), "{text}");
    }
}

#[test]
fn dates_print_as_they_are_read() {
    for milliseconds in (-62_167_219_200_000..253_402_300_799_999).step_by(86_413_777_123) {
        let date = DateTime(milliseconds);
        assert_eq!(DateTime::parse_iso8601(&date.to_string()), Ok(date));
    }
    assert_eq!(DateTime(1_709_164_800_250).to_string(), "2024-02-29T00:00:00.250Z");
    // Beyond what can be read, but nothing breaks.
    assert!(!DateTime(i64::MIN).to_string().is_empty());
}
