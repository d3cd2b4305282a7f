//! The proof by killing: documents are written while tidegate, its servers and the network between them are killed, frozen,
//! filled up and cut, and then everything written is looked for at the other end.
//!
//! A [`Scenario`] says what is struck and in which order (drawn from a seed that is printed), and where changes go; its
//! [`Report`] counts what was lost ([gaps](Verdict::gaps)), came twice ([doubles](Verdict::doubles)) or went back
//! ([steps back](Verdict::steps_back)). A [`Mirror`] copies many documents while they change, and compares both sides by their bytes. A [`ScaleOut`] spreads
//! plugins over several hosts by way of Pub/Sub.

mod fault;
mod inject;
mod ledger;
mod mirror;
mod report;
mod run;
mod scale_out;
mod scenario;
mod sink;
mod world;
mod writer;

pub use fault::Fault;
pub use ledger::{Arrival, Verdict, Written, judge};
pub use mirror::{Difference, Mirror, MirrorReport};
pub use report::Report;
pub use scale_out::{ScaleOut, ScaleOutReport};
pub use scenario::{Mode, Scenario, Servers, Target};
pub use writer::{Writer, WriterOptions};
