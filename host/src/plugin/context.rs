//! What one instance sees of the world: what it is granted, an empty WASI, its limits, and its voice in the log.
//!
//! WASI is linked so that components of any toolchain start, but it is empty: no arguments, environment, directories or
//! sockets; output goes to the log; the clocks stand still; randomness is seeded alike in every instance. The same input
//! so gives the same output, which is what trying a plugin before it goes live rests on. Grants make the clocks, the randomness and
//! the environment real.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{SeedableRng as _, rngs::StdRng};
use wasmtime::{
    ResourceLimiter,
    component::{HasData, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView,
    cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _},
    clocks::{WasiClocks, WasiClocksCtxView, WasiClocksView as _},
    filesystem::{WasiFilesystem, WasiFilesystemView as _},
    p2::{
        DynPollable, OutputStream, Pollable, StreamResult,
        bindings::{cli, clocks, filesystem::preopens, random, sync},
    },
    random::WasiRandom,
};

use super::{
    grants::Grants,
    limits::{Limits, Stopwatch},
};
use crate::telemetry::metrics::PluginMetrics;

/// Who speaks: for the log and the metrics.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) pipeline: Arc<str>,
    pub(super) plugin: Arc<str>,
    pub(super) generation: u64,
    pub(super) metrics: PluginMetrics,
}

/// The data of one store.
pub(super) struct Context {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) guard: Guard,
    pub(super) stopwatch: Stopwatch,
    pub(super) voice: Arc<Voice>,
    pub(super) grants: Arc<Grants>,
    pub(super) limits: Limits,
    /// Where random numbers come from when they are not granted.
    pub(super) seeded: StdRng,
}

impl Context {
    pub(super) fn new(identity: Identity, limits: &Limits, grants: &Arc<Grants>) -> Self {
        let voice = Arc::new(Voice::new(identity, limits.log_lines));
        let mut wasi = WasiCtx::builder();
        wasi.stdout(LogStream::new(&voice)).stderr(LogStream::new(&voice)).max_random_size(MAX_RANDOM);
        if !grants.real_clock() {
            let clock = StillClock(Duration::from_millis(u64::try_from(grants.now()).unwrap_or(0)));
            wasi.wall_clock(clock).monotonic_clock(clock);
        }
        if !grants.real_random() {
            let seeded = || StdRng::seed_from_u64(SEED);
            wasi.secure_random(seeded()).insecure_random(seeded()).insecure_random_seed(u128::from(SEED));
        }
        for (name, value) in grants.environment() {
            wasi.env(name, value);
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_RESOURCES);
        Self {
            wasi: wasi.build(),
            table,
            guard: Guard { memory: limits.memory, held: 0, refused: false },
            stopwatch: Stopwatch::start(limits.budget(1)),
            voice,
            grants: Arc::clone(grants),
            limits: *limits,
            seeded: StdRng::seed_from_u64(SEED),
        }
    }
}

/// Most random bytes that are given at once.
pub(super) const MAX_RANDOM: u64 = 1 << 20;

/// Things of WASI that an instance holds at once: streams, and what waits for time. They lie in the host's memory.
const MOST_RESOURCES: usize = 1000;

const SEED: u64 = 0x7464_6761_7465_3031;

/// Bytes of an element of a table in the host.
const ELEMENT: usize = size_of::<usize>();

/// Bounds what an instance holds. Memory is counted over all memories and all tables of the component.
pub(super) struct Guard {
    memory: usize,
    held: usize,
    /// Whether a growth was refused since it was last asked.
    refused: bool,
}

impl Guard {
    /// Whether memory was refused since the last call of this function; that is what a later trap is put down to.
    pub(super) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether so many bytes more are granted; not where the component itself says that it wants no more.
    fn grow(&mut self, more: usize, over_its_own: bool) -> bool {
        let total = self.held.saturating_add(more);
        if total > self.memory {
            self.refused = true;
            return false;
        }
        if !over_its_own {
            self.held = total;
        }
        !over_its_own
    }
}

impl ResourceLimiter for Guard {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current), maximum.is_some_and(|maximum| desired > maximum)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current).saturating_mul(ELEMENT);
        Ok(self.grow(more, maximum.is_some_and(|maximum| desired > maximum)))
    }

    fn instances(&self) -> usize {
        100
    }

    fn tables(&self) -> usize {
        100
    }

    fn memories(&self) -> usize {
        20
    }
}

/// The plugin's lines in the host's log, so many a second.
pub(super) struct Voice {
    pub(super) identity: Identity,
    lines: u32,
    window: std::sync::Mutex<(Instant, u32)>,
}

/// Longest log line of a plugin, in bytes; the rest is cut off.
const LONGEST_LINE: usize = 8 << 10;

impl Voice {
    fn new(identity: Identity, lines: u32) -> Self {
        Self { identity, lines, window: std::sync::Mutex::new((Instant::now(), 0)) }
    }

    fn may_speak(&self) -> bool {
        let Ok(mut window) = self.window.lock() else { return false };
        if window.0.elapsed() >= Duration::from_secs(1) {
            *window = (Instant::now(), 0);
        }
        window.1 = window.1.saturating_add(1);
        window.1 <= self.lines
    }

    pub(super) fn say(&self, level: tracing::Level, message: &str) {
        if !self.may_speak() {
            self.identity.metrics.log_lines_dropped.inc();
            return;
        }
        let end = message.floor_char_boundary(LONGEST_LINE);
        let message = message.get(..end).unwrap_or_default();
        let Identity { pipeline, plugin, generation, .. } = &self.identity;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(event = "plugin_log", %pipeline, %plugin, generation, "{message}")
            };
        }
        match level {
            tracing::Level::ERROR => line!(error),
            tracing::Level::WARN => line!(warn),
            tracing::Level::INFO => line!(info),
            tracing::Level::DEBUG => line!(debug),
            tracing::Level::TRACE => line!(trace),
        }
    }
}

/// Standard output or error of a plugin, line by line into the log. However often it is opened, the line that is not ended yet is
/// one.
#[derive(Clone)]
struct LogStream {
    voice: Arc<Voice>,
    line: Arc<std::sync::Mutex<Vec<u8>>>,
}

impl LogStream {
    fn new(voice: &Arc<Voice>) -> Self {
        Self { voice: Arc::clone(voice), line: Arc::default() }
    }

    /// Says what is whole: up to the last line end, or `all`. A line that grows too long is said in parts.
    fn take(&self, bytes: &[u8], all: bool) {
        let Ok(mut line) = self.line.lock() else { return };
        let say = |line: &[u8]| self.voice.say(tracing::Level::INFO, String::from_utf8_lossy(line).trim_end());
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            line.extend_from_slice(head);
            say(&line);
            line.clear();
            rest = tail.get(1..).unwrap_or_default();
        }
        line.extend_from_slice(rest);
        if (all && !line.is_empty()) || line.len() > LONGEST_LINE {
            say(&line);
            line.clear();
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes, false);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.take(&[], true);
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

/// A clock that stands still, at this time since 1970.
#[derive(Clone, Copy)]
struct StillClock(Duration);

impl HostWallClock for StillClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

impl HostMonotonicClock for StillClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        1
    }
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The monotonic clock as plugins see it. Where the clock stands still a sleep would last for ever, and a sleeping guest
/// is out of the epoch's reach, whatever it is granted: what is waited for is ready at once.
struct Sleepless<'a>(WasiClocksCtxView<'a>);

impl clocks::monotonic_clock::Host for Sleepless<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        clocks::monotonic_clock::Host::now(&mut self.0)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        clocks::monotonic_clock::Host::resolution(&mut self.0)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        clocks::monotonic_clock::Host::subscribe_duration(&mut self.0, 0)
    }

    fn subscribe_duration(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        clocks::monotonic_clock::Host::subscribe_duration(&mut self.0, 0)
    }
}

struct HasSleepless;

impl HasData for HasSleepless {
    type Data<'a> = Sleepless<'a>;
}

struct HasIo;

impl HasData for HasIo {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links the WASI interfaces that every component may have. Sockets and HTTP are not among them.
pub(super) fn link_wasi(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    type C = Context;
    sync::io::error::add_to_linker::<C, HasIo>(linker, |c| c.ctx().table)?;
    sync::io::poll::add_to_linker::<C, HasIo>(linker, |c| c.ctx().table)?;
    sync::io::streams::add_to_linker::<C, HasIo>(linker, |c| c.ctx().table)?;
    clocks::wall_clock::add_to_linker::<C, WasiClocks>(linker, C::clocks)?;
    clocks::monotonic_clock::add_to_linker::<C, HasSleepless>(linker, |c| Sleepless(c.clocks()))?;
    preopens::add_to_linker::<C, WasiFilesystem>(linker, C::filesystem)?;
    sync::filesystem::types::add_to_linker::<C, WasiFilesystem>(linker, C::filesystem)?;
    random::random::add_to_linker::<C, WasiRandom>(linker, wasmtime_wasi::random::WasiRandomView::random)?;
    random::insecure::add_to_linker::<C, WasiRandom>(linker, wasmtime_wasi::random::WasiRandomView::random)?;
    random::insecure_seed::add_to_linker::<C, WasiRandom>(linker, wasmtime_wasi::random::WasiRandomView::random)?;
    cli::exit::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::environment::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::stdin::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::stdout::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::stderr::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::terminal_input::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::terminal_output::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::terminal_stdin::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::terminal_stdout::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    cli::terminal_stderr::add_to_linker::<C, WasiCli>(linker, C::cli)?;
    Ok(())
}
