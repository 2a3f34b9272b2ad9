//! Whatever changes were submitted, what comes back is what a map of keys says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nexum_core::{
    Change, Content, DeliveryRecord, ExchangeRecord, Key, MessageId, Restored, SessionId,
    SessionRecord, ShardId, SubscriptionRecord, Value, Will, home_of,
};
use nexum_records::{read_message, tables};
use nexum_types::{Message, MessageParts, PacketIdentifier, QoS, Time, TopicName};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::sample::packet_identifier;
use crate::world::{SEED, SHARDS, World, words};

#[derive(Clone, Debug)]
enum Step {
    Submit(Vec<Change>),
    Checkpoint,
    Crash,
}

type Model = BTreeMap<Key, Value>;

pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    vec(change(), 0..40)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(change(), 1..6).prop_map(Step::Submit),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Crash),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    (put(), 0_u8..5).prop_map(|(put, dice)| match put {
        Change::Put(key, _) if dice == 0 => Change::Delete(key),
        put => put,
    })
}

fn put() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => session(),
        1 => subscription(),
        1 => will(),
        4 => delivery(),
        1 => exchange(),
        1 => (session_id(), identifier())
            .prop_map(|(s, p)| Change::Put(Key::Received(s, p), Value::Received)),
        3 => (message_id(), topic().prop_flat_map(message))
            .prop_map(|(id, message)| Change::Put(Key::Message(id), Value::Message(message))),
        2 => (group(), 0_u64..4, message_id())
            .prop_map(|(group, p, id)| Change::Put(Key::Waiting(group, p), Value::Waiting(id))),
        1 => retained(),
    ]
}

fn session_id() -> impl Strategy<Value = SessionId> {
    prop_oneof![9 => 0_u64..5, 1 => 250_u64..260].prop_map(SessionId)
}

fn message_id() -> impl Strategy<Value = MessageId> {
    prop_oneof![9 => 0_u64..5, 1 => 250_u64..260].prop_map(MessageId)
}

fn identifier() -> impl Strategy<Value = PacketIdentifier> {
    prop_oneof![1_u16..4, Just(255), Just(256), Just(u16::MAX)].prop_map(packet_identifier)
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(&QoS::ALL[..])
}

fn time() -> impl Strategy<Value = Time> {
    any::<u64>().prop_map(Time::from_micros)
}

fn group() -> impl Strategy<Value = Arc<str>> {
    let names = vec!["g/a", "g/a\u{1}", "g/ab", "g/a/#", "é/+"];
    prop::sample::select(names).prop_map(Arc::from)
}

fn topic() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "a/b", "$s", "é/ü", "/"])
}

fn message(topic: &'static str) -> impl Strategy<Value = Arc<Message>> {
    let rest = (vec(any::<u8>(), 0..6), vec(any::<u8>(), 0..300));
    (rest, qos(), any::<bool>(), time(), option::of(time())).prop_map(
        move |((properties, payload), qos, retain, published_at, expires_at)| {
            Arc::new(Message::new(MessageParts {
                topic: TopicName::new(topic).expect("it is one"),
                properties: &properties,
                payload: &payload,
                qos,
                retain,
                published_at,
                expires_at,
            }))
        },
    )
}

fn session() -> impl Strategy<Value = Change> {
    let client_id = prop::sample::select(vec!["a", "b", "long name", "é"]);
    let expiry = prop_oneof![1 => Just(0), 5 => 1_u32..];
    (session_id(), client_id, expiry, option::of(time())).prop_map(
        |(id, client_id, expiry_interval_seconds, disconnected_at)| {
            let record = SessionRecord {
                client_id: Arc::from(client_id),
                expiry_interval_seconds,
                disconnected_at,
            };
            Change::Put(Key::Session(id), Value::Session(record))
        },
    )
}

fn subscription() -> impl Strategy<Value = Change> {
    let filter = prop::sample::select(vec!["#", "a/+", "$share/g/a", "é"]);
    let flags = (any::<bool>(), any::<bool>());
    (session_id(), filter, qos(), flags, option::of(any::<u32>())).prop_map(
        |(id, filter, maximum_qos, (no_local, retain_as_published), identifier)| {
            let record = SubscriptionRecord {
                maximum_qos,
                no_local,
                retain_as_published,
                identifier,
            };
            let key = Key::Subscription(id, Arc::from(filter));
            Change::Put(key, Value::Subscription(record))
        },
    )
}

fn will() -> impl Strategy<Value = Change> {
    let expiry = option::of(any::<u32>());
    (
        session_id(),
        topic().prop_flat_map(message),
        any::<u32>(),
        expiry,
    )
        .prop_map(
            |(id, message, delay_interval_seconds, message_expiry_interval_seconds)| {
                let parts = message.parts();
                let will = Will {
                    topic: Box::from(parts.topic.as_str()),
                    properties: Box::from(parts.properties),
                    payload: Box::from(parts.payload),
                    qos: parts.qos,
                    retain: parts.retain,
                    delay_interval_seconds,
                    message_expiry_interval_seconds,
                };
                Change::Put(Key::Will(id), Value::Will(Arc::new(will)))
            },
        )
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        topic().prop_flat_map(message).prop_map(Content::Inline),
        (message_id(), any::<u32>())
            .prop_map(|(id, size_bytes)| Content::Shared { id, size_bytes }),
    ]
}

fn delivery() -> impl Strategy<Value = Change> {
    let position = prop_oneof![9 => 0_u64..4, 1 => any::<u64>()];
    let extras = (
        vec(any::<u32>(), 0..4),
        option::of(group()),
        option::of(identifier()),
    );
    let key = (session_id(), position);
    (key, content(), qos(), any::<bool>(), extras).prop_map(
        |((id, position), content, qos, retain, (identifiers, group, packet_identifier))| {
            let record = DeliveryRecord {
                content,
                qos,
                retain,
                subscription_identifiers: identifiers.into_iter().collect(),
                group,
                packet_identifier,
            };
            Change::Put(Key::Delivery(id, position), Value::Delivery(record))
        },
    )
}

fn exchange() -> impl Strategy<Value = Change> {
    (session_id(), identifier(), 0_u64..4, any::<bool>()).prop_map(
        |(id, identifier, position, released)| {
            let record = ExchangeRecord { position, released };
            Change::Put(Key::Exchange(id, identifier), Value::Exchange(record))
        },
    )
}

fn retained() -> impl Strategy<Value = Change> {
    topic().prop_flat_map(message).prop_map(|message| {
        let topic = Arc::from(message.parts().topic.as_str());
        Change::Put(Key::Retained(topic), Value::Retained(message))
    })
}

/// What never changes is put only where it is not.
pub(crate) fn lawful(model: &mut Model, changes: Vec<Change>) -> Vec<Change> {
    let mut lawful = Vec::new();
    for change in changes {
        match &change {
            Change::Put(Key::Delivery(..) | Key::Message(_) | Key::Waiting(..), _)
                if model.contains_key(change.key()) =>
            {
                continue;
            }
            Change::Put(key, value) => {
                model.insert(key.clone(), value.clone());
            }
            Change::Delete(key) => {
                model.remove(key);
            }
        }
        lawful.push(change);
    }
    lawful
}

/// What should come back.
#[derive(Default)]
struct Expected {
    restored: Vec<(ShardId, String)>,
    garbage: BTreeSet<Key>,
    lost: u64,
    next_session_id: u64,
    next_message_id: u64,
    latest: Time,
}

impl Expected {
    fn of(model: &Model) -> Expected {
        let mut expected = Expected::default();
        let homes: BTreeMap<SessionId, ShardId> = model
            .iter()
            .filter_map(|(key, value)| match (key, value) {
                (Key::Session(id), Value::Session(record))
                    if record.expiry_interval_seconds > 0 =>
                {
                    Some((*id, home_of(SEED, SHARDS, &record.client_id)))
                }
                _ => None,
            })
            .collect();
        let mut references = BTreeMap::new();
        for (key, value) in model {
            if let Some(session) = session_of(key) {
                expected.see_session(session);
            }
            if let Some(id) = message_named(key, value) {
                expected.see_message(id);
            }
            match (session_of(key), message_named(key, value)) {
                (Some(session), _) if !homes.contains_key(&session) => {
                    expected.garbage.insert(key.clone());
                }
                (_, Some(id)) if !model.contains_key(&Key::Message(id)) => {
                    expected.garbage.insert(key.clone());
                    expected.lost += 1;
                }
                (_, Some(id)) if !matches!(key, Key::Message(_)) => {
                    *references.entry(id).or_insert(0) += 1;
                }
                _ => {}
            }
            if let Some(time) = time_of(key, value, &homes) {
                expected.latest = expected.latest.max(time);
            }
        }
        for key in model.keys() {
            if let Key::Message(id) = key
                && !references.contains_key(id)
            {
                expected.garbage.insert(key.clone());
            }
        }
        for kind in 0..9 {
            for (key, value) in model {
                if order(key) == kind && !expected.garbage.contains(key) {
                    let (home, record) = restored(key, value, model, &homes, &references);
                    expected.restored.push((home, words(&record)));
                }
            }
        }
        expected
    }

    fn see_session(&mut self, id: SessionId) {
        self.next_session_id = self.next_session_id.max(id.0 + 1);
    }

    fn see_message(&mut self, id: MessageId) {
        self.next_message_id = self.next_message_id.max(id.0 + 1);
    }
}

fn session_of(key: &Key) -> Option<SessionId> {
    match key {
        Key::Session(id)
        | Key::Subscription(id, _)
        | Key::Will(id)
        | Key::Delivery(id, _)
        | Key::Exchange(id, _)
        | Key::Received(id, _) => Some(*id),
        Key::Message(_) | Key::Waiting(..) | Key::Retained(_) | Key::Extension(..) => None,
    }
}

fn message_named(key: &Key, value: &Value) -> Option<MessageId> {
    match (key, value) {
        (Key::Message(id), _) | (_, Value::Waiting(id)) => Some(*id),
        (
            _,
            Value::Delivery(DeliveryRecord {
                content: Content::Shared { id, .. },
                ..
            }),
        ) => Some(*id),
        _ => None,
    }
}

fn time_of(key: &Key, value: &Value, homes: &BTreeMap<SessionId, ShardId>) -> Option<Time> {
    match value {
        Value::Session(record) => record.disconnected_at,
        Value::Message(message) | Value::Retained(message) => Some(message.published_at()),
        Value::Delivery(record) => match &record.content {
            Content::Inline(message) if homes.contains_key(&session_of(key)?) => {
                Some(message.published_at())
            }
            _ => None,
        },
        _ => None,
    }
}

fn order(key: &Key) -> u8 {
    match key {
        Key::Session(_) => 0,
        Key::Subscription(..) => 1,
        Key::Will(_) => 2,
        Key::Delivery(..) => 3,
        Key::Exchange(..) => 4,
        Key::Received(..) => 5,
        Key::Waiting(..) => 6,
        Key::Message(_) => 7,
        Key::Retained(_) => 8,
        Key::Extension(..) => 9,
    }
}

fn size_of_shared(model: &Model, id: MessageId) -> u32 {
    match &model[&Key::Message(id)] {
        Value::Message(message) => message.size_bytes() as u32,
        value => panic!("a message is no {value:?}"),
    }
}

fn restored(
    key: &Key,
    value: &Value,
    model: &Model,
    homes: &BTreeMap<SessionId, ShardId>,
    references: &BTreeMap<MessageId, u32>,
) -> (ShardId, Restored) {
    let session_home = session_of(key).map(|id| homes[&id]);
    let record = match (key.clone(), value.clone()) {
        (Key::Session(id), Value::Session(record)) => Restored::Session(id, record),
        (Key::Subscription(id, filter), Value::Subscription(record)) => {
            Restored::Subscription(id, filter, record)
        }
        (Key::Will(id), Value::Will(will)) => Restored::Will(id, (*will).clone()),
        (Key::Delivery(session, position), Value::Delivery(record)) => {
            let (shared, size_bytes) = match record.content {
                Content::Inline(message) => (None, message.size_bytes() as u32),
                Content::Shared { id, .. } => (Some(id), size_of_shared(model, id)),
            };
            Restored::Delivery {
                session,
                position,
                shared,
                size_bytes,
                qos: record.qos,
                retain: record.retain,
                subscription_identifiers: record.subscription_identifiers,
                group: record.group,
                packet_identifier: record.packet_identifier,
            }
        }
        (Key::Exchange(id, identifier), Value::Exchange(record)) => {
            Restored::Exchange(id, identifier, record)
        }
        (Key::Received(id, identifier), Value::Received) => Restored::Received(id, identifier),
        (Key::Message(id), _) => {
            return (id.owner(SHARDS), Restored::Message(id, references[&id]));
        }
        (Key::Waiting(group, position), Value::Waiting(message)) => {
            let home = home_of(SEED, SHARDS, &group);
            let size_bytes = size_of_shared(model, message);
            let record = Restored::Waiting {
                group,
                position,
                message,
                size_bytes,
            };
            return (home, record);
        }
        (Key::Retained(topic), Value::Retained(message)) => {
            return (home_of(SEED, SHARDS, &topic), Restored::Retained(message));
        }
        (key, value) => panic!("{key:?} is not {value:?}"),
    };
    (session_home.expect("all others are of a session"), record)
}

fn check(world: &mut World, model: &mut Model) {
    let expected = Expected::of(model);
    let (restored, recovered) = world.recover();
    assert_eq!(restored, expected.restored);
    assert_eq!(recovered.lost.count, expected.lost);
    assert_eq!(recovered.damaged.count, 0);
    assert_eq!(recovered.next_session_id, expected.next_session_id);
    assert_eq!(recovered.next_message_id, expected.next_message_id);
    assert_eq!(recovered.latest, expected.latest);
    let counted = recovered.sessions
        + recovered.subscriptions
        + recovered.wills
        + recovered.deliveries
        + recovered.exchanges
        + recovered.received
        + recovered.waiting
        + recovered.messages
        + recovered.retained;
    assert_eq!(counted, expected.restored.len() as u64);
    for (key, value) in &*model {
        check_message(world, key, value, model);
    }

    for deletions in &recovered.garbage {
        assert!(deletions.need_no_room());
        world.submit(deletions);
    }
    model.retain(|key, _| !expected.garbage.contains(key));
    assert_eq!(world.entries().len(), model.len());
    let (restored, recovered) = world.recover();
    assert_eq!(restored, expected.restored);
    assert_eq!((recovered.garbage.len(), recovered.lost.count), (0, 0));
}

/// A message is brought back whole.
fn check_message(world: &World, key: &Key, value: &Value, model: &Model) {
    let found = read_message(&world.store.view(), key).expect("it can be read");
    let expected = match value {
        Value::Message(message) | Value::Retained(message) => Some(message),
        Value::Delivery(record) => match &record.content {
            Content::Inline(message) => Some(message),
            Content::Shared { id, .. } => match model.get(&Key::Message(*id)) {
                Some(Value::Message(message)) => Some(message),
                _ => None,
            },
        },
        _ => None,
    };
    assert_eq!(
        found.as_ref().map(Message::parts),
        expected.map(|message| message.parts())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_comes_back_is_what_was_put(steps in vec(step(), 0..40)) {
        let mut world = World::new();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Submit(changes) => world.change(&lawful(&mut model, changes)),
                Step::Checkpoint => world.checkpoint(),
                Step::Crash => {
                    world = world.crash();
                    check(&mut world, &mut model);
                }
            }
        }
        check(&mut world, &mut model);
    }

    /// Bytes that are cut, or of which a bit is another, are told or read as something else. They
    /// do not stop the rest, unless they say that a later version wrote them.
    #[test]
    fn nothing_that_is_altered_is_fatal(
        changes in changes(),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cuts in any::<bool>(),
        of_key in any::<bool>(),
    ) {
        let mut entries = World::with(&lawful(&mut Model::new(), changes)).entries();
        prop_assume!(!entries.is_empty());
        let (_, key, value) = which.get_mut(&mut entries);
        let bytes = if of_key { key } else { value };
        let at = at.index(bytes.len());
        if cuts {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << bit;
        }
        let world = World::with_entries(&entries);
        let altered = which.get(&entries);
        let is_newer = altered.0 != tables::META && altered.2.first().is_some_and(|v| *v > 1);
        match world.try_recover() {
            Ok((_, recovered)) => assert!(recovered.damaged.count <= 1),
            Err(error) => assert!(is_newer, "{error}"),
        }
        let contents = nexum_records::describe(&world.store.view()).expect("it can be read");
        assert!(contents.unreadable.count <= 1);
        for position in 0..4 {
            for id in 0..5 {
                let view = world.store.view();
                let _any = read_message(&view, &Key::Delivery(SessionId(id), position));
                let _any = read_message(&view, &Key::Message(MessageId(id)));
            }
        }
    }
}
