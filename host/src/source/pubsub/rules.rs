//! How a message becomes a change.

use std::sync::Arc;

use base64::Engine as _;
use bytestring::ByteString;
use google_cloud_pubsub::model::Message;

use crate::{
    change::{Change, Doc, Header, Headers, Namespace, Operation},
    config::{EntryFormat, MessageForm, MessageFormat, PubsubSourceConfig},
    pubsub::{
        attributes::{self, BSON, CHANGE_ID, CONTENT_TYPE, KEY, NAMES, NAMESPACE, OPERATION, TIME},
        names,
    },
    source::document::{
        Written, begun, document, element, finished, json_element, key_of, no_key, with_id, with_id_of,
    },
};

/// Attributes by which programs say what a body is.
const CONTENT_TYPES: [&str; 5] = [CONTENT_TYPE, "content-type", "Content-Type", "contentType", "datacontenttype"];
/// The header with the ordering key of a message that is no change of tidegate's.
const ORDERING_KEY: &str = "ordering_key";

/// The rules of a source.
pub(super) struct Rules {
    subscription: String,
    /// Its name alone.
    short: String,
    form: MessageForm,
    format: MessageFormat,
    namespace: Arc<Namespace>,
    key: Option<String>,
    body: String,
}

/// The document of a change of tidegate's.
struct Body {
    document: Doc,
    /// It is plain JSON, which keeps no types.
    plain: bool,
}

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Bson,
    /// A JSON object, or else anything.
    Unknown,
    Raw,
}

impl Kind {
    fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match &*essence {
            BSON => Self::Bson,
            attributes::JSON | attributes::EXTENDED_JSON | "text/json" => Self::Json,
            other if other.ends_with("+json") => Self::Json,
            "" => Self::Unknown,
            _ => Self::Raw,
        }
    }
}

impl Rules {
    /// For a subscription, by its full name.
    pub(super) fn new(config: &PubsubSourceConfig, subscription: &str) -> Self {
        Self {
            subscription: subscription.to_owned(),
            short: names::split(subscription).1.to_owned(),
            form: config.messages,
            format: config.format,
            namespace: Arc::new(Namespace::new(&config.database, config.collection())),
            key: config.key.clone(),
            body: config.body.clone(),
        }
    }

    /// The full name of the subscription.
    pub(super) fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The id of a message's change, where it brings none of its own: the same at each delivery.
    pub(super) fn id(&self, message: &Message) -> ByteString {
        ByteString::from(format!("{}/{}", self.short, message.message_id))
    }

    /// The change a message stands for.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub(super) fn change(&self, message: &Message) -> Result<Change, String> {
        let is_ours = [CHANGE_ID, OPERATION, NAMESPACE].iter().all(|name| message.attributes.contains_key(*name));
        match self.form {
            MessageForm::Tidegate => self.of_tidegate(message),
            MessageForm::Auto if is_ours => self.of_tidegate(message),
            MessageForm::Auto | MessageForm::Documents => self.of_document(message),
        }
    }

    /// The change that the Pub/Sub sink of tidegate wrote.
    fn of_tidegate(&self, message: &Message) -> Result<Change, String> {
        let attribute = |name: &str| message.attributes.get(name).map(String::as_str);
        let needed = |name: &str| {
            attribute(name).ok_or_else(|| {
                format!("it has no attribute `{name}`, which tidegate writes; for messages of other programs take `messages: documents`")
            })
        };
        let operation = needed(OPERATION)?;
        let operation = Operation::from_name(operation)
            .ok_or_else(|| format!("its attribute `{OPERATION}` is `{operation}`, which is no operation"))?;
        let namespace = needed(NAMESPACE)?;
        let namespace = Namespace::parse_for(operation, namespace)
            .ok_or_else(|| format!("its attribute `{NAMESPACE}` is `{namespace}`, and not `database.collection`"))?;
        let body = body_of_tidegate(message, attribute(CONTENT_TYPE).unwrap_or_default())?;
        let (key, document) = match (attribute(KEY), body) {
            // Plain JSON does not say what its `_id` was.
            (Some(key), Some(Body { document, plain: true })) => {
                let key = document_of_key(key)?;
                let document = finished(with_id_of(&document, &key)?)?;
                (Some(key), Some(document))
            }
            (Some(key), body) => (Some(document_of_key(key)?), body.map(|body| body.document)),
            (None, body) if operation.is_ddl() => (None, body.map(|body| body.document)),
            // Too long for an attribute: a delete has it as its body.
            (None, Some(body)) if operation == Operation::Delete => (Some(body.document), None),
            (None, Some(body)) => (Some(key_of(&body.document)?), Some(body.document)),
            (None, None) => return Err(format!("it has neither an attribute `{KEY}` nor a body")),
        };
        let mut headers: Vec<Header> = message
            .attributes
            .iter()
            .filter(|(name, _)| !NAMES.contains(&name.as_str()))
            .map(|(name, value)| Header { name: name.as_str().into(), value: value.as_str().into() })
            .collect();
        headers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Change {
            id: needed(CHANGE_ID)?.into(),
            operation,
            namespace: if namespace == *self.namespace { Arc::clone(&self.namespace) } else { Arc::new(namespace) },
            key,
            document,
            before: None,
            update: None,
            cluster_time: None,
            wall_time: attribute(TIME).and_then(|time| time.parse().ok()).or_else(|| published(message)),
            headers: headers.into_iter().collect(),
            position: None,
        })
    }

    /// The document that a message of another program holds, or is held in.
    fn of_document(&self, message: &Message) -> Result<Change, String> {
        let kind = match self.format {
            MessageFormat::Json => Kind::Json,
            MessageFormat::Bson => Kind::Bson,
            MessageFormat::Raw => Kind::Raw,
            MessageFormat::Auto => {
                let said = CONTENT_TYPES.iter().find_map(|name| message.attributes.get(*name));
                said.map_or(Kind::Unknown, |content_type| Kind::of(content_type))
            }
        };
        let body = &message.data;
        let is_object = || body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let whole = match kind {
            Kind::Bson => Some(bson(message)?),
            Kind::Json if self.format == MessageFormat::Json || is_object() => {
                Some(document(EntryFormat::Extjson, "body", body)?)
            }
            Kind::Unknown if is_object() => document(EntryFormat::Extjson, "body", body).ok(),
            Kind::Json | Kind::Unknown | Kind::Raw => None,
        };
        let key = self.key.as_deref();
        let whole = match (whole, key) {
            (Some(whole), _) => with_id(&whole, key, &message.message_id)?,
            (None, Some(key)) => return Err(format!("{}: its body is no document", no_key(key))),
            (None, None) => {
                let mut out = begun(body.len() + 96);
                element(&mut out, b"_id", Written::Text(message.message_id.as_bytes()))?;
                match (kind, std::str::from_utf8(body)) {
                    _ if body.is_empty() => {}
                    (Kind::Json, _) => json_element(&mut out, self.body.as_bytes(), "its body", body)?,
                    (_, Ok(text)) => element(&mut out, self.body.as_bytes(), Written::Text(text.as_bytes()))?,
                    (_, Err(_)) => element(&mut out, self.body.as_bytes(), Written::Bytes(body))?,
                }
                out
            }
        };
        let whole = finished(whole)?;
        Ok(Change {
            id: self.id(message),
            // A later message with the same key is a newer state of the same document.
            operation: if key.is_some() { Operation::Replace } else { Operation::Insert },
            namespace: Arc::clone(&self.namespace),
            key: Some(key_of(&whole)?),
            document: Some(whole),
            before: None,
            update: None,
            cluster_time: None,
            wall_time: published(message),
            headers: attributes_as_headers(message),
            position: None,
        })
    }

    /// As JSON, for the dead letter: a body that is no text stands as `{"$base64": "..."}`.
    pub(super) fn to_json(&self, message: &Message) -> String {
        let body = match std::str::from_utf8(&message.data) {
            Ok(text) => serde_json::Value::from(text),
            Err(_) => {
                serde_json::json!({ "$base64": base64::engine::general_purpose::STANDARD.encode(&message.data) })
            }
        };
        // Sorted, so that a message is the same dead letter each time.
        let attributes: std::collections::BTreeMap<_, _> = message.attributes.iter().collect();
        serde_json::json!({
            "subscription": self.subscription,
            "message_id": message.message_id,
            "ordering_key": message.ordering_key,
            "attributes": attributes,
            "data": body,
        })
        .to_string()
    }
}

/// The document of a change of tidegate's; none of a message without a body.
fn body_of_tidegate(message: &Message, content_type: &str) -> Result<Option<Body>, String> {
    let (plain, document) = match content_type {
        _ if message.data.is_empty() => return Ok(None),
        BSON => (false, bson(message)?),
        attributes::EXTENDED_JSON => (false, document(EntryFormat::Extjson, "body", &message.data)?),
        attributes::JSON => (true, document(EntryFormat::Json, "body", &message.data)?),
        other => {
            return Err(format!(
                "its attribute `{CONTENT_TYPE}` is `{other}`, which is not read as a change; let the sink write `format: bson` or `extjson`"
            ));
        }
    };
    Ok(Some(Body { document, plain }))
}

fn attributes_as_headers(message: &Message) -> Headers {
    let mut headers: Vec<_> = message.attributes.iter().collect();
    headers.sort();
    let mut headers: Headers = headers
        .into_iter()
        .map(|(name, value)| Header { name: name.as_str().into(), value: value.as_str().into() })
        .collect();
    if !message.ordering_key.is_empty() && headers.get(ORDERING_KEY).is_none() {
        headers.set(ORDERING_KEY.into(), message.ordering_key.as_str().into());
    }
    headers
}

fn bson(message: &Message) -> Result<Doc, String> {
    // The bytes as they came: nothing is copied.
    Doc::from_bytes(message.data.clone()).map_err(|cause| format!("its body is no BSON: {cause}"))
}

fn document_of_key(key: &str) -> Result<Doc, String> {
    document(EntryFormat::Extjson, KEY, key.as_bytes())
}

/// When the server took it, in milliseconds since 1970.
fn published(message: &Message) -> Option<i64> {
    let time = message.publish_time.as_ref()?;
    Some(time.seconds().checked_mul(1000)?.saturating_add(i64::from(time.nanos() / 1_000_000)))
}
