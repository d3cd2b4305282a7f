//! Lines in the host's log, with the plugin's name and generation. Natively they go to the standard error.
//!
//! ```
//! use tidegate_plugin::log;
//! log::info!("taken into use with {} kinds of documents", 2);
//! ```

use std::fmt;

pub use crate::{__debug as debug, __error as error, __info as info, __trace as trace, __warn as warn};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find an error.
    Debug,
    /// What an operator likes to know.
    Info,
    /// What an operator should look at.
    Warn,
    /// What went wrong.
    Error,
}

/// Writes a line; the macros of this module are the usual way. Lines beyond the plugin's limit per second are dropped
/// and counted by the host.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    // Fixed text needs no buffer.
    match message.as_str() {
        Some(text) => send(level, text),
        None => send(level, &message.to_string()),
    }
}

#[cfg(target_arch = "wasm32")]
fn send(level: Level, message: &str) {
    use crate::bindings::base::tidegate::plugin::log::{self, Level as Raw};
    let level = match level {
        Level::Trace => Raw::Trace,
        Level::Debug => Raw::Debug,
        Level::Info => Raw::Info,
        Level::Warn => Raw::Warn,
        Level::Error => Raw::Error,
    };
    log::log(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
fn send(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// A line of level trace.
#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Trace, ::std::format_args!($($text)*)) };
}

/// A line of level debug.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Debug, ::std::format_args!($($text)*)) };
}

/// A line of level info.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Info, ::std::format_args!($($text)*)) };
}

/// A line of level warn.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Warn, ::std::format_args!($($text)*)) };
}

/// A line of level error.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Error, ::std::format_args!($($text)*)) };
}
