//! The guest component, in an engine set up as the host's.

use std::{env, path::PathBuf};

use wasmtime::{
    Config, Engine, OptLevel, Result, Store,
    component::{Component, Linker},
    error::Context as _,
};

wasmtime::component::bindgen!({
    world: "contract",
    path: "contract-guest/wit",
    ownership: Borrowing { duplicate_if_necessary: true },
});

/// Bytes and spans are reused from batch to batch, as a lane of the host would.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) arena: Vec<u8>,
    pub(crate) numbers: Vec<u32>,
    pub(crate) header_numbers: Vec<u32>,
    pub(crate) columns: Columns,
}

/// A list for each field.
#[derive(Default)]
pub(crate) struct Columns {
    pub(crate) operations: Vec<u8>,
    pub(crate) namespaces: Vec<u32>,
    pub(crate) ids: Vec<u32>,
    pub(crate) keys: Vec<u32>,
    pub(crate) documents: Vec<u32>,
    pub(crate) befores: Vec<u32>,
    pub(crate) updates: Vec<u32>,
    pub(crate) cluster_times: Vec<u64>,
    pub(crate) wall_times: Vec<i64>,
    pub(crate) header_ranges: Vec<u32>,
}

impl Columns {
    /// Keeps what is allocated.
    pub(crate) fn clear(&mut self) {
        self.operations.clear();
        self.cluster_times.clear();
        self.wall_times.clear();
        let Self { namespaces, ids, keys, documents, befores, updates, header_ranges, .. } = self;
        for column in [namespaces, ids, keys, documents, befores, updates, header_ranges] {
            column.clear();
        }
    }
}

/// One warm instance.
pub(crate) struct Guest {
    pub(crate) store: Store<()>,
    pub(crate) exports: Contract,
    pub(crate) scratch: Scratch,
}

impl Guest {
    /// Compiles and instantiates the guest.
    ///
    /// # Errors
    /// When it was not built, or is not the guest this benchmark was built for.
    pub(crate) fn load() -> Result<Self> {
        let mut config = Config::new();
        config.concurrency_support(false).epoch_interruption(true).cranelift_opt_level(OptLevel::Speed);
        let engine = Engine::new(&config)?;
        let path = path();
        let bytes = std::fs::read(&path).with_context(|| {
            format!(
                "{}: the guest is not built; build it with `CARGO_TARGET_DIR=target/bench-guests scripts/plugins.sh \
                 tidegate-contract-guest` in the root of the workspace",
                path.display()
            )
        })?;
        let component = Component::new(&engine, bytes)?;
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let exports = Contract::instantiate(&mut store, &component, &Linker::new(&engine))?;
        Ok(Self { store, exports, scratch: Scratch::default() })
    }

    /// A call with nothing in it.
    pub(crate) fn nothing(&mut self) -> Result<()> {
        self.exports.tidegate_contract_bench_nothing().call_nothing(&mut self.store)
    }
}

/// Beside everything else that is built.
fn path() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from);
    target.join("bench-guests/plugins/tidegate-contract-guest.wasm")
}
