//! What the errors of a MongoDB server mean for a write: a table by code, with the names of the server's own list.
//!
//! Three things can follow. What may pass is written again. What one change is to blame for goes to the dead letter with it. All
//! else stops the pipeline, since every change would meet it. `docs/errors/README.md` shows the table; a test holds the two
//! together.

use bson::{Bson, Document};
use mongodb::error::{
    Error, ErrorKind, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
    WriteFailure,
};

use crate::fault_table::Meaning;

/// What follows from an error of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may pass: the same is written again. A transaction is begun anew.
    Transient,
    /// One change is to blame and will never be taken.
    Change {
        /// Its place in the command; none where the server does not tell: then the changes are written one at a time.
        index: Option<usize>,
    },
    /// Every change would meet it.
    Pipeline,
}

/// An error code of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The number.
    pub(crate) code: i32,
    /// The name in the server's list; for the numbers that have none there, what the server calls them.
    pub(crate) name: &'static str,
    /// What follows.
    pub(crate) meaning: Meaning,
    /// Why, in few words.
    pub(crate) why: &'static str,
}

macro_rules! rows {
    ($($meaning:ident { $($code:literal $name:ident $why:literal,)+ })+) => {
        /// The table, by what follows.
        pub(crate) const WRITES: &[Row] =
            &[$($(Row { code: $code, name: stringify!($name), meaning: Meaning::$meaning, why: $why },)+)+];
    };
}

rows! {
    Transient {
        6 HostUnreachable "network",
        7 HostNotFound "network",
        24 LockTimeout "a lock is held too long",
        46 LockBusy "a lock is held",
        48 NamespaceExists "two writes made the collection at the same moment",
        50 MaxTimeMSExpired "took too long",
        63 StaleShardVersion "sharding: the routing table is old",
        64 WriteConcernTimeout "written, but not yet on as many members as asked for",
        75 WriteConcernLegacyOK "written, replication not known",
        89 NetworkTimeout "network",
        91 ShutdownInProgress "the server shuts down",
        109 ConfigurationInProgress "the replica set is being configured",
        112 WriteConflict "another write was quicker",
        117 ConflictingOperationInProgress "an index build, a migration or the like",
        133 FailedToSatisfyReadPreference "no member fits at the moment",
        134 ReadConcernMajorityNotAvailableYet "the member has just started",
        150 StaleEpoch "sharding: the routing table is old",
        189 PrimarySteppedDown "election",
        202 NetworkInterfaceExceededTimeLimit "network within the cluster",
        215 DatabaseDropPending "the database is being dropped",
        216 ElectionInProgress "election",
        225 TransactionTooOld "the session has begun a newer transaction",
        239 SnapshotTooOld "the transaction took too long",
        244 TransactionAborted "the transaction is gone",
        246 SnapshotUnavailable "the catalogue changed meanwhile",
        249 StaleDbVersion "sharding: the routing table is old",
        250 StaleChunkHistory "sharding: the routing table is old",
        251 NoSuchTransaction "the transaction is gone, for instance with an election",
        256 TransactionCommitted "it was committed already",
        261 TooManyLogicalSessions "the server has no room for another session",
        262 ExceededTimeLimit "took too long",
        267 PreparedTransactionInProgress "another transaction is being committed",
        272 MigrationConflict "sharding: a chunk is moving",
        276 IndexBuildAborted "an index build was stopped",
        281 TransactionCoordinatorSteppingDown "election",
        282 TransactionCoordinatorReachedAbortDecision "the transaction was aborted",
        290 TransactionExceededLifetimeLimitSeconds "the transaction took too long",
        303 SplitHorizonChange "the replica set is being configured",
        314 ObjectIsBusy "the storage engine is busy",
        355 InterruptedDueToStorageChange "the storage engine is changed",
        358 InternalTransactionNotSupported "the cluster is being upgraded",
        363 RetryableTransactionInProgress "the first try is still under way",
        365 TemporarilyUnavailable "the storage engine's cache is full",
        371 UserWritesBlocked "an operator blocks writes, for instance while clusters are mirrored",
        384 ConnectionError "network",
        391 ReauthenticationRequired "the log-in has expired",
        402 ResourceExhausted "the server is overloaded",
        407 PooledConnectionAcquisitionExceededTimeLimit "the server is overloaded",
        412 UpdatesStillPending "sharding: a time-series collection is changing",
        433 AdmissionQueueOverflow "the server is overloaded",
        449 RateLimitExceeded "the server is overloaded",
        450 PooledConnectionAcquisitionRejected "the server is overloaded",
        453 InterruptedDueToReshardingCriticalSection "sharding: the collection is being resharded",
        462 IngressRequestRateLimitExceeded "the server is overloaded",
        9001 SocketException "network",
        10058 LegacyNotPrimary "election",
        10107 NotWritablePrimary "election",
        11600 InterruptedAtShutdown "the server shuts down",
        11601 Interrupted "an operator ended the operation",
        11602 InterruptedDueToReplStateChange "election",
        13388 StaleConfig "sharding: the routing table is old",
        13435 NotPrimaryNoSecondaryOk "election",
        13436 NotPrimaryOrSecondary "the member is recovering",
        14031 OutOfDiskSpace "the server's disk is full",
        46841 ClientMarkedKilled "an operator ended the connection",
        91331 RetriableRemoteCommandFailure "network within the cluster",
        10045600 InterruptedDueToFCVChange "the cluster is being upgraded",
    }
    Change {
        2 BadValue "a value that the operation does not take",
        9 FailedToParse "the document or its key does not parse as an operation",
        14 TypeMismatch "a value of the wrong type",
        15 Overflow "a number is too big",
        16 InvalidLength "a text or a name is too long",
        22 InvalidBSON "the document is broken or nested too deeply",
        28 PathNotViable "a path leads through a value that is no document",
        34 CannotBackfillArray "an index far beyond the end of an array",
        40 ConflictingUpdateOperators "two parts of an update touch the same path",
        52 DollarPrefixedFieldName "a field name begins with `$`",
        53 InvalidIdField "`_id` is an array, a regular expression or undefined",
        54 NotSingleValueField "a shard key is no single value",
        55 InvalidDBRef "a broken reference",
        56 EmptyFieldName "an empty field name",
        57 DottedFieldName "a field name with a dot",
        61 ShardKeyNotFound "the document lacks the shard key of the target",
        66 ImmutableField "`_id` would change; where only the rest of the key would, a mirror deletes and inserts",
        73 InvalidNamespace "no name of a collection, as a router may have chosen it",
        116 DocTooLargeForCapped "bigger than the capped collection",
        121 DocumentValidationFailure "the validator of the target refuses it",
        171 CannotIndexParallelArrays "two arrays in one index",
        201 CannotBuildIndexKeys "a value that an index of the target cannot hold",
        241 ConversionFailure "a value that cannot be converted",
        257 TransactionTooLarge "too much for one transaction",
        283 WouldChangeOwningShard "a shard key would move the document to another shard",
        357 InvalidBSONType "a type of BSON that the server does not know",
        366 WouldChangeOwningShardDeletedNoDocument "a shard key would move a document that is not there",
        378 NonConformantBSON "a value of BSON that breaks its own rules",
        388 TransactionTooLargeForCache "too much for one transaction",
        10003 CannotGrowDocumentInCappedNamespace "capped collections of old servers do not grow documents",
        10334 BSONObjectTooLarge "bigger than 16 MiB",
        11000 DuplicateKey "another document has the same value in a unique index: a mirror tries the changes in their order, then all in one transaction, before it gives one up; on `_id`: transient, since two upserts met",
        16755 Location16755 "no shape that a geographic index of the target can hold",
        17280 KeyTooLong "a value too long for an index of an old server",
        17419 Location17419 "bigger than 16 MiB after the update",
        17420 Location17420 "bigger than 16 MiB when upserted",
    }
    Pipeline {
        1 InternalError "a defect of the server",
        11 UserNotFound "denied",
        13 Unauthorized "denied",
        18 AuthenticationFailed "denied",
        20 IllegalOperation "a transaction on a standalone server, or a write to what cannot be written to",
        59 CommandNotFound "the server is no MongoDB that tidegate knows",
        72 InvalidOptions "the write concern of the connection string",
        76 NoReplicationEnabled "a write concern that needs a replica set",
        79 UnknownReplWriteConcern "a write concern with a name that the replica set does not know",
        100 UnsatisfiableWriteConcern "a write concern of more members than there are",
        101 OutdatedClient "the server is too new",
        115 CommandNotSupported "not with this kind of deployment",
        123 NotAReplicaSet "transactions need a replica set",
        166 CommandNotSupportedOnView "the target is a view",
        186 ClientMetadataCannotBeMutated "a broken connection proxy",
        238 NotImplemented "not with this server",
        263 OperationNotSupportedInTransaction "transactions with this target are not possible, such as a capped collection",
        322 APIVersionError "the version of the Stable API that the connection string names",
        323 APIStrictError "the Stable API of the connection string does not allow it",
        324 APIDeprecationError "the Stable API of the connection string does not allow it",
        8000 AtlasError "denied",
        50768 NotARetryableWriteCommand "a broken connection proxy",
    }
}

/// The row of a code.
pub(crate) fn row(code: i32) -> Option<&'static Row> {
    WRITES.iter().find(|row| row.code == code)
}

/// What follows from the error of one document: an unknown code is the fault of the document that it is told of.
fn of_document(code: i32, index: Option<usize>, on_id: bool) -> Trouble {
    match row(code).map(|row| row.meaning) {
        _ if code == 11000 && on_id => Trouble::Transient,
        Some(Meaning::Transient) => Trouble::Transient,
        Some(Meaning::Pipeline) => Trouble::Pipeline,
        Some(Meaning::Change) | None => Trouble::Change { index },
    }
}

/// What follows from the error of a whole command. An unknown code is the fault of some change in it: written one at a time, the
/// others get through.
fn of_command(code: i32, message: &str) -> Trouble {
    match row(code) {
        Some(_) => of_document(code, None, is_on_id(message)),
        None => Trouble::Change { index: None },
    }
}

/// What follows when the write is there and its replication is not: an unknown code changes nothing about that.
fn of_write_concern(code: i32) -> Trouble {
    match row(code).map(|row| row.meaning) {
        Some(Meaning::Pipeline) => Trouble::Pipeline,
        _ => Trouble::Transient,
    }
}

fn is_transient_label(label: &str) -> bool {
    [RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT].contains(&label)
}

/// Whether a duplicate is one of `_id`, by the words of the server: `... index: _id_ dup key: { _id: 1 }`, `index: db.c.$_id_` from
/// old servers, and no index at all for a clustered collection.
pub(crate) fn is_on_id(message: &str) -> bool {
    match message.split_once(" index: ") {
        Some((_, rest)) => {
            let name = rest.split_whitespace().next().unwrap_or_default();
            name == "_id_" || name.ends_with(".$_id_")
        }
        None => message.contains("dup key: { _id: "),
    }
}

/// What follows from an error of the driver. Of several documents that failed it tells of the first.
pub(crate) fn write_trouble(error: &Error) -> Trouble {
    let labelled = [RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT];
    if labelled.iter().any(|label| error.contains_label(label)) {
        return Trouble::Transient;
    }
    match error.kind.as_ref() {
        ErrorKind::Command(command) => of_command(command.code, &command.message),
        ErrorKind::Write(WriteFailure::WriteError(error)) => of_document(error.code, None, is_on_id(&error.message)),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => of_write_concern(error.code),
        ErrorKind::InsertMany(many) => {
            let first = many.write_errors.iter().flatten().min_by_key(|error| error.index);
            match (first, &many.write_concern_error) {
                (Some(error), _) => of_document(error.code, Some(error.index), is_on_id(&error.message)),
                (None, Some(error)) => of_write_concern(error.code),
                (None, None) => Trouble::Transient,
            }
        }
        ErrorKind::BulkWrite(bulk) => {
            let first = bulk.write_errors.iter().min_by_key(|(index, _)| **index);
            match (first, bulk.write_concern_errors.first()) {
                (Some((index, error)), _) => of_document(error.code, Some(*index), is_on_id(&error.message)),
                (None, Some(error)) => of_write_concern(error.code),
                // The cause stands behind it.
                (None, None) => std::error::Error::source(error)
                    .and_then(|source| source.downcast_ref::<Error>())
                    .map_or(Trouble::Transient, write_trouble),
            }
        }
        ErrorKind::Io(_)
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::InvalidResponse { .. }
        | ErrorKind::Internal { .. }
        | ErrorKind::Transaction { .. } => Trouble::Transient,
        // It could not even be sent.
        ErrorKind::Bson(_) => Trouble::Change { index: None },
        _ => Trouble::Pipeline,
    }
}

/// One thing that a reply to a write complains of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// What follows.
    pub(crate) trouble: Trouble,
    /// The server's number.
    pub(crate) code: i32,
    /// The server's words, and its name of the code.
    pub(crate) told: String,
    /// The statement it is about, where the server says so.
    pub(crate) index: Option<usize>,
}

/// All that a reply to `insert`, `update`, `delete` or `commitTransaction` complains of, in the order of the documents; none: all is
/// written. The documents without a complaint are written too, unless the write was ordered (then those behind the first
/// complaint are not) or in a transaction (then none is).
pub(crate) fn reply_troubles(reply: &Document) -> Vec<Complaint> {
    let labels = reply.get_array("errorLabels").map(Vec::as_slice).unwrap_or_default();
    let labelled = labels.iter().filter_map(Bson::as_str).any(is_transient_label);
    let mut complaints = Vec::new();
    if number(reply, "ok") == Some(0) {
        let (code, told) = words(reply);
        complaints.push(Complaint { trouble: of_command(code, &told), code, told, index: None });
    }
    for error in reply.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
        let (code, told) = words(error);
        let index = number(error, "index").and_then(|index| usize::try_from(index).ok());
        let on_id = match error.get_document("keyPattern") {
            Ok(pattern) => pattern.len() == 1 && pattern.contains_key("_id"),
            Err(_) => is_on_id(&told),
        };
        complaints.push(Complaint { trouble: of_document(code, index, on_id), code, told, index });
    }
    if let Ok(error) = reply.get_document("writeConcernError") {
        let (code, told) = words(error);
        complaints.push(Complaint { trouble: of_write_concern(code), code, told, index: None });
    }
    if labelled {
        complaints.iter_mut().for_each(|complaint| complaint.trouble = Trouble::Transient);
    }
    complaints
}

fn words(error: &Document) -> (i32, String) {
    let code = number(error, "code").and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
    let message = error.get_str("errmsg").unwrap_or("no message").trim_end_matches('.');
    let name = error.get_str("codeName").ok().or_else(|| row(code).map(|row| row.name));
    (code, name.map_or_else(|| format!("{message} ({code})"), |name| format!("{message} ({code} {name})")))
}

/// Numbers come in any type, `ok` as a double.
fn number(document: &Document, name: &str) -> Option<i64> {
    match document.get(name)? {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
