//! Turns events into lines.

use std::time::SystemTime;

use tracing::{
    Event, Level, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

use crate::config::LogFormat;

use super::{fields::Fields, json, pretty};

/// One line before it has a form.
pub(super) struct Line<'a> {
    pub(super) at: SystemTime,
    pub(super) level: Level,
    pub(super) event: &'a str,
    pub(super) message: &'a str,
    /// Who wrote it, where that is of use: at debug and below, and for libraries.
    pub(super) target: Option<&'a str>,
    /// The rest, outermost span first; each name once.
    pub(super) fields: Vec<(&'a str, &'a serde_json::Value)>,
}

/// What a line of a library has as its `event`, since libraries know nothing of our events.
pub(super) const OF_A_LIBRARY: &str = "library";

/// Writes each event as one line to `write`.
pub(super) struct LineLayer<W> {
    format: LogFormat,
    coloured: bool,
    write: W,
}

impl<W: Fn(&[u8])> LineLayer<W> {
    pub(super) fn new(format: LogFormat, coloured: bool, write: W) -> Self {
        Self { format, coloured, write }
    }
}

impl<S, W> tracing_subscriber::Layer<S> for LineLayer<W>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: Fn(&[u8]) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);

        let spans: Vec<_> = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()).collect();
        let extensions: Vec<_> = spans.iter().map(|span| span.extensions()).collect();
        let mut fields: Vec<(&str, &serde_json::Value)> = Vec::new();
        for (name, value) in
            extensions.iter().filter_map(|held| held.get::<Fields>()).chain([&own]).flat_map(Fields::iter)
        {
            // The bridge from the `log` crate says where a line comes from in fields of its own.
            if matches!(name, "event" | "message") || name.starts_with("log.") {
                continue;
            }
            match fields.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => fields.push((name, value)),
            }
        }

        let metadata = event.metadata();
        let target = own.text("log.target").unwrap_or_else(|| metadata.target());
        let ours = target == "tidegate" || target.starts_with("tidegate::");
        let line = Line {
            at: SystemTime::now(),
            level: *metadata.level(),
            event: own.text("event").unwrap_or(if ours { "message" } else { OF_A_LIBRARY }),
            message: own.text("message").unwrap_or_default(),
            target: (!ours || *metadata.level() >= Level::DEBUG).then_some(target),
            fields,
        };
        let text = match self.format {
            LogFormat::Json => json::line(&line),
            LogFormat::Pretty => pretty::line(&line, self.coloured),
        };
        (self.write)(text.as_bytes());
    }
}
