//! Plugins as the host meets them in the world: hostile ones, unsound ones, and ones that are replaced while they run.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asked;
mod breaker;
mod grants;
mod hostile;
mod languages;
mod projects;
mod refused;
mod rig;
mod schema;
mod staged;
mod startup;
mod swap;
mod transformer;
