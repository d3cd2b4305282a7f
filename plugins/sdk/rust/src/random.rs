//! Random bytes. The operator must grant `random`, and `plugin.yaml` says `uses: [random]`.

/// So many bytes from the host's secure source, 1 MiB at most; more is an error of the plugin, which ends the call. Natively they are the
/// same in each test.
pub fn bytes(count: u32) -> Vec<u8> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::granted::tidegate::plugin::random::bytes(count);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::world(|world| world.random(count))
}

/// A number, any one as likely as any other.
pub fn number() -> u64 {
    bytes(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
