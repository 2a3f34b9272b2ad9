//! kill -9: what an acknowledgement promises outlives the process that gave it.
//!
//! One run is one data directory and many rounds. In each the real broker starts, with another
//! number of shards than before; publishers, persistent subscribers and clients with wills connect,
//! send, receive, vanish and come back; and in the middle of it the broker gets SIGKILL. Every few
//! rounds everybody may finish, and [`verdict`] compares what was promised with what came:
//!
//! - CONNACK: the session is there from then on;
//! - SUBACK: what is published afterwards arrives;
//! - PUBACK and PUBREC: the message arrives at every subscriber, from QoS 2 to QoS 2 exactly once,
//!   in the order of its publisher and topic; and it is what the topic retains, if it should be;
//! - PUBCOMP and PUBREL: the identifier may serve another message, and no message is lost or
//!   repeated by it;
//! - a will whose CONNECT was accepted is published, though the broker died with its client.
//!
//! It speaks MQTT only and never looks into the data directory; what the system does when the
//! power fails is not shown here, for what a killed process has written the system still has.
//!
//! A seed decides who comes and what is sent, but not when the kill strikes, so a run does not
//! repeat to the last byte. `NEXUM_CRASH_SEED` sets it, `NEXUM_CRASH_ROUNDS` the number of rounds.

#![expect(
    clippy::print_stdout,
    reason = "a run that fails shows which round it was"
)]

mod breach;
mod cast;
mod catalogue;
mod clock;
mod events;
mod publisher;
mod random;
mod retained;
mod rounds;
mod session;
mod subscriber;
mod testator;
mod verdict;

const SEED: u64 = 1;
const ROUNDS: u64 = 12;

#[test]
fn acknowledged_is_kept_through_kill_9() {
    let seed = number("NEXUM_CRASH_SEED", SEED);
    let rounds = number("NEXUM_CRASH_ROUNDS", ROUNDS);
    println!("NEXUM_CRASH_SEED={seed} NEXUM_CRASH_ROUNDS={rounds}");
    rounds::Run::new(seed).play(rounds as usize);
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => default,
    }
}
