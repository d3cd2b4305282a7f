//! How documents and changes are written for people and other programs.

pub mod json;
