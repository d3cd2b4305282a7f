//! The attributes by which a message says what change it holds: what the sink writes and the source understands.
//!
//! | attribute | |
//! |---|---|
//! | `change_id` | the id of the change; consumers drop doubles by it. A message that has it is a change of tidegate's |
//! | `correlation_id` | the same, under the name that programs log |
//! | `operation` | `insert`, `update`, `replace`, `delete`, `read` ... |
//! | `namespace` | `database.collection` |
//! | `key` | the document key as canonical Extended JSON; left out where it is longer than a value may be, and then the body brings it: as a part of the document, or, of a delete, as the whole body |
//! | `time` | when it happened, milliseconds since 1970 |
//! | `content_type` | of the body, one of those below; none of a message without a body |
//! | any other | a header, under its own name (`schema_version` is one) |

/// The id of the change.
pub(crate) const CHANGE_ID: &str = "change_id";
/// The id of the change, under the name that programs log.
pub(crate) const CORRELATION_ID: &str = "correlation_id";
/// The name of the operation.
pub(crate) const OPERATION: &str = "operation";
/// `database.collection`
pub(crate) const NAMESPACE: &str = "namespace";
/// The document key, as canonical Extended JSON.
pub(crate) const KEY: &str = "key";
/// Milliseconds since 1970.
pub(crate) const TIME: &str = "time";
/// What the body is.
pub(crate) const CONTENT_TYPE: &str = "content_type";

/// Plain JSON.
pub(crate) const JSON: &str = "application/json";
/// MongoDB Extended JSON, canonical or relaxed: no type of BSON is lost.
pub(crate) const EXTENDED_JSON: &str = "application/ejson";
/// BSON.
pub(crate) const BSON: &str = "application/bson";
/// The whole change in the envelope of Debezium.
pub(crate) const DEBEZIUM: &str = "application/json; envelope=debezium";
/// The whole change as a CloudEvent.
pub(crate) const CLOUDEVENTS: &str = "application/cloudevents+json";

/// All names that are no headers.
pub(crate) const NAMES: [&str; 7] = [CHANGE_ID, CORRELATION_ID, OPERATION, NAMESPACE, KEY, TIME, CONTENT_TYPE];
