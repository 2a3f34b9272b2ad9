//! The world: shards in a simulated shell, clients, and the network between them, under a clock
//! that only moves when nothing is left to do.
//!
//! Everything that happens is an entry in the agenda or follows from one, and chance comes from
//! one stream: a seed replays a run to the last byte.

mod network;
mod people;
mod shell;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nexum_core::{
    AuthenticationOutcome, ConnectionLoss, ConnectionOrigin, Counters, Gauges, Input, Key, LoadId,
    PeerBatch, RecordTable, Shard, ShardConfig, ShardId, Submission,
};
use nexum_types::{QoS, Time};

use crate::agenda::Agenda;
use crate::client::Client;
use crate::fault::Planted;
use crate::history::History;
use crate::judge::Judge;
use crate::judge::messages::{Content, Origin, payload_of};
use crate::link::{Link, LinkId};
use crate::random::{Random, Span};
use crate::rule::Rule;
use crate::scenario::Scenario;

use shell::Shell;

/// Something that is going to happen.
enum Happening {
    /// A shard looks at what there is for it.
    Turn {
        shard: ShardId,
    },
    /// The next batch of a channel between shards arrives.
    Batch {
        from: ShardId,
        to: ShardId,
    },
    ArriveUp {
        link: LinkId,
    },
    ArriveDown {
        link: LinkId,
    },
    /// A client that does not read promptly reads.
    Read {
        link: LinkId,
    },
    /// A client does something. Only the latest round counts.
    Act {
        client: usize,
        round: u64,
    },
    /// A client's answers are due.
    Answer {
        client: usize,
        link: LinkId,
    },
    /// A client may have to show that it is alive.
    Ping {
        client: usize,
        link: LinkId,
    },
    BrokerLearns {
        link: LinkId,
        loss: ConnectionLoss,
    },
    ClientLearns {
        link: LinkId,
    },
    Authenticated {
        link: LinkId,
        outcome: AuthenticationOutcome,
    },
    /// A socket reaches a shard, for the first time or from another one.
    Handed {
        link: LinkId,
        to: ShardId,
        origin: ConnectionOrigin,
        received: Vec<u8>,
    },
    /// The shell gives up sending what is left.
    CloseDeadline {
        link: LinkId,
    },
    /// The store has come to what a shard wants kept.
    Stored {
        shard: ShardId,
        submission: Submission,
    },
    /// The store has come to messages that a shard wants back.
    Loaded {
        shard: ShardId,
        load: LoadId,
        keys: Vec<Key>,
    },
    /// Somebody opens a connection and sends rubbish or nothing.
    Vandal,
    /// Somebody ends a connection from outside.
    Administrator,
    /// The broker itself publishes.
    Voice,
}

/// What the clients are up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// They do what their traits say.
    Trouble,
    /// They are connected, read and answer, and do nothing else.
    Calm,
    /// They end their sessions and go.
    Leaving,
    /// There is no broker to come to.
    Over,
}

pub(crate) struct World {
    scenario: Scenario,
    pub(crate) judge: Judge,
    random: Random,
    agenda: Agenda<Happening>,
    now: Time,
    mood: Mood,
    shells: Vec<Shell>,
    links: Vec<Link>,
    clients: Vec<Client>,
    /// Which Act of a client counts.
    rounds: Vec<u64>,
    /// Clients that connected to end their session…
    came_to_leave: Vec<bool>,
    /// …and have done so.
    gone: Vec<bool>,
    channels: BTreeMap<(ShardId, ShardId), Channel>,
    /// In the place of a store: what it has.
    records: RecordTable,
    /// When it will have come to the last submission.
    stored_by: Time,
    /// How long the store takes. A stream of its own, for most seeds were here before the store.
    store_random: Random,
    planted: Planted,
    /// Of all bytes put out: the same seed gives the same.
    pub(crate) digest: u64,
}

/// From one shard to another: in order.
#[derive(Default)]
struct Channel {
    batches: VecDeque<PeerBatch>,
    last_arrival: Time,
}

/// Nothing but keep alives for so long is rest.
const REST: Duration = Duration::from_secs(4);
/// Rest comes within this time: the slowest client has a thousand messages to take one by one.
const REST_BY: Duration = Duration::from_secs(900);
/// A calm lasts at least so long: by then every lost connection is known to be lost.
const CALM_LEAST: Duration = Duration::from_secs(10);

impl World {
    pub(crate) fn new(seed: u64, planted: Planted, remembers: bool) -> World {
        let scenario = Scenario::new(seed);
        let history = History::new(remembers);
        let mut judge = Judge::new(scenario.limits.clone(), scenario.loses_nothing(), history);
        judge.history.note(Time::ZERO, || format!("{scenario:#?}"));
        let limits = Arc::new(scenario.limits.clone());
        let shells = (0..scenario.shards)
            .map(|id| {
                let limits = Arc::clone(&limits);
                let config = ShardConfig {
                    id: ShardId(id),
                    shards: scenario.shards,
                    limits,
                    seed,
                    authentication_methods: Arc::from([]),
                    extensions: Arc::from([]),
                };
                Shell::new(Shard::new(config))
            })
            .collect();
        let clients: Vec<Client> = scenario
            .clients
            .iter()
            .enumerate()
            .map(|(number, traits)| Client::new(number, traits.clone()))
            .collect();
        World {
            rounds: vec![0; clients.len()],
            came_to_leave: vec![false; clients.len()],
            gone: vec![false; clients.len()],
            scenario,
            judge,
            random: Random::new(!seed),
            agenda: Agenda::new(),
            now: Time::ZERO,
            mood: Mood::Trouble,
            shells,
            links: Vec::new(),
            clients,
            channels: BTreeMap::new(),
            records: RecordTable::default(),
            stored_by: Time::ZERO,
            store_random: Random::new(seed).fork().fork(),
            planted,
            digest: 0xCBF2_9CE4_8422_2325,
        }
    }

    /// Lets everything happen; the judge has the verdict.
    pub(crate) fn run(&mut self) {
        self.preload();
        for epoch in 1..=self.scenario.epochs {
            self.trouble();
            self.calm(epoch == self.scenario.epochs);
        }
        if self.scenario.shuts_down {
            self.shut_down();
        } else {
            self.leave();
        }
        self.account();
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    fn is_over(&self) -> bool {
        self.judge.verdict().is_some()
    }

    /// Retained messages from the broker's own voice, at whichever shard.
    fn preload(&mut self) {
        for number in 0..self.scenario.preloaded {
            self.voice(format!("r/p/{number}"), QoS::AtMostOnce, true);
        }
    }

    fn voice(&mut self, topic: String, qos: QoS, retain: bool) {
        let content = Content {
            origin: Origin::Broker,
            topic: topic.clone(),
            qos,
            retain,
            expiry_seconds: None,
            properties: Vec::new(),
            payload_bytes: self.random.between(4, 50) as usize,
        };
        let bytes = content.payload_bytes;
        let message = self.judge.add_message(content);
        self.judge.published_by_broker(message);
        let payload = payload_of(message, bytes);
        let shard = ShardId(self.random.below(self.shells.len()) as u16);
        self.input(
            shard,
            Input::Publish {
                topic,
                payload,
                qos,
                retain,
            },
        );
    }

    fn trouble(&mut self) {
        self.mood = Mood::Trouble;
        let end = self.now + self.scenario.trouble;
        for number in 0..self.clients.len() {
            self.clients[number].traits = self.scenario.clients[number].clone();
            self.act_within(number, Span::millis(0, 800));
        }
        if self.scenario.vandals {
            self.agenda.enter(self.now, Happening::Vandal);
        }
        self.agenda.enter(self.now, Happening::Administrator);
        self.agenda.enter(self.now, Happening::Voice);
        self.run_until(end);
    }

    /// Everything has to come right. `everybody`: nobody stays away.
    fn calm(&mut self, everybody: bool) {
        self.mood = Mood::Calm;
        let begin = self.now;
        for client in 0..self.clients.len() {
            self.calm_down(client, everybody);
        }
        let mut rested = Duration::ZERO;
        while (rested < REST || self.now.since(begin) < CALM_LEAST) && !self.is_over() {
            let before = self.judge.traffic;
            self.run_until(self.now + Duration::from_secs(1));
            if self.judge.traffic == before && self.everybody_is_quiet() {
                rested += Duration::from_secs(1);
            } else {
                rested = Duration::ZERO;
            }
            if self.now.since(begin) > REST_BY {
                self.judge
                    .breach(Rule::Progress, "there is no end to it".to_owned());
            }
        }
        if self.is_over() {
            return;
        }
        for client in 0..self.clients.len() {
            self.check_client_at_rest(client);
        }
        let (counters, gauges) = (self.counters(), self.gauges());
        self.judge.check_at_rest(&counters, &gauges);
    }

    /// Everybody ends their session; then nothing may be left.
    fn leave(&mut self) {
        self.mood = Mood::Leaving;
        for client in 0..self.clients.len() {
            self.act_within(client, Span::millis(0, 100));
        }
        // The longest that a session without an owner lasts is 30 s, a will waits 6 s.
        self.run_until(self.now + Duration::from_secs(45));
        for topic in self.judge.retained_topics() {
            let shard = ShardId(self.random.below(self.shells.len()) as u16);
            let clearing = Input::Publish {
                topic,
                payload: Vec::new(),
                qos: QoS::AtMostOnce,
                retain: true,
            };
            self.input(shard, clearing);
        }
        self.run_until(self.now + Duration::from_secs(5));
        if self.is_over() {
            return;
        }
        if self.gauges() != Gauges::default() {
            self.judge
                .breach(Rule::Leak, format!("left: {:?}", self.gauges()));
        }
        if let Some(key) = self.records.keys().next() {
            let count = self.records.keys().count();
            let text = format!("{count} records are left: {key:?}");
            self.judge.breach(Rule::Leak, text);
        }
        for shell in &self.shells {
            let residue = shell.shard.residue();
            if !residue.is_empty() {
                self.judge.breach(Rule::Leak, format!("left: {residue:?}"));
            }
        }
    }

    fn shut_down(&mut self) {
        self.mood = Mood::Over;
        for shard in 0..self.shells.len() {
            self.input(ShardId(shard as u16), Input::ShutDown);
        }
        self.run_until(self.now + Duration::from_secs(5));
        if !self.is_over() && self.gauges().connections > 0 {
            let text = format!("after the end: {:?}", self.gauges());
            self.judge.breach(Rule::Leak, text);
        }
    }

    fn run_until(&mut self, end: Time) {
        while !self.is_over()
            && let Some((at, happening)) = self.agenda.next(end)
        {
            self.now = at;
            self.judge.now = at;
            self.judge.tally.steps += 1;
            self.happen(happening);
        }
        self.now = end;
        self.judge.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Turn { shard } => self.turn(shard),
            Happening::Batch { from, to } => self.batch_arrives(from, to),
            Happening::ArriveUp { link } => self.arrive_up(link),
            Happening::ArriveDown { link } => self.arrive_down(link),
            Happening::Read { link } => self.client_reads(link),
            Happening::Act { client, round } => self.act(client, round),
            Happening::Answer { client, link } => self.client_answers(client, link),
            Happening::Ping { client, link } => self.client_pings(client, link),
            Happening::BrokerLearns { link, loss } => self.broker_learns(link, loss),
            Happening::ClientLearns { link } => self.client_learns(link),
            Happening::Authenticated { link, outcome } => self.authenticated(link, outcome),
            Happening::Handed {
                link,
                to,
                origin,
                received,
            } => {
                self.handed(link, to, origin, received);
            }
            Happening::CloseDeadline { link } => self.close_deadline(link),
            Happening::Stored { shard, submission } => self.stored(shard, &submission),
            Happening::Loaded { shard, load, keys } => self.loaded(shard, load, &keys),
            Happening::Vandal => self.vandal(),
            Happening::Administrator => self.administrator(),
            Happening::Voice => self.speak(),
        }
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for shell in &self.shells {
            let counters = shell.shard.counters();
            sum.wills_published += counters.wills_published;
            sum.backpressure_pauses += counters.backpressure_pauses;
            for (sum, dropped) in sum.dropped.iter_mut().zip(counters.dropped) {
                *sum += dropped;
            }
        }
        sum
    }

    fn gauges(&self) -> Gauges {
        let mut sum = Gauges::default();
        for shell in &self.shells {
            let gauges = shell.shard.gauges();
            sum.connections += gauges.connections;
            sum.sessions += gauges.sessions;
            sum.subscriptions += gauges.subscriptions;
            sum.shared_groups += gauges.shared_groups;
            sum.retained += gauges.retained;
            sum.retained_bytes += gauges.retained_bytes;
            sum.queued_messages += gauges.queued_messages;
            sum.inflight_messages += gauges.inflight_messages;
        }
        sum
    }

    /// What the core counted goes into the tally.
    fn account(&mut self) {
        use nexum_core::DropReason;
        let counters = self.counters();
        let tally = &mut self.judge.tally;
        tally.held = counters.backpressure_pauses;
        tally.dropped_expired = counters.dropped[DropReason::Expired as usize];
        tally.dropped_full = counters.dropped[DropReason::QueueFull as usize];
        tally.dropped_slow = counters.dropped[DropReason::SlowConsumer as usize];
        tally.dropped_too_large = counters.dropped[DropReason::TooLargeForClient as usize];
    }
}
