//! Connections by the thousand: opened and dropped at every stage, fighting over one client, and
//! each with the largest will.

use std::time::{Duration, Instant};

use nexum_harness::{Connect, Packet, Property, Publish, Subscribe, Version, Will, reason};

use crate::memory::{MIB, mebibytes};
use crate::raw::Raw;
use crate::scene::{CONNECTION_BYTES, PROMPTLY, Scene, builder};

/// The stages at which a connection is dropped.
fn stages(version: Version, client_id: &str) -> Vec<Vec<u8>> {
    let connect = Packet::from(
        Connect::new(version, client_id)
            .keep_alive(65_535)
            .will(Will::new("will", "gone")),
    )
    .bytes(version);
    let rest: Vec<u8> = [
        Packet::from(Subscribe::new(1).filter("storm/#", 2)),
        Publish::new("storm/a", "x").qos2(2).into(),
        Publish::new("storm/b", "x").qos1(3).into(),
    ]
    .iter()
    .flat_map(|packet| packet.bytes(version))
    .collect();
    let half = connect.len() / 2;
    vec![
        Vec::new(),
        connect[..1].to_vec(),
        connect[..half].to_vec(),
        connect.clone(),
        [&connect[..], &rest[..3]].concat(),
        [&connect[..], &rest].concat(),
        [&connect[..], &rest, &[0xE0, 0]].concat(),
    ]
}

/// Some with what they were sent unread, which resets the connection; some in good order.
#[test]
fn thousands_opened_and_dropped_at_every_stage() {
    const ROUNDS: usize = 300;
    let scene = Scene::start();
    let begun = Instant::now();
    let mut count = 0;
    let mut after_half = 0;
    for round in 0..ROUNDS {
        for version in Version::ALL {
            for (number, bytes) in stages(version, &format!("storm {round}"))
                .iter()
                .enumerate()
            {
                let mut raw = Raw::dial(&scene.broker);
                raw.send(bytes);
                if (round + number) % 3 == 0 {
                    raw.finish();
                    raw.read_until_closed(PROMPTLY);
                }
                count += 1;
            }
        }
        if round == ROUNDS / 2 {
            after_half = scene.growth_bytes();
        }
    }
    println!("{count} connections in {:?}", begun.elapsed());
    scene.metrics.wait_for("nexum_sessions", 4.0);
    let growth = scene.growth_bytes();
    println!(
        "{} after half of them, {} after all",
        mebibytes(after_half),
        mebibytes(growth)
    );
    // What is gone leaves nothing: 1 KiB each would be the beginning of an end.
    let second_half = growth.saturating_sub(after_half);
    assert!(
        second_half < count / 2 * 1024 + 4 * MIB,
        "{}",
        mebibytes(second_half)
    );
    scene.finish(1000 * CONNECTION_BYTES);
}

/// Many at once, and none of them says anything.
#[test]
fn thousands_of_silent_connections_at_once() {
    const COUNT: usize = 3000;
    let scene = Scene::start_with(builder().set("limits.authentication_timeout_seconds", 2));
    let begun = Instant::now();
    let mut silent: Vec<Raw> = (0..COUNT).map(|_| Raw::dial(&scene.broker)).collect();
    println!(
        "{COUNT} opened in {:?}, {} more",
        begun.elapsed(),
        mebibytes(scene.growth_bytes())
    );
    for raw in &mut silent {
        assert!(raw.read_until_closed(Duration::from_secs(8)).is_empty());
    }
    println!("all closed after {:?}", begun.elapsed());
    scene.finish(COUNT as u64 * CONNECTION_BYTES);
}

/// As many as allowed; the others are closed at once, and there is room again when some are gone.
#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let scene = Scene::start_with(builder().set("limits.maximum_connections", 50));
    // The healthy ones are four of them.
    let inside: Vec<Raw> = (0..46)
        .map(|number| Raw::client(&scene.broker, Version::V5, &format!("inside {number}")))
        .collect();
    for _ in 0..500 {
        let mut refused = Raw::dial(&scene.broker);
        refused.send(&Packet::from(Connect::new(Version::V5, "outside")).bytes(Version::V5));
        assert!(refused.read_until_closed(PROMPTLY).is_empty());
    }
    assert!(scene.metrics.value("nexum_connections_refused_total") >= 500.0);
    drop(inside);
    scene.metrics.wait_for("nexum_connections", 4.0);
    scene.broker.client(Version::V5, "outside").expect_ping();
    scene.finish(50 * CONNECTION_BYTES);
}

/// [MQTT-3.1.4-3] [MQTT3-3.1.4-2]: each newcomer takes the session over; each that was there is
/// told so and closed, and its will is published or not as the specification says.
#[test]
fn takeover_storm_leaves_one_connection() {
    const STORM: usize = 2000;
    let scene = Scene::start();
    let mut last: Option<Raw> = None;
    let begun = Instant::now();
    for number in 0..STORM {
        let version = Version::ALL[number % 2];
        let connect = Connect::new(version, "one and the same").persistent();
        // Half of them resume what the others left, half begin anew.
        let connect = if number % 4 < 2 {
            connect.resume()
        } else {
            connect
        };
        let mut next = Raw::log_in(&scene.broker, connect);
        next.send(&Packet::from(Subscribe::new(1).filter("storm", 1)).bytes(version));
        if let Some(mut before) = last.replace(next) {
            let bytes = before.read_until_closed(PROMPTLY);
            if Version::ALL[(number + 1) % 2] == Version::V5 {
                let packets = crate::raw::packets(Version::V5, &bytes);
                let told = matches!(
                    packets.last(),
                    Some(Packet::Disconnect(disconnect))
                        if disconnect.reason == reason::SESSION_TAKEN_OVER
                );
                assert!(told, "{packets:?}");
            }
        }
    }
    println!(
        "{STORM} takeovers one after the other: {:?}",
        begun.elapsed()
    );
    // All at once, so that many are under way together.
    let connect = Packet::from(Connect::new(Version::V5, "one and the same")).bytes(Version::V5);
    let mut all: Vec<Raw> = (0..STORM)
        .map(|_| {
            let mut raw = Raw::dial(&scene.broker);
            raw.send(&connect);
            raw
        })
        .collect();
    scene.metrics.wait_for("nexum_connections", 5.0);
    let mut open = 0;
    for raw in &mut all {
        raw.send(&[0xC0, 0]);
        let mut last = None;
        while let Some(packet) = raw.next_packet(Version::V5) {
            let is_answer = packet == Packet::Pingresp;
            last = Some(packet);
            if is_answer {
                break;
            }
        }
        open += u32::from(last == Some(Packet::Pingresp));
    }
    println!("{STORM} at once: {open} left, {:?} in all", begun.elapsed());
    assert_eq!(open, 1);
    drop((all, last));
    scene.finish(STORM as u64 * CONNECTION_BYTES);
}

/// 64 KiB for each: the largest CONNECT allowed by `limits.authentication_bytes`.
#[test]
fn largest_will_on_a_thousand_sessions() {
    const SESSIONS: u64 = 1000;
    const WILL_BYTES: u64 = 64_000;
    let scene = Scene::start();
    let payload = "x".repeat(WILL_BYTES as usize);
    let begun = Instant::now();
    let mut after = Vec::new();
    for round in 0..2 {
        let all: Vec<Raw> = (0..SESSIONS)
            .map(|number| {
                let will = Will::new("nobody/listens", &payload).qos(1);
                let will = will.property(Property::will_delay_interval(0));
                let connect = Connect::new(Version::V5, &format!("will {number}")).will(will);
                Raw::log_in(&scene.broker, connect)
            })
            .collect();
        after.push(scene.growth_bytes());
        drop(all);
        scene.metrics.wait_for("nexum_sessions", 4.0);
        let published = scene.metrics.value("nexum_wills_published_total");
        assert!(
            published >= (SESSIONS * (round + 1)) as f64,
            "{published} wills"
        );
    }
    println!(
        "{SESSIONS} wills of {WILL_BYTES} bytes, twice, in {:?}: {} and {} more",
        begun.elapsed(),
        mebibytes(after[0]),
        mebibytes(after[1])
    );
    assert!(
        after[0] >= SESSIONS * WILL_BYTES,
        "they are kept: the measurement means something"
    );
    assert!(
        after[1] <= after[0] + after[0] / 4,
        "the memory is used again"
    );
    // The will, and its CONNECT while it is moved to its shard.
    scene.finish(SESSIONS * (WILL_BYTES * 3 / 2 + CONNECTION_BYTES));
}

/// A will larger than what may be sent before authentication is not accepted.
#[test]
fn will_beyond_the_authentication_bytes_is_refused() {
    let scene = Scene::start_with(builder().set("limits.authentication_bytes", 10_000));
    for version in Version::ALL {
        let mut raw = Raw::dial(&scene.broker);
        let will = Will::new("will", &"x".repeat(20_000));
        raw.send(&Packet::from(Connect::new(version, "attacker").will(will)).bytes(version));
        let answer = raw.read_until_closed(PROMPTLY);
        assert!(
            answer.is_empty() || answer.get(3) == Some(&reason::PACKET_TOO_LARGE),
            "{answer:02x?}"
        );
    }
    scene.finish(0);
}
