//! `tidegate pipeline pause|resume CONFIG PIPELINE`: asks the running host by its admin server.

use std::net::SocketAddr;

use super::{ask::with_host, files::ConfigArgs, print};

pub(super) fn pause(config: &ConfigArgs, pipeline: &str, paused: bool, admin: Option<SocketAddr>) -> u8 {
    with_host(config, admin, async |host| {
        host.post(&["pipelines", pipeline, if paused { "pause" } else { "resume" }]).await?;
        print(&format!("pipeline {pipeline} {}\n", if paused { "pauses" } else { "goes on" }));
        Ok(())
    })
}
