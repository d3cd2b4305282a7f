//! Google Cloud Pub/Sub.

use std::path::PathBuf;

use serde::Deserialize;

/// `project`, `endpoint` and `credentials_file` of everything that connects to Pub/Sub
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PubsubConnection {
    /// The project of all topics and subscriptions that are named without one.
    pub project: String,
    /// Where the service is; none: the emulator at `PUBSUB_EMULATOR_HOST`, else Google's own.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The key of a service account, a JSON file; none: application default credentials.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
}
