//! How every test begins and ends.

use std::time::Duration;

use nexum_harness::{Broker, BrokerBuilder, Version};

use crate::healthy::Healthy;
use crate::memory::{MIB, Memory};
use crate::metrics::Metrics;

/// What a broker of two shards may take beyond its start whoever attacks: the read buffers of both
/// shards (2 x 1 MiB each), a turn's worth of messages in each direction between them, encoding and
/// outbound buffers that are kept for the next connection, and what the allocator keeps of all
/// these for each of its threads.
pub(crate) const ALWAYS_BYTES: u64 = 24 * MIB;

/// An open connection in the broker, besides what it holds for it: its state, its session, and the
/// first block of each of its buffers.
pub(crate) const CONNECTION_BYTES: u64 = 8 * 1024;

/// A broker under attack, beside healthy clients.
pub(crate) struct Scene {
    pub(crate) broker: Broker,
    pub(crate) metrics: Metrics,
    healthy: Healthy,
    memory: Memory,
}

/// The broker under test, not yet started, with as many shards wherever the test runs.
pub(crate) fn builder() -> BrokerBuilder {
    Broker::builder(env!("CARGO_BIN_EXE_nexum")).set("server.shards", 2)
}

impl Scene {
    /// The defaults, on TCP.
    #[track_caller]
    pub(crate) fn start() -> Scene {
        Scene::start_with(builder())
    }

    #[track_caller]
    pub(crate) fn start_with(builder: BrokerBuilder) -> Scene {
        let broker = builder.start();
        let metrics = Metrics::of(&broker);
        let healthy = Healthy::start(&broker);
        let memory = Memory::of(broker.process_id());
        Scene {
            broker,
            metrics,
            healthy,
            memory,
        }
    }

    /// What the broker has resident now, beyond what it had at the start of the attack.
    pub(crate) fn growth_bytes(&self) -> u64 {
        self.memory.growth_bytes()
    }

    /// The attack is over, its connections are closed; `allowed_bytes` is what it could make the
    /// broker hold at once, beside [`ALWAYS_BYTES`].
    #[track_caller]
    pub(crate) fn finish(self, allowed_bytes: u64) {
        let Scene {
            mut broker,
            metrics,
            healthy,
            memory,
        } = self;
        healthy.finish();
        memory.expect_peak_within(ALWAYS_BYTES + allowed_bytes);
        for version in Version::ALL {
            let mut newcomer = broker.client(version, "newcomer");
            newcomer.expect_ping();
            newcomer.disconnect();
        }
        metrics.wait_for("nexum_connections", 0.0);
        assert!(
            metrics.value("nexum_panics_total") < 1.0,
            "a panic was caught"
        );
        let log = broker.log();
        assert!(!log.contains("panicked"), "a panic is in the log: {log}");
        let status = broker.terminate();
        assert!(status.success(), "it ended by {status}");
    }
}

/// How long an answer may take that does not wait for a timer of the broker's. A debug build on a
/// machine that builds other things takes fifty times as long as a release build on an idle one.
pub(crate) const PROMPTLY: Duration = Duration::from_secs(if DEBUG { 10 } else { 5 });

/// The broker comes from the same build as its tests.
pub(crate) const DEBUG: bool = cfg!(debug_assertions);

/// How many of a kind: what a release build takes within seconds, and a tenth of it in a debug
/// build, where the bound that it shows is a tenth as well.
pub(crate) const fn many(count: usize) -> usize {
    if DEBUG { count / 10 } else { count }
}
