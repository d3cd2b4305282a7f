//! The command line as its users meet it: what it prints, where, and with which exit code.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod doctor;
mod config;
mod printed;
mod stdin;
mod verify;
