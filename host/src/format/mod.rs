//! How documents and changes are written for people and other programs.

mod decimal;
pub mod elements;
pub mod json;
pub mod lines;
pub mod time;
