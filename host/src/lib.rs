//! tidegate moves changes between databases, with the user's own logic in the middle.
//!
//! The arrows between the modules point one way: the command line uses [`pipeline`], which uses plugins, sources, sinks
//! and checkpoints, which use the nouns ([`change`], [`batch`], [`position`]).

pub mod batch;
pub mod change;
pub mod checkpoint;
pub mod config;
pub mod dead_letter;
pub mod error;
mod files;
pub mod format;
pub mod position;
mod redis;
pub mod sink;
pub mod source;
pub mod state;
#[cfg(test)]
mod testing;
