//! `tidegate alert test CONFIG`

use super::{complain, exit, print};
use crate::{
    alert::Channel,
    config::{self, Files},
    error::{Code, Fault},
};

pub(super) fn test(files: &Files, only: Option<&str>) -> u8 {
    let config = match config::load(files) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return exit::CONFIGURATION;
        }
    };
    let channels = &config.alerts.channels;
    let chosen: Vec<_> = channels.iter().filter(|(name, _)| only.is_none_or(|only| only == name.as_str())).collect();
    if chosen.is_empty() {
        let message = match only {
            Some(only) if !channels.is_empty() => {
                let names: Vec<_> = channels.keys().map(String::as_str).collect();
                format!("{files} has no alert channel `{only}`; it has {}", names.join(", "))
            }
            _ => format!("{files} has no `alerts.channels`: nobody would be told"),
        };
        complain(&Fault::fatal(Code::ConfigValue, message));
        return exit::CONFIGURATION;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            complain(&Fault::fatal(Code::Internal, format!("the runtime cannot be started: {cause}")));
            return exit::FAILED;
        }
    };
    let mut code = 0;
    for (name, channel) in chosen {
        let sent = Channel::new(name, channel)
            .map_err(|fault| fault.message)
            .and_then(|channel| runtime.block_on(channel.test()));
        match sent {
            Ok(()) => print(&format!("{name}: sent\n")),
            Err(cause) => {
                complain(&Fault::fatal(Code::AlertFailed, format!("channel `{name}` did not take the test: {cause}")));
                code = exit::FAILED;
            }
        }
    }
    code
}
