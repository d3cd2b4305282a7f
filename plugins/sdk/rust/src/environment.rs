//! Variables of the host's environment. The operator must grant `env` with the names, and `plugin.yaml` says `uses: [env]`.

/// The value; none for a variable that is not granted. Natively there are those of [`testing::Given`](crate::testing::Given).
pub fn get(name: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::granted::tidegate::plugin::environment::get(name);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::world(|world| world.variable_of(name))
}
