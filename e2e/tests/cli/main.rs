//! The command line as its users meet it: what it prints, where, and with which exit code.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod doctor;
mod printed;
mod setup;
mod stdin;
mod verify;
