//! What the codes of gRPC mean when Pub/Sub answers with them: `docs/errors/README.md` shows the table, and a test holds the two
//! together.

use google_cloud_gax::error::rpc::Code as Grpc;

use crate::{
    fault_table::Meaning,
    google::faults::{self, Row, rows},
};

/// What the codes mean when something is published.
pub(crate) const WRITES: &[Row] = rows! {
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
};

/// What a code means when something is published.
pub(crate) fn meaning(code: Grpc) -> Meaning {
    faults::meaning(WRITES, code)
}
