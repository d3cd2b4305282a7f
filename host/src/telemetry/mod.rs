//! What an operator sees of a running host: figures ([`metrics`]) and lines ([`log`]).

pub mod log;
pub mod metrics;
