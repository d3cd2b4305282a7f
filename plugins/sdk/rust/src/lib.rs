//! Write plugins for tidegate in Rust: implement a trait, add one line, build a component.
//!
//! ```
//! use tidegate_plugin::prelude::*;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     minimum: i64,
//! }
//!
//! struct Stock {
//!     minimum: i64,
//! }
//!
//! impl Plugin for Stock {
//!     type Config = Config;
//!
//!     fn manifest() -> Manifest {
//!         Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).description("Refuses low stock.")
//!     }
//!
//!     fn configure(config: Config) -> Result<Self, String> {
//!         Ok(Self { minimum: config.minimum })
//!     }
//! }
//!
//! impl Validator for Stock {
//!     fn validate(&mut self, change: &Change<'_>) -> Verdict {
//!         let Some(document) = change.document() else { return Verdict::Accept };
//!         let mut violations = Violations::new();
//!         violations.required(&document, "quantity", Type::IntegerFrom(self.minimum));
//!         violations.into()
//!     }
//! }
//!
//! tidegate_plugin::export_validator!(Stock);
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown` with `wasm-component-ld` as the linker, and put the `.wasm` file
//! into the plugin directory. The crate depends on `serde` (with `derive`) for its configuration.
//!
//! - **Roles**: [`Validator`], [`Migrator`], [`Router`] and [`Transformer`]; a plugin may have several, each exported by its
//!   macro, with the first one or [`export_plugin!`] exporting what all plugins have: see [`export_plugin!`].
//! - **Documents** are [`bson`], read where they lie; nothing is decoded that is not asked for.
//! - **A batch** crosses into the plugin as one block of bytes. This crate takes it apart and puts the results together;
//!   to look at a whole batch at once, implement the role's `*_batch` method as well.
//! - **Tests** run natively with `cargo test`: see [`testing`].
//! - **Beyond the log and metrics** a plugin has what its operator grants: [`clock`], [`random`], [`environment`], [`http`]. What it
//!   calls of that it imports, and a host refuses it where that is not granted. `plugin.yaml` says it: `uses: [http]`.
//! - **State** lives as long as the instance, and each lane of a pipeline has its own instances: it is a cache, never
//!   a place for what must not be lost.

#![deny(unsafe_code)]
#![warn(missing_docs)]

#[doc(hidden)]
pub mod bindings;

pub mod bson;
pub mod clock;
pub mod environment;
pub mod http;
pub mod log;
pub mod metrics;
pub mod random;
pub mod testing;

mod arena;
mod change;
mod migrator;
mod plugin;
mod router;
mod transformer;
mod validator;
mod violations;

#[doc(hidden)]
pub mod export;

pub use change::{Batch, Change, Namespace, Operation};
pub use migrator::{Migration, Migrator};
pub use plugin::{Manifest, NoConfig, Plugin};
pub use router::{Destination, Router, Routing};
pub use transformer::{Output, Transformation, Transformer};
pub use validator::{Validator, Verdict};
pub use violations::{Field, Rules, Type, Violation, Violations};

/// What a plugin needs, in one line.
pub mod prelude {
    pub use crate::bson::{Array, ArrayBuf, AsValue, DateTime, Document, DocumentBuf, DocumentEditor, ObjectId, Value};
    pub use crate::{
        Batch, Change, Destination, Field, Manifest, Migration, Migrator, Namespace, NoConfig, Operation, Output,
        Plugin, Router, Routing, Rules, Transformation, Transformer, Type, Validator, Verdict, Violation, Violations,
        clock, environment, http, log, metrics, random,
    };
    pub use serde::Deserialize;
}
