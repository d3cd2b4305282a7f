//! What the driver's errors mean: transient or fatal, with a stable code and the way out.
//!
//! | error | fault |
//! |---|---|
//! | 286, 280, 464 in any phase; 260, 50811, 136, 40576, 40585 when opening | `TG0304`, fatal: the position is gone |
//! | 280 because of what the operator's `pipeline` made of `_id` | `TG0307`, fatal |
//! | 40573 | `TG0303`, fatal: a standalone server |
//! | 13, 18, 8000, and refused log-ins | `TG0302`, fatal |
//! | 286, 280, 260, 50811 and what is no token when beginning at the configured `start` | `TG0310`, fatal |
//! | 10334, 7182500 | `TG0305`, fatal: an event beyond 16 MiB, which the stream then asks to be split where the server can |
//! | 47, 51770 from a stream that requires images, and their refusal when opening | `TG0309`, fatal |
//! | no server, network, not primary, recovering, shutting down, interrupted | `TG0301`, transient |
//! | 2, 9, 14, 40324 and others of parsing when opening with a `pipeline`; a bad connection string | `TG0307`, fatal |
//! | the same without a `pipeline`, but with a position: it is no token | `TG0304`, fatal |
//! | a resumable or retryable label, 43 (cursor not found) and all other errors of a running stream | `TG0306`, transient |
//! | any other error when opening | `TG0306`, fatal |
//!
//! A running stream was opened once, so an error nobody knows is more likely to pass than to stay; should it stay,
//! opening the stream again tells.

use mongodb::error::{Error, ErrorKind};

use crate::error::{Code, Fault};

/// What the source was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Opening the stream anew.
    Opening,
    /// Opening the stream behind a token.
    Resuming,
    /// Opening it at the token or time the operator gave.
    Starting,
    /// Reading from it.
    Reading,
    /// Looking up documents.
    LookingUp,
    /// Copying the documents that are there.
    Copying,
}

/// The deployment as it may be named in messages: hosts and what is watched, never credentials.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `host:port`, joined by commas.
    pub(super) hosts: String,
    /// `database shop`, `the whole deployment`.
    pub(super) watched: String,
    /// How long a server is waited for.
    pub(super) patience: std::time::Duration,
    /// A password that must not appear in any message.
    pub(super) password: Option<String>,
    /// Whether the operator gave a `pipeline`, which may be what the server does not like.
    pub(super) filtered: bool,
    /// Whether pre- or post-images of the server are asked for.
    pub(super) images: bool,
}

const LOST: [i32; 3] = [286, 280, 464];
const LOST_WHEN_OPENING: [i32; 5] = [260, 50811, 136, 40576, 40585];
const DENIED: [i32; 3] = [13, 18, 8000];
/// BSONObjectTooLarge, and a single field that is when an event is split.
const TOO_LARGE: [i32; 2] = [10334, 7_182_500];
/// What a stream that requires images says of an event without one: NoMatchingDocument, and a number of its own before 6.0.
const NO_IMAGE: [i32; 2] = [47, 51770];
/// Network, not primary, recovering, shutting down, interrupted, and no majority or no read at that time yet.
const UNREACHABLE: [i32; 18] =
    [6, 7, 63, 89, 91, 133, 134, 150, 189, 234, 262, 9001, 10107, 11600, 11601, 11602, 13435, 13436];
/// BadValue, FailedToParse, TypeMismatch, Overflow, IllegalOperation (a stage a change stream may not have),
/// InvalidPipelineOperator.
const NOT_PARSED: [i32; 6] = [2, 9, 14, 15, 20, 168];

/// The fault for an error of the driver.
pub(super) fn fault(error: &Error, phase: Phase, place: &Place) -> Fault {
    let told = redacted(&told(error), place.password.as_deref());
    let (hosts, watched) = (&place.hosts, &place.watched);
    let code = server_code(error);
    let opening = matches!(phase, Phase::Opening | Phase::Resuming | Phase::Starting);
    if let Some(code) = code {
        if opening && place.images && is_parse_error(code) && told.contains("fullDocument") {
            return Fault::fatal(
                Code::MongoImageMissing,
                format!(
                    "MongoDB at {hosts} has no pre- and post-images, which come with version 6.0: {told}; set `full_document: lookup` and \
                     `before: off` in the source, or upgrade the server"
                ),
            );
        }
        if code == 280 && told.contains("modified by the pipeline") {
            return Fault::fatal(
                Code::MongoConfiguration,
                format!(
                    "the source's `pipeline` removes or changes `_id` of events from MongoDB at {hosts}, which is the position in the change \
                     stream; let every stage keep it as it is (behind `$replaceRoot` and `$redact` too): {told}"
                ),
            );
        }
        if LOST.contains(&code)
            || (opening && LOST_WHEN_OPENING.contains(&code))
            || (matches!(phase, Phase::Resuming | Phase::Starting) && !place.filtered && is_parse_error(code))
        {
            if phase == Phase::Starting {
                return Fault::fatal(
                    Code::MongoStartLost,
                    format!(
                        "the change stream of {watched} at {hosts} cannot begin at the token or time that was given (`start` of the source, or \
                         `tidegate checkpoint set`): {told}; take a time that the oplog still reaches (`rs.printReplicationInfo()` tells), \
                         a token of this deployment, or `start: now`"
                    ),
                );
            }
            return Fault::fatal(
                Code::MongoPositionLost,
                format!(
                    "the change stream of {watched} at {hosts} cannot go on where it stopped: {told}; changes may be missing. \
                     `on_lost_position` of the source lets it copy all again, go on with the oldest change the server has, or from now on; \
                     `tidegate checkpoint set CONFIG PIPELINE --time TIME` goes on once from a time of yours. Bring the targets in line by \
                     other means then. A bigger oplog keeps history longer"
                ),
            );
        }
        if NO_IMAGE.contains(&code) && place.images {
            return Fault::fatal(Code::MongoImageMissing, no_image(&told, hosts));
        }
        if code == 40573 {
            return Fault::fatal(
                Code::MongoStandalone,
                format!(
                    "MongoDB at {hosts} is a standalone server, which has no change streams; start mongod with `--replSet rs0`, \
                     run `rs.initiate()` once in mongosh, and it is a replica set of one member"
                ),
            );
        }
        if DENIED.contains(&code) {
            return Fault::fatal(Code::MongoDenied, denied(&told, place));
        }
        if TOO_LARGE.contains(&code) {
            return Fault::fatal(
                Code::MongoEventTooLarge,
                format!(
                    "an event of {watched} at {hosts} is bigger than the 16 MiB MongoDB can send, and this server cannot split it (6.0.9 and \
                     later can): {told}; add a stage such as {{\"$project\": {{\"updateDescription\": 0}}}} to the source's `pipeline` \
                     to make events smaller"
                ),
            );
        }
        if UNREACHABLE.contains(&code) {
            return Fault::transient(Code::MongoUnreachable, format!("MongoDB at {hosts} cannot answer now: {told}"));
        }
        if opening && place.filtered && is_parse_error(code) {
            return Fault::fatal(
                Code::MongoConfiguration,
                format!("MongoDB at {hosts} does not accept the source's `pipeline`: {told}"),
            );
        }
    }
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => Fault::fatal(Code::MongoDenied, denied(&told, place)),
        ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. } => {
            Fault::fatal(Code::MongoConfiguration, format!("the connection string of MongoDB is not valid: {told}"))
        }
        ErrorKind::IncompatibleServer { .. } => Fault::fatal(
            Code::MongoError,
            format!("MongoDB at {hosts} is too old for tidegate, which needs 4.4 or later: {told}"),
        ),
        ErrorKind::ServerSelection { .. } => Fault::transient(
            Code::MongoUnreachable,
            format!(
                "no MongoDB server at {hosts} could be used within {:?}: {told}; check host, port and replica set name of the \
                 connection string, and that the server runs",
                place.patience
            ),
        ),
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::DnsResolve { .. } => {
            Fault::transient(Code::MongoUnreachable, format!("MongoDB at {hosts} cannot be reached: {told}"))
        }
        _ if opening && !passing(error) => Fault::fatal(
            Code::MongoError,
            format!("the change stream of {watched} at {hosts} cannot be opened: {told}"),
        ),
        _ => Fault::transient(Code::MongoError, format!("MongoDB at {hosts} answered with an error: {told}")),
    }
}

/// Which collection lacks its images, and how it gets them.
fn no_image(told: &str, hosts: &str) -> String {
    let quoted = |after: &str| told.split_once(after)?.1.split_once('"').map(|(name, _)| name);
    let (database, collection) = (quoted("db: \"").unwrap_or("DATABASE"), quoted("coll: \"").unwrap_or("COLLECTION"));
    format!(
        "an event of {database}.{collection} at {hosts} has no image, and the source requires one: {told}; turn them on with \
         `db.getSiblingDB(\"{database}\").runCommand({{collMod: \"{collection}\", changeStreamPreAndPostImages: {{enabled: true}}}})`. \
         Changes from before that, and those older than the images are kept, have none: `when_available` passes them"
    )
}

/// Whether the server says that it does not know the stage that splits large events.
pub(super) fn cannot_split(error: &Error) -> bool {
    told(error).contains("Unrecognized pipeline stage name: '$changeStreamSplitLargeEvent'")
}

/// Whether the server says that the stream has no event of the token it was opened behind, though its time is in the oplog.
pub(super) fn has_no_such_event(error: &Error) -> bool {
    server_code(error) == Some(280) && told(error).contains("resume token was not found")
}

/// Whether the server says that a token can be used only with the stage that splits large events.
pub(super) fn must_split(error: &Error) -> bool {
    let told = told(error);
    told.contains("must include a $changeStreamSplitLargeEvent") || server_code(error) == Some(10334)
}

fn denied(told: &str, place: &Place) -> String {
    format!(
        "MongoDB at {} refuses: {told}; check user, password and `authSource`, and grant the user a role with the actions \
         `find` and `changeStream` on {}: `read` on a database, `readAnyDatabase` for the whole deployment",
        place.hosts, place.watched
    )
}

/// Whether the server or the driver says that trying again may help.
fn passing(error: &Error) -> bool {
    ["ResumableChangeStreamError", "RetryableError", "RetryableWriteError", "TransientTransactionError"]
        .iter()
        .any(|label| error.contains_label(label))
        || server_code(error) == Some(43)
}

/// Whether the server could not make sense of what it was asked. Besides the named ones, each place in its source that
/// parses has a number of its own, of five or seven digits.
fn is_parse_error(code: i32) -> bool {
    NOT_PARSED.contains(&code) || matches!(code, 15_000..=69_999 | 1_000_000..)
}

fn server_code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        _ => std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>()).and_then(server_code),
    }
}

/// The error in words, without the driver's frame around it.
pub(super) fn told(error: &Error) -> String {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => {
            format!("{} ({} {})", command.message.trim_end_matches('.'), command.code, command.code_name)
        }
        ErrorKind::Io(cause) => cause.to_string(),
        ErrorKind::ServerSelection { message, .. } => selection_cause(message),
        ErrorKind::DnsResolve { message, .. } => format!("the host name cannot be resolved: {message}"),
        ErrorKind::InvalidArgument { message, .. } | ErrorKind::Authentication { message, .. } => message.clone(),
        kind => kind.to_string(),
    }
}

/// A failed server selection lists the whole topology; what people need is why the servers are not usable.
fn selection_cause(message: &str) -> String {
    let mut causes: Vec<&str> = message
        .split("Error: Kind: ")
        .skip(1)
        .filter_map(|rest| rest.split(", labels:").next())
        .map(str::trim)
        .collect();
    causes.sort_unstable();
    causes.dedup();
    match causes.is_empty() {
        false => causes.join("; "),
        true => message.trim_start_matches("Server selection timeout: ").to_owned(),
    }
}

/// The driver repeats parts of the connection string in its messages; the password is none of them.
pub(super) fn redacted(message: &str, password: Option<&str>) -> String {
    match password.filter(|password| !password.is_empty()) {
        Some(password) => message.replace(password, "***"),
        None => message.to_owned(),
    }
}

/// The password as it stands in a connection string.
pub(super) fn password_of(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let (user, _) = rest.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{password_of, redacted, selection_cause};

    #[test]
    fn passwords_are_found_and_hidden() {
        assert_eq!(password_of("mongodb://bob:s3c/ret@h:1/db"), Some("s3c/ret".to_owned()));
        assert_eq!(password_of("mongodb://h:1/db"), None);
        assert_eq!(redacted("bad `s3cret`", Some("s3cret")), "bad `***`");
    }

    #[test]
    fn a_selection_is_told_by_its_causes() {
        let message = "Server selection timeout: No available servers. Topology: { Type: Unknown, Servers: [ { Address: h:1, \
                       Type: Unknown, Error: Kind: I/O error: Connection refused (os error 111), labels: {} } ] }";
        assert_eq!(selection_cause(message), "I/O error: Connection refused (os error 111)");
        assert_eq!(selection_cause("Server selection timeout: none"), "none");
    }
}
