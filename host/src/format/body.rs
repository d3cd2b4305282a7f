//! The body of a message: what a sink writes for one delivery, in the configured format.
//!
//! In the formats of documents (plain JSON, Extended JSON, BSON) it is the document alone, so a change without one has no body. In the
//! envelopes (Debezium, CloudEvents) it is the whole change: operation, names, times, the document before and after.
//! `docs/formats.md` has the rules.

use super::{
    cloudevents::{self, CloudEvents},
    debezium::{self, Debezium},
    elements::Malformed,
    json::{Style, write_document},
    time::now_millis,
};
use crate::{
    batch::Delivery,
    change::{Change, Doc, Operation},
    config::DocumentFormat,
};

/// Writes bodies, one after the other into the same buffer.
pub(crate) struct Body {
    form: Form,
    out: Vec<u8>,
}

enum Form {
    Json(Style),
    Bson,
    Debezium(Debezium),
    CloudEvents(CloudEvents),
}

impl Body {
    /// In a format; the pipeline's name is what envelopes say the change is from.
    pub(crate) fn new(format: DocumentFormat, pipeline: &str) -> Self {
        let form = match format {
            DocumentFormat::Json => Form::Json(Style::Plain),
            DocumentFormat::Extjson => Form::Json(Style::Canonical),
            DocumentFormat::ExtjsonRelaxed => Form::Json(Style::Relaxed),
            DocumentFormat::Bson => Form::Bson,
            DocumentFormat::Debezium => Form::Debezium(Debezium::new(pipeline, env!("CARGO_PKG_VERSION"))),
            DocumentFormat::Cloudevents => Form::CloudEvents(CloudEvents::new(pipeline)),
        };
        Self { form, out: Vec::new() }
    }

    /// The name of the body where it is one field among others.
    pub(crate) const fn field(&self) -> &'static str {
        match self.form {
            Form::Json(_) | Form::Bson => "doc",
            Form::Debezium(_) => "value",
            Form::CloudEvents(_) => "event",
        }
    }

    /// Whether the format has a form for changes like this one. For one that it has none for, there is nothing to be written.
    pub(crate) const fn tells(&self, operation: Operation) -> bool {
        match self.form {
            Form::Debezium(_) => !operation.is_ddl(),
            Form::Json(_) | Form::Bson | Form::CloudEvents(_) => true,
        }
    }

    /// The body of a delivery; none where the format is the document alone and the change has none.
    ///
    /// # Errors
    /// When a document cannot be written in the format, with the reason.
    pub(crate) fn of<'a>(&'a mut self, delivery: &Delivery<'a>) -> Result<Option<&'a [u8]>, Malformed> {
        self.out.clear();
        match &mut self.form {
            Form::Json(_) | Form::Bson => match &delivery.change.document {
                Some(document) => return self.document(document).map(Some),
                None => return Ok(None),
            },
            Form::Debezium(envelope) => envelope.write(&mut self.out, delivery.change, now_millis())?,
            Form::CloudEvents(envelope) => envelope.write(&mut self.out, delivery)?,
        }
        Ok(Some(&self.out))
    }

    /// The key of a change beside the body; none for a change that has none.
    ///
    /// # Errors
    /// As [`Body::of`].
    pub(crate) fn key<'a>(&'a mut self, change: &'a Change) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(key) = &change.key else { return Ok(None) };
        match &mut self.form {
            Form::Debezium(envelope) => {
                self.out.clear();
                envelope.write_key(&mut self.out, key)?;
                Ok(Some(&self.out))
            }
            Form::Json(_) | Form::Bson | Form::CloudEvents(_) => self.document(key).map(Some),
        }
    }

    /// A document in the format, or in that of the documents inside the envelope.
    ///
    /// # Errors
    /// As [`Body::of`].
    pub(crate) fn document<'a>(&'a mut self, document: &'a Doc) -> Result<&'a [u8], Malformed> {
        let style = match self.form {
            Form::Json(style) => style,
            Form::Bson => return Ok(document.as_bytes()),
            Form::Debezium(_) => debezium::STYLE,
            Form::CloudEvents(_) => cloudevents::STYLE,
        };
        self.out.clear();
        write_document(&mut self.out, document.as_bytes(), style)?;
        Ok(&self.out)
    }
}
