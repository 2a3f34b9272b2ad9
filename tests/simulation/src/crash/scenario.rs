//! What a seed decides before anything happens.

use std::time::Duration;

use nexum_core::{Limits, SharedSubscriptionStrategy};
use nexum_delay::Delay;
use nexum_extension_host::Composed;
use nexum_queue::{Backoff, Order, QueueOptions, Queues};
use nexum_storage::Options;
use nexum_types::{ProtocolVersion, QoS};

use super::faults::Trouble;
use crate::random::{Random, Span};

/// Who is there in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cast {
    /// Clients who publish and subscribe to plain topics.
    #[default]
    Plain,
    /// Beside them, clients of work queues and of delayed messages.
    Extensions,
}

pub(super) struct Scenario {
    pub(super) clients: Vec<Traits>,
    pub(super) limits: Limits,
    pub(super) options: Options,
    /// From a client to the broker and back.
    pub(super) network: Span,
    /// From one shard to another.
    pub(super) peers: Span,
    /// Until a shard does what it has to do.
    pub(super) turn: Span,
    /// While submissions gather for a commit.
    pub(super) gathering: Span,
    /// From a commit to its answers.
    pub(super) answering: Span,
    pub(super) loading: Span,
    /// Until the broker has started again.
    pub(super) restarting: Span,
    pub(super) checkpoint_percent: u32,
    /// How long there is trouble, and what, and when.
    pub(super) lasts: Duration,
    pub(super) troubles: Vec<(Duration, Trouble)>,
    /// How many shards at each start; the last number goes on.
    pub(super) shards: Vec<u16>,
    /// None where there are no extensions.
    pub(super) extended: Option<Extended>,
}

/// What a seed decides about extensions.
#[derive(Clone, Debug)]
pub(super) struct Extended {
    /// From a shard to an extension and back.
    crossing: Span,
    settings: nexum_queue::Settings,
    pub(super) visibility: Duration,
    pub(super) order: Order,
    /// How many clients consume.
    pub(super) consumers: usize,
    /// Which queue captures [`CAPTURED`].
    pub(super) captor: Option<&'static str>,
}

/// The queues that there are.
pub(super) const QUEUES: [&str; 2] = ["jobs", "more"];

/// What begins with this is captured, if anything is.
pub(super) const CAPTURED: &str = "c/";

pub(super) const QUEUE_TABLE: u16 = 16;
pub(super) const DELAY_TABLE: u16 = 17;

/// How a consumer treats what it gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Treatment {
    pub(super) refuses_percent: u32,
    /// It never answers.
    pub(super) ignores_percent: u32,
}

/// What a client is like.
#[derive(Clone, Debug)]
pub(super) struct Traits {
    pub(super) client_id: String,
    pub(super) version: ProtocolVersion,
    /// Its session outlives its connections.
    pub(super) persistent: bool,
    pub(super) publishes: u32,
    pub(super) topics: Vec<String>,
    /// Of those, it retains on this one, and it is the only one that does.
    pub(super) retained_topic: Option<String>,
    /// It does so at one QoS: sent again, QoS 1 would be retained anew, and QoS 2 behind it not.
    pub(super) retained_qos: QoS,
    /// Each of its messages has a Content Type of its own.
    pub(super) labels: bool,
    /// What it pushes has an `id`.
    pub(super) identifies: bool,
    /// In the end it sends one message at a time: sent together, those that are taken could fill a
    /// queue again and again, and the refusal of another one end the connection of all.
    pub(super) is_careful: bool,
    pub(super) window: usize,
    pub(super) subscribes: u32,
    pub(super) filters: Vec<(String, QoS)>,
    pub(super) unsubscribes: u32,
    pub(super) leaves: u32,
    pub(super) clean_start_percent: u32,
    pub(super) will_percent: u32,
    pub(super) acts: Span,
    pub(super) answers: Span,
    pub(super) pause: Span,
    pub(super) receive_maximum: u16,
    /// If it consumes from queues.
    pub(super) treatment: Option<Treatment>,
}

impl Traits {
    /// Somebody who only looks at what is retained, at the end.
    fn auditor() -> Traits {
        Traits {
            client_id: "auditor".to_owned(),
            version: ProtocolVersion::V5,
            persistent: false,
            publishes: 0,
            topics: Vec::new(),
            retained_topic: None,
            retained_qos: QoS::AtLeastOnce,
            labels: false,
            identifies: false,
            is_careful: false,
            window: 100,
            subscribes: 0,
            filters: Vec::new(),
            unsubscribes: 0,
            leaves: 0,
            clean_start_percent: 0,
            will_percent: 0,
            acts: Span::millis(1, 2),
            answers: Span::millis(0, 0),
            pause: Span::millis(1, 5),
            receive_maximum: 100,
            treatment: None,
        }
    }
}

const FILTERS: [&str; 9] = [
    "p0/#", "p1/#", "p2/#", "p0/a", "+/a", "+/b", "w/#", "r/#", "#",
];
/// Nobody who is subscribed to anything else of it gets what is published here.
pub(super) const SHARED_TOPIC: &str = "s/x";
const SHARED_FILTER: &str = "$share/group/s/#";

impl Scenario {
    pub(super) fn new(seed: u64, cast: Cast) -> Scenario {
        let mut scenario = Scenario::plain(seed);
        if cast == Cast::Extensions {
            scenario.extend(seed);
        }
        scenario
    }

    /// The extensions with nothing restored, in their places.
    pub(super) fn compose(&self) -> Vec<Composed> {
        let Some(extended) = &self.extended else {
            return Vec::new();
        };
        vec![
            Composed {
                table: QUEUE_TABLE,
                extension: Box::new(Queues::new(extended.settings.clone())),
            },
            Composed {
                table: DELAY_TABLE,
                extension: Box::new(Delay::new(nexum_delay::Settings::default())),
            },
        ]
    }

    /// From a shard to an extension and back.
    pub(super) fn crossing(&self) -> Span {
        let extended = self.extended.as_ref();
        extended.map_or(self.peers, |extended| extended.crossing)
    }

    /// Half of the clients make room for others.
    fn extend(&mut self, seed: u64) {
        let mut random = Random::new(seed.rotate_left(17)).fork();
        let random = &mut random;
        let extended = extended(random);
        let consumers = extended.consumers;
        let producers = random.between(1, 3) as usize;
        let plain = random.between(0, 1) as usize;
        let mut clients: Vec<Traits> = Vec::new();
        for number in 0..producers {
            clients.push(producer(random, number));
        }
        for number in 0..plain {
            clients.push(subscriber(random, number, false));
            let filters = [
                ("d/#", "p0/#"),
                ("c/#", "d/#"),
                ("#", "d/+"),
                ("d/0", "c/+"),
            ];
            let (one, other) = *random.pick(&filters);
            let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce];
            if let Some(last) = clients.last_mut() {
                last.filters = [one, other]
                    .map(|it| (it.to_owned(), *random.pick(&qos)))
                    .to_vec();
            }
        }
        for number in 0..consumers {
            clients.push(consumer(random, number));
        }
        clients.push(Traits {
            treatment: Some(Treatment {
                refuses_percent: 0,
                ignores_percent: 0,
            }),
            ..Traits::auditor()
        });
        self.clients = clients;
        // Otherwise they would take what is refused for kept.
        self.limits.v311_refused_publish_closes = true;
        self.extended = Some(extended);
    }

    fn plain(seed: u64) -> Scenario {
        let mut random = Random::new(seed).fork();
        let random = &mut random;
        let publishers = random.between(1, 3) as usize;
        let subscribers = random.between(1, 3) as usize;
        let shares = random.percent(25);
        let mut clients: Vec<Traits> = Vec::new();
        for number in 0..publishers {
            clients.push(publisher(random, number, shares));
        }
        for number in 0..subscribers {
            clients.push(subscriber(random, number, shares));
        }
        clients.push(Traits::auditor());
        let lasts = Duration::from_millis(random.between(1_500, 5_000));
        let mut troubles: Vec<(Duration, Trouble)> = (0..random.between(1, 4))
            .map(|_| {
                let at = Duration::from_millis(random.between(100, lasts.as_millis() as u64));
                (at, Trouble::new(random))
            })
            .collect();
        troubles.sort_by_key(|(at, _)| *at);
        let changes_shards = random.percent(40);
        let first = random.between(1, 3) as u16;
        let shards = (0..6)
            .map(|_| {
                if changes_shards {
                    random.between(1, 3) as u16
                } else {
                    first
                }
            })
            .collect();
        Scenario {
            clients,
            limits: limits(random),
            options: options(random),
            network: *random.pick(&[Span::micros(20, 400), Span::millis(1, 20)]),
            peers: *random.pick(&[Span::micros(5, 50), Span::micros(100, 8_000)]),
            turn: *random.pick(&[Span::micros(1, 20), Span::micros(10, 3_000)]),
            gathering: *random.pick(&[Span::micros(0, 100), Span::micros(100, 8_000)]),
            answering: *random.pick(&[Span::micros(1, 50), Span::micros(500, 15_000)]),
            loading: *random.pick(&[Span::micros(1, 50), Span::micros(500, 20_000)]),
            restarting: Span::millis(1, 300),
            checkpoint_percent: *random.pick(&[0, 2, 20]),
            lasts,
            troubles,
            shards,
            extended: None,
        }
    }
}

fn version(random: &mut Random) -> ProtocolVersion {
    if random.percent(35) {
        ProtocolVersion::V3_1_1
    } else {
        ProtocolVersion::V5
    }
}

fn publisher(random: &mut Random, number: usize, shares: bool) -> Traits {
    let mut topics = vec![format!("p{number}/a"), format!("p{number}/b")];
    if shares {
        topics.push(SHARED_TOPIC.to_owned());
    }
    Traits {
        client_id: format!("publisher-{number}"),
        version: version(random),
        persistent: random.percent(70),
        publishes: 80,
        topics,
        retained_topic: random.percent(60).then(|| format!("r/{number}")),
        retained_qos: *random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]),
        labels: false,
        identifies: false,
        is_careful: false,
        window: random.between(1, 12) as usize,
        subscribes: 0,
        filters: Vec::new(),
        unsubscribes: 0,
        leaves: random.between(0, 4) as u32,
        clean_start_percent: *random.pick(&[0, 0, 5]),
        will_percent: *random.pick(&[0, 60]),
        acts: *random.pick(&[Span::millis(2, 30), Span::millis(10, 100)]),
        answers: Span::millis(0, 0),
        pause: *random.pick(&[Span::millis(1, 50), Span::millis(10, 600)]),
        receive_maximum: 20,
        treatment: None,
    }
}

fn subscriber(random: &mut Random, number: usize, shares: bool) -> Traits {
    let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce];
    let mut filters: Vec<(String, QoS)> = (0..random.between(1, 3))
        .map(|_| ((*random.pick(&FILTERS)).to_owned(), *random.pick(&qos)))
        .collect();
    if shares {
        // What a group gets must not come to its members otherwise.
        filters.retain(|(filter, _)| filter != "#");
        if number < 2 {
            filters.push((SHARED_FILTER.to_owned(), *random.pick(&qos)));
        }
    }
    filters.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    filters.dedup_by(|one, other| one.0 == other.0);
    let leaves = random.between(0, 12) as u32;
    let is_member = filters.iter().any(|(filter, _)| filter == SHARED_FILTER);
    let mut traits = Traits {
        client_id: format!("subscriber-{number}"),
        version: version(random),
        persistent: random.percent(90),
        publishes: 0,
        topics: Vec::new(),
        retained_topic: None,
        retained_qos: QoS::AtLeastOnce,
        labels: false,
        identifies: false,
        is_careful: false,
        window: 1,
        subscribes: *random.pick(&[0, 5]),
        filters,
        unsubscribes: *random.pick(&[0, 0, 3]),
        leaves,
        clean_start_percent: *random.pick(&[0, 0, 10]),
        will_percent: *random.pick(&[0, 40]),
        acts: Span::millis(10, 80),
        answers: *random.pick(&[
            Span::millis(0, 0),
            Span::millis(0, 40),
            Span::millis(0, 900),
        ]),
        pause: *random.pick(&[
            Span::millis(1, 50),
            Span::millis(10, 600),
            Span::millis(300, 3_000),
        ]),
        receive_maximum: *random.pick(&[1, 3, 20, 1000]),
        treatment: None,
    };
    if is_member {
        // What a member takes with its session nobody else gets ([MQTT-4.8.2-5]).
        traits.persistent = true;
        traits.clean_start_percent = 0;
        traits.version = ProtocolVersion::V5;
    }
    traits
}

fn limits(random: &mut Random) -> Limits {
    let small = random.percent(40);
    Limits {
        // What waits in memory; a small number has messages go to the disk and come back.
        session_queue_messages: if small { 2 } else { 1_000 },
        maximum_inflight: std::num::NonZeroU16::new(*random.pick(&[2, 20, 1_000]))
            .expect("none of them is zero"),
        backpressure_milliseconds: 0,
        shared_subscription_strategy: *random.pick(&[
            SharedSubscriptionStrategy::RoundRobin,
            SharedSubscriptionStrategy::LeastInflight,
            SharedSubscriptionStrategy::Sticky,
        ]),
        ..Limits::default()
    }
}

fn options(random: &mut Random) -> Options {
    Options {
        segment_bytes: *random.pick(&[4 << 10, 64 << 10, 1 << 20]),
        overlay_bytes: *random.pick(&[8 << 10, 1 << 20]),
        checkpoint_log_bytes: *random.pick(&[16 << 10, 1 << 20]),
        maximum_batch_bytes: 1 << 20,
        table_cache_bytes: 1 << 20,
        reserve_bytes: *random.pick(&[0, 8 << 10]),
        ..Options::default()
    }
}

fn extended(random: &mut Random) -> Extended {
    let visibility = *random.pick(&[
        Duration::from_millis(400),
        Duration::from_secs(20),
        Duration::from_secs(20),
    ]);
    let order = *random.pick(&[Order::Fifo, Order::Fifo, Order::Fifo, Order::Key]);
    let captor = random.percent(50).then(|| *random.pick(&QUEUES));
    let options = QueueOptions {
        max_attempts: *random.pick(&[0, 2, 5]),
        visibility,
        order,
        max_len: *random.pick(&[8, 1_000, 1_000]),
        backoff: Backoff {
            first: Duration::from_millis(50),
            factor: 2.0,
            max: Duration::from_millis(400),
            jitter: 0.2,
        },
        ..QueueOptions::default()
    };
    let declared = QUEUES.map(|name| {
        let source = match captor == Some(name) {
            true => vec![Box::from(format!("{CAPTURED}#"))],
            false => Vec::new(),
        };
        let options = QueueOptions {
            source,
            ..options.clone()
        };
        (name.to_owned(), options)
    });
    Extended {
        crossing: *random.pick(&[Span::micros(5, 50), Span::micros(100, 8_000)]),
        settings: nexum_queue::Settings {
            declared: declared.to_vec(),
            memory_bytes: *random.pick(&[0, 2_000, 64 << 20]),
            ..nexum_queue::Settings::default()
        },
        visibility,
        order,
        consumers: random.between(1, 2) as usize,
        captor,
    }
}

const PRODUCED: [&str; 10] = [
    "$queue/jobs",
    "$queue/jobs/a",
    "$q/jobs/b/c",
    "$queue/more",
    "c/x",
    "$delayed/150ms/d/0",
    "$delayed/0ms/d/1",
    "$delayed/300ms/$queue/jobs",
    "$delayed/80ms/c/y",
    "p0/a",
];

fn producer(random: &mut Random, number: usize) -> Traits {
    let mut topics: Vec<String> = (0..random.between(1, 4))
        .map(|_| (*random.pick(&PRODUCED)).to_owned())
        .collect();
    topics.sort_unstable();
    topics.dedup();
    let publisher = publisher(random, number, false);
    Traits {
        topics,
        retained_topic: None,
        labels: publisher.version == ProtocolVersion::V5,
        identifies: number == 1,
        is_careful: publisher.version == ProtocolVersion::V3_1_1,
        ..publisher
    }
}

/// The first consumes everything, so that nothing is left over at the end.
fn consumer(random: &mut Random, number: usize) -> Traits {
    let lease = random.percent(40);
    let tail = if lease {
        "/$lease/#"
    } else {
        *random.pick(&["", "/#"])
    };
    let count = if number == 0 { QUEUES.len() } else { 1 };
    let qos = [QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let filters = QUEUES[..count]
        .iter()
        .map(|queue| (format!("$queue/{queue}{tail}"), *random.pick(&qos)));
    let filters: Vec<_> = filters.collect();
    let version = match lease {
        // Who speaks 3.1.1 is not told what was refused.
        true => ProtocolVersion::V5,
        false => version(random),
    };
    Traits {
        client_id: format!("consumer-{number}"),
        version,
        persistent: random.percent(60),
        filters,
        window: 100,
        unsubscribes: 0,
        receive_maximum: *random.pick(&[1, 3, 20]),
        treatment: Some(Treatment {
            refuses_percent: *random.pick(&[0, 10, 30]),
            ignores_percent: *random.pick(&[0, 0, 5]),
        }),
        ..subscriber(random, number, false)
    }
}
