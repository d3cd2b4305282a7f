//! One warm instance of a plugin: a store of its own, held to its limits.

use std::{sync::Arc, time::Instant};

use wasmtime::{Store, Trap};
use wasmtime_wasi::I32Exit;

use super::{
    Generation, PluginEngine,
    abi::{Call, CallError, Outcome, Roles, call, texts::cut},
    component::{Manifest, Role, call_configure, call_manifest},
    context::{Context, Identity},
    limits::{Limits, Stopwatch},
};
use crate::{
    change::Change,
    error::{Code, Fault},
    telemetry::metrics::FailureKind,
};

/// A call that gave nothing: the instance is of no further use when `retire` says so.
#[derive(Debug)]
pub(crate) struct CallFailure {
    pub(crate) kind: FailureKind,
    pub(crate) reason: String,
}

/// The reason a call was stopped, carried through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Overdue(String);

/// An instance, configured, with what it needs to be called.
pub(super) struct Instance {
    store: Store<Context>,
    roles: Roles,
    buffers: Call,
    limits: Limits,
    plugin: Arc<str>,
}

impl Instance {
    /// Instantiates a generation, without configuring it.
    pub(super) fn start(
        engine: &PluginEngine,
        generation: &Generation,
        identity: Identity,
        limits: Limits,
    ) -> Result<Self, Fault> {
        let mut store = Store::new(&engine.engine, Context::new(identity, &limits, &generation.grants));
        store.limiter(|context| &mut context.guard);
        store.epoch_deadline_callback(|context| match context.data().stopwatch.overdue() {
            Some(reason) => Err(wasmtime::Error::new(Overdue(reason))),
            None => Ok(wasmtime::UpdateDeadline::Continue(1)),
        });
        // Start functions run too: the deadline must be armed before them.
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(limits.output.saturating_mul(2).saturating_add(1 << 20));
        let plugin = Arc::clone(&generation.plugin);
        let started =
            generation.pre.instantiate(&mut store).and_then(|instance| generation.types.load(&mut store, &instance));
        let roles = match started {
            Ok(roles) => roles,
            Err(cause) => {
                let failure = failure_of(&mut store, cause, &limits);
                return Err(Fault::fatal(
                    Code::PluginStart,
                    format!(
                        "plugin `{plugin}` (generation {}) cannot be started: {}",
                        generation.number, failure.reason
                    ),
                ));
            }
        };
        Ok(Self { store, roles, buffers: Call::new(generation.manifest.encoding), limits, plugin })
    }

    /// Instantiates and configures a generation.
    pub(super) fn configured(
        engine: &PluginEngine,
        generation: &Generation,
        identity: Identity,
        limits: Limits,
        config: &str,
    ) -> Result<Self, Fault> {
        let mut instance = Self::start(engine, generation, identity, limits)?;
        instance.arm(1);
        let answer = call_configure(&instance.roles, &mut instance.store, config);
        match answer {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(reason)) => Err(Fault::fatal(
                Code::PluginConfiguration,
                format!("plugin `{}` refuses its configuration: {}", instance.plugin, cut(reason)),
            )),
            Err(cause) => {
                let failure = failure_of(&mut instance.store, cause, &limits);
                Err(Fault::fatal(
                    Code::PluginStart,
                    format!("plugin `{}` failed while it was configured: {}", instance.plugin, failure.reason),
                ))
            }
        }
    }

    /// Asks for the manifest.
    pub(super) fn manifest(&mut self) -> Result<Manifest, Fault> {
        self.arm(1);
        call_manifest(&self.roles, &mut self.store).map_err(|cause| {
            let failure = failure_of(&mut self.store, cause, &self.limits);
            Fault::fatal(
                Code::PluginStart,
                format!("plugin `{}` failed in `manifest`: {}", self.plugin, failure.reason),
            )
        })
    }

    fn arm(&mut self, changes: usize) {
        self.store.data_mut().stopwatch = Stopwatch::start(self.limits.budget(changes));
        self.store.set_epoch_deadline(1);
    }

    /// Calls one role with some changes. After an error the instance must not be used again.
    pub(super) fn call(
        &mut self,
        role: Role,
        changes: &[&Change],
        sinks: &[String],
    ) -> Result<Vec<Outcome>, CallFailure> {
        self.arm(changes.len());
        let result = call(&self.roles, role, &mut self.store, &mut self.buffers, changes, sinks, self.limits.output);
        result.map_err(|error| match error {
            CallError::Trap(cause) => failure_of(&mut self.store, cause, &self.limits),
            CallError::Count { got, expected } => CallFailure {
                kind: FailureKind::Result,
                reason: format!("it returned {got} results for {expected} changes"),
            },
            CallError::Unwritable(cause) => CallFailure {
                kind: FailureKind::Result,
                reason: format!("it wants JSON, and a document cannot be written as that: {cause}"),
            },
            CallError::Weight => CallFailure {
                kind: FailureKind::Output,
                reason: format!(
                    "what it returned comes to more than the {} bytes it may, counted as often as it is referred to",
                    self.limits.output
                ),
            },
            CallError::Output(bytes) => CallFailure {
                kind: FailureKind::Output,
                reason: format!("it returned {bytes} bytes, more than the {} it may", self.limits.output),
            },
        })
    }

    /// Whether so much memory is held that a fresh instance is better: linear memory never shrinks.
    pub(super) fn is_worn(&self) -> bool {
        self.store.data().guard.held() > self.limits.memory / 4 * 3
    }
}

/// Tells apart why a call failed.
fn failure_of(store: &mut Store<Context>, cause: wasmtime::Error, limits: &Limits) -> CallFailure {
    let refused = store.data_mut().guard.take_refused();
    if let Some(Overdue(reason)) = cause.downcast_ref::<Overdue>() {
        return CallFailure { kind: FailureKind::Timeout, reason: format!("it {reason}") };
    }
    if refused {
        return CallFailure {
            kind: FailureKind::Memory,
            reason: format!("it asked for more memory than the {} bytes it may have ({})", limits.memory, root(&cause)),
        };
    }
    if let Some(exit) = cause.downcast_ref::<I32Exit>() {
        let reason = format!("it ended itself, as a program does, with exit code {}", exit.0);
        return CallFailure { kind: FailureKind::Trap, reason };
    }
    let text = root(&cause);
    if let Some(trap) = cause.downcast_ref::<Trap>() {
        let text = trap.to_string();
        let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
        return CallFailure { kind: FailureKind::Trap, reason: format!("it trapped: {text}") };
    }
    // Lifting a result fails without a trap code: bytes outside memory, text that is no UTF-8, an unknown case, or more
    // than the host is ready to allocate for it.
    let kind = if text.contains("fuel") { FailureKind::Output } else { FailureKind::Result };
    match kind {
        FailureKind::Output => {
            CallFailure { kind, reason: format!("it returned more than the {} bytes it may", limits.output) }
        }
        _ => CallFailure { kind: FailureKind::Trap, reason: format!("it failed: {text}") },
    }
}

fn root(cause: &wasmtime::Error) -> String {
    cut(cause.root_cause().to_string())
}

/// Times a call for the metrics.
pub(super) fn timed<T>(run: impl FnOnce() -> T) -> (T, std::time::Duration) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed())
}
