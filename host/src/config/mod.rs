//! The configuration file: what it may say ([`model`]), and how it is read.

mod model;
mod units;

pub use model::*;
pub use units::{ByteSize, Span};
