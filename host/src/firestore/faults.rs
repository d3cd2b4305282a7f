//! What the codes of Firestore's API mean: `docs/errors/README.md` shows the table, and a test holds the two together.

use crate::google::faults::{Row, rows};

/// What the codes mean when a position is read or stored.
pub(crate) const CODES: &[Row] = rows! {
    Transient {
        Unavailable "the service cannot be reached or is being restarted",
        DeadlineExceeded "took longer than the service allows",
        ResourceExhausted "a quota is used up, such as the free one of a day",
        Aborted "another write to the document was under way",
        Internal "the service itself failed",
        Unknown "the service, or something on the way to it, failed without a reason",
        Cancelled "the request was given up on the way",
        DataLoss "the service lost the request",
    }
    Pipeline {
        NotFound "the database, or its project, is not there",
        PermissionDenied "the account may not read or write there, or the service is not enabled in the project",
        Unauthenticated "the credentials are not accepted",
        FailedPrecondition "the database is none of native mode; of a write: the document is not as this host left it, so it is \
                            looked who has the pipeline (TG0612)",
        AlreadyExists "another host made the document at the same moment: it is looked who has the pipeline (TG0611)",
        InvalidArgument "the document is not allowed, such as one of more than 1 MiB",
        Unimplemented "what answers is no Firestore, or does not know the request",
        OutOfRange "no answer to a document",
    }
};
