//! Against a naive model, against a host that does its worst, and against nonsense.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nexum_delay::{Delay, Settings};
use nexum_extension_api::{
    Address, Command, CommandId, ConsumerId, ErrorCode, Extension, FeedId, Input, Options, Output,
    PublicationId, ReadId, Refusal, Subscribe, WhenRefused, WriteId, WriteRefusal,
};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};
use proptest::prelude::*;
use proptest::sample::select;

use crate::bench::Bench;
use crate::{driver, gauges, payloads};

fn options(delay_ms: u64, id: Option<u8>) -> Options {
    Options {
        delay: Some(Duration::from_millis(delay_ms)),
        id: id.map(|id| format!("id-{id}").into_boxed_str()),
        ..Options::default()
    }
}

fn id() -> impl Strategy<Value = u8> {
    0..3_u8
}

#[derive(Clone, Debug)]
enum Step {
    Publish { delay_ms: u64, id: Option<u8> },
    Cancel(u8),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..5_000_u64, prop::option::of(id()))
            .prop_map(|(delay_ms, id)| Step::Publish { delay_ms, id }),
        // The same time for many, so that the order of arrival counts.
        3 => Just(Step::Publish { delay_ms: 1_000, id: None }),
        2 => id().prop_map(Step::Cancel),
        2 => (0..3_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// What anybody would write who had no disk and no crash.
#[derive(Default)]
struct Model {
    /// Due time, payload, id.
    pending: Vec<(Time, usize, Option<u8>)>,
    published: Vec<String>,
}

impl Model {
    fn holds(&self, id: u8) -> bool {
        self.pending.iter().any(|it| it.2 == Some(id))
    }

    fn come_to(&mut self, now: Time) {
        self.pending
            .sort_by_key(|(due, payload, _)| (*due, *payload));
        let later = self.pending.partition_point(|(due, ..)| *due <= now);
        let due = self.pending.drain(..later);
        self.published
            .extend(due.map(|(_, payload, _)| payload.to_string()));
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut driver = driver();
        let mut model = Model::default();
        let mut published = Vec::new();
        for (payload, step) in steps.into_iter().enumerate() {
            match step {
                Step::Publish { delay_ms, id } => {
                    let text = payload.to_string();
                    let options = options(delay_ms, id);
                    let due = driver.now() + Duration::from_millis(delay_ms);
                    let reply = driver.publish_with("$delayed/at/t", text.as_bytes(), options);
                    let is_duplicate = !reply.expect("it is stored").properties.is_empty();
                    prop_assert_eq!(is_duplicate, id.is_some_and(|id| model.holds(id)));
                    if !is_duplicate {
                        model.pending.push((due, payload, id));
                    }
                }
                Step::Cancel(id) => {
                    let reply = driver.publish(&format!("$delayed/_/$cancel/id-{id}"), b"");
                    prop_assert_eq!(reply.is_ok(), model.holds(id));
                    model.pending.retain(|it| it.2 != Some(id));
                }
                Step::Wait(milliseconds) => driver.wait(Duration::from_millis(milliseconds)),
                Step::Restart => driver.restart().expect("its own records"),
            }
            model.come_to(driver.now());
            published.extend(payloads(&mut driver));
            prop_assert_eq!(&published, &model.published);
            prop_assert_eq!(gauges(driver.extension()).0, model.pending.len() as f64);
        }
    }
}

proptest! {
    #[test]
    fn what_became_due_while_it_was_down_comes_in_order(
        delays_ms in prop::collection::vec(0..20_u64, 1..1_200),
        down_ms in 0..25_u64,
    ) {
        let mut bench = Bench::new(Settings::default());
        let begun = bench.now;
        let mut model = Model::default();
        bench.reads_at_once = false;
        for (payload, delay_ms) in delays_ms.into_iter().enumerate() {
            bench.publish("t", payload.to_string().as_bytes(), options(delay_ms, None));
            model.pending.push((begun + Duration::from_millis(delay_ms), payload, None));
        }
        bench.now = begun + Duration::from_millis(down_ms);
        bench.reads_at_once = true;
        bench.restart();
        for wait_ms in [0, 25] {
            bench.wait(Duration::from_millis(wait_ms));
            model.come_to(bench.now);
            let published = std::iter::from_fn(|| bench.accept_next());
            let published = published.map(|it| number_of(&it.message).to_string());
            let published: Vec<String> = published.collect();
            let expected = std::mem::take(&mut model.published);
            prop_assert_eq!(published, expected);
        }
        prop_assert_eq!(bench.stored(), 0);
    }
}

/// What a host, a disk and other people may do, in any order.
#[derive(Clone, Debug)]
enum Turn {
    Publish {
        delay_ms: u64,
        id: Option<u8>,
    },
    Cancel(u8),
    Wait(u64),
    StoreNext(WhenRefused),
    RefuseNext,
    AnswerRead,
    Accept,
    Refuse(ErrorCode),
    /// And of each publication without an answer, whether it had been stored.
    Crash(Vec<bool>, u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        6 => (0..3_000_u64, prop::option::of(id()))
            .prop_map(|(delay_ms, id)| Turn::Publish { delay_ms, id }),
        3 => id().prop_map(Turn::Cancel),
        3 => (0..3_000_u64).prop_map(Turn::Wait),
        6 => Just(Turn::StoreNext(WhenRefused::Tell)),
        2 => Just(Turn::StoreNext(WhenRefused::Retry)),
        1 => Just(Turn::RefuseNext),
        4 => Just(Turn::AnswerRead),
        3 => Just(Turn::Accept),
        2 => select(vec![ErrorCode::Unavailable, ErrorCode::NotFound]).prop_map(Turn::Refuse),
        1 => (prop::collection::vec(any::<bool>(), 8), 0..3_000_u64)
            .prop_map(|(stored, down_ms)| Turn::Crash(stored, down_ms)),
    ]
}

/// What is known of one message.
#[derive(Debug)]
struct Fate {
    due: Time,
    id: Option<u8>,
    told: Told,
    /// Somebody wanted it not to be published.
    is_unwanted: bool,
    /// And was told that it will not be.
    is_cancelled: bool,
    is_dropped: bool,
    published: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Stored,
    Duplicate,
    Refused,
}

struct Worst {
    bench: Bench,
    fates: Vec<Fate>,
    publishers: BTreeMap<CommandId, usize>,
    /// Whose id, and how many messages there were then.
    cancels: BTreeMap<CommandId, (u8, usize)>,
}

impl Worst {
    fn take(&mut self, turn: Turn) {
        let bench = &mut self.bench;
        match turn {
            Turn::Publish { delay_ms, id } => {
                let fate = Fate {
                    due: bench.now + Duration::from_millis(delay_ms),
                    id,
                    told: Told::Nothing,
                    is_unwanted: false,
                    is_cancelled: false,
                    is_dropped: false,
                    published: 0,
                };
                let number = self.fates.len();
                self.fates.push(fate);
                let payload = number.to_string();
                let command = bench.publish("t", payload.as_bytes(), options(delay_ms, id));
                self.publishers.insert(command, number);
            }
            Turn::Cancel(id) => {
                for fate in self.fates.iter_mut().filter(|fate| fate.id == Some(id)) {
                    fate.is_unwanted = true;
                }
                let command = bench.cancel(&format!("id-{id}"));
                self.cancels.insert(command, (id, self.fates.len()));
            }
            Turn::Wait(milliseconds) => bench.wait(Duration::from_millis(milliseconds)),
            Turn::StoreNext(when_refused) => {
                bench.store_next(when_refused);
            }
            Turn::RefuseNext => {
                bench.refuse_next();
            }
            Turn::AnswerRead => {
                bench.answer_next_read();
            }
            Turn::Accept => {
                if let Some(publish) = bench.accept_next() {
                    self.fates[number_of(&publish.message)].published += 1;
                }
            }
            Turn::Refuse(code) => {
                let refused = bench.answer_next(Some(Refusal::new(code, "")));
                if let Some(publish) = refused
                    && code == ErrorCode::NotFound
                {
                    self.fates[number_of(&publish.message)].is_dropped = true;
                }
            }
            Turn::Crash(stored, down_ms) => {
                let publications = std::mem::take(&mut bench.publications);
                for (publish, is_stored) in publications.into_iter().zip(stored) {
                    if is_stored {
                        self.fates[number_of(&publish.message)].published += 1;
                        bench.apply(publish.changes);
                    }
                }
                self.publishers.clear();
                self.cancels.clear();
                bench.now = bench.now + Duration::from_millis(down_ms);
                bench.restart();
            }
        }
        self.note_replies();
        self.check();
    }

    fn note_replies(&mut self) {
        let bench = &self.bench;
        self.publishers.retain(|command, number| {
            let told = match bench.reply(*command) {
                None => return true,
                Some(Ok(reply)) if reply.properties.is_empty() => Told::Stored,
                Some(Ok(_)) => Told::Duplicate,
                Some(Err(_)) => Told::Refused,
            };
            self.fates[*number].told = told;
            false
        });
        self.cancels.retain(|command, (id, count)| {
            let Some(reply) = bench.reply(*command) else {
                return true;
            };
            if reply.is_ok() {
                let before = self.fates[..*count].iter_mut();
                for fate in before.filter(|fate| fate.id == Some(*id) && fate.published == 0) {
                    fate.is_cancelled = true;
                }
            }
            false
        });
    }

    fn check(&self) {
        for publish in &self.bench.publications {
            let fate = &self.fates[number_of(&publish.message)];
            assert!(fate.due <= self.bench.now, "early: {fate:?}");
            assert!(!fate.is_cancelled, "cancelled: {fate:?}");
            assert_eq!(fate.published, 0, "published again: {fate:?}");
        }
    }

    /// Everything goes well from now on.
    fn settle(&mut self) {
        self.bench.is_quick = true;
        self.bench.reads_at_once = true;
        self.bench.store_all();
        while self.bench.answer_next_read() {}
        for _ in 0..2 {
            while !self.bench.publications.is_empty() {
                self.take(Turn::Accept);
            }
            self.take(Turn::Wait(1_000_000));
        }
        assert_eq!(self.bench.unanswered(), 0);
        assert_eq!(self.bench.stored(), 0);
        assert_eq!(gauges(&self.bench.delay), (0.0, 0.0));
        for fate in &self.fates {
            match fate.told {
                Told::Stored if fate.is_unwanted || fate.is_dropped => {
                    assert!(fate.published <= 1, "{fate:?}");
                }
                Told::Stored => assert_eq!(fate.published, 1, "{fate:?}"),
                Told::Nothing => assert!(fate.published <= 1, "{fate:?}"),
                Told::Duplicate | Told::Refused => assert_eq!(fate.published, 0, "{fate:?}"),
            }
        }
    }
}

fn number_of(message: &Message) -> usize {
    let text = std::str::from_utf8(message.payload()).expect("a number");
    text.parse().expect("a number")
}

proptest! {
    #[test]
    fn every_promise_is_kept_whatever_happens(turns in prop::collection::vec(turn(), 1..120)) {
        let mut bench = Bench::new(Settings::default());
        bench.is_quick = false;
        bench.reads_at_once = false;
        let mut worst = Worst {
            bench,
            fates: Vec::new(),
            publishers: BTreeMap::new(),
            cancels: BTreeMap::new(),
        };
        for turn in turns {
            worst.take(turn);
        }
        worst.settle();
    }
}

/// Something nobody has a reason to say.
fn nonsense() -> impl Strategy<Value = Input> {
    let name = 0..40_u64;
    let text = "[ -~\u{0}-\u{2}ü$/+#]{0,12}";
    let refused = prop::option::of(select(vec![
        ErrorCode::Unavailable,
        ErrorCode::BadAddress,
        ErrorCode::QuotaExceeded,
    ]));
    let address = prop_oneof![
        text.prop_map(|it| format!("$delayed/at/{it}")),
        text.prop_map(|it| format!("$delayed/_/$cancel/{it}")),
        text.prop_map(|it| format!("$delayed/{it}")),
        text.prop_map(|it| it),
    ]
    .prop_map(|it| Address::parse(&it).unwrap_or_else(|_| target()));
    let delay = prop_oneof![
        Just(None),
        Just(Some(Duration::ZERO)),
        Just(Some(Duration::MAX)),
        (0..5_u64).prop_map(|it| Some(Duration::from_secs(it))),
    ];
    let command = (address.clone(), delay, prop::option::of(text));
    prop_oneof![
        6 => command.prop_map(|(address, delay, id)| {
            Input::Command(Command {
                id: CommandId { shard: 0, key: 0 },
                address,
                message: Arc::new(message()),
                options: Some(Box::new(Options {
                    delay,
                    key: id.clone().map(Box::from),
                    id: id.map(Box::from),
                    ..Options::default()
                })),
                client_id: None,
            })
        }),
        1 => address.prop_map(|address| {
            Input::Subscribe(Subscribe {
                feed: FeedId { shard: 0, key: 0 },
                consumer: ConsumerId { shard: 0, key: 0 },
                address,
                maximum_qos: QoS::AtLeastOnce,
                wants_present: true,
                share_name: None,
                options: None,
            })
        }),
        1 => Just(Input::Start { seed: 0 }),
        6 => (name.clone(), any::<bool>()).prop_map(|(name, is_refused)| Input::Written {
            write: WriteId(name),
            refused: is_refused.then(|| WriteRefusal { reason: "full".into() }),
        }),
        4 => (name.clone(), prop::collection::vec(
            prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), 0..4,
        )).prop_map(|(name, values)| Input::Read {
            read: ReadId(name),
            values: values.into_iter().map(|it| it.map(Box::from)).collect(),
        }),
        4 => (name, refused).prop_map(|(name, refused)| Input::Published {
            publication: PublicationId(name),
            refused: refused.map(|code| Refusal::new(code, "")),
        }),
    ]
}

fn target() -> Address {
    Address::parse("$delayed/at/t").expect("an address")
}

fn message() -> Message {
    Message::new(MessageParts {
        topic: TopicName::new("t").expect("a topic"),
        properties: &[],
        payload: b"payload",
        qos: QoS::AtMostOnce,
        retain: false,
        published_at: Time::ZERO,
        expires_at: None,
    })
}

proptest! {
    #[test]
    fn nonsense_does_no_harm(
        inputs in prop::collection::vec((nonsense(), 0..10_000_000_u64), 1..80),
        records in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..13), prop::collection::vec(any::<u8>(), 0..40)),
            0..4,
        ),
    ) {
        let mut delay = Delay::new(Settings { maximum_messages: 10, maximum_bytes: 1_000 });
        for (key, value) in records {
            let _ = delay.restore(&key, &value, Time::ZERO);
        }
        let mut replied = BTreeSet::new();
        for (place, (mut input, now)) in inputs.into_iter().enumerate() {
            // The clock goes back, too.
            let now = Time::from_micros(now);
            if let Input::Command(command) = &mut input {
                command.id.key = place as u64;
            }
            delay.handle(input, now);
            while let Some(output) = delay.poll_output() {
                if let Output::Reply { command, .. } = output {
                    prop_assert!(replied.insert(command), "a command has one reply");
                }
            }
            if delay.poll_timeout().is_some_and(|due| due <= now) {
                delay.handle_timeout(now);
            }
            let (messages, bytes) = gauges(&delay);
            prop_assert!(messages <= 10.0 && bytes <= 1_000.0);
        }
    }
}
