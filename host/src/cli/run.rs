//! `tidegate run CONFIG`

use std::{path::Path, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use super::{complain, exit, live::Live};
use crate::{
    admin::AdminServer,
    config::{self, Config},
    error::{Code, Fault},
    host::Host,
    pipeline::Stop,
    status::Status,
    telemetry::{
        log::{self, Screen},
        metrics::Metrics,
    },
};

pub(super) fn run(file: &Path, exit_when_idle: Option<Duration>) -> u8 {
    let config = match config::load(file, &|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return exit::CONFIGURATION;
        }
    };
    let screen = match log::init(config.log.level, config.log.format) {
        Ok(screen) => screen,
        Err(fault) => {
            complain(&fault);
            return exit::CONFIGURATION;
        }
    };
    tracing::info!(
        event = "starting",
        version = env!("CARGO_PKG_VERSION"),
        config = %file.display(),
        "tidegate {} starts with {}",
        env!("CARGO_PKG_VERSION"),
        file.display()
    );
    let status = Status::new(Metrics::new());
    let host = match Host::new(&config, &status) {
        Ok(host) => host,
        Err(faults) => {
            for fault in &faults {
                tracing::error!(event = "start_failed", code = fault.code.as_str(), "{}", fault.message);
            }
            return if faults.iter().any(is_configuration) { exit::CONFIGURATION } else { exit::FAILED };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tidegate").build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            tracing::error!(event = "start_failed", "the runtime cannot be started: {cause}");
            return exit::FAILED;
        }
    };
    match runtime.block_on(serve(&config, host, &status, &screen, exit_when_idle)) {
        Ok(()) => {
            tracing::info!(event = "stopped", "tidegate stopped cleanly");
            0
        }
        Err(fault) => {
            tracing::error!(event = "stopped", code = fault.code.as_str(), "tidegate stopped: {}", fault.message);
            exit::FAILED
        }
    }
}

/// Plugins and settings that cannot be used are the operator's to change before the next start.
fn is_configuration(fault: &Fault) -> bool {
    let code = fault.code.as_str();
    code.starts_with("TG01") || code.starts_with("TG02") || matches!(fault.code, Code::MongoConfiguration | Code::RedisConfiguration)
}

async fn serve(
    config: &Config,
    host: Host,
    status: &Status,
    screen: &Screen,
    exit_when_idle: Option<Duration>,
) -> Result<(), Fault> {
    let admin = AdminServer::start(config.admin.listen, status.clone())?;
    let live = screen.is_terminal().then(|| Live::start(screen, status));
    let stop = Stop::default();
    let signals = tokio::spawn(watch_signals(stop.clone(), config.shutdown_timeout.0));
    let ended = host.run(stop, exit_when_idle).await;
    signals.abort();
    if let Some(live) = live {
        live.finish().await;
    }
    admin.stop().await;
    ended
}

/// The first signal drains, within the time the configuration gives; the second ends at once.
async fn watch_signals(stop: Stop, timeout: Duration) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!(event = "signals_failed", "signals cannot be watched: SIGTERM will not drain");
        return;
    };
    let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
    let shown = humantime::format_duration(timeout);
    tracing::info!(event = "draining", signal = name, "{name}: what is in flight is finished, for at most {shown}");
    stop.drain.cancel();
    let why = tokio::select! {
        () = tokio::time::sleep(timeout) => format!("the drain took longer than {shown}"),
        _ = terminate.recv() => "SIGTERM came again".to_owned(),
        _ = interrupt.recv() => "SIGINT came again".to_owned(),
    };
    tracing::error!(event = "drain_given_up", code = Code::ShutdownTimeout.as_str(), "{why}: what is in flight is given up");
    stop.abort.cancel();
}
