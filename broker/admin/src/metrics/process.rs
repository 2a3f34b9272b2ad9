//! What the kernel says of this process, under the names that every Prometheus client library uses.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::proto::MetricFamily;

use super::family::Family;

/// What of `/proc/self` is reported. What cannot be read is left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    cpu_seconds: Option<f64>,
    threads: Option<u64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_files: Option<u64>,
    most_files: Option<u64>,
}

/// Clock ticks a second in `/proc/<pid>/stat`. Linux fixes it for user space (`USER_HZ`) on every
/// architecture there is a tokio for, whatever its own tick.
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    pub(crate) fn read() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Process {
            cpu_seconds: cpu_seconds(&stat),
            threads: status_number(&status, "Threads:"),
            resident_bytes: status_number(&status, "VmRSS:").map(|kib| kib * 1024),
            virtual_bytes: status_number(&status, "VmSize:").map(|kib| kib * 1024),
            open_files: open_files(),
            most_files: most_files(&limits),
        }
    }

    pub(crate) fn families(&self, started: SystemTime) -> Vec<MetricFamily> {
        let since_epoch = started.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let gauge = |name, help, value: Option<u64>| {
            value.map(|value| Family::gauge(name, help).value(value))
        };
        let families = [
            self.cpu_seconds.map(|seconds| {
                let help = "User and system CPU time spent, in seconds.";
                Family::counter("process_cpu_seconds_total", help).value(seconds)
            }),
            gauge(
                "process_resident_memory_bytes",
                "Resident memory.",
                self.resident_bytes,
            ),
            gauge(
                "process_virtual_memory_bytes",
                "Virtual memory.",
                self.virtual_bytes,
            ),
            gauge(
                "process_open_fds",
                "Open file descriptors.",
                self.open_files,
            ),
            gauge(
                "process_max_fds",
                "Most file descriptors that may be open.",
                self.most_files,
            ),
            gauge("process_threads", "Threads.", self.threads),
            Some(
                Family::gauge(
                    "process_start_time_seconds",
                    "When the process started, in seconds since 1970.",
                )
                .value(since_epoch.as_secs_f64()),
            ),
        ];
        families.into_iter().flatten().map(Family::build).collect()
    }
}

/// Fields 14 and 15 of proc_pid_stat(5). Field 2, the program's name, is in parentheses and may
/// hold anything, so counting starts behind its last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// The number of a line such as `VmRSS:     1234 kB`.
fn status_number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Since Linux 6.2 the directory's size is their number; before, it is 0 and they are counted.
fn open_files() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => {
            // One of them is the directory being read.
            let entries = fs::read_dir("/proc/self/fd")
                .ok()?
                .count()
                .saturating_sub(1);
            u64::try_from(entries).ok()
        }
        size => Some(size),
    }
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Process, cpu_seconds, most_files, status_number};

    #[test]
    fn the_kernels_texts_are_understood() {
        let stat = "7 (a) b ) (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 5 0 9 1 2";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds(""), None);
        let status = "Name:\tnexum\nVmRSS:\t    1234 kB\nThreads:\t5\n";
        assert_eq!(status_number(status, "VmRSS:"), Some(1234));
        assert_eq!(status_number(status, "Threads:"), Some(5));
        assert_eq!(status_number(status, "VmSize:"), None);
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";
        assert_eq!(most_files(limits), Some(1024));
        assert_eq!(
            most_files("Max open files  unlimited  unlimited  files"),
            None
        );
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(0), "{process:?}");
        assert!(
            process.virtual_bytes > process.resident_bytes,
            "{process:?}"
        );
        assert!(process.open_files > Some(2), "{process:?}");
        assert!(process.threads > Some(0), "{process:?}");
        assert!(process.cpu_seconds.is_some(), "{process:?}");
    }
}
