//! The host's side of what can be granted.

use std::time::{Duration, Instant};

use rand::Rng as _;
use wasmtime::component::{HasSelf, Linker};

use crate::{
    plugin::{
        context::{Context, MAX_RANDOM},
        grants::{Header, HttpFailure, Request, Within},
    },
    telemetry::metrics::HttpOutcome,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "granted",
        imports: { "tidegate:plugin/random": trappable },
    });
}

use bindings::tidegate::plugin::{clock, environment, http, random};

/// Links it for all: a component that imports what it is not granted is refused before it comes to this.
pub(super) fn link(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    clock::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)?;
    random::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)?;
    environment::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)?;
    http::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)
}

impl clock::Host for Context {
    fn now(&mut self) -> i64 {
        self.grants.now()
    }
}

impl random::Host for Context {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if u64::from(count) > MAX_RANDOM {
            return Err(wasmtime::Error::msg(format!(
                "asked for {count} random bytes at once, and may for {MAX_RANDOM}"
            )));
        }
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
        if !self.grants.real_random() {
            self.seeded.fill_bytes(&mut bytes);
            return Ok(bytes);
        }
        let mut rest = bytes.as_mut_slice();
        while !rest.is_empty() {
            let filled = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())?;
            rest = rest.get_mut(filled..).unwrap_or_default();
        }
        Ok(bytes)
    }
}

impl environment::Host for Context {
    fn get(&mut self, name: String) -> Option<String> {
        self.grants.environment().get(&name).cloned()
    }
}

impl http::Host for Context {
    fn send(&mut self, request: http::Request) -> Result<http::Response, http::Failure> {
        let started = Instant::now();
        let request = Request {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|http::Header { name, value }| Header { name, value }).collect(),
            body: request.body,
            timeout: request.timeout.map(|millis| Duration::from_millis(millis.into())),
        };
        // When the call is stopped anyway, what a request would still bring is of no use.
        let time = self.limits.http_time.min(self.stopwatch.left());
        let result = self.grants.send(request, Within { time, size: self.limits.http_size });
        let outcome = match &result {
            Ok(_) => HttpOutcome::Answered,
            Err(HttpFailure::NotGranted(_) | HttpFailure::Invalid(_)) => HttpOutcome::Refused,
            Err(_) => HttpOutcome::Failed,
        };
        self.voice.identity.metrics.http(outcome, started.elapsed());
        result
            .map(|response| http::Response {
                status: response.status,
                headers: response
                    .headers
                    .into_iter()
                    .map(|Header { name, value }| http::Header { name, value })
                    .collect(),
                body: response.body,
            })
            .map_err(|failure| match failure {
                HttpFailure::NotGranted(why) => http::Failure::NotGranted(why),
                HttpFailure::Invalid(why) => http::Failure::Invalid(why),
                HttpFailure::Unreachable(why) => http::Failure::Unreachable(why),
                HttpFailure::TimedOut(why) => http::Failure::TimedOut(why),
                HttpFailure::TooLarge(why) => http::Failure::TooLarge(why),
            })
    }
}
