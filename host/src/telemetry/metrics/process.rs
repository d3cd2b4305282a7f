//! Memory, CPU time and start of this process, read when they are asked for.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    names::{self, Name},
    unit,
};

/// Linux counts process times for user space in hundredths of a second on every architecture that this host builds for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The `process_*` metrics; a figure the system does not give is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(bytes) = resident_bytes() {
            encode(&mut encoder, &names::PROCESS_RESIDENT_MEMORY, &ConstGauge::new(bytes))?;
        }
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        encode(&mut encoder, &names::PROCESS_CPU_SECONDS, &ConstCounter::new(seconds))?;
        if let Some(seconds) = started_at() {
            encode(&mut encoder, &names::PROCESS_START_TIME, &ConstGauge::new(seconds))?;
        }
        Ok(())
    }
}

fn encode(encoder: &mut DescriptorEncoder<'_>, name: &Name, metric: &impl EncodeMetric) -> fmt::Result {
    let help = format!("{}.", name.help);
    metric.encode(encoder.encode_descriptor(name.stem(), &help, unit(name).as_ref(), metric.metric_type())?)
}

/// Bytes of this process that are in RAM.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// When this process was started, in seconds since 1970.
fn started_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in brackets and may hold blanks and brackets itself.
    let after_name = stat.rsplit_once(')')?.1;
    let ticks: f64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / TICKS_PER_SECOND)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::{resident_bytes, started_at};

    #[test]
    fn the_figures_are_plausible() {
        let bytes = resident_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - started_at().unwrap();
        assert!((-2.0..600.0).contains(&age), "this test process is {age} s old");
    }
}
