//! Real servers for unit tests: each on a free port with a folder of its own, ended with the value.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A server of one test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl Server {
    fn start(program: &str, port: u16, arguments: impl Fn(u16, &str) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args(arguments(port, folder.path().to_str().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|cause| panic!("{program} cannot be started: {cause}; run the tests through ./dev test"));
        let server = Self { child, port, _folder: folder };
        until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    /// `redis-server`, with more arguments.
    pub(crate) fn redis(more: &[&str]) -> Self {
        Self::redis_at(free_port(), more)
    }

    /// The same on a port of choice, such as that of a server that was ended.
    pub(crate) fn redis_at(port: u16, more: &[&str]) -> Self {
        Self::start("redis-server", port, |port, folder| {
            let own = ["--port", &port.to_string(), "--dir", folder, "--save", "", "--bind", "127.0.0.1"];
            own.iter().chain(more).map(ToString::to_string).collect()
        })
    }

    /// `mongod`, from the variable `TIDEGATE_MONGOD`, which `./dev` sets, or the path; a replica set of one member unless `standalone`.
    pub(crate) async fn mongod(standalone: bool) -> (Self, mongodb::Client) {
        Self::mongod_of("TIDEGATE_MONGOD", standalone, &[]).await
    }

    /// The same with the program a variable names, and more arguments.
    pub(crate) async fn mongod_of(variable: &str, standalone: bool, more: &[&str]) -> (Self, mongodb::Client) {
        let program = std::env::var(variable).unwrap_or_else(|_| "mongod".to_owned());
        let server = Self::start(&program, free_port(), |port, folder| {
            let mut own = vec!["--port".into(), port.to_string(), "--dbpath".into(), folder.into()];
            own.extend(["--bind_ip", "127.0.0.1"].map(String::from));
            if !more.contains(&"--wiredTigerCacheSizeGB") {
                own.extend(["--wiredTigerCacheSizeGB", "0.25"].map(String::from));
            }
            if !standalone {
                own.extend(["--replSet", "rs0"].map(String::from));
            }
            own.extend(more.iter().map(ToString::to_string));
            own
        });
        let client = mongodb::Client::with_uri_str(server.mongodb_uri()).await.unwrap();
        if !standalone {
            let admin = client.database("admin");
            let member = bson::doc! { "_id": 0, "host": format!("127.0.0.1:{}", server.port) };
            let config = bson::doc! { "_id": "rs0", "members": [member] };
            admin.run_command(bson::doc! { "replSetInitiate": config }).await.unwrap();
            let end = Instant::now() + Duration::from_secs(30);
            while !admin.run_command(bson::doc! { "hello": 1 }).await.unwrap().get_bool("isWritablePrimary").unwrap() {
                assert!(Instant::now() < end, "the replica set has no primary");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        (server, client)
    }

    pub(crate) fn mongodb_uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    pub(crate) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits for a condition, half a minute at most.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
