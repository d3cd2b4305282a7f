//! A real `mongod`: a replica set of one member unless asked otherwise.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use tempfile::TempDir;

use super::port::{free_port, wait_open};
use super::version::Version;
use crate::eventually::poll;
use crate::process::{Process, Signal};

const START: Duration = Duration::from_secs(60);
const REPLICA_SET: &str = "rs0";
const USER: &str = "root";
const PASSWORD: &str = "secret";

/// How to start a [`Mongo`].
#[derive(Debug, Clone)]
pub struct MongoOptions {
    /// Members of the replica set; 0: a standalone server, which has no change streams.
    pub members: usize,
    /// Refuse whoever does not sign in; [`Mongo::uri`] then signs in as a root user.
    pub auth: bool,
    /// Size of the oplog in MB.
    pub oplog_mb: u32,
    /// Memory for WiredTiger's cache in MB, at least 256.
    pub cache_mb: u32,
    /// Enable server commands made for tests, such as `configureFailPoint`.
    pub fail_points: bool,
    /// Of the servers that `./dev` installs, which.
    pub version: Version,
    /// Another `mongod` than those.
    pub binary: Option<PathBuf>,
    /// Further arguments for each member.
    pub args: Vec<String>,
}

impl Default for MongoOptions {
    fn default() -> Self {
        Self {
            members: 1,
            auth: false,
            oplog_mb: 256,
            cache_mb: 512,
            fail_points: false,
            version: Version::default(),
            binary: None,
            args: vec![],
        }
    }
}

impl MongoOptions {
    /// A server of that version, small, since tests that ask for one start several.
    #[must_use]
    pub fn of(version: Version) -> Self {
        Self { version, cache_mb: 256, ..Self::default() }
    }

    /// What benchmarks want: a cache and an oplog that hold a whole run.
    #[must_use]
    pub fn bench() -> Self {
        Self { oplog_mb: 8192, cache_mb: 3072, ..Self::default() }
    }

    /// A server that is in no replica set.
    #[must_use]
    pub fn standalone() -> Self {
        Self { members: 0, ..Self::default() }
    }

    /// A replica set of three members that elects a new primary within a few seconds.
    #[must_use]
    pub fn three_members() -> Self {
        Self { members: 3, cache_mb: 256, ..Self::default() }
    }

    /// A replica set that asks for a password.
    #[must_use]
    pub fn with_auth() -> Self {
        Self { auth: true, ..Self::default() }
    }
}

/// Running `mongod`s that belong together, in folders and on ports of their own.
#[derive(Debug)]
pub struct Mongo {
    options: MongoOptions,
    binary: PathBuf,
    members: Vec<Member>,
    uri: String,
    // After the members, so that they are gone before their data is.
    folder: TempDir,
}

#[derive(Debug)]
struct Member {
    port: u16,
    folder: PathBuf,
    process: Option<Process>,
}

impl Mongo {
    /// Starts the servers, makes the replica set, and waits until it takes writes.
    ///
    /// # Panics
    /// When they cannot be started.
    pub async fn start(options: MongoOptions) -> Self {
        Self::try_start(options).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// [`Mongo::start`] for programs that report errors.
    ///
    /// # Errors
    /// When this `mongod` is not installed, with the command that installs it, or takes no writes within 60 seconds.
    pub async fn try_start(options: MongoOptions) -> Result<Self> {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => options.version.program()?,
        };
        let folder =
            tempfile::Builder::new().prefix("tidegate-mongod-").tempdir().context("making a folder for mongod")?;
        let mut mongo = Self { options, binary, members: vec![], uri: String::new(), folder };
        if mongo.options.auth {
            write_private(&mongo.key_file(), "dGlkZWdhdGUgdGVzdHMgb25seQ==")?;
        }
        for number in 0..mongo.options.members.max(1) {
            let folder = mongo.folder.path().join(format!("member-{number}"));
            std::fs::create_dir(&folder).context("making a folder for mongod")?;
            mongo.members.push(Member { port: 0, folder, process: None });
            mongo.launch_on_free_port(number).await?;
        }
        mongo.uri = mongo.make_uri(mongo.options.auth.then_some((USER, PASSWORD)));
        if mongo.options.members > 0 {
            mongo.initiate().await?;
        }
        if mongo.options.auth {
            mongo.create_root_user().await?;
        }
        Ok(mongo)
    }

    /// The connection string, with the root user where a password is asked for.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The connection string for another user, or for nobody.
    #[must_use]
    pub fn uri_as(&self, user: Option<(&str, &str)>) -> String {
        self.make_uri(user)
    }

    /// A client of the whole.
    pub async fn client(&self) -> Client {
        Client::with_uri_str(&self.uri).await.unwrap_or_else(|error| panic!("connecting to {}: {error}", self.uri))
    }

    /// Its ports by member, the same over restarts.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.port).collect()
    }

    /// Kills a member (SIGKILL).
    pub fn kill(&mut self, member: usize) {
        self.members[member].process = None;
    }

    /// Stops a member in good order (SIGTERM).
    ///
    /// # Panics
    /// When it does not run, or still does after 60 seconds.
    pub async fn stop(&mut self, member: usize) {
        let mut process = self.members[member].process.take().expect("this mongod does not run");
        process.signal(Signal::TERM);
        process.wait(START).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts a member again on the same port and data, after [`Mongo::kill`] or [`Mongo::stop`], and waits until there is a
    /// server that takes writes.
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub async fn restart(&mut self, member: usize) {
        assert!(self.members[member].process.is_none(), "this mongod runs already");
        self.launch(member).await.unwrap_or_else(|error| panic!("{error:#}"));
        self.primary().await;
    }

    /// Sends a member a signal: [`Signal::STOP`] freezes it with its connections open, [`Signal::CONT`] lets it go on.
    pub fn signal(&mut self, member: usize, signal: Signal) {
        self.members[member].process.as_mut().expect("this mongod does not run").signal(signal);
    }

    /// The member that takes writes; waits for the election where there is none.
    ///
    /// # Panics
    /// When there is none within 60 seconds.
    pub async fn primary(&self) -> usize {
        self.wait_primary().await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes the primary step down, so that another member is elected.
    ///
    /// # Panics
    /// When it refuses to.
    pub async fn step_down(&self) {
        let primary = self.primary().await;
        let client = self.direct_client(primary, true).await.unwrap_or_else(|error| panic!("{error:#}"));
        client
            .database("admin")
            .run_command(doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5, "force": true })
            .await
            .unwrap_or_else(|error| panic!("stepping down: {error}"));
    }

    fn make_uri(&self, user: Option<(&str, &str)>) -> String {
        let credentials = user.map_or_else(String::new, |(name, password)| format!("{name}:{password}@"));
        let hosts: Vec<_> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
        let kind = match self.options.members {
            0 => "directConnection=true".to_owned(),
            _ => format!("replicaSet={REPLICA_SET}"),
        };
        format!("mongodb://{credentials}{}/?{kind}", hosts.join(","))
    }

    fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    async fn launch_on_free_port(&mut self, member: usize) -> Result<()> {
        // Another process may take the port between our look and the server's: then another port.
        for _ in 0..3 {
            self.members[member].port = free_port();
            match self.launch(member).await {
                Ok(()) => return Ok(()),
                Err(error) if format!("{error:#}").contains("in use") => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no free port for mongod after three tries")
    }

    /// Starts a member's process and waits until it listens.
    async fn launch(&mut self, number: usize) -> Result<()> {
        let member = &self.members[number];
        let log = member.folder.join("mongod.log");
        let _ = std::fs::remove_file(&log); // of the run before a restart
        let mut command = Process::command(&self.binary);
        command
            .args(["--bind_ip", "127.0.0.1", "--port", &member.port.to_string(), "--nounixsocket"])
            .arg("--dbpath")
            .arg(&member.folder)
            .arg("--logpath")
            .arg(&log)
            .arg(format!("--wiredTigerCacheSizeGB={}", f64::from(self.options.cache_mb) / 1024.0))
            // Diagnostics cost disk and time and nobody reads them.
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .args(&self.options.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.options.members > 0 {
            command.args(["--replSet", REPLICA_SET, "--oplogSize", &self.options.oplog_mb.to_string()]);
        }
        if self.options.auth {
            command.arg("--auth").arg("--keyFile").arg(self.key_file());
        }
        if self.options.fail_points {
            command.args(["--setParameter", "enableTestCommands=1"]);
        }
        // Some builds of mongod need libraries that the system has not got; ours alone shall see them.
        if let Some(libraries) = std::env::var_os("TIDEGATE_MONGOD_LIBS").filter(|_| self.options.binary.is_none()) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut process =
            Process::spawn("mongod", command).with_context(|| format!("starting {}", self.binary.display()))?;
        match wait_open(member.port, &mut process, START).await {
            Ok(()) => {
                self.members[number].process = Some(process);
                Ok(())
            }
            Err(error) => {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                let tail = log.len() - log.len().min(4000);
                let tail = log.get(tail..).unwrap_or(&log);
                bail!("mongod on port {} does not start: {error}; its log:\n{tail}", member.port)
            }
        }
    }

    async fn initiate(&self) -> Result<()> {
        let members: Vec<_> = self
            .members
            .iter()
            .enumerate()
            .map(|(id, member)| doc! { "_id": i32::try_from(id).unwrap_or(0), "host": format!("127.0.0.1:{}", member.port) })
            .collect();
        let config = doc! {
            "_id": REPLICA_SET,
            "members": members,
            "settings": { "electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500 },
        };
        self.direct_client(0, false)
            .await?
            .database("admin")
            .run_command(doc! { "replSetInitiate": config })
            .await
            .context("making the replica set")?;
        self.wait_primary().await.map(drop)
    }

    async fn wait_primary(&self) -> Result<usize> {
        let mut clients = vec![];
        for (number, member) in self.members.iter().enumerate() {
            if member.process.is_some() {
                clients.push((number, self.direct_client(number, false).await?));
            }
        }
        poll(START, async || {
            let mut states = vec![];
            for (number, client) in &clients {
                match client.database("admin").run_command(doc! { "hello": 1 }).await {
                    Ok(hello) if hello.get_bool("isWritablePrimary").unwrap_or(false) => return Ok(*number),
                    Ok(hello) => states.push(hello),
                    Err(error) => states.push(doc! { "error": error.to_string() }),
                }
            }
            Err::<usize, Vec<Document>>(states)
        })
        .await
        .map_err(|state| anyhow!("no mongod takes writes: {state}"))
    }

    /// Users can be created without signing in from this machine as long as there are none.
    async fn create_root_user(&self) -> Result<()> {
        let primary = self.wait_primary().await?;
        self.direct_client(primary, false)
            .await?
            .database("admin")
            .run_command(doc! { "createUser": USER, "pwd": PASSWORD, "roles": ["root"] })
            .await
            .context("creating the root user")?;
        Ok(())
    }

    /// A client of one member, whatever its state.
    async fn direct_client(&self, member: usize, sign_in: bool) -> Result<Client> {
        let host = ServerAddress::Tcp { host: "127.0.0.1".into(), port: Some(self.members[member].port) };
        let credential = (sign_in && self.options.auth)
            .then(|| Credential::builder().username(USER.to_owned()).password(PASSWORD.to_owned()).build());
        let options = ClientOptions::builder()
            .hosts(vec![host])
            .direct_connection(true)
            .server_selection_timeout(Duration::from_secs(5))
            .credential(credential)
            .build();
        Client::with_options(options).context("connecting to mongod")
    }
}

/// mongod refuses a key file that others may read.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).context("writing the key file")?;
    file.write_all(text.as_bytes()).context("writing the key file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;

    async fn insert(mongo: &Mongo, id: i32) -> mongodb::error::Result<()> {
        mongo.client().await.database("d").collection::<Document>("c").insert_one(doc! { "_id": id }).await.map(drop)
    }

    async fn count(mongo: &Mongo) -> u64 {
        mongo.client().await.database("d").collection::<Document>("c").count_documents(doc! {}).await.unwrap()
    }

    #[tokio::test]
    async fn survives_a_kill_and_a_stop_on_the_same_port() {
        let mut mongo = Mongo::start(MongoOptions::default()).await;
        insert(&mongo, 1).await.unwrap();
        let ports = mongo.ports();
        mongo.kill(0);
        mongo.restart(0).await;
        assert_eq!((mongo.ports(), count(&mongo).await), (ports, 1));
        mongo.stop(0).await;
        mongo.restart(0).await;
        assert_eq!(count(&mongo).await, 1);
        let collection = mongo.client().await.database("d").collection::<Document>("c");
        assert!(collection.watch().await.is_ok(), "no change stream");
    }

    #[tokio::test]
    async fn a_standalone_has_no_change_streams() {
        let mongo = Mongo::start(MongoOptions::standalone()).await;
        let collection = mongo.client().await.database("d").collection::<Document>("c");
        let Err(error) = collection.watch().await else { panic!("a standalone server opened a change stream") };
        assert!(error.to_string().contains("40573"), "{error}");
    }

    #[tokio::test]
    async fn asks_for_a_password() {
        let mongo = Mongo::start(MongoOptions::with_auth()).await;
        insert(&mongo, 1).await.unwrap();
        let anyone = Client::with_uri_str(mongo.uri_as(None)).await.unwrap();
        let refused = anyone.database("d").collection::<Document>("c").find_one(doc! {}).await;
        assert!(refused.is_err(), "read without a password");
    }

    #[tokio::test]
    async fn elects_another_primary() {
        let mut mongo = Mongo::start(MongoOptions::three_members()).await;
        let first = mongo.primary().await;
        mongo.step_down().await;
        eventually(START, "another primary", async || mongo.primary().await != first).await;
        let second = mongo.primary().await;
        mongo.kill(second);
        assert_ne!(mongo.primary().await, second);
    }

    #[tokio::test]
    async fn leaves_no_process_and_no_folder() {
        let mongo = Mongo::start(MongoOptions::default()).await;
        let id = mongo.members[0].process.as_ref().unwrap().id();
        let folder = mongo.folder.path().to_owned();
        drop(mongo);
        let pid = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_err(), "process {id} still runs");
        assert!(!folder.exists());
    }
}
