//! kill -9 while keys are changed.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use nexum_harness::{Packet, Peer, Publish, Received, Version};

use crate::scene::{PATIENCE, ask, put, revision, set, start};

#[test]
fn what_was_acknowledged_is_there_and_revisions_go_on() {
    let mut broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    let mut last = 0;
    let mut values = BTreeMap::new();
    for round in 0..3 {
        for number in 0..50 {
            let key = format!("k{}", number % 7);
            let value = format!("{round}/{number}");
            let revision = set(&mut peer, &format!("$kv/cfg/{key}"), &value);
            assert!(revision > last, "{revision} after {last}");
            last = revision;
            values.insert(key, value);
        }
        last = set(&mut peer, "$kv/cfg/k0", "");
        values.remove("k0");
        drop(peer);
        broker.kill_and_restart();
        peer = broker.client(Version::V5, "peer");
        peer.subscribe("answers/#", 1);
        for (key, value) in &values {
            let answer = ask(&mut peer, &format!("$kv/cfg/{key}/$get"), "");
            assert_eq!(answer.payload, value.as_bytes(), "{key}");
            assert!(revision(&answer.properties) <= last);
        }
    }
}

/// Counts until the broker is gone: how often it was acknowledged, and how often it was asked.
fn count(mut peer: Peer) -> (u64, u64) {
    let (mut acknowledged, mut asked) = (0, 0);
    let mut under_way = 0;
    loop {
        while under_way < 10 {
            let identifier = peer.next_identifier();
            peer.send(Publish::new("$kv/cfg/hits/$incr", "").qos1(identifier));
            under_way += 1;
            asked += 1;
        }
        match peer.recv_within(PATIENCE) {
            Received::Packet(Packet::Puback(ack)) => {
                assert_eq!(ack.reason, 0, "{ack:?}");
                acknowledged += 1;
                under_way -= 1;
            }
            Received::Closed => return (acknowledged, asked),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_counter_counts_each_step_once_whoever_counts_and_whenever_it_is_killed() {
    let mut broker = start();
    let mut least = 0;
    let mut most = 0;
    for round in 0..3 {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let client_id = format!("client{round}{number}");
                let peer = broker.client(Version::V5, &client_id).survive_crash();
                thread::spawn(move || count(peer))
            })
            .collect();
        let mut watcher = broker.client(Version::V5, "watcher").survive_crash();
        watcher.subscribe("$kv/cfg/hits", 1);
        let since = Instant::now();
        let mut sums = Vec::new();
        while sums.len() < 200 && since.elapsed() < PATIENCE {
            let publish = watcher.expect_message();
            let sum = std::str::from_utf8(&publish.payload).expect("text");
            sums.push(sum.parse::<u64>().expect("a number"));
        }
        assert!(sums.is_sorted_by(|one, next| one < next), "{sums:?}");
        broker.kill();
        for client in clients {
            let (acknowledged, asked) = client.join().expect("it does not fail");
            least += acknowledged;
            most += asked;
        }
        broker.kill_and_restart();
        let mut peer = broker.client(Version::V5, "peer");
        peer.subscribe("answers/#", 1);
        let answer = ask(&mut peer, "$kv/cfg/hits/$get", "");
        let sum: u64 = std::str::from_utf8(&answer.payload)
            .expect("text")
            .parse()
            .expect("a number");
        assert!((least..=most).contains(&sum), "{least} <= {sum} <= {most}");
        assert_eq!(put(&mut peer, "$kv/cfg/other", "1").reason, 0);
        // From here on it is known.
        (least, most) = (sum, sum);
    }
}
