//! HTTP requests of plugins: to granted hosts alone, at addresses that were looked at, within limits.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock, mpsc},
    time::{Duration, Instant},
};

use reqwest::{
    Client, Method, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE},
};
use tokio::runtime::Runtime;

use super::address::is_public;
use crate::{
    config::HttpPlace,
    error::{Code, Fault},
};

/// A header of a request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Header {
    pub(in crate::plugin) name: String,
    pub(in crate::plugin) value: String,
}

/// A request.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Request {
    pub(in crate::plugin) method: String,
    pub(in crate::plugin) url: String,
    pub(in crate::plugin) headers: Vec<Header>,
    pub(in crate::plugin) body: Vec<u8>,
    pub(in crate::plugin) timeout: Option<Duration>,
}

/// A response, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Response {
    pub(in crate::plugin) status: u16,
    pub(in crate::plugin) headers: Vec<Header>,
    pub(in crate::plugin) body: Vec<u8>,
}

/// Why there is no response. The texts name hosts and addresses, and neither paths nor queries: those may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum HttpFailure {
    NotGranted(String),
    Invalid(String),
    Unreachable(String),
    TimedOut(String),
    TooLarge(String),
}

/// What one request may use.
#[derive(Clone, Copy, Debug)]
pub(in crate::plugin) struct Within {
    /// In all.
    pub(in crate::plugin) time: Duration,
    /// Bytes of the body of a request, and of a response.
    pub(in crate::plugin) size: usize,
}

/// What a plugin is granted of the web.
#[derive(Debug)]
pub(super) struct Http {
    places: Arc<[HttpPlace]>,
    client: Client,
    runtime: &'static Runtime,
}

/// One thread for the requests of all plugins: a lane waits for the response of its own, and only bytes are moved here.
fn runtime(plugin: &str) -> Result<&'static Runtime, Fault> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let make = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("plugin-http").enable_all().build()
    };
    RUNTIME.get_or_init(make).as_ref().map_err(|cause| client_fault(plugin, cause))
}

fn client_fault(plugin: &str, cause: &dyn std::fmt::Display) -> Fault {
    Fault::fatal(Code::PluginStart, format!("plugin `{plugin}` is granted HTTP, and no client can be made: {cause}"))
}

impl Http {
    pub(super) fn new(plugin: &str, places: &[HttpPlace]) -> Result<Self, Fault> {
        let places: Arc<[HttpPlace]> = places.into();
        let client = Client::builder()
            // What is granted is a host; what it or a proxy leads to is another.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Looked { places: Arc::clone(&places) }))
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|cause| client_fault(plugin, &cause))?;
        Ok(Self { places, client, runtime: runtime(plugin)? })
    }

    pub(super) fn send(&self, request: Request, within: Within) -> Result<Response, HttpFailure> {
        let started = Instant::now();
        let time = request.timeout.map_or(within.time, |own| own.min(within.time));
        let timed_out = |host: &str| {
            HttpFailure::TimedOut(format!("{host} did not answer within {}", humantime::format_duration(time)))
        };
        if request.body.len() > within.size {
            let (has, may) = (request.body.len(), within.size);
            return Err(HttpFailure::TooLarge(format!(
                "the body of the request has {has} bytes, more than the {may} it may"
            )));
        }
        let request = self.checked(request)?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let (answer, answered) = mpsc::sync_channel(1);
        let (client, size) = (self.client.clone(), within.size);
        let task = self.runtime.spawn(async move {
            let _ = answer.send(exchange(&client, request, size).await);
        });
        let received = answered.recv_timeout(time.saturating_sub(started.elapsed()));
        // Whatever came of it, nobody waits for it any more.
        task.abort();
        match received {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(timed_out(&host)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(HttpFailure::Unreachable(format!("the request to {host} was given up: the host is ending")))
            }
        }
    }

    /// A request that may be sent.
    fn checked(&self, request: Request) -> Result<reqwest::Request, HttpFailure> {
        let invalid = |what: String| HttpFailure::Invalid(what);
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| invalid(format!("`{}` is no HTTP method", request.method)))?;
        let url = Url::parse(&request.url).map_err(|cause| invalid(format!("the URL is none: {cause}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid(format!("the scheme of the URL is `{}`, not `http` or `https`", url.scheme())));
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(invalid("the URL has no host".to_owned()));
        };
        let usual = url.port().is_none();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let granted = match bare.parse::<IpAddr>() {
            Ok(address) => self.places.iter().any(|place| place.covers_address(address.to_canonical(), port, usual)),
            Err(_) => self.places.iter().any(|place| place.covers_name(host, port, usual)),
        };
        if !granted {
            let shown = if usual { host.to_owned() } else { format!("{host}:{port}") };
            return Err(HttpFailure::NotGranted(format!("{shown} is not among the hosts that the plugin is granted")));
        }
        let mut headers = HeaderMap::new();
        for Header { name, value } in &request.headers {
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid(format!("`{name}` is no name of a header")))?;
            if [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(&key) {
                return Err(invalid(format!("the header `{name}` is set by the host")));
            }
            let value = HeaderValue::from_str(value)
                .map_err(|_| invalid(format!("the value of the header `{name}` holds what no header may")))?;
            headers.append(key, value);
        }
        let mut built = reqwest::Request::new(method, url);
        *built.headers_mut() = headers;
        if !request.body.is_empty() {
            *built.body_mut() = Some(request.body.into());
        }
        Ok(built)
    }
}

async fn exchange(client: &Client, request: reqwest::Request, size: usize) -> Result<Response, HttpFailure> {
    let host = request.url().host_str().unwrap_or_default().to_owned();
    let mut response = client.execute(request).await.map_err(|cause| failure_of(&host, &cause))?;
    let too_large = || HttpFailure::TooLarge(format!("the response of {host} has more than {size} bytes"));
    if response.content_length().is_some_and(|length| length > size as u64) {
        return Err(too_large());
    }
    let header = |(name, value): (&HeaderName, &HeaderValue)| Header {
        name: name.as_str().to_owned(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    let headers = response.headers().iter().map(header).collect();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|cause| failure_of(&host, &cause))? {
        if body.len() + chunk.len() > size {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status: response.status().as_u16(), headers, body })
}

fn failure_of(host: &str, cause: &reqwest::Error) -> HttpFailure {
    let mut deepest: &dyn std::error::Error = cause;
    while let Some(source) = deepest.source() {
        deepest = source;
        if let Some(refused) = source.downcast_ref::<NotGranted>() {
            return HttpFailure::NotGranted(refused.to_string());
        }
    }
    HttpFailure::Unreachable(format!("{host}: {deepest}"))
}

/// Resolves names, and gives the client only the addresses that may be connected to: it connects to what was looked at, and a second
/// answer of the name's server changes nothing.
struct Looked {
    places: Arc<[HttpPlace]>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{name} is at {address}, which is no public address: `http` must name that too, as an address or a range without a port"
)]
struct NotGranted {
    name: String,
    address: IpAddr,
}

impl Resolve for Looked {
    fn resolve(&self, name: Name) -> Resolving {
        let places = Arc::clone(&self.places);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let may =
                |address: IpAddr| is_public(address) || places.iter().any(|place| place.opens(address.to_canonical()));
            let (good, bad): (Vec<SocketAddr>, Vec<SocketAddr>) = found.partition(|address| may(address.ip()));
            match (good.is_empty(), bad.first()) {
                (true, Some(address)) => {
                    let refused = NotGranted { name: name.as_str().to_owned(), address: address.ip().to_canonical() };
                    Err(refused.into())
                }
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}
