//! Compiling: what takes seconds for a big component is told of, remembered, and never worth more than what runs.

use std::{
    fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use wasmtime::{Engine, component::Component};

/// Components of this size and more take a second and longer to compile: those of JavaScript, Python and Go.
pub const BIG: usize = 2 << 20;
/// How often is told that it still goes on.
const WORD: Duration = Duration::from_secs(5);
/// Remembered compilations; the oldest are forgotten beyond.
const REMEMBERED: usize = 256;

/// Told of compilations that take long.
pub trait CompileObserver: Send + Sync + 'static {
    /// Whether something runs meanwhile that comes first.
    fn runs_beside(&self) -> bool {
        false
    }
    /// A component of so many bytes is compiled.
    fn begins(&self, plugin: &str, bytes: usize);
    /// It still is.
    fn goes_on(&self, plugin: &str, so_far: Duration);
    /// It no longer is, whatever came of it.
    fn ended(&self, plugin: &str, took: Duration);
}

/// For those who do not want to know.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl CompileObserver for Unobserved {
    fn begins(&self, _: &str, _: usize) {}
    fn goes_on(&self, _: &str, _: Duration) {}
    fn ended(&self, _: &str, _: Duration) {}
}

/// Compiles, and knows what was compiled before.
pub(super) struct Compiler {
    observer: Box<dyn CompileObserver>,
    known: Option<Known>,
}

impl Compiler {
    pub(super) fn new(engine: &Engine, cache: Option<&Path>, observer: Box<dyn CompileObserver>) -> Self {
        if observer.runs_beside() {
            compile_beside_what_runs();
        }
        Self { observer, known: cache.map(|cache| Known::new(engine, cache)) }
    }

    /// Whether the cache has what comes of the component, so that compiling it takes no time.
    pub(super) fn knows(&self, digest: &str) -> bool {
        self.known.as_ref().is_some_and(|known| known.file(digest).exists())
    }

    pub(super) fn compile(
        &self,
        engine: &Engine,
        plugin: &str,
        digest: &str,
        bytes: &[u8],
    ) -> wasmtime::Result<Component> {
        if bytes.len() < BIG || self.knows(digest) {
            return Component::new(engine, bytes);
        }
        let started = Instant::now();
        self.observer.begins(plugin, bytes.len());
        let component = std::thread::scope(|scope| {
            let (done, ended) = mpsc::channel::<()>();
            scope.spawn(move || {
                while ended.recv_timeout(WORD) == Err(mpsc::RecvTimeoutError::Timeout) {
                    self.observer.goes_on(plugin, started.elapsed());
                }
            });
            let component = Component::new(engine, bytes);
            drop(done);
            component
        });
        self.observer.ended(plugin, started.elapsed());
        if let (Ok(_), Some(known)) = (&component, &self.known) {
            known.remember(digest);
        }
        component
    }
}

/// What this engine has compiled into the cache, as empty files named by digest and engine: the cache itself does not tell what it holds.
/// Where it has dropped something since, that is compiled again, and nothing worse.
struct Known {
    dir: PathBuf,
    engine: String,
}

impl Known {
    fn new(engine: &Engine, cache: &Path) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { dir: cache.join("known"), engine: format!("{:016x}", hasher.finish()) }
    }

    fn file(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{}", self.engine))
    }

    /// What cannot be written is not known at the next start: no harm is done.
    fn remember(&self, digest: &str) {
        let _ = fs::create_dir_all(&self.dir).and_then(|()| fs::write(self.file(digest), b""));
        let mut files: Vec<_> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let superfluous = files.len().saturating_sub(REMEMBERED);
        for (_, file) in files.into_iter().take(superfluous) {
            let _ = fs::remove_file(file);
        }
    }
}

/// Gives the threads that compile less of a busy machine than those that move changes. Asked for once in a process; where there is a pool
/// already, or the system refuses, compiling works all the same.
fn compile_beside_what_runs() {
    let pool = rayon::ThreadPoolBuilder::new().thread_name(|number| format!("compile-{number}"));
    let _ = pool.start_handler(|_| yield_to_others()).build_global();
}

/// How nice compiling threads are: on a busy machine each gets half of what one gets that moves changes.
const NICE: i32 = 3;

/// The calling thread gets less of a busy machine from now on. (On Linux a process's priority of "this one" is that of the thread.)
pub fn yield_to_others() {
    let _ = rustix::process::setpriority_process(None, NICE);
}
