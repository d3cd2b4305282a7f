//! `tidegate run CONFIG`

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{complain, exit, live::Live};
use crate::{
    admin::AdminServer,
    alert::Alerts,
    config::{self, Config, Files},
    error::{Code, Fault},
    host::{Control, Host},
    pipeline::{Mode, Stop},
    status::Status,
    telemetry::{
        log::{self, Screen},
        metrics::Metrics,
    },
};

pub(super) fn run(files: Files, mode: Mode) -> u8 {
    let config = match config::load(&files) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return exit::CONFIGURATION;
        }
    };
    if mode.standby
        && let Some(fault) = config::no_standby(&config)
    {
        complain(&fault);
        return exit::CONFIGURATION;
    }
    let screen = match log::init(config.log.level, config.log.format, config.log.file.as_ref()) {
        Ok(screen) => screen,
        Err(fault) => {
            complain(&fault);
            return exit::CONFIGURATION;
        }
    };
    tracing::info!(
        event = "starting",
        version = env!("CARGO_PKG_VERSION"),
        config = %files,
        "tidegate {} starts with {files}",
        env!("CARGO_PKG_VERSION")
    );
    let status = Status::new(Metrics::new());
    let host = match Host::new(config.clone(), mode, &status) {
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
    let ended = runtime.block_on(serve(&config, files, host, &status, &screen));
    // A read of standard input that nobody waits for any more cannot be cancelled: the process ends without it.
    runtime.shutdown_background();
    match ended {
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
    code.starts_with("TG01")
        || code.starts_with("TG02")
        || matches!(fault.code, Code::MongoConfiguration | Code::RedisConfiguration)
}

async fn serve(config: &Config, files: Files, host: Host, status: &Status, screen: &Screen) -> Result<(), Fault> {
    let control = host.control();
    let admin =
        AdminServer::start(config.admin.listen, config.admin.token.clone(), status.clone(), Some(control.clone()))?;
    let alerts = Alerts::start(config, status)?;
    let live = screen.is_terminal().then(|| Live::start(screen, status));
    let stop = Stop::default();
    let signals = tokio::spawn(watch_signals(stop.clone(), config.shutdown_timeout.0));
    let reloads = tokio::spawn(watch_reloads(files, control));
    let ended = host.run(stop).await;
    reloads.abort();
    if let Some(alerts) = alerts {
        alerts.finish().await;
    }
    signals.abort();
    if let Some(live) = live {
        live.finish().await;
    }
    admin.stop().await;
    ended
}

/// SIGHUP: the configuration is read again, and pipelines that changed begin again. One that cannot be used changes nothing.
async fn watch_reloads(files: Files, control: Control) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!(
            event = "signals_failed",
            "signals cannot be watched: SIGHUP will not read the configuration again"
        );
        return;
    };
    while hangup.recv().await.is_some() {
        tracing::info!(event = "reloading", config = %files, "SIGHUP: {files} is read again");
        let config = match config::load(&files) {
            Ok(config) => config,
            Err(problems) => {
                tracing::error!(
                    event = "reload_failed",
                    "the configuration cannot be used, the old one goes on: {problems}"
                );
                continue;
            }
        };
        match control.reload(config).await {
            Ok(told) if told.is_empty() => tracing::info!(event = "reloaded", "the configuration is the same"),
            Ok(told) => told.iter().for_each(|told| tracing::info!(event = "reloaded", "{told}")),
            Err(faults) => {
                for fault in faults {
                    tracing::error!(
                        event = "reload_failed",
                        code = fault.code.as_str(),
                        "the configuration cannot be used, the old one goes on: {}",
                        fault.message
                    );
                }
            }
        }
    }
}

/// The first signal drains, within the time the configuration gives; the second ends at once.
async fn watch_signals(stop: Stop, timeout: Duration) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
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
    tracing::error!(
        event = "drain_given_up",
        code = Code::ShutdownTimeout.as_str(),
        "{why}: what is in flight is given up"
    );
    stop.abort.cancel();
}
