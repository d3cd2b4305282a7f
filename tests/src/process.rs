//! Child processes that never outlive the test that started them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

use crate::eventually::poll;

/// A running child process; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// A command that, once given to [`Process::spawn`], dies with this process however that ends: where util-linux's
    /// `setpriv` is (Linux), the kernel sees to it; elsewhere only dropping the [`Process`] does.
    pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
        const SETPRIV: &str = "/usr/bin/setpriv";
        if Path::new(SETPRIV).exists() {
            let mut command = Command::new(SETPRIV);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        }
    }

    /// Starts a command in a process group of its own, so that Ctrl-C in a terminal reaches the test alone, which then ends it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(name: &str, mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        Ok(Self { name: name.into(), child: spawn_from_lasting_thread(command)? })
    }

    pub(crate) fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(status) = self.exit_status() {
            panic!("{} cannot be sent {signal:?}: it ended with {status}", self.name);
        }
        kill_process(self.pid(), signal).unwrap_or_else(|error| panic!("sending {signal:?} to {}: {error}", self.name));
    }

    /// Sets the longest its files may become.
    #[cfg(target_os = "linux")]
    pub(crate) fn limit_files(&mut self, bytes: Option<u64>) {
        use rustix::process::{Resource, Rlimit, prlimit};
        // The hard limit stays as it is: what was taken away can be given back.
        let limit = Rlimit { current: bytes, maximum: rustix::process::getrlimit(Resource::Fsize).maximum };
        prlimit(Some(self.pid()), Resource::Fsize, limit)
            .unwrap_or_else(|error| panic!("limiting the files of {}: {error}", self.name));
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn limit_files(&mut self, _bytes: Option<u64>) {
        panic!("{}: another process's limits can be set on Linux alone", self.name);
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|error| panic!("waiting for {}: {error}", self.name))
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it still runs at the deadline.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, String> {
        let name = self.name.clone();
        poll(deadline, async || self.exit_status()).await.map_err(|_| format!("{name} still runs after {deadline:?}"))
    }

    /// Kills it and all it started (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        // Reaped already: the number may be another's by now.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

type Order = (Command, Sender<io::Result<Child>>);

/// The kernel kills such a child when the *thread* that started it ends, and tests run on threads that end. So one thread
/// that lives as long as the process starts them all.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, reply) in inbox {
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("a thread to start processes from");
        orders
    });
    let (reply, answer) = channel();
    spawner.send((command, reply)).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}
