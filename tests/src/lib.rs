//! The harness of the end-to-end tests: real servers, the real `tidegate` binary, and conditions polled with a deadline.
//!
//! Nothing here is a mock. A test asks for the servers all tests share ([`servers::shared`]) and for names of its own on
//! them ([`TestNames`]), or starts servers of its own when it means to kill them; it runs the host with [`Host`] or [`Cli`],
//! and waits with [`eventually`], never with a sleep.
//!
//! Functions panic instead of returning errors, with a message that tells the way out: a test has nothing better to do.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

pub mod chaos;
mod eventually;
pub mod guests;
mod host;
mod metrics;
mod names;
mod process;
mod programs;
mod proxy;
pub mod servers;

pub use eventually::{Outcome, eventually};
pub use host::{Cli, Host, HostOptions, field};
pub use metrics::Metrics;
pub use names::TestNames;
pub use process::Process;
pub use programs::{plugin, program};
pub use proxy::{Network, Proxy};
pub use rustix::process::Signal;
