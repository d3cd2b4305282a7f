//! Documents and changes as the bytes that stand in Redis.

use redis::Cmd;

use crate::{
    batch::Delivery,
    change::{Change, Doc, Operation},
    config::DocumentFormat,
    format::{
        elements::{Element, Elements, Malformed, kind},
        json::{Style, write_document, write_member},
        lines::{write_head, write_headers},
    },
    sink::template::write_bare,
};

/// Deepest nesting that is written into a hash. MongoDB itself stores no more than 100 levels.
const DEEPEST: u32 = 200;

/// Writes bodies; it keeps its buffers.
pub(super) struct Body {
    format: DocumentFormat,
    body: crate::format::body::Body,
    text: Vec<u8>,
    /// Name of a header field.
    field: String,
}

impl Body {
    pub(super) fn new(format: DocumentFormat, pipeline: &str) -> Self {
        Self { format, body: crate::format::body::Body::new(format, pipeline), text: Vec::new(), field: String::new() }
    }

    /// Whether the format has a form for changes like this one.
    pub(super) fn tells(&self, operation: Operation) -> bool {
        self.body.tells(operation)
    }

    /// Adds a document as one argument.
    pub(super) fn document(&mut self, command: &mut Cmd, document: &Doc) -> Result<(), Malformed> {
        command.arg(self.body.document(document)?);
        Ok(())
    }

    /// Adds the fields of an entry: `id`, `op`, `ns`, `key`, that of the body and the headers.
    ///
    /// # Errors
    /// When a document cannot be written in the configured format, with the reason.
    pub(super) fn entry(&mut self, command: &mut Cmd, delivery: &Delivery<'_>) -> Result<(), String> {
        let change = delivery.change;
        command.arg("id").arg(&*change.id).arg("op").arg(change.operation.as_str());
        command.arg("ns").arg(change.namespace.as_str());
        if let Some(key) = self.body.key(change).map_err(|cause| unwritable("key", cause))? {
            command.arg("key").arg(key);
        }
        let field = self.body.field();
        if let Some(body) = self.body.of(delivery).map_err(|cause| unwritable(field, cause))? {
            command.arg(field).arg(body);
        }
        for (name, value) in delivery.headers() {
            self.field.clear();
            self.field.extend(["h.", name]);
            command.arg(&self.field).arg(value);
        }
        Ok(())
    }

    /// Adds a whole change as one argument: the envelope, or an object with `id`, `op`, `ns`, `key`, `doc` and `headers`.
    ///
    /// # Errors
    /// As [`Body::entry`].
    pub(super) fn message(&mut self, command: &mut Cmd, delivery: &Delivery<'_>) -> Result<(), String> {
        match self.format {
            DocumentFormat::Json => self.message_json(command, delivery, Style::Plain),
            DocumentFormat::Extjson => self.message_json(command, delivery, Style::Canonical),
            DocumentFormat::ExtjsonRelaxed => self.message_json(command, delivery, Style::Relaxed),
            DocumentFormat::Bson => message_bson(command, delivery),
            DocumentFormat::Debezium | DocumentFormat::Cloudevents => {
                let field = self.body.field();
                let body = self.body.of(delivery).map_err(|cause| unwritable(field, cause))?;
                command.arg(body.unwrap_or_default());
                Ok(())
            }
        }
    }

    fn message_json(&mut self, command: &mut Cmd, delivery: &Delivery<'_>, style: Style) -> Result<(), String> {
        let (change, out) = (delivery.change, &mut self.text);
        out.clear();
        write_head(out, change);
        for (name, document) in documents(change) {
            write_member(out, name);
            write_document(out, document.as_bytes(), style).map_err(|cause| unwritable(name, cause))?;
        }
        write_headers(out, delivery.headers());
        out.push(b'}');
        command.arg(&*self.text);
        Ok(())
    }
}

fn message_bson(command: &mut Cmd, delivery: &Delivery<'_>) -> Result<(), String> {
    let change = delivery.change;
    let mut message = bson::rawdoc! {
        "id": &*change.id,
        "op": change.operation.as_str(),
        "ns": change.namespace.as_str(),
    };
    if let Some(key) = &change.key {
        message.append(bson::cstr!("key"), key.as_raw());
    }
    if let Some(document) = &change.document {
        message.append(bson::cstr!("doc"), document.as_raw());
    }
    let mut headers = bson::RawDocumentBuf::new();
    for (name, value) in delivery.headers() {
        let name = bson::raw::CString::try_from(name).map_err(|_| format!("its header `{name}` has a NUL in it"))?;
        headers.append(name, value);
    }
    if !headers.is_empty() {
        message.append(bson::cstr!("headers"), headers);
    }
    command.arg(message.as_bytes());
    Ok(())
}

fn documents(change: &Change) -> impl Iterator<Item = (&'static str, &Doc)> {
    let both = [("key", &change.key), ("doc", &change.document)];
    both.into_iter().filter_map(|(name, document)| Some((name, document.as_ref()?)))
}

fn unwritable(name: &str, cause: Malformed) -> String {
    format!("its `{name}` cannot be written: {cause}")
}

/// Fields of a hash: names and values.
pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The flat fields of a document, in its order: a field of a document within it has the names joined with dots; an array, and a
/// document with nothing in it, is JSON. Values are plain JSON, text without its quotes.
pub(super) fn flat(document: &Doc) -> Result<Fields, Malformed> {
    let mut fields = Vec::new();
    flatten(&mut fields, &[], document.as_bytes(), DEEPEST)?;
    Ok(fields)
}

fn flatten(fields: &mut Fields, prefix: &[u8], document: &[u8], depth: u32) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed("it is nested too deep"))?;
    for element in Elements::of(document)? {
        let element = element?;
        let name = if prefix.is_empty() { element.name.to_vec() } else { [prefix, b".", element.name].concat() };
        if is_filled_document(&element)? {
            flatten(fields, &name, element.value, depth)?;
        } else {
            let mut value = Vec::new();
            write_bare(&mut value, &element)?;
            fields.push((name, value));
        }
    }
    Ok(())
}

fn is_filled_document(element: &Element<'_>) -> Result<bool, Malformed> {
    Ok(element.kind == kind::DOCUMENT && Elements::of(element.value)?.next().is_some())
}
