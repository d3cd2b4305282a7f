//! `tidegate pipeline pause|resume CONFIG PIPELINE`: asks the running host by its admin server.

use std::{net::SocketAddr, path::Path};

use super::{complain, exit, print};
use crate::{
    admin::ACTION_HEADER,
    config,
    error::{Code, Fault},
};

pub(super) fn pause(file: &Path, pipeline: &str, paused: bool, admin: Option<SocketAddr>) -> u8 {
    let config = match config::load(file, &|name| std::env::var(name).ok()) {
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
    match runtime.block_on(ask(address, pipeline, if paused { "pause" } else { "resume" })) {
        Ok(()) => {
            print(&format!("pipeline {pipeline} {}\n", if paused { "pauses" } else { "goes on" }));
            0
        }
        Err(fault) => {
            complain(&fault);
            exit::FAILED
        }
    }
}

async fn ask(address: SocketAddr, pipeline: &str, action: &str) -> Result<(), Fault> {
    // The address to listen at may be the one that means all of them.
    let ip = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
    let url = format!("http://{ip}:{}/api/v1/pipelines/{pipeline}/{action}", address.port());
    let unreachable = |cause: String| {
        Fault::fatal(
            Code::NotRunning,
            format!(
                "no host answers at {ip}:{}: {cause}; start it, or name its admin address with --admin",
                address.port()
            ),
        )
    };
    let asked = reqwest::Client::new().post(url).header(ACTION_HEADER, "1").send().await;
    let answer = asked.map_err(|error| unreachable(error.without_url().to_string()))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap_or_default()).unwrap_or_default();
    let told = body.get("error").and_then(serde_json::Value::as_str).unwrap_or("the host refuses");
    Err(Fault::fatal(Code::NotRunning, told.to_owned()))
}
