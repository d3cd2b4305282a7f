//! What all plugins of a process share: the wasmtime engine, the ticker of its epoch, the cache of compiled code and the
//! linker with the host's side of the contract.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc, time::Duration};

use wasmtime::{
    Cache, CacheConfig, Config, Engine, OptLevel, WasmFeatures,
    component::{Component, Linker},
};

use super::{
    abi,
    compile::{BIG, CompileObserver, Compiler, Unobserved},
    component::digest,
    context::Context,
};
use crate::error::{Code, Fault};

/// One turn of the epoch: the precision of time limits.
const TICK: Duration = Duration::from_millis(10);

/// The engine, shared by every plugin of the process.
#[derive(Clone)]
pub struct PluginEngine {
    pub(super) engine: Engine,
    pub(super) linker: Arc<Linker<Context>>,
    compiler: Arc<Compiler>,
    _ticker: Arc<Ticker>,
}

impl PluginEngine {
    /// Makes the engine. Compiled code is cached in `cache_dir`; none: nothing is cached. The observer is told of what takes long.
    ///
    /// # Errors
    /// When the cache folder cannot be used, or the machine is one wasmtime cannot compile for.
    pub fn new(cache_dir: Option<&Path>, observer: impl CompileObserver) -> Result<Self, Fault> {
        Self::with(cache_dir, observer, |config| config)
    }

    /// An engine whose plugins are never stopped, to measure what it costs that they can be.
    ///
    /// # Errors
    /// As [`PluginEngine::new`].
    #[doc(hidden)]
    pub fn without_time_limits() -> Result<Self, Fault> {
        Self::with(None, Unobserved, |config| config.epoch_interruption(false))
    }

    fn with(
        cache_dir: Option<&Path>,
        observer: impl CompileObserver,
        change: impl FnOnce(&mut Config) -> &mut Config,
    ) -> Result<Self, Fault> {
        let fault = |what: &str, cause: wasmtime::Error| {
            Fault::fatal(Code::PluginStart, format!("the plugin engine cannot be started: {what}: {cause:#}"))
        };
        let cache = cache_dir
            .map(|dir| {
                let dir = std::path::absolute(dir)?;
                // What is in it is run as it is: nobody else may write there.
                DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
                let mut config = CacheConfig::new();
                config.with_directory(dir);
                Cache::new(config)
            })
            .transpose()
            .map_err(|cause| fault("the cache of compiled plugins", cause))?;
        let engine = Engine::new(change(&mut engine_config(cache))).map_err(|cause| fault("this machine", cause))?;
        let mut linker = Linker::new(&engine);
        super::context::link_wasi(&mut linker).map_err(|cause| fault("linking WASI", cause))?;
        abi::link(&mut linker).map_err(|cause| fault("linking the host's interfaces", cause))?;
        let ticker = Ticker::start(engine.clone()).map_err(|cause| {
            Fault::fatal(Code::PluginStart, format!("the ticker thread cannot be started: {cause}"))
        })?;
        let compiler = Arc::new(Compiler::new(&engine, cache_dir, Box::new(observer)));
        Ok(Self { engine, linker: Arc::new(linker), compiler, _ticker: Arc::new(ticker) })
    }

    /// Compiles a component, or takes what the cache has of it.
    pub(super) fn compile(&self, plugin: &str, digest: &str, bytes: &[u8]) -> wasmtime::Result<Component> {
        self.compiler.compile(&self.engine, plugin, digest, bytes)
    }

    /// Whether loading the file of a plugin takes seconds: it is big, and not compiled yet.
    pub fn is_slow(&self, file: &Path) -> bool {
        let big = std::fs::metadata(file).is_ok_and(|metadata| metadata.len() >= BIG as u64);
        big && std::fs::read(file).is_ok_and(|bytes| !self.compiler.knows(&digest(&bytes)))
    }
}

/// Features are switched on one by one, so that a new wasmtime brings no proposal nobody asked for.
fn engine_config(cache: Option<Cache>) -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(
            WasmFeatures::MUTABLE_GLOBAL
                | WasmFeatures::SATURATING_FLOAT_TO_INT
                | WasmFeatures::SIGN_EXTENSION
                | WasmFeatures::REFERENCE_TYPES
                | WasmFeatures::MULTI_VALUE
                | WasmFeatures::BULK_MEMORY
                | WasmFeatures::SIMD
                | WasmFeatures::FLOATS
                | WasmFeatures::TAIL_CALL
                | WasmFeatures::EXTENDED_CONST
                | WasmFeatures::MULTI_MEMORY
                | WasmFeatures::COMPONENT_MODEL,
            true,
        )
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Calls cost 160 ns instead of 510 ns without it; the contract has no async functions.
        .concurrency_support(false)
        // JSON nested 3,000 deep exhausts the default of 512 KiB.
        .max_wasm_stack(1 << 20)
        .cache(cache);
    config
}

/// The thread that moves the epoch on. It sleeps and ticks once: after a pause of the whole process it does not catch up,
/// so a call that was asleep with it is not condemned for that.
struct Ticker {
    stop: std::sync::mpsc::Sender<()>,
}

impl Ticker {
    fn start(engine: Engine) -> std::io::Result<Self> {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            while stopped.recv_timeout(TICK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let _ = self.stop.send(());
    }
}
