//! The proof by killing, as much of it as fits into every run of the tests: `./dev chaos` does it at length.
//!
//! One program, because each costs a link; nextest runs each test in a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod at_least_once;
