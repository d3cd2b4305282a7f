//! What the codes of gRPC mean when Pub/Sub answers with them: `docs/errors/README.md` shows the table, and a test holds the two
//! together.

use google_cloud_gax::error::rpc::Code as Grpc;

use crate::fault_table::Meaning;

/// A code of gRPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The code.
    pub(crate) code: Grpc,
    /// What follows from it.
    pub(crate) meaning: Meaning,
    /// Why, in few words, for the documentation.
    #[cfg_attr(not(test), allow(dead_code, reason = "what the table says in words is for the documentation"))]
    pub(crate) why: &'static str,
}

macro_rules! rows {
    ($($meaning:ident { $($code:ident $why:literal,)+ })+) => {
        /// What the codes mean when something is published.
        pub(crate) const WRITES: &[Row] =
            &[$($(Row { code: Grpc::$code, meaning: Meaning::$meaning, why: $why },)+)+];
    };
}

rows! {
    Transient {
        Unavailable "the service cannot be reached or is being restarted",
        DeadlineExceeded "took longer than `timeout`",
        ResourceExhausted "a quota is used up, or one ordering key gets more than 1 MB/s",
        Aborted "the service gave the request up in favour of another",
        Internal "the service itself failed",
        Unknown "the service, or something on the way to it, failed without a reason",
        Cancelled "the request was given up on the way",
        DataLoss "the service lost the request",
    }
    Change {
        InvalidArgument "the message is not allowed, such as one that does not fit the schema of the topic; of several that were sent \
                         together each is sent alone, so that the others get through",
    }
    Pipeline {
        NotFound "the topic, or its project, is not there",
        PermissionDenied "the account may not publish there, or the service is not enabled in the project",
        Unauthenticated "the credentials are not accepted",
        FailedPrecondition "the topic cannot take messages, such as one whose encryption key is disabled",
        Unimplemented "what answers is no Pub/Sub, or does not know the request",
        OutOfRange "no answer to a message",
        AlreadyExists "no answer to a message",
    }
}

/// What a code means when something is published.
pub(crate) fn meaning(code: Grpc) -> Meaning {
    WRITES.iter().find(|row| row.code == code).map_or(Meaning::Transient, |row| row.meaning)
}
