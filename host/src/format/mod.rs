//! How documents and changes are written for people and other programs.

pub(crate) mod body;
pub mod check;
mod cloudevents;
mod debezium;
mod decimal;
pub mod elements;
pub(crate) mod from_json;
pub mod json;
pub mod keep;
pub mod lines;
pub mod time;

#[cfg(test)]
mod golden;
