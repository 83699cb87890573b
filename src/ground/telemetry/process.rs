//! What the system says of this process, under the names that all programs share
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). Only Linux
//! says so; elsewhere there is nothing but the start.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Result};

/// Reads `/proc/self` with each scrape.
pub(super) struct ProcessCollector {
    cpu: Counter,
    memory: Gauge,
    open_files: Gauge,
    most_files: Gauge,
    started: Gauge,
}

impl ProcessCollector {
    /// Call this when the process starts, whose time it notes.
    pub(super) fn new() -> Result<ProcessCollector> {
        let started = Gauge::new("process_start_time_seconds", "Start of the process, since 1970")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        started.set(now.as_secs_f64());
        Ok(ProcessCollector {
            cpu: Counter::new("process_cpu_seconds_total", "CPU time used, user and system")?,
            memory: Gauge::new("process_resident_memory_bytes", "Resident memory")?,
            open_files: Gauge::new("process_open_fds", "Open file descriptors")?,
            most_files: Gauge::new("process_max_fds", "File descriptors that may be open")?,
            started,
        })
    }

    fn read(&self) {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
        if let Some(seconds) = read("stat").ok().as_deref().and_then(cpu_seconds) {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Some(bytes) = read("status").ok().as_deref().and_then(resident_bytes) {
            self.memory.set(bytes);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files.set(files.count() as f64);
        }
        if let Some(most) = read("limits").ok().as_deref().and_then(most_files) {
            self.most_files.set(most);
        }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = [&self.memory, &self.open_files, &self.most_files, &self.started];
        gauges.into_iter().flat_map(Collector::desc).chain(self.cpu.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        let gauges = [&self.memory, &self.open_files, &self.most_files, &self.started];
        gauges.into_iter().flat_map(Collector::collect).chain(self.cpu.collect()).collect()
    }
}

/// The unit of times in `/proc/self/stat`, which Linux has set for good (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The fields 14 and 15. The second is the program's name in parentheses, which may have blanks.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes = line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()?;
    Some(kibibytes * 1024.0)
}

fn most_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read_as_it_is_meant() {
        let stat = "4711 (a ) b) S 1 4711 4711 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 9 8 7";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152.0));
        let limits = "Limit Soft Hard Units\nMax open files            1024   4096  files\n";
        assert_eq!(most_files(limits), Some(1024.0));
        assert_eq!(most_files("Max open files  unlimited unlimited files"), Some(f64::INFINITY));
        assert_eq!((cpu_seconds(""), resident_bytes(""), most_files("")), (None, None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory_and_files() {
        let process = ProcessCollector::new().unwrap();
        assert_eq!(process.collect().len(), process.desc().len());
        assert!(process.memory.get() > 1e6 && process.open_files.get() > 2.0);
        assert!(process.most_files.get() >= process.open_files.get());
    }
}
