//! The plugin host: components are loaded, checked, called within limits, and swapped while the stream runs.
//!
//! [`abi`] alone knows the generated bindings of a version of the contract. [`engine`] holds what all plugins share,
//! [`component`] one loaded version of a plugin (a *generation*), [`instance`] one warm instance of it with its limits,
//! [`stage`] runs changes through an instance and finds the guilty one when a call fails, and [`registry`] knows which
//! generation is the running one; [`watch`] tells it when files changed. A stage has a [`breaker`], and [`when`] says what it sees.
//! [`compile`] keeps what takes seconds off everybody's way; [`grants`] is what a plugin may use besides the log and the metrics.
//!
//! [`swap`] is the way of a new file: [`samples`], then the [`shadow`] with what [`compare`] makes of it, then the [`probation`],
//! judged by the [`tally`]. [`history`] and [`kept`] are what survives a restart, and [`view`] is what is shown of it all.

mod abi;
mod breaker;
pub mod chain;
pub mod compare;
pub mod compile;
pub mod component;
mod context;
pub mod engine;
pub(crate) mod expect;
pub(crate) mod fuzzing;
pub mod grants;
pub mod history;
pub mod instance;
mod kept;
pub mod limits;
mod probation;
pub mod registry;
mod samples;
mod shadow;
pub mod stage;
mod survey;
mod swap;
mod tally;
pub mod trial;
pub mod view;
mod watch;
pub mod when;

pub use chain::{Stage, StageChain, StageSet};
pub use component::Generation;
pub use engine::PluginEngine;
pub use registry::{Memory, PluginControl, PluginHost, PluginObserver};
