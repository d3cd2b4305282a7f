//! The plugin host: components are loaded, checked, called within limits, and swapped while the stream runs.
//!
//! [`abi`] alone knows the generated bindings of a version of the contract. [`engine`] holds what all plugins share,
//! [`component`] one loaded version of a plugin (a *generation*), [`instance`] one warm instance of it with its limits,
//! [`stage`] runs changes through an instance and finds the guilty one when a call fails, and [`registry`] knows which
//! generation is the running one; [`watch`] tells it when files changed. A stage has a [`breaker`], and [`when`] says what it sees.

mod abi;
mod breaker;
pub mod component;
mod context;
pub mod engine;
pub(crate) mod expect;
pub mod instance;
pub mod limits;
pub mod registry;
pub mod stage;
pub(crate) mod trial;
mod watch;
pub mod when;

pub use component::Generation;
pub use engine::PluginEngine;
pub use registry::{PluginHost, PluginObserver, StageChain, StageSet};
