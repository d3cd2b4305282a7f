//! How documents and changes are written for people and other programs.

pub mod check;
mod decimal;
pub mod elements;
pub mod json;
pub mod keep;
pub mod lines;
pub mod time;
