//! Documents of updates, which the stream does not bring by itself: looked up, or images that the server keeps.

mod catch_up;
mod images;
mod lookup;

pub(super) use self::{catch_up::CatchUp, images::Images, lookup::attach};
