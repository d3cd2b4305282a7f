//! HTTP requests. The operator must grant `http` with the hosts, and `plugin.yaml` says `uses: [http]`.
//!
//! ```
//! use tidegate_plugin::{http, testing::Given};
//!
//! Given::new().answer("GET", "https://api.example.com/items/7", http::Response::new(200).body("{}")).install();
//! let response = http::Request::get("https://api.example.com/items/7").header("accept", "application/json").send()?;
//! assert_eq!(response.status, 200);
//! # Ok::<(), http::Error>(())
//! ```
//!
//! A request takes wall time of the call it is made in: ask once for a batch where that can be done
//! ([`Validator::validate_batch`](crate::Validator::validate_batch) and its like), and keep what was answered.

use std::fmt;
use std::time::Duration;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// With `http://` or `https://`.
    pub url: String,
    /// In the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// Empty: none.
    pub body: Vec<u8>,
    /// How long it may take in all; none: what the operator allows.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// A `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A `POST` with a body.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", url) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the whole response, whatever its status. Redirects are not followed.
    ///
    /// # Errors
    /// There is no response: see [`Error`].
    pub fn send(self) -> Result<Response, Error> {
        #[cfg(target_arch = "wasm32")]
        return wasm::send(self);
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::world(|world| world.response(&self))
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status, such as 200.
    pub status: u16,
    /// In the order in which they came.
    pub headers: Vec<(String, String)>,
    /// Its body, whole.
    pub body: Vec<u8>,
}

impl Response {
    /// For tests: a response without headers and body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// For tests: with this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The first header of that name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text, with what is no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The host, or the address it has, is not granted.
    NotGranted(String),
    /// It is no request.
    Invalid(String),
    /// No connection, or it broke.
    Unreachable(String),
    /// It took too long.
    TimedOut(String),
    /// A body is larger than the operator allows.
    TooLarge(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotGranted(why)
        | Self::Invalid(why)
        | Self::Unreachable(why)
        | Self::TimedOut(why)
        | Self::TooLarge(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for Error {}

#[cfg(target_arch = "wasm32")]
mod wasm {
    use super::{Error, Request, Response};
    use crate::bindings::granted::tidegate::plugin::http::{self as raw, Failure};

    pub(super) fn send(request: Request) -> Result<Response, Error> {
        let header = |(name, value)| raw::Header { name, value };
        let request = raw::Request {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(header).collect(),
            body: request.body,
            timeout: request.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
        };
        match raw::send(&request) {
            Ok(response) => Ok(Response {
                status: response.status,
                headers: response.headers.into_iter().map(|header| (header.name, header.value)).collect(),
                body: response.body,
            }),
            Err(Failure::NotGranted(why)) => Err(Error::NotGranted(why)),
            Err(Failure::Invalid(why)) => Err(Error::Invalid(why)),
            Err(Failure::Unreachable(why)) => Err(Error::Unreachable(why)),
            Err(Failure::TimedOut(why)) => Err(Error::TimedOut(why)),
            Err(Failure::TooLarge(why)) => Err(Error::TooLarge(why)),
        }
    }
}
