//! The store's families.

use nexum_server::StoreSnapshot;
use nexum_storage::Histogram;
use prometheus::proto::MetricFamily;

use super::family::{Distribution, Family};

/// Upper bounds of how long a commit takes, in microseconds: a quick disk's to a stuck one's.
const COMMIT_MICROSECONDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

/// Of how many submissions a batch has.
const BATCH_SUBMISSIONS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 256, 1024];

pub(super) fn families(store: &StoreSnapshot) -> Vec<MetricFamily> {
    let StoreSnapshot { statistics, usage } = store;
    let total = |name, help, value: u64| Family::counter(name, help).value(value).build();
    let now = |name, help, value: u64| Family::gauge(name, help).value(value).build();
    vec![
        total(
            "nexum_store_commits_total",
            "Batches written to the log and synced, each once for all that waited.",
            statistics.commits,
        ),
        total(
            "nexum_store_failed_commits_total",
            "Batches that could not be written, or for which there was no room.",
            statistics.failed_commits,
        ),
        total(
            "nexum_store_submissions_total",
            "What was committed, in submissions: what a shard had in one turn.",
            statistics.submissions,
        ),
        total(
            "nexum_store_log_written_bytes_total",
            "Bytes written to the log.",
            statistics.log_bytes,
        ),
        total(
            "nexum_store_checkpoints_total",
            "Times the tables were brought up to date, so that the log before could go.",
            statistics.checkpoints,
        ),
        total(
            "nexum_store_failed_checkpoints_total",
            "Times that failed; it is tried again.",
            statistics.failed_checkpoints,
        ),
        distribution(
            Family::histogram(
                "nexum_store_commit_seconds",
                "How long writing and syncing a batch took.",
            ),
            &statistics.commit_micros,
            &COMMIT_MICROSECONDS,
            1e6,
        ),
        distribution(
            Family::histogram(
                "nexum_store_batch_submissions",
                "How many submissions a batch had.",
            ),
            &statistics.batch_submissions,
            &BATCH_SUBMISSIONS,
            1.0,
        ),
        now(
            "nexum_store_log_bytes",
            "Size of the log, in bytes.",
            usage.log_bytes,
        ),
        now(
            "nexum_store_table_bytes",
            "Keys and values in the tables, in bytes.",
            usage.table_bytes,
        ),
        now(
            "nexum_store_table_file_bytes",
            "Size of the file of the tables, in bytes.",
            usage.table_file_bytes,
        ),
        now(
            "nexum_store_overlay_bytes",
            "Memory for what the tables do not have yet, in bytes.",
            usage.overlay_bytes,
        ),
    ]
}

/// `units` of the numbers are one of the family's.
fn distribution(family: Family, numbers: &Histogram, bounds: &[u64], units: f64) -> MetricFamily {
    let cumulative = bounds
        .iter()
        .map(|bound| (*bound as f64 / units, numbers.at_most(*bound)))
        .collect();
    let distribution = Distribution {
        cumulative,
        count: numbers.count(),
        sum: numbers.sum() as f64 / units,
    };
    family.distribution(&distribution).build()
}
