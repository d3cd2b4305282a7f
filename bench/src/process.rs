//! What a child process costs, from `/proc`.

use std::{
    fs,
    process::{Child, Command, ExitStatus},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// A child whose last figures can be read after it has ended; killed when dropped.
pub(crate) struct Measured {
    child: Child,
    pid: Pid,
    peak: u64,
}

impl Measured {
    /// Starts it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("{} does not start", command.get_program().display()))?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid, peak: 0 })
    }

    /// Whether it has ended. It stays a zombie until [`Measured::wait`], so that `/proc` still has its CPU time.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub(crate) fn has_ended(&self) -> Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::Pid(self.pid), options)?.is_some())
    }

    /// User and system CPU time of all its threads so far, in seconds.
    ///
    /// # Errors
    /// When there is no `/proc`, or it is not as Linux has it.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid);
        let text =
            fs::read_to_string(&path).with_context(|| format!("{path}: cannot read (this benchmark needs Linux)"))?;
        // The second field is the name in parentheses and may hold anything; user and system time are fields 14 and 15.
        let (_, fields) = text.rsplit_once(')').with_context(|| format!("{path}: has no name"))?;
        let ticks: u64 =
            fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Notes the most memory it ever had resident. A zombie has none, so this is called while it runs, often.
    pub(crate) fn note_memory(&mut self) {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes =
            line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.parse::<u64>().ok());
        self.peak = self.peak.max(kibibytes.unwrap_or(0) * 1024);
    }

    /// The most memory that was noted, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.peak
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
