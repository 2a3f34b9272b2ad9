//! What a newcomer finds retained, before anybody publishes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nexum_harness::{Broker, Packet, Received, Version, puback};

use crate::catalogue::StreamId;
use crate::verdict::{History, expected};

/// A newcomer has nothing else to wait for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The number in each retained topic: as soon as every topic is there that must be.
pub(crate) fn look(
    broker: &Broker,
    version: Version,
    history: &History<'_>,
) -> BTreeMap<StreamId, usize> {
    let mut missing = expected(history);
    let mut found = BTreeMap::new();
    let mut newcomer = broker.client(version, "newcomer");
    newcomer.subscribe("retained/#", 1);
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        match newcomer.recv_within(left) {
            Received::Packet(Packet::Publish(publish)) => {
                assert!(publish.retain, "nobody publishes now: {publish:?}");
                let message = history
                    .catalogue
                    .read(&publish.topic, &publish.payload)
                    .unwrap_or_else(|| panic!("nobody sent this: {publish:?}"));
                newcomer.send(puback(publish.packet_identifier));
                found.insert(message.stream, message.number);
                missing.retain(|stream| *stream != message.stream);
            }
            // What is still missing is for the verdict.
            Received::Nothing => break,
            other => panic!("a newcomer got {other:?}"),
        }
    }
    found
}
