//! The broker's resident memory, as the kernel counts it.

use std::fs;

pub(crate) const MIB: u64 = 1024 * 1024;

/// That of one process, against what it was.
pub(crate) struct Memory {
    process_id: u32,
    at_start_bytes: u64,
}

impl Memory {
    pub(crate) fn of(process_id: u32) -> Memory {
        Memory {
            process_id,
            at_start_bytes: read(process_id, "VmRSS:"),
        }
    }

    pub(crate) fn growth_bytes(&self) -> u64 {
        read(self.process_id, "VmRSS:").saturating_sub(self.at_start_bytes)
    }

    /// The kernel keeps the highest value itself (`VmHWM`), so no peak is missed.
    #[track_caller]
    pub(crate) fn expect_peak_within(&self, allowed_bytes: u64) {
        let peak = read(self.process_id, "VmHWM:").saturating_sub(self.at_start_bytes);
        println!(
            "resident memory: {} at the start, at most {} more, {} allowed",
            mebibytes(self.at_start_bytes),
            mebibytes(peak),
            mebibytes(allowed_bytes)
        );
        assert!(
            peak <= allowed_bytes,
            "{} more than at the start, {} allowed",
            mebibytes(peak),
            mebibytes(allowed_bytes)
        );
    }
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

#[track_caller]
fn read(process_id: u32, field: &str) -> u64 {
    let path = format!("/proc/{process_id}/status");
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kibibytes: Option<u64> = kibibytes.and_then(|number| number.trim().parse().ok());
    kibibytes.unwrap_or_else(|| panic!("no {field} in {path}: is the broker alive? {status}"))
        * 1024
}
