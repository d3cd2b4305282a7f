//! Asks a running host by its admin server.

use std::net::SocketAddr;

use serde_json::Value;

use super::{complain, exit};
use crate::{
    admin::ACTION_HEADER,
    config::{self, Config, Files},
    error::{Code, Fault, chain},
};

/// A host that is asked, found by its configuration.
pub(super) struct Asked {
    pub(super) config: Config,
    address: SocketAddr,
}

/// Reads the configuration, and lets `ask` ask the host it is of. Returns the exit code.
pub(super) fn with_host(
    files: impl Into<Files>,
    admin: Option<SocketAddr>,
    ask: impl AsyncFnOnce(&Asked) -> Result<(), Fault>,
) -> u8 {
    let config = match config::load(&files.into()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return exit::CONFIGURATION;
        }
    };
    let address = admin.unwrap_or(config.admin.listen);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("error: the runtime cannot be started: {cause}");
            return exit::FAILED;
        }
    };
    match runtime.block_on(ask(&Asked { config, address })) {
        Ok(()) => 0,
        Err(fault) => {
            complain(&fault);
            exit::FAILED
        }
    }
}

/// As it stands in a URL. The address to listen at may be the one that means all of them.
pub(super) fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) if address.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

impl Asked {
    /// Asks for a page.
    pub(super) async fn get(&self, path: &[&str]) -> Result<Value, Fault> {
        self.send(reqwest::Method::GET, path).await
    }

    /// Asks for something to be done.
    pub(super) async fn post(&self, path: &[&str]) -> Result<Value, Fault> {
        self.send(reqwest::Method::POST, path).await
    }

    async fn send(&self, method: reqwest::Method, path: &[&str]) -> Result<Value, Fault> {
        let (host, port) = (host_of(self.address), self.address.port());
        let unreachable = |cause: String| {
            let message =
                format!("no host answers at {host}:{port}: {cause}; start it, or name its admin address with --admin");
            Fault::fatal(Code::NotRunning, message)
        };
        let mut url = reqwest::Url::parse(&format!("http://{host}:{port}/api/v1/"))
            .map_err(|cause| unreachable(cause.to_string()))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = reqwest::Client::new().request(method, url).header(ACTION_HEADER, "1");
        if let Some(token) = &self.config.admin.token {
            request = request.bearer_auth(token.reveal());
        }
        let answer = request.send().await.map_err(|error| unreachable(chain(&error.without_url())))?;
        let good = answer.status().is_success();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap_or_default()).unwrap_or_default();
        if good {
            return Ok(body);
        }
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let code = text("code").and_then(Code::from_name).unwrap_or(Code::NotRunning);
        Err(Fault::fatal(code, text("error").unwrap_or("the host refuses")))
    }
}
