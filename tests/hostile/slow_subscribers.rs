//! Subscribers that do not read while a publisher sends 200 MB.
//!
//! What ARCHITECTURE.md says under "Back-pressure": a stuck subscriber costs bounded memory, its
//! publishers a tenth of a second in ten seconds, and the other subscribers of the topic nothing.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nexum_harness::{Broker, Connect, Packet, Publish, Subscribe, Version};

use crate::memory::{MIB, mebibytes};
use crate::raw::Raw;
use crate::scene::{PROMPTLY, Scene, builder};

/// 200 MB in messages of 10,000 bytes.
const MESSAGES: u32 = 20_000;
const MESSAGE_BYTES: usize = 10_000;

/// `limits.outbound_buffer_bytes` and what one more message or batch may add.
const OUTBOUND_BYTES: u64 = MIB + MIB / 2;

/// The publisher may be held back for a tenth of a second in ten; the rest is what a busy machine
/// takes for 200 MB three times over, in a debug build.
const AT_MOST: Duration = Duration::from_secs(25);

fn subscribe(broker: &Broker, connect: Connect, qos: u8) -> Raw {
    let version = connect.version;
    let mut raw = Raw::log_in(broker, connect);
    raw.send(&Packet::from(Subscribe::new(1).filter("firehose", qos)).bytes(version));
    assert_eq!(raw.next_frame().expect("it stays open")[0], 0x90);
    raw
}

/// Messages that the publisher may be ahead of the reader, in steps of [`STEP`]: less than an
/// outbound buffer, so that the reader must get all of them however busy the machine is.
const AHEAD: u32 = 50;
const STEP: u32 = 25;

/// Reads `MESSAGES` messages and acknowledges those of QoS 1, reporting each step. Says what was
/// missing.
fn read_all(mut raw: Raw, qos: u8, progress: &Sender<()>) -> Result<(), String> {
    for number in 0..MESSAGES {
        let Some(Packet::Publish(publish)) = raw.next_packet(Version::V311) else {
            return Err(format!("no message {number}"));
        };
        let expected = &number.to_be_bytes()[..];
        if publish.payload.get(..4) != Some(expected) || publish.payload.len() != MESSAGE_BYTES {
            return Err(format!(
                "{:02x?} instead of message {number}",
                publish.payload.get(..4)
            ));
        }
        if qos == 1 {
            let [high, low] = publish.packet_identifier.to_be_bytes();
            raw.send(&[0x40, 2, high, low]);
        }
        if (number + 1) % STEP == 0 {
            // The publisher is gone if it has failed, and says so itself.
            let _ = progress.send(());
        }
    }
    Ok(())
}

/// Publishes everything, never more than [`AHEAD`] of the reader. Returns the longest time that a
/// step took.
fn publish_all(publisher: &mut Raw, qos: u8, progress: &Receiver<()>) -> Duration {
    let mut longest = Duration::ZERO;
    let numbers: Vec<u32> = (0..MESSAGES).collect();
    for (step, some) in (0..).zip(numbers.chunks(STEP as usize)) {
        let begun = Instant::now();
        if step >= AHEAD / STEP && progress.recv_timeout(PROMPTLY).is_err() {
            // What the reader lacks is for the reader to say.
            return longest;
        }
        for number in some {
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(MESSAGE_BYTES, b'x');
            let publish = Publish::new("firehose", "").payload(&payload).qos(qos, 1);
            publisher.send(&Packet::from(publish).bytes(Version::V311));
        }
        let answers = if qos == 1 {
            some.len()
        } else {
            // At QoS 0 a ping shows that all before it was taken.
            publisher.send(&[0xC0, 0]);
            1
        };
        for _ in 0..answers {
            publisher.next_frame().expect("it stays open");
        }
        longest = longest.max(begun.elapsed());
    }
    longest
}

/// One that reads, one of each version that does not.
fn attack(qos: u8, stuck_bytes: u64) {
    let scene = Scene::start_with(
        builder()
            .set("limits.persistent_queue_messages", 1000)
            .set("limits.persistent_queue_bytes", 16 * MIB),
    );
    let stuck: Vec<Raw> = Version::ALL
        .iter()
        .map(|version| {
            let connect = Connect::new(*version, &format!("stuck {}", version.level()));
            subscribe(&scene.broker, connect.persistent(), qos)
        })
        .collect();
    let reader = subscribe(&scene.broker, Connect::new(Version::V311, "reader"), qos);
    let (report, progress) = mpsc::channel();
    let reading = thread::spawn(move || read_all(reader, qos, &report));
    let mut publisher = Raw::client(&scene.broker, Version::V311, "publisher");
    let begun = Instant::now();
    let longest = publish_all(&mut publisher, qos, &progress);
    let took = begun.elapsed();
    let read = reading.join().expect("the reader does not panic");
    let (slow, full) = (
        scene
            .metrics
            .value("nexum_messages_dropped_total{reason=\"slow_consumer\"}"),
        scene
            .metrics
            .value("nexum_messages_dropped_total{reason=\"queue_full\"}"),
    );
    println!(
        "QoS {qos}: 200 MB in {took:?}, the slowest step {longest:?}; {} more; dropped \
         for the stuck ones: {slow} by the outbound buffer, {full} by the queue",
        mebibytes(scene.growth_bytes())
    );
    assert_eq!(read, Ok(()), "the reader gets everything");
    assert!(took < AT_MOST, "{took:?}");
    // Most of it was for nobody, and all that was dropped is counted. Socket buffers and, at
    // QoS 1, queues took the rest.
    let dropped = if qos == 0 { slow } else { full };
    assert!(dropped > f64::from(MESSAGES), "{dropped}");
    drop((stuck, publisher));
    // The reader may be as far behind as the stuck ones are, for moments; and where the disk is slow
    // what the queues hold is there as message, submission, batch and in what the tables lack.
    scene.finish(3 * OUTBOUND_BYTES + 2 * stuck_bytes * 4);
}

#[test]
fn stuck_subscriber_at_qos_0_costs_its_outbound_buffer() {
    attack(0, 0);
}

/// Beside the outbound buffer, the 16 MiB of `limits.persistent_queue_bytes`.
#[test]
fn stuck_subscriber_at_qos_1_costs_its_queue() {
    attack(1, 16 * MIB);
}

/// Payloads below 4 KiB are copied for each subscriber, so a hundred stuck ones cost as many
/// outbound buffers, and no more.
#[test]
fn hundred_stuck_subscribers() {
    const STUCK: u64 = 100;
    let scene = Scene::start();
    let stuck: Vec<Raw> = (0..STUCK)
        .map(|number| {
            let connect = Connect::new(Version::V5, &format!("stuck {number}"));
            subscribe(&scene.broker, connect, 0)
        })
        .collect();
    let mut publisher = Raw::client(&scene.broker, Version::V311, "publisher");
    let begun = Instant::now();
    for number in 0..3000_u32 {
        // Below the size from which payloads are shared.
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(4000, b'x');
        let publish = Publish::new("firehose", "").payload(&payload);
        publisher.send(&Packet::from(publish).bytes(Version::V311));
    }
    publisher.send(&[0xC0, 0]);
    publisher.next_frame().expect("it stays open");
    println!(
        "{STUCK} stuck, 3,000 messages of 4,000 bytes: {:?}, {} more",
        begun.elapsed(),
        mebibytes(scene.growth_bytes())
    );
    drop((stuck, publisher));
    scene.finish(STUCK * OUTBOUND_BYTES);
}
