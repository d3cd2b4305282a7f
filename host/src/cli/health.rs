//! `tidegate health [CONFIG]`: whether a running host is alive, or ready; for a container, and for scripts.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::Value;

use super::{ask, complain, exit, files::MoreArgs, print};
use crate::{
    config,
    error::{Code, Fault, chain},
};

/// Whoever does not answer in this time is not well.
const PATIENCE: Duration = Duration::from_secs(4);

#[derive(Debug, clap::Args)]
pub(super) struct HealthArguments {
    /// The configuration file (YAML): its `admin.listen` says where the host answers. With --admin none is needed.
    #[arg(required_unless_present = "admin")]
    config: Option<PathBuf>,
    #[command(flatten)]
    more: MoreArgs,
    /// Where the host answers, such as 127.0.0.1:9610.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Ask whether it is ready, not only whether it is alive.
    #[arg(long)]
    ready: bool,
    /// A pipeline that stands by is ready, too.
    #[arg(long, requires = "ready")]
    standby: bool,
}

pub(super) fn health(asked: HealthArguments) -> u8 {
    let address = match asked.admin {
        Some(address) => address,
        None => match config::load(&asked.more.files(asked.config.into_iter().collect())) {
            Ok(config) => config.admin.listen,
            Err(problems) => {
                eprintln!("{problems}");
                return exit::CONFIGURATION;
            }
        },
    };
    let path = match (asked.ready, asked.standby) {
        (false, _) => "health",
        (true, false) => "readiness",
        (true, true) => "readiness?standby",
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            complain(&Fault::fatal(Code::Internal, format!("the runtime cannot be started: {cause}")));
            return exit::FAILED;
        }
    };
    match runtime.block_on(answer(address, path)) {
        Ok((good, body)) => {
            print(&shown(good, asked.ready, &body));
            if good { 0 } else { exit::FAILED }
        }
        Err(cause) => {
            let message = format!("no host answers at {address}: {}", chain(&cause));
            complain(&Fault::fatal(Code::NotRunning, message));
            exit::FAILED
        }
    }
}

async fn answer(address: SocketAddr, path: &str) -> Result<(bool, Value), reqwest::Error> {
    let url = format!("http://{}:{}/{path}", ask::host_of(address), address.port());
    let answer = async {
        let answer = reqwest::Client::new().get(url).timeout(PATIENCE).send().await?;
        let good = answer.status().is_success();
        let body = answer.bytes().await?;
        Ok((good, serde_json::from_slice(&body).unwrap_or_default()))
    };
    answer.await.map_err(reqwest::Error::without_url)
}

/// A word, and a line for each reason.
fn shown(good: bool, ready: bool, body: &Value) -> String {
    let mut text = match (good, ready) {
        (true, false) => "healthy\n",
        (false, false) => "not healthy\n",
        (true, true) => "ready\n",
        (false, true) => "not ready\n",
    }
    .to_owned();
    for reason in ["reasons", "warnings"].iter().filter_map(|list| body[*list].as_array()).flatten() {
        let word = |name: &str| reason[name].as_str();
        let pipeline = word("pipeline").map(|name| format!("{name}: ")).unwrap_or_default();
        let code = word("code").map(|code| format!(" [{code}]")).unwrap_or_default();
        let (part, why) = (word("part").unwrap_or_default(), word("reason").unwrap_or_default());
        let _ = writeln!(text, "  {pipeline}{part}: {why}{code}");
    }
    text
}
