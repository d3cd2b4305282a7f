//! tidegate moves changes between databases, with the user's own logic in the middle.
//!
//! The arrows between the modules point one way: [`cli`] uses [`host`], which puts [`pipeline`]s together from plugins,
//! sources, sinks and checkpoints, which use the nouns ([`change`], [`batch`], [`position`]).

pub mod admin;
pub mod alert;
pub mod batch;
mod braces;
pub mod change;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod dead_letter;
pub mod doctor;
pub mod error;
mod escape;
#[cfg_attr(not(test), allow(dead_code, reason = "what the tables say in words is for the documentation"))]
mod fault_table;
mod files;
mod firestore;
pub mod format;
#[doc(hidden)]
pub mod fuzzing;
mod google;
pub mod host;
mod mongodb;
#[cfg_attr(not(test), allow(dead_code, reason = "what the tables say in words is for the documentation"))]
mod mongodb_faults;
pub mod pipeline;
pub mod plugin;
pub mod position;
pub mod project;
mod pubsub;
pub mod receipt;
mod redis;
pub mod setup;
pub mod sink;
pub mod source;
pub mod state;
pub mod status;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod verify;
