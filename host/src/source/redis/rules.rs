//! How an entry of a stream becomes a change.

use std::sync::Arc;

use bytestring::ByteString;
use redis::Value;

use super::{naming::Naming, place::EntryId};
use crate::{
    change::{Change, Doc, Header, Headers, Namespace, Operation},
    config::{EntryForm, EntryFormat, RedisSourceConfig},
    format::elements::kind,
    source::document::{
        Written, begun, document, element, ended, finished, json_element, key_of, no_key, text, with_id,
    },
};

/// The rules of a source.
pub(super) struct Rules {
    form: EntryForm,
    format: EntryFormat,
    key: Option<String>,
    document: Option<String>,
    json_fields: Vec<String>,
    database: Naming,
    collection: Naming,
}

/// The fields of an entry: names and values in turns, as the server sends them.
pub(super) struct Fields(Vec<Value>);

impl Fields {
    /// None where the server sent something else.
    pub(super) fn new(value: Value) -> Option<Self> {
        match value {
            Value::Array(items)
                if items.len().is_multiple_of(2) && items.iter().all(|item| matches!(item, Value::BulkString(_))) =>
            {
                Some(Self(items))
            }
            _ => None,
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.chunks_exact(2).filter_map(|pair| match pair {
            [Value::BulkString(name), Value::BulkString(value)] => Some((name.as_slice(), value.as_slice())),
            _ => None,
        })
    }

    /// Bytes of all of them.
    pub(super) fn size(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// As JSON, for the dead letter: bytes that are no text stand as `{"$base64": "..."}`.
    pub(super) fn to_json(&self, stream: &[u8], id: EntryId) -> String {
        use base64::Engine as _;
        let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::Value::from(text),
            Err(_) => serde_json::json!({ "$base64": base64::engine::general_purpose::STANDARD.encode(bytes) }),
        };
        let fields: Vec<_> = self.iter().map(|(name, value)| serde_json::json!([text(name), text(value)])).collect();
        serde_json::json!({ "stream": text(stream), "id": id.to_string(), "fields": fields }).to_string()
    }
}

/// The entry that is read, as the rules see it.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) id: EntryId,
    pub(super) fields: &'a Fields,
    /// Where entries of its stream go.
    pub(super) namespace: &'a Arc<Namespace>,
    pub(super) partition: &'a str,
    /// Of the stream.
    pub(super) epoch: u32,
}

impl Entry<'_> {
    /// The id of its change, where it brings none of its own.
    pub(super) fn change_id(&self) -> ByteString {
        let Self { partition, id, .. } = self;
        ByteString::from(match self.epoch {
            0 => format!("{partition}/{id}"),
            epoch => format!("{partition}/{id}@{epoch}"),
        })
    }
}

impl Rules {
    pub(super) fn new(config: &RedisSourceConfig) -> Self {
        Self {
            form: config.entries,
            format: config.format,
            key: config.key.clone(),
            document: config.document.clone(),
            json_fields: config.json_fields.clone(),
            database: naming(&config.database),
            collection: naming(config.collection()),
        }
    }

    /// Where entries of a stream go.
    pub(super) fn namespace(&self, partition: &str) -> Arc<Namespace> {
        Arc::new(Namespace::new(&self.database.fill(partition), &self.collection.fill(partition)))
    }

    /// The change an entry stands for, without its position.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub(super) fn change(&self, entry: Entry<'_>) -> Result<Change, String> {
        match self.form {
            EntryForm::Fields => self.of_fields(entry),
            EntryForm::Tidegate => self.of_tidegate(entry),
        }
    }

    fn of_fields(&self, entry: Entry<'_>) -> Result<Change, String> {
        let mut headers = Headers::default();
        let document = match &self.document {
            None => self.fields_as_document(entry)?,
            Some(field) => self.document_of_field(entry, field, &mut headers)?,
        };
        let document = finished(document)?;
        let key = key_of(&document)?;
        // A later entry with the same key is a newer state of the same document.
        let operation = if self.key.is_some() { Operation::Replace } else { Operation::Insert };
        let id = entry.change_id();
        Ok(change(entry, id, operation, Arc::clone(entry.namespace), Some(key), Some(document), headers))
    }

    /// A document with a field for each field of the entry.
    fn fields_as_document(&self, entry: Entry<'_>) -> Result<Vec<u8>, String> {
        let fields: Vec<(&[u8], &[u8])> = entry.fields.iter().collect();
        let mut document = begun(entry.fields.size() + 16 * fields.len() + 64);
        let ids = fields.iter().filter(|(name, _)| *name == b"_id").count();
        if ids > usize::from(self.key.as_deref() == Some("_id")) {
            return Err(
                "it has a field `_id` that is not its key, or more than one; set `key: _id` of the source".to_owned()
            );
        }
        match &self.key {
            None => element(&mut document, b"_id", Written::Text(entry.id.to_string().as_bytes()))?,
            Some(key) => {
                let (_, value) = fields.iter().find(|(name, _)| *name == key.as_bytes()).ok_or_else(|| no_key(key))?;
                self.field(&mut document, b"_id", key.as_bytes(), value)?;
            }
        }
        for (at, (name, value)) in fields.iter().enumerate() {
            let before = fields.get(..at).unwrap_or_default();
            if *name == b"_id" || before.iter().any(|(earlier, _)| earlier == name) {
                continue;
            }
            let mut same = fields.iter().filter(|(other, _)| other == name).map(|(_, value)| *value).peekable();
            let first = same.next();
            if same.peek().is_none() {
                self.field(&mut document, name, name, value)?;
                continue;
            }
            // Redis takes a field more than once, BSON does not.
            let mut items = begun(64);
            for (index, value) in first.into_iter().chain(same).enumerate() {
                self.field(&mut items, index.to_string().as_bytes(), name, value)?;
            }
            let items = ended(items)?;
            element(&mut document, name, Written::Raw(kind::ARRAY, &items))?;
        }
        Ok(document)
    }

    /// Writes the value of the field `field` under a name.
    fn field(&self, document: &mut Vec<u8>, name: &[u8], field: &[u8], value: &[u8]) -> Result<(), String> {
        if self.json_fields.iter().any(|json| json.as_bytes() == field) {
            let what = format!("its field `{}`", String::from_utf8_lossy(field));
            return json_element(document, name, &what, value);
        }
        let written = match std::str::from_utf8(value) {
            Ok(text) => Written::Text(text.as_bytes()),
            Err(_) => Written::Bytes(value),
        };
        element(document, name, written)
    }

    /// The document that a field holds as a whole; the other fields become headers.
    fn document_of_field(&self, entry: Entry<'_>, field: &str, headers: &mut Headers) -> Result<Vec<u8>, String> {
        let mut found = None;
        for (name, value) in entry.fields.iter() {
            if name == field.as_bytes() {
                if found.replace(value).is_some() {
                    return Err(format!("it has the field `{field}` more than once"));
                }
                continue;
            }
            headers.set(text(name, "the name of a field")?, text(value, "a field that is to be a header")?);
        }
        let value = found.ok_or_else(|| format!("it has no field `{field}`, which is to hold its document"))?;
        let inner = document(self.format, field, value)?;
        with_id(&inner, self.key.as_deref(), &entry.id.to_string())
    }

    /// The change that the stream sink of tidegate wrote.
    fn of_tidegate(&self, entry: Entry<'_>) -> Result<Change, String> {
        let (mut id, mut operation, mut namespace, mut key, mut whole) = (None, None, None, None, None);
        let mut headers = Vec::new();
        for (name, value) in entry.fields.iter() {
            match name {
                b"id" => id = Some(text(value, "its `id`")?),
                b"op" => operation = Some(text(value, "its `op`")?),
                b"ns" => namespace = Some(text(value, "its `ns`")?),
                b"key" => key = Some(document(self.format, "key", value)?),
                b"doc" => whole = Some(document(self.format, "doc", value)?),
                _ => match name.strip_prefix(b"h.") {
                    Some(name) => headers.push(Header {
                        name: text(name, "the name of a header")?,
                        value: text(value, "the value of a header")?,
                    }),
                    None => {
                        return Err(format!(
                            "its field `{}` is none that tidegate writes; for entries of other programs take `entries: fields`",
                            String::from_utf8_lossy(name)
                        ));
                    }
                },
            }
        }
        let missing = |name: &str| {
            format!(
                "it has no field `{name}`, which tidegate writes; for entries of other programs take `entries: fields`"
            )
        };
        let operation = operation.ok_or_else(|| missing("op"))?;
        let operation = Operation::from_name(&operation)
            .ok_or_else(|| format!("its `op` is `{operation}`, which is no operation"))?;
        let namespace = namespace.ok_or_else(|| missing("ns"))?;
        let namespace = Namespace::parse_for(operation, &namespace)
            .ok_or_else(|| format!("its `ns` is `{namespace}`, and not `database.collection`"))?;
        let namespace =
            if *entry.namespace.as_ref() == namespace { Arc::clone(entry.namespace) } else { Arc::new(namespace) };
        if key.is_none() && !operation.is_ddl() {
            key = whole.as_ref().and_then(|document| key_of(document).ok());
        }
        if !operation.is_ddl() && key.is_none() {
            return Err(missing("key"));
        }
        let id = id.ok_or_else(|| missing("id"))?;
        Ok(change(entry, id, operation, namespace, key, whole, headers.into_iter().collect()))
    }
}

/// The configuration was checked: a text that is no template stands for itself.
pub(super) fn naming(template: &str) -> Naming {
    Naming::parse(template).unwrap_or_else(|_| Naming::literal(template))
}

fn change(
    entry: Entry<'_>,
    id: ByteString,
    operation: Operation,
    namespace: Arc<Namespace>,
    key: Option<Doc>,
    document: Option<Doc>,
    headers: Headers,
) -> Change {
    Change {
        id,
        operation,
        namespace,
        key,
        document,
        before: None,
        update: None,
        cluster_time: None,
        wall_time: entry.id.wall_time(),
        headers,
        position: None,
    }
}

#[cfg(test)]
mod tests;
