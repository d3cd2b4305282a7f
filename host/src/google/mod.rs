//! What all that talk to services of Google Cloud share: where a service is, the credentials it takes, and how its errors are told.

pub(crate) mod credentials;
pub(crate) mod faults;
pub(crate) mod names;

use std::sync::Once;

use crate::error::Code;

/// A service of Google Cloud.
#[derive(Debug)]
pub(crate) struct Service {
    /// For messages.
    pub(crate) name: &'static str,
    /// Where it is when nobody says otherwise.
    pub(crate) endpoint: &'static str,
    /// The variable that names an emulator of it.
    pub(crate) emulator: &'static str,
    /// What it is called when there are no credentials, or they are not accepted.
    pub(crate) credentials: Code,
}

impl Service {
    /// Where it is, with its scheme: as configured, the emulator of the environment, or Google's own.
    pub(crate) fn endpoint(&self, configured: Option<&str>) -> String {
        let emulator = std::env::var(self.emulator).ok().filter(|host| !host.is_empty());
        match (configured, emulator) {
            (Some(endpoint), _) => endpoint.trim_end_matches('/').to_owned(),
            (None, Some(host)) => format!("http://{}", host.trim_start_matches("http://").trim_end_matches('/')),
            (None, None) => self.endpoint.to_owned(),
        }
    }
}

/// The crates of Google are built without a provider of TLS of their own and take the process's.
pub(crate) fn provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// Host and port of an endpoint, for messages.
pub(crate) fn place(endpoint: &str) -> &str {
    endpoint.split_once("://").map_or(endpoint, |(_, host)| host)
}

/// What is served without TLS is an emulator, and asks nobody who they are.
pub(crate) fn is_emulator(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
}
