//! Hostile plugins: what each one does costs exactly its guilty changes. The host's memory stays bounded, the pipelines beside it
//! deliver what is theirs, and the reason says what it did.
//!
//! [`beside`] is the rig of most tests; `docs/plugins/limits.md` is the page that tells people what is shown here.

mod beside;
mod cost;
mod files;
mod floods;
mod lifecycle;
mod loops;
mod rate;
mod results;
mod traps;
mod worn;
