//! What a seed decides before anything happens: how many shards, which bounds, who the clients
//! are and what the network does to them.

use std::num::NonZeroU16;
use std::time::Duration;

use nexum_core::{Limits, OverlappingSubscriptions, QueueOverflow, SharedSubscriptionStrategy};
use nexum_types::{ProtocolVersion, QoS};

use crate::random::{Random, Span};

/// What a seed is mostly about. Each does a little of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// A bit of everything under bounds that nothing reaches.
    Everything,
    /// Bounds so small that they are reached all the time.
    SmallBounds,
    /// Some subscribers never read; everybody else must not feel it.
    StuckSubscribers,
    /// Members of shared subscriptions come and go.
    Sharing,
    /// Retained messages, many of them, and subscribers who want them.
    Retaining,
    /// Connections are lost and sessions taken over all the time.
    Moving,
}

const FAMILIES: [Family; 6] = [
    Family::Everything,
    Family::SmallBounds,
    Family::StuckSubscribers,
    Family::Sharing,
    Family::Retaining,
    Family::Moving,
];

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) family: Family,
    pub(crate) shards: u16,
    pub(crate) limits: Limits,
    pub(crate) verifies_credentials: bool,
    pub(crate) clients: Vec<Traits>,
    /// Each is a time of trouble and a time in which everything has to come right.
    pub(crate) epochs: u32,
    pub(crate) trouble: Duration,
    /// From one shard to another.
    pub(crate) peer_delay: Span,
    /// From the first thing a shard has to do until it does it.
    pub(crate) turn_delay: Span,
    /// From a submission to its answer, and the same for messages that are loaded.
    pub(crate) store_delay: Span,
    /// Retained messages that the broker itself publishes at the beginning.
    pub(crate) preloaded: u32,
    /// Somebody who opens connections and sends rubbish or nothing.
    pub(crate) vandals: bool,
    /// The broker is shut down at the end, and not left by its clients.
    pub(crate) shuts_down: bool,
}

/// How a client takes bytes from its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Promptly,
    Slowly { bytes: usize, every: Duration },
    Never,
}

/// When a client answers PUBLISH and PUBREL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answering {
    AtOnce,
    Later(Span),
    Never,
}

/// What a client is like.
#[derive(Clone, Debug)]
pub(crate) struct Traits {
    /// Empty: it lets the broker choose.
    pub(crate) client_id: String,
    pub(crate) version: ProtocolVersion,
    /// It may come back with the other version.
    pub(crate) changes_version: bool,
    pub(crate) reading: Reading,
    pub(crate) answering: Answering,
    pub(crate) latency: Span,
    /// Bytes arrive in pieces of at most this many.
    pub(crate) fragment_bytes: usize,
    /// What its socket holds before the broker's write blocks.
    pub(crate) window_bytes: usize,
    pub(crate) acts: Span,
    pub(crate) pause: Span,
    pub(crate) clean_start_percent: u32,
    pub(crate) session_expiry_seconds: Option<u32>,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) receive_maximum: Option<NonZeroU16>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) uses_aliases: bool,
    pub(crate) pipelines: bool,
    pub(crate) will_percent: u32,
    pub(crate) wrong_password_percent: u32,
    pub(crate) odds: Odds,
    pub(crate) topics: Vec<String>,
    pub(crate) filters: Vec<String>,
    /// The one shared subscription it may join.
    pub(crate) shared: Option<String>,
    pub(crate) shared_qos: Option<QoS>,
    pub(crate) retain_percent: u32,
    pub(crate) expiry_percent: u32,
    pub(crate) large_percent: u32,
}

/// What it does next, by weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odds {
    pub(crate) publish: u32,
    pub(crate) subscribe: u32,
    pub(crate) unsubscribe: u32,
    pub(crate) ping: u32,
    pub(crate) disconnect: u32,
    pub(crate) cut: u32,
    pub(crate) take_over: u32,
    pub(crate) idle: u32,
}

impl Odds {
    pub(crate) fn total(&self) -> u32 {
        let Odds {
            publish,
            subscribe,
            unsubscribe,
            ping,
            disconnect,
            cut,
            take_over,
            idle,
        } = *self;
        publish + subscribe + unsubscribe + ping + disconnect + cut + take_over + idle
    }
}

const PLAIN_TOPICS: [&str; 7] = [
    "t/0",
    "t/1",
    "t/2",
    "t/0/a",
    "t/1/b/c",
    "u/x/y",
    "a/rather/long/topic/name/for/an/alias",
];
const RETAINED_TOPICS: [&str; 7] = ["r/0", "r/1", "r/2", "r/3", "r/a/b", "r/a/c", "r/a"];
const SHARED_TOPICS: [&str; 4] = ["s/0", "s/1", "s/0/a", "s/1/b"];
/// None of them matches a shared topic, so members of shared subscriptions may have them.
const FILTERS: [&str; 16] = [
    "t/#",
    "t/+",
    "t/0",
    "t/0/#",
    "t/+/+/c",
    "+/x/y",
    "r/#",
    "r/+",
    "r/0",
    "r/a/+",
    "r/a",
    "u/#",
    "w/#",
    "w/+",
    "a/#",
    "a/rather/long/topic/name/for/an/alias",
];
const WIDE_FILTERS: [&str; 6] = ["#", "+/0", "+/#", "s/#", "+/+/a", "s/0"];
const SHARED_FILTERS: [&str; 4] = [
    "$share/one/s/#",
    "$share/two/s/0/#",
    "$share/one/s/0/#",
    "$share/two/s/+",
];

impl Scenario {
    pub(crate) fn new(seed: u64) -> Scenario {
        // Neighbouring seeds are to differ in everything.
        let mut random = Random::new(seed).fork();
        let family = FAMILIES[(seed % FAMILIES.len() as u64) as usize];
        let shards = random.between(1, 4) as u16;
        let limits = limits(&mut random, family);
        let verifies_credentials = random.percent(30);
        let count = match family {
            Family::Sharing => random.between(4, 8),
            Family::Everything
            | Family::SmallBounds
            | Family::StuckSubscribers
            | Family::Retaining
            | Family::Moving => random.between(3, 7),
        };
        let clients = (0..count)
            .map(|number| traits(&mut random, family, number as usize))
            .collect();
        let mut scenario = Scenario {
            family,
            shards,
            limits,
            verifies_credentials,
            clients,
            epochs: random.between(1, 3) as u32,
            trouble: Duration::from_secs(random.between(4, 20)),
            peer_delay: *random.pick(&[
                Span::micros(10, 200),
                Span::micros(10, 5_000),
                Span::millis(1, 60),
            ]),
            turn_delay: *random.pick(&[Span::micros(1, 50), Span::micros(1, 3_000)]),
            preloaded: match family {
                Family::Retaining => *random.pick(&[0, 40, 700]),
                Family::Everything
                | Family::SmallBounds
                | Family::StuckSubscribers
                | Family::Sharing
                | Family::Moving => 0,
            },
            vandals: random.percent(30),
            shuts_down: random.percent(10),
            store_delay: *random.pick(&[
                Span::micros(0, 0),
                Span::micros(50, 2_000),
                Span::millis(1, 15),
            ]),
        };
        if family == Family::SmallBounds {
            scenario.limits.persistent_queue_messages = random.between(2, 30) as u32;
            scenario.limits.persistent_queue_bytes = random.between(2_000, 40_000);
            scenario.limits.persistent_queue_overflow = *random.pick(&[
                QueueOverflow::Refuse,
                QueueOverflow::DropOldest,
                QueueOverflow::DropNewest,
            ]);
        }
        scenario
    }

    /// Whether no bound on a session's queue may ever be reached.
    pub(crate) fn loses_nothing(&self) -> bool {
        self.family != Family::SmallBounds
    }
}

fn limits(random: &mut Random, family: Family) -> Limits {
    let small = family == Family::SmallBounds;
    let pick_u16 = |random: &mut Random, from: &[u16]| {
        NonZeroU16::new(*random.pick(from)).expect("none of the choices is zero")
    };
    Limits {
        maximum_packet_size_bytes: *random.pick(&[32 * 1024, 1024 * 1024]),
        receive_maximum: pick_u16(random, &[1, 3, 20, 1024]),
        topic_alias_maximum: *random.pick(&[0, 2, 64]),
        outbound_topic_alias_maximum: *random.pick(&[0, 1, 64]),
        maximum_inflight: pick_u16(random, &[1, 5, 16_384]),
        session_queue_messages: if small {
            random.between(2, 30) as u32
        } else {
            1_000_000
        },
        session_queue_bytes: if small {
            random.between(2_000, 40_000)
        } else {
            1 << 40
        },
        persistent_queue_messages: 1_000_000,
        persistent_queue_bytes: 1 << 40,
        outbound_buffer_bytes: *random.pick(&[2_000, 20_000, 1024 * 1024]),
        backpressure_milliseconds: *random.pick(&[0, 20, 100, 500]),
        maximum_session_expiry_seconds: *random.pick(&[u32::MAX, 6]),
        v311_session_expiry_seconds: random.between(2, 20) as u32,
        maximum_subscriptions_per_session: if small {
            random.between(1, 6) as u32
        } else {
            1000
        },
        maximum_retained_messages: if small {
            random.between(1, 12)
        } else {
            1_000_000
        },
        server_keep_alive_seconds: random
            .percent(30)
            .then(|| NonZeroU16::new(random.between(1, 5) as u16).expect("at least 1")),
        shared_subscription_strategy: *random.pick(&[
            SharedSubscriptionStrategy::RoundRobin,
            SharedSubscriptionStrategy::LeastInflight,
            SharedSubscriptionStrategy::Sticky,
        ]),
        overlapping_subscriptions: *random.pick(&[
            OverlappingSubscriptions::Once,
            OverlappingSubscriptions::Once,
            OverlappingSubscriptions::Each,
        ]),
        ..Limits::default()
    }
}

fn traits(random: &mut Random, family: Family, number: usize) -> Traits {
    let version = if random.percent(35) {
        ProtocolVersion::V3_1_1
    } else {
        ProtocolVersion::V5
    };
    let stuck = family == Family::StuckSubscribers && number < 2;
    // The stuck ones are to be the only reason why anybody waits.
    let prompt = family == Family::StuckSubscribers && !stuck;
    let latency = *random.pick(&[
        Span::micros(20, 500),
        Span::millis(1, 10),
        Span::millis(1, 80),
    ]);
    let mut traits = Traits {
        client_id: if random.percent(8) {
            String::new()
        } else {
            format!("client-{number}")
        },
        version,
        changes_version: random.percent(10),
        reading: match random.below(10) {
            0 | 1 => Reading::Slowly {
                bytes: random.between(1, 400) as usize,
                every: Duration::from_millis(random.between(1, 200)),
            },
            2 => Reading::Never,
            _ => Reading::Promptly,
        },
        answering: match random.below(10) {
            0 => Answering::Never,
            1..=3 => Answering::Later(Span::millis(1, 700)),
            _ => Answering::AtOnce,
        },
        latency,
        fragment_bytes: *random.pick(&[1, 7, 100, 1460, 65_536]),
        window_bytes: *random.pick(&[300, 5_000, 100_000]),
        acts: *random.pick(&[
            Span::millis(5, 60),
            Span::millis(20, 400),
            Span::millis(200, 2000),
        ]),
        pause: *random.pick(&[
            Span::millis(0, 50),
            Span::millis(10, 1500),
            Span::millis(500, 9000),
        ]),
        clean_start_percent: *random.pick(&[0, 10, 50, 100]),
        session_expiry_seconds: *random.pick(&[
            None,
            Some(0),
            Some(1),
            Some(4),
            Some(30),
            Some(u32::MAX),
        ]),
        keep_alive_seconds: *random.pick(&[0, 1, 3, 10]),
        receive_maximum: random
            .percent(60)
            .then(|| NonZeroU16::new(random.between(1, 20) as u16).expect("at least 1")),
        maximum_packet_size: *random.pick(&[None, None, None, Some(160), Some(1_000), Some(6_000)]),
        topic_alias_maximum: *random.pick(&[0, 0, 1, 3, 20]),
        uses_aliases: random.percent(50),
        pipelines: random.percent(30),
        will_percent: *random.pick(&[0, 40, 90]),
        wrong_password_percent: *random.pick(&[0, 5, 20]),
        odds: Odds {
            publish: 70,
            subscribe: 8,
            unsubscribe: 4,
            ping: 3,
            disconnect: 2,
            cut: 3,
            take_over: 2,
            idle: 3,
        },
        topics: topics(random, &[&PLAIN_TOPICS, &RETAINED_TOPICS, &SHARED_TOPICS]),
        filters: FILTERS.iter().map(|filter| (*filter).to_owned()).collect(),
        shared: None,
        shared_qos: None,
        retain_percent: 20,
        expiry_percent: *random.pick(&[0, 10, 50]),
        large_percent: *random.pick(&[0, 2, 10]),
    };
    let joins = match family {
        Family::Sharing => random.percent(70),
        Family::Everything
        | Family::SmallBounds
        | Family::StuckSubscribers
        | Family::Retaining
        | Family::Moving => random.percent(25),
    };
    if joins {
        traits.shared = Some((*random.pick(&SHARED_FILTERS)).to_owned());
        traits.shared_qos = if family == Family::Sharing && random.percent(60) {
            Some(QoS::AtLeastOnce)
        } else {
            None
        };
    } else {
        traits
            .filters
            .extend(WIDE_FILTERS.iter().map(|filter| (*filter).to_owned()));
        traits.filters.push("$SYS/#".to_owned());
    }
    match family {
        Family::Everything | Family::SmallBounds => {}
        Family::StuckSubscribers => {
            if stuck {
                traits.client_id = format!("stuck-{number}");
                traits.reading = Reading::Never;
                traits.keep_alive_seconds = 0;
                traits.odds = Odds {
                    publish: 0,
                    cut: 1,
                    take_over: 0,
                    ..traits.odds
                };
                traits.window_bytes = 300;
            } else if prompt {
                traits.reading = Reading::Promptly;
                traits.answering = Answering::AtOnce;
                traits.latency = Span::micros(20, 500);
                traits.window_bytes = 1_000_000;
                traits.fragment_bytes = 65_536;
                traits.acts = Span::millis(2, 20);
            }
        }
        Family::Sharing => {
            traits.topics = topics(random, &[&SHARED_TOPICS, &SHARED_TOPICS, &PLAIN_TOPICS]);
            traits.odds.cut = 6;
            traits.odds.unsubscribe = 6;
            traits.odds.subscribe = 12;
        }
        Family::Retaining => {
            traits.topics = topics(random, &[&RETAINED_TOPICS, &RETAINED_TOPICS, &PLAIN_TOPICS]);
            traits.retain_percent = 70;
            traits.odds.subscribe = 25;
        }
        Family::Moving => {
            traits.odds.cut = 14;
            traits.odds.take_over = 10;
            traits.odds.disconnect = 8;
            traits.will_percent = 70;
            traits.clean_start_percent = *random.pick(&[0, 10, 30]);
            traits.pause = Span::millis(0, 3000);
        }
    }
    traits
}

fn topics(random: &mut Random, pools: &[&[&str]]) -> Vec<String> {
    let mut topics = Vec::new();
    for pool in pools {
        for _ in 0..random.between(1, 3) {
            topics.push((*random.pick(pool)).to_owned());
        }
    }
    topics
}
