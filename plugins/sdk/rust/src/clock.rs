//! The time. The operator must grant `clock`, and `plugin.yaml` says `uses: [clock]`.
//!
//! A plugin that reads the clock is not deterministic: after a crash the same change may come out of it otherwise. Often the time of the
//! change ([`Change::wall_time`](crate::Change::wall_time)) is what is wanted.

use crate::bson::DateTime;

/// The time, UTC, by the host's clock. It may step back when that is set. Natively it stands still: see
/// [`testing::Given`](crate::testing::Given).
pub fn now() -> DateTime {
    #[cfg(target_arch = "wasm32")]
    let millis = crate::bindings::granted::tidegate::plugin::clock::now();
    #[cfg(not(target_arch = "wasm32"))]
    let millis = crate::testing::world(|world| world.now());
    DateTime(millis)
}
