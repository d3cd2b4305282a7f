//! The admin HTTP server: health, readiness, metrics and status.
//!
//! It answers from the moment the host starts, before any pipeline runs, so that a host that cannot reach its servers says
//! so. It tells, and lets an operator pause a pipeline and let it go on, and promote a plugin or take it back. [`guard`] says who may.

mod guard;
mod holder;
mod pages;

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::Secret,
    error::{Code, Fault},
    host::Control,
    status::Status,
};

/// A request that changes something has this header: no page of a browser can send it here unasked.
pub const ACTION_HEADER: &str = "x-tidegate-action";

/// How long open requests may take to end after [`AdminServer::stop`].
const GRACE: Duration = Duration::from_secs(1);

/// A running server. It stops when it is dropped, or gracefully with [`AdminServer::stop`].
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Listens at `listen` and answers from now on; port 0 takes a free port. Without a `token` only requests from this machine may
    /// change something.
    ///
    /// # Errors
    /// [`Code::AdminListen`] when the address cannot be listened at.
    pub fn start(
        listen: SocketAddr,
        token: Option<Secret>,
        status: Status,
        control: Option<Control>,
    ) -> Result<Self, Fault> {
        let listener = bind(listen).map_err(|cause| cannot_listen(listen, &cause))?;
        let address = listener.local_addr().map_err(|cause| cannot_listen(listen, &cause))?;
        info!(event = "admin_listening", address = %address, "the admin server answers at http://{address}/");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let service = pages::router(status, control, guard::Guard { token });
            let service = service.into_make_service_with_connect_info::<SocketAddr>();
            let server = axum::serve(listener, service).with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(cause) = server.await {
                warn!(event = "admin_failed", error = %cause, "the admin server ended: {cause}");
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Where it answers, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests and waits a second at most for those that are open.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // Running out of time is no failure: dropping `self` ends what is left.
        let _ = tokio::time::timeout(GRACE, &mut self.task).await;
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let listener = StdListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn cannot_listen(listen: SocketAddr, cause: &io::Error) -> Fault {
    let way_out = match cause.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder::of_port(listen.port()).map_or_else(String::new, |holder| format!(" by {holder}"));
            format!(
                "the port is in use{holder}; stop that program, or set `admin.listen` to another port (0 takes a free one)"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "this machine has no address {}; set `admin.listen` to one it has, such as 127.0.0.1:9610",
                listen.ip()
            )
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not listen there; set `admin.listen` to a port above 1023".to_owned()
        }
        _ => format!("{cause}; set `admin.listen` to another address"),
    };
    Fault::fatal(Code::AdminListen, format!("the admin server cannot listen at {listen}: {way_out}"))
}

#[cfg(test)]
mod tests;
