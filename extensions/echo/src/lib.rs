//! The smallest extension that is one: `$echo/<name>`.
//!
//! What is published to `$echo/<name>` is stored, and sent to everybody who subscribed
//! `$echo/<name>`; the last of each name is sent to whoever subscribes later. `$echo/<name>/$last`
//! is a command that replies with it. So it has everything an extension has: a command and its reply,
//! a write that a promise waits for, a feed with credit, and records that come back.
//!
//! ```
//! use nexum_echo::Echo;
//! use nexum_extension_api::driver::Driver;
//!
//! let mut driver = Driver::new(Echo::default);
//! let consumer = driver.attach(10);
//! driver.subscribe(consumer, "$echo/hall").expect("a feed");
//! driver.publish("$echo/hall", b"hello").expect("it is stored");
//! let echoes = driver.work_off(consumer);
//! assert_eq!(echoes[0].message.parts().payload, b"hello");
//! ```

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use nexum_extension_api::{
    Change, Claim, Command, CommandId, ConsumerId, Deliver, DeliveryId, ErrorCode, Extension,
    FeedId, Input, Output, RecordKey, Refusal, Reply, Subscribe, Unreadable, WhenRefused, Write,
    WriteId,
};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

/// See the [crate](self).
#[derive(Debug, Default)]
pub struct Echo {
    names: BTreeMap<Box<str>, Name>,
    consumers: BTreeMap<ConsumerId, Consumer>,
    /// Commands whose write has no answer yet.
    writing: BTreeMap<WriteId, (CommandId, Box<str>, Arc<Message>)>,
    outputs: VecDeque<Output>,
    /// One number for writes and deliveries: neither may be given twice.
    last_number: u64,
}

#[derive(Debug, Default)]
struct Name {
    last: Option<Arc<Message>>,
    feeds: BTreeMap<FeedId, ConsumerId>,
}

#[derive(Debug, Default)]
struct Consumer {
    credit: u32,
    /// What it has no credit for. An extension that promises delivery keeps such things in its own
    /// order and in bounds; this one forgets all but the newest of each feed.
    waiting: BTreeMap<FeedId, Arc<Message>>,
    feeds: BTreeSet<(Box<str>, FeedId)>,
}

/// What can be done with a name.
const VERBS: &str = "$echo/<name> takes messages, and the verb $last";

impl Echo {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn on_command(&mut self, command: Command) {
        let Command {
            id,
            address,
            message,
            options,
            ..
        } = command;
        if let Some(key) = options.and_then(|options| options.first_beyond(&[])) {
            let reason = format!("$echo takes no option '{key}'");
            let refusal = Refusal::new(ErrorCode::BadOption, reason);
            return self.outputs.push_back(Output::refuse(id, refusal));
        }
        match (address.verb(), address.has_levels()) {
            (None, false) => {
                let write = WriteId(self.next_number());
                let key = RecordKey::from(address.name().as_bytes());
                let value = Box::from(message.payload());
                // The promise: the publisher is acknowledged when this is stored.
                self.outputs.push_back(Output::Write(Write {
                    write,
                    changes: [Change::Put(key, value)].into(),
                    when_refused: WhenRefused::Retry,
                    fulfils: Some(id),
                }));
                self.writing
                    .insert(write, (id, Box::from(address.name()), message));
            }
            (Some("$last"), false) => {
                let last = self
                    .names
                    .get(address.name())
                    .and_then(|it| it.last.as_ref());
                let result = match last {
                    Some(message) => Ok(Reply {
                        payload: message.parts().payload.to_vec(),
                        ..Reply::default()
                    }),
                    None => Err(Refusal::new(
                        ErrorCode::NotFound,
                        "nothing was published under this name yet",
                    )),
                };
                self.outputs.push_back(Output::Reply {
                    command: id,
                    result,
                });
            }
            (Some(_), _) | (None, true) => {
                let refusal = Refusal::new(ErrorCode::BadAddress, VERBS);
                self.outputs.push_back(Output::refuse(id, refusal));
            }
        }
    }

    fn on_written(&mut self, write: WriteId) {
        let Some((command, name, message)) = self.writing.remove(&write) else {
            return;
        };
        self.outputs.push_back(Output::Reply {
            command,
            result: Ok(Reply::default()),
        });
        let state = self.names.entry(name).or_default();
        state.last = Some(Arc::clone(&message));
        for (feed, consumer) in state.feeds.clone() {
            self.send(feed, consumer, Arc::clone(&message));
        }
    }

    fn on_subscribe(&mut self, subscribe: Subscribe) {
        let Subscribe {
            feed,
            consumer,
            address,
            maximum_qos,
            wants_present,
            ..
        } = subscribe;
        if address.verb().is_some() || address.has_levels() {
            let refusal = Refusal::new(ErrorCode::BadAddress, VERBS);
            return self.outputs.push_back(Output::Refuse { feed, refusal });
        }
        self.outputs.push_back(Output::Grant { feed, maximum_qos });
        let name: Box<str> = Box::from(address.name());
        let state = self.names.entry(name.clone()).or_default();
        state.feeds.insert(feed, consumer);
        let last = state.last.clone().filter(|_| wants_present);
        self.consumers
            .entry(consumer)
            .or_default()
            .feeds
            .insert((name, feed));
        if let Some(message) = last {
            self.send(feed, consumer, message);
        }
    }

    /// Delivers as far as there is credit.
    fn send(&mut self, feed: FeedId, consumer: ConsumerId, message: Arc<Message>) {
        let delivery = DeliveryId(self.next_number());
        let Some(state) = self.consumers.get_mut(&consumer) else {
            return;
        };
        if state.credit == 0 {
            state.waiting.insert(feed, message);
            return;
        }
        let Some((name, _)) = state.feeds.iter().find(|(_, own)| *own == feed) else {
            return;
        };
        state.credit -= 1;
        self.outputs.push_back(Output::Deliver(Deliver {
            feed,
            consumer,
            delivery,
            topic: Arc::from(format!("$echo/{name}")),
            message,
            properties: Vec::new(),
            retain: false,
        }));
    }

    fn on_settled(&mut self, consumer: ConsumerId) {
        let Some(state) = self.consumers.get_mut(&consumer) else {
            return;
        };
        state.credit += 1;
        if let Some((feed, message)) = state.waiting.pop_first() {
            self.send(feed, consumer, message);
        }
    }

    fn close(&mut self, consumer: ConsumerId, feed: FeedId) {
        if let Some(state) = self.consumers.get_mut(&consumer) {
            state.waiting.remove(&feed);
            state.feeds.retain(|(_, own)| *own != feed);
        }
        for state in self.names.values_mut() {
            state.feeds.remove(&feed);
        }
    }
}

impl Extension for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn claims(&self) -> &'static [Claim] {
        &[Claim {
            word: "$echo",
            aliases: &[],
            delays: false,
        }]
    }

    fn restore(&mut self, key: &[u8], value: &[u8], now: Time) -> Result<(), Unreadable> {
        let unreadable = || Unreadable {
            what: format!("the key {}", key.escape_ascii()),
        };
        let name = std::str::from_utf8(key).map_err(|_| unreadable())?;
        let topic = TopicName::new("$echo").map_err(|_| unreadable())?;
        let last = Message::new(MessageParts {
            topic,
            properties: &[],
            payload: value,
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: now,
            expires_at: None,
        });
        self.names.entry(Box::from(name)).or_default().last = Some(Arc::new(last));
        Ok(())
    }

    fn handle(&mut self, input: Input, _now: Time) {
        match input {
            Input::Command(command) => self.on_command(command),
            Input::Written { write, .. } => self.on_written(write),
            Input::Attach {
                consumer, credit, ..
            } => self.consumers.entry(consumer).or_default().credit = credit,
            Input::Subscribe(subscribe) => self.on_subscribe(subscribe),
            Input::Unsubscribe(unsubscribe) => self.close(unsubscribe.consumer, unsubscribe.feed),
            Input::Settled { consumer, .. } => self.on_settled(consumer),
            Input::Detach { consumer, .. } => {
                let state = self.consumers.remove(&consumer).unwrap_or_default();
                for (_, feed) in state.feeds {
                    self.close(consumer, feed);
                }
            }
            // It captures, reads and publishes nothing.
            Input::Start { .. }
            | Input::Captured(_)
            | Input::Read { .. }
            | Input::Scanned { .. }
            | Input::Published { .. } => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn handle_timeout(&mut self, _now: Time) {}
}

#[cfg(test)]
mod tests {
    use nexum_extension_api::driver::{Driver, Store};

    use super::*;

    fn payloads(deliveries: &[Deliver]) -> Vec<&[u8]> {
        deliveries
            .iter()
            .map(|it| it.message.parts().payload)
            .collect()
    }

    #[test]
    fn a_publisher_is_acknowledged_when_it_is_stored() {
        let mut driver = Driver::new(Echo::default);
        driver.set_store(Store::Slow);
        let command = driver.command("$echo/hall", b"hello", Default::default());
        assert_eq!(driver.take_reply(command), None);
        driver.commit();
        assert_eq!(driver.take_reply(command), Some(Ok(Reply::default())));
    }

    #[test]
    fn the_last_echo_comes_back_after_a_restart() {
        let mut driver = Driver::new(Echo::default);
        driver.publish("$echo/hall", b"one").expect("stored");
        driver.publish("$echo/hall", b"two").expect("stored");
        driver.restart().expect("its own records");
        let last = driver.publish("$echo/hall/$last", b"").expect("a reply");
        assert_eq!(last.payload, b"two");
        let consumer = driver.attach(1);
        driver.subscribe(consumer, "$echo/hall").expect("a feed");
        assert_eq!(payloads(&driver.work_off(consumer)), [b"two"]);
    }

    #[test]
    fn a_consumer_without_credit_gets_the_newest_when_it_has_some() {
        let mut driver = Driver::new(Echo::default);
        let consumer = driver.attach(1);
        driver.subscribe(consumer, "$echo/hall").expect("a feed");
        for payload in [b"1", b"2", b"3"] {
            driver.publish("$echo/hall", payload).expect("stored");
        }
        let echoes = driver.work_off(consumer);
        assert_eq!(payloads(&echoes), [b"1", b"3"]);
    }

    #[test]
    fn what_it_does_not_know_it_refuses() {
        let mut driver = Driver::new(Echo::default);
        for topic in ["$echo/hall/x", "$echo/hall/$shout", "$echo/hall/x/$last"] {
            let refusal = driver.publish(topic, b"").expect_err(topic);
            assert_eq!(refusal.code, ErrorCode::BadAddress);
        }
        let consumer = driver.attach(1);
        assert!(driver.subscribe(consumer, "$echo/hall/#").is_err());
        let missing = driver.publish("$echo/nobody/$last", b"");
        assert!(matches!(missing, Err(refusal) if refusal.code == ErrorCode::NotFound));
    }
}
