//! Clients that do nothing wrong while others do.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nexum_harness::{Broker, Peer, Publish, Version};

use crate::scene::DEBUG;

/// No message and no acknowledgement of a healthy client may take longer, on a machine that is
/// busy with the attack and with other tests, and builds perhaps.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(if DEBUG { 9 } else { 3 });

/// Between two rounds, so that they do not use up the processor time of the attack.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(5);

/// Two pairs that exchange messages at QoS 0 and 1 in both versions until they are stopped.
pub(crate) struct Healthy {
    stop: Sender<()>,
    thread: JoinHandle<Exchanged>,
}

struct Exchanged {
    messages: u32,
    longest: Duration,
}

struct Pair {
    publisher: Peer,
    subscriber: Peer,
    topic: String,
}

impl Pair {
    fn new(broker: &Broker, from: Version, to: Version) -> Pair {
        let topic = format!("healthy/{}", from.level());
        let mut subscriber = broker.client(to, &format!("healthy subscriber {}", to.level()));
        subscriber.subscribe(&topic, 1);
        let publisher = broker.client(from, &format!("healthy publisher {}", from.level()));
        Pair {
            publisher,
            subscriber,
            topic,
        }
    }

    /// A message at each QoS, waited for and acknowledged. The payloads are in sequence, so a
    /// message that is lost, repeated or late is not the one expected.
    fn exchange(&mut self, payload: &str) {
        self.publisher.send(Publish::new(&self.topic, payload));
        assert_eq!(self.subscriber.expect_message().payload, payload.as_bytes());
        let identifier = self.publisher.next_identifier();
        self.publisher
            .publish(Publish::new(&self.topic, payload).qos1(identifier));
        assert_eq!(self.subscriber.expect_message().payload, payload.as_bytes());
    }
}

impl Healthy {
    /// Returns after the first round, so that what follows comes on top of it.
    #[track_caller]
    pub(crate) fn start(broker: &Broker) -> Healthy {
        let mut pairs = [
            Pair::new(broker, Version::V311, Version::V5),
            Pair::new(broker, Version::V5, Version::V311),
        ];
        for pair in &mut pairs {
            pair.exchange("first");
        }
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut exchanged = Exchanged {
                messages: 0,
                longest: Duration::ZERO,
            };
            loop {
                // The last round begins after the attack, so that there is one in any case.
                let goes_on =
                    stopped.recv_timeout(BETWEEN_ROUNDS) == Err(RecvTimeoutError::Timeout);
                for pair in &mut pairs {
                    let begun = Instant::now();
                    pair.exchange(&exchanged.messages.to_string());
                    exchanged.longest = exchanged.longest.max(begun.elapsed());
                    exchanged.messages += 2;
                }
                if !goes_on {
                    break;
                }
            }
            for pair in pairs {
                pair.publisher.disconnect();
                pair.subscriber.disconnect();
            }
            exchanged
        });
        Healthy { stop, thread }
    }

    /// Stops them.
    ///
    /// # Panics
    /// If they lost a message or waited too long.
    #[track_caller]
    pub(crate) fn finish(self) {
        drop(self.stop);
        let exchanged = self
            .thread
            .join()
            .expect("the healthy clients lose nothing");
        let Exchanged { messages, longest } = exchanged;
        println!("healthy clients: {messages} messages, the slowest exchange took {longest:?}");
        assert!(
            longest <= LONGEST_PAUSE,
            "a healthy client waited for {longest:?}"
        );
    }
}
