//! tidegate moves changes between databases, with the user's own logic in the middle.
//!
//! The arrows between the modules point one way: the command line uses [`pipeline`], which uses plugins, sources, sinks
//! and checkpoints, which use the nouns ([`change`], [`batch`], [`position`]).

pub mod admin;
pub mod batch;
pub mod change;
/// One file for each command.
pub mod cli {
    pub mod live;
}
pub mod config;
pub mod error;
pub mod format;
pub mod plugin;
pub mod position;
pub mod sink;
pub mod source;
pub mod status;
pub mod telemetry;
