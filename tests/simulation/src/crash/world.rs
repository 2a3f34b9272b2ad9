//! The agenda of a run: clients act, bytes travel, shards have their turns, and the power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexum_core::{ExtensionBatch, Key, LoadId, PeerBatch, ShardId};
use nexum_extension_api::Output;
use nexum_types::{QoS, Time};

use super::broker::{End, Link, Shell, Work, origin};
use super::clients::{Client, Deed, Phase, Tools};
use super::faults::{Bug, Planted, Trouble, failing};
use super::hosts::{HostShell, HostWork};
use super::jobs::Jobs;
use super::keeper::{Keeper, Told};
use super::scenario::{Cast, QUEUES, Scenario};
use super::verdict::{Promise, Verdict};
use crate::agenda::Agenda;
use crate::history::History;
use crate::link::LinkId;
use crate::random::{Random, Span};

/// How often things happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub steps: u64,
    /// Times that the power went.
    pub power_cuts: u64,
    /// Times that the process died.
    pub kills: u64,
    /// Commits.
    pub commits: u64,
    /// Checkpoints, also those that failed.
    pub checkpoints: u64,
    /// Records that came back.
    pub restored: u64,
    /// Messages that came back when they were to be sent.
    pub loaded: u64,
    /// Times that a shard began to refuse.
    pub refusals: u64,
    /// Messages published.
    pub messages: u64,
    /// …and acknowledged.
    pub acknowledged: u64,
    /// Deliveries that were promised.
    pub claims: u64,
    /// Wills that a crash made due.
    pub wills: u64,
    /// Times that damage was told of.
    pub damage_told: u64,
    /// Deliveries from queues.
    pub jobs: u64,
    /// Settlements of which it was certain that they are stored.
    pub settled: u64,
    /// Pushes that had to be settled or dead.
    pub job_claims: u64,
}

impl Tally {
    /// Each with its name.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, u64); 16] {
        let Tally {
            steps,
            power_cuts,
            kills,
            commits,
            checkpoints,
            restored,
            loaded,
            refusals,
            messages,
            acknowledged,
            claims,
            wills,
            damage_told,
            jobs,
            settled,
            job_claims,
        } = *self;
        [
            ("steps", steps),
            ("power cuts", power_cuts),
            ("kills", kills),
            ("commits", commits),
            ("checkpoints", checkpoints),
            ("restored", restored),
            ("loaded", loaded),
            ("refusals", refusals),
            ("messages", messages),
            ("acknowledged", acknowledged),
            ("claims", claims),
            ("wills", wills),
            ("damage told", damage_told),
            ("jobs", jobs),
            ("settled", settled),
            ("job claims", job_claims),
        ]
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.steps += other.steps;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.commits += other.commits;
        self.checkpoints += other.checkpoints;
        self.restored += other.restored;
        self.loaded += other.loaded;
        self.refusals += other.refusals;
        self.messages += other.messages;
        self.acknowledged += other.acknowledged;
        self.claims += other.claims;
        self.wills += other.wills;
        self.damage_told += other.damage_told;
        self.jobs += other.jobs;
        self.settled += other.settled;
        self.job_claims += other.job_claims;
    }
}

/// Something that is going to happen. What belongs to a life of the broker ends with it.
pub(super) enum Happening {
    Turn {
        life: u64,
        shard: ShardId,
    },
    Batch {
        life: u64,
        from: ShardId,
        to: ShardId,
        batch: PeerBatch,
    },
    Commit {
        life: u64,
    },
    Answers {
        life: u64,
        answers: Vec<Told>,
    },
    Retry {
        life: u64,
    },
    Checkpoint {
        life: u64,
    },
    Load {
        life: u64,
        shard: ShardId,
        load: LoadId,
        keys: Vec<Key>,
    },
    /// What a shard has for an extension.
    HostBatch {
        life: u64,
        host: usize,
        batch: ExtensionBatch,
    },
    HostTurn {
        life: u64,
        host: usize,
    },
    /// What an extension wants of a shard.
    Outputs {
        life: u64,
        host: usize,
        shard: ShardId,
        outputs: Vec<Output>,
    },
    /// What a client has settled must be stored by now, if nothing went wrong meanwhile.
    Confirm {
        life: u64,
        client: usize,
        link: LinkId,
        job: u64,
    },
    /// A socket reaches the broker.
    Accept {
        life: u64,
        link: LinkId,
    },
    Up {
        link: LinkId,
        bytes: Vec<u8>,
        at: Time,
    },
    UpEnd {
        link: LinkId,
    },
    Down {
        link: LinkId,
        bytes: Vec<u8>,
        /// When the broker wrote it.
        written: Time,
    },
    DownEnd {
        link: LinkId,
    },
    /// Only the latest round of a client counts.
    Act {
        client: usize,
        round: u64,
    },
    Answer {
        client: usize,
        link: LinkId,
    },
    Trouble(Trouble),
    /// The disk has room again, and does not fail.
    Heal,
    Restart,
}

/// What the clients are up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Trouble,
    Calm,
}

/// How long a settlement takes to the disk, at most: the network, two crossings, three turns, and a
/// commit.
const SETTLED_BY: Duration = Duration::from_millis(150);

/// How long after the disk is well again somebody may still be waiting to try it again.
const RECOVERED_BY: Duration = Duration::from_secs(4);

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) scenario: Scenario,
    pub(super) random: Random,
    pub(super) agenda: Agenda<Happening>,
    pub(super) now: Time,
    /// Counts the crashes.
    pub(super) life: u64,
    pub(super) starts: usize,
    pub(super) shells: Vec<Shell>,
    pub(super) keeper: Keeper,
    pub(super) hosts: Vec<HostShell>,
    pub(super) links: Vec<Link>,
    /// When the last batch of a channel arrives.
    pub(super) channels: BTreeMap<(ShardId, ShardId), Time>,
    pub(super) verdict: Verdict,
    pub(super) history: History,
    pub(super) planted: Planted,
    pub(super) tally: Tally,
    /// Shards whose store refuses.
    pub(super) refusing: BTreeSet<ShardId>,
    /// When the disk was not well, or the store refused something, for the last time.
    pub(super) disturbed_at: Time,
    clients: Vec<Client>,
    rounds: Vec<u64>,
    /// A client stays away so long.
    away_until: Vec<Time>,
    mood: Mood,
    /// The disk fails, or is full.
    is_unwell: bool,
    /// There is no broker.
    is_down: bool,
    /// When the broker wrote what is being read.
    written: Time,
    /// Packets under way in either direction, at any time.
    traffic: u64,
}

impl World {
    pub(super) fn new(seed: u64, cast: Cast, planted: Planted, remembers: bool) -> World {
        let scenario = Scenario::new(seed, cast);
        let mut options = scenario.options.clone();
        planted.tamper_options(&mut options);
        let clients: Vec<Client> = scenario
            .clients
            .iter()
            .enumerate()
            .map(|(number, traits)| Client::new(number, traits.clone()))
            .collect();
        let mut random = Random::new(!seed);
        let jobs = Jobs::new(scenario.extended.as_ref());
        World {
            seed,
            keeper: Keeper::new(random.next(), options),
            random,
            agenda: Agenda::new(),
            now: Time::from_micros(1_000_000_000),
            life: 0,
            starts: 0,
            shells: Vec::new(),
            hosts: Vec::new(),
            links: Vec::new(),
            channels: BTreeMap::new(),
            verdict: Verdict::new(clients.len(), jobs),
            history: History::new(remembers),
            planted,
            tally: Tally::default(),
            refusing: BTreeSet::new(),
            disturbed_at: Time::ZERO,
            rounds: vec![0; clients.len()],
            away_until: vec![Time::ZERO; clients.len()],
            clients,
            mood: Mood::Trouble,
            is_unwell: false,
            is_down: false,
            written: Time::ZERO,
            traffic: 0,
            scenario,
        }
    }

    pub(super) fn into_outcome(mut self) -> (Tally, Vec<String>, Option<(Promise, String)>) {
        self.tally.messages = self.verdict.messages() as u64;
        self.tally.acknowledged = self.verdict.acknowledged_count() as u64;
        self.tally.claims = self.verdict.claims;
        self.tally.wills = self.verdict.wills;
        self.tally.jobs = self.verdict.jobs.deliveries;
        self.tally.settled = self.verdict.jobs.settled;
        self.tally.job_claims = self.verdict.jobs.claims;
        let lines = self.history.into_lines();
        (self.tally, lines, self.verdict.into_breach())
    }

    pub(super) fn run(&mut self) {
        if !self.start() {
            return;
        }
        let begin = self.now;
        for (after, trouble) in std::mem::take(&mut self.scenario.troubles) {
            self.agenda
                .enter(begin + after, Happening::Trouble(trouble));
        }
        // The last is for the auditor alone.
        for client in 0..self.clients.len() - 1 {
            self.act_within(client, Span::millis(0, 20));
        }
        self.run_until(begin + self.scenario.lasts);
        self.calm_down();
        self.settle();
        self.publish_delayed();
        if let Some(extended) = &self.scenario.extended {
            // What nobody will settle any more goes to somebody else.
            let lapses = extended.visibility + Duration::from_secs(5);
            self.run_until(self.now + lapses);
            self.settle();
        }
        self.probe();
        self.settle();
        if self.is_over() {
            return;
        }
        self.verdict.check_deliveries();
        self.audit();
        if self.scenario.extended.is_some() {
            self.audit_jobs();
        }
        self.leave();
    }

    fn is_over(&self) -> bool {
        self.verdict.has_breach() || self.tally.damage_told > 0
    }

    fn run_until(&mut self, end: Time) {
        while !self.is_over()
            && let Some((at, happening)) = self.agenda.next(end)
        {
            self.now = at;
            self.tally.steps += 1;
            self.happen(happening);
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Turn { life, shard } if life == self.life => self.turn(shard),
            Happening::Batch {
                life,
                from,
                to,
                batch,
            } if life == self.life => {
                let input = nexum_core::Input::Peer { from, batch };
                self.give(to, Work::Input(input));
            }
            Happening::Commit { life } if life == self.life => self.commit(),
            Happening::Answers { life, answers } if life == self.life => self.answered(answers),
            Happening::Retry { life } if life == self.life => self.retry(),
            Happening::Checkpoint { life } if life == self.life => self.checkpoint(),
            Happening::Load {
                life,
                shard,
                load,
                keys,
            } if life == self.life => self.load(shard, load, keys),
            Happening::HostBatch { life, host, batch } if life == self.life => {
                self.give_host(host, HostWork::Batch(batch));
            }
            Happening::HostTurn { life, host } if life == self.life => self.host_turn(host),
            Happening::Outputs {
                life,
                host,
                shard,
                outputs,
            } if life == self.life => self.outputs_arrived(host, shard, outputs),
            Happening::Confirm {
                life,
                client,
                link,
                job,
            } if life == self.life => self.confirm(client, link, job),
            Happening::Accept { life, link } if life == self.life => {
                let shard = ShardId(self.random.below(self.shells.len()) as u16);
                if self.links[link.0].end == End::Moving {
                    self.give(shard, Work::Open(link, origin(), Vec::new()));
                }
            }
            // The broker that it was for is gone.
            Happening::Turn { .. }
            | Happening::Batch { .. }
            | Happening::Commit { .. }
            | Happening::Answers { .. }
            | Happening::Retry { .. }
            | Happening::Checkpoint { .. }
            | Happening::Load { .. }
            | Happening::HostBatch { .. }
            | Happening::HostTurn { .. }
            | Happening::Outputs { .. }
            | Happening::Confirm { .. }
            | Happening::Accept { .. } => {}
            Happening::Up { link, bytes, at } => {
                let record = &self.links[link.0];
                if record.end != End::Gone && record.up_until.is_none_or(|until| at <= until) {
                    self.traffic += 1;
                    self.bytes_arrived(link, &bytes);
                }
            }
            Happening::UpEnd { link } => self.end_arrived(link),
            Happening::Down {
                link,
                bytes,
                written,
            } => self.down_arrived(link, &bytes, written),
            Happening::DownEnd { link } => self.client_learns(link),
            Happening::Act { client, round } => {
                if self.rounds[client] == round {
                    self.act(client);
                }
            }
            Happening::Answer { client, link } => {
                if self.clients[client].link() == Some(link) {
                    self.with(client, |client, tools| client.send_answers(tools));
                    self.answer_in_time(client, link);
                }
            }
            Happening::Trouble(trouble) => self.trouble(trouble),
            Happening::Heal => self.heal(),
            Happening::Restart => self.restart(),
        }
    }

    // The network.

    pub(super) fn down(&mut self, link: LinkId, bytes: Vec<u8>) {
        let at = self.now + self.random.within(self.scenario.network);
        let record = &mut self.links[link.0];
        let at = at.max(record.last_down);
        record.last_down = at;
        let written = self.now;
        let happening = Happening::Down {
            link,
            bytes,
            written,
        };
        self.agenda.enter(at, happening);
    }

    pub(super) fn end_down(&mut self, link: LinkId) {
        let at = self.now + self.random.within(self.scenario.network);
        let at = at.max(self.links[link.0].last_down);
        self.agenda.enter(at, Happening::DownEnd { link });
    }

    fn down_arrived(&mut self, link: LinkId, bytes: &[u8], written: Time) {
        let record = &self.links[link.0];
        let client = record.client;
        let is_lost = record.down_until.is_some_and(|until| self.now > until);
        if is_lost || self.clients[client].link() != Some(link) {
            return;
        }
        self.traffic += 1;
        self.written = written;
        self.with(client, |client, tools| client.read(link, bytes, tools));
        self.answer_in_time(client, link);
    }

    fn answer_in_time(&mut self, client: usize, link: LinkId) {
        if let Some(at) = self.clients[client].next_answer() {
            let at = at.max(self.now + Duration::from_micros(1));
            self.agenda.enter(at, Happening::Answer { client, link });
        }
    }

    /// The client's end of a connection finds that the other is gone.
    fn client_learns(&mut self, link: LinkId) {
        let client = self.links[link.0].client;
        if self.clients[client].link() == Some(link) {
            self.clients[client].disconnected();
            let pause = self.clients[client].traits.pause;
            self.act_within(client, pause);
        }
    }

    /// Lets a client do something, and sends what it has written.
    fn with<R>(&mut self, client: usize, does: impl FnOnce(&mut Client, &mut Tools<'_>) -> R) -> R {
        let mut tools = Tools {
            now: self.now,
            random: &mut self.random,
            verdict: &mut self.verdict,
            history: &mut self.history,
            stores: self.tally.refusals == 0,
            written: self.written,
            settled: Vec::new(),
            out: Vec::new(),
            closes: false,
        };
        let result = does(&mut self.clients[client], &mut tools);
        let Tools {
            out,
            closes,
            settled,
            ..
        } = tools;
        if let Some(link) = self.clients[client].link() {
            for job in settled {
                let happening = Happening::Confirm {
                    life: self.life,
                    client,
                    link,
                    job,
                };
                self.agenda.enter(self.now + SETTLED_BY, happening);
            }
            if !out.is_empty() {
                let at = self.now + self.random.within(self.scenario.network);
                let record = &mut self.links[link.0];
                let at = at.max(record.last_up);
                record.last_up = at;
                self.agenda.enter(
                    at,
                    Happening::Up {
                        link,
                        bytes: out,
                        at,
                    },
                );
            }
            if closes {
                let at = self.links[link.0].last_up;
                self.agenda
                    .enter(at.max(self.now), Happening::UpEnd { link });
                self.clients[client].disconnected();
                if !self.clients[client].is_leaving {
                    let pause = self.clients[client].traits.pause;
                    self.act_within(client, pause);
                }
            }
        }
        result
    }

    /// From now on nothing gets through; what is under way may have been lucky.
    fn cut(&mut self, link: LinkId) {
        let lucky = self.now + self.random.within(self.scenario.network);
        self.history.note(self.now, || format!("{link:?} is cut"));
        let record = &mut self.links[link.0];
        record.up_until.get_or_insert(lucky);
        record.down_until.get_or_insert(self.now);
        let at = lucky + self.random.within(Span::millis(0, 400));
        self.agenda.enter(at, Happening::UpEnd { link });
    }

    /// A settlement that has arrived for certain, in good times, is stored.
    fn confirm(&mut self, client: usize, link: LinkId, job: u64) {
        let has_arrived = self.clients[client].link() == Some(link)
            && self.links[link.0].up_until.is_none()
            && matches!(self.links[link.0].end, End::Open(..));
        if has_arrived && self.is_undisturbed() {
            self.verdict.jobs.confirmed(job, self.now);
        }
    }

    /// Nothing was wrong with the disk for so long that nobody waits for it any more.
    fn is_undisturbed(&self) -> bool {
        !self.is_unwell && self.now.since(self.disturbed_at) > RECOVERED_BY
    }

    // The clients.

    fn act_within(&mut self, client: usize, span: Span) {
        self.rounds[client] += 1;
        let at = (self.now + self.random.within(span)).max(self.away_until[client]);
        let round = self.rounds[client];
        self.agenda.enter(at, Happening::Act { client, round });
    }

    fn act(&mut self, client: usize) {
        if self.now < self.away_until[client] {
            return self.act_within(client, Span::millis(0, 1));
        }
        match self.clients[client].phase {
            Phase::Offline => {
                self.connect(client);
                self.act_within(client, Span::millis(400, 900));
            }
            Phase::Connecting(link) => {
                // It was too long.
                self.cut(link);
                self.clients[client].disconnected();
                self.act_within(client, Span::millis(1, 200));
            }
            Phase::Connected(link) if self.mood == Mood::Trouble => {
                let deed = self.with(client, |client, tools| client.act(tools));
                match deed {
                    Deed::Something => {
                        if self.clients[client].is_connected() {
                            let acts = self.clients[client].traits.acts;
                            self.act_within(client, acts);
                        }
                    }
                    Deed::Cut => {
                        self.cut(link);
                        self.clients[client].disconnected();
                        let pause = self.clients[client].traits.pause;
                        self.act_within(client, pause);
                    }
                    Deed::TakeOver => {
                        // The broker is not told of the end of the other.
                        let record = &mut self.links[link.0];
                        record.up_until.get_or_insert(self.now);
                        record.down_until.get_or_insert(self.now);
                        self.connect(client);
                        self.act_within(client, Span::millis(400, 900));
                    }
                }
            }
            Phase::Connected(_) => {}
        }
    }

    fn connect(&mut self, client: usize) {
        if self.is_down {
            return;
        }
        let link = LinkId(self.links.len());
        self.links.push(Link::new(client, self.now));
        let life = self.life;
        let at = self.now + self.random.within(self.scenario.network);
        self.agenda.enter(at, Happening::Accept { life, link });
        self.links[link.0].last_up = at;
        self.with(client, |client, tools| client.connect(link, tools));
    }

    // The trouble.

    fn trouble(&mut self, trouble: Trouble) {
        if self.mood == Mood::Calm || self.is_down {
            return;
        }
        self.history
            .note(self.now, || format!("trouble: {trouble:?}"));
        if let Trouble::Full(..) | Trouble::Failing(..) = trouble {
            self.is_unwell = true;
        }
        match trouble {
            Trouble::PowerCut => self.crash(true),
            // Damage is looked for where nothing was torn.
            Trouble::PowerCutDuring(_) if self.planted.is(Bug::FlipBit) => self.crash(false),
            Trouble::PowerCutDuring(operations) => self.keeper.disk.crash_at(operations),
            Trouble::Kill => self.crash(false),
            Trouble::Full(room, lasts) => {
                let used = self.keeper.disk.used_bytes();
                self.keeper.disk.set_room(used + room);
                self.agenda.enter(self.now + lasts, Happening::Heal);
            }
            Trouble::Failing(operation, lasts) => {
                let after = self.random.between(0, 5);
                self.keeper.disk.fail(failing(operation, after));
                self.agenda.enter(self.now + lasts, Happening::Heal);
            }
        }
    }

    fn heal(&mut self) {
        self.is_unwell = false;
        self.disturbed_at = self.now;
        self.keeper.disk.heal();
        self.keeper.disk.set_room(u64::MAX);
    }

    /// The broker is gone, with its machine or without it.
    pub(super) fn crash(&mut self, power_goes: bool) {
        let power_goes = power_goes && !self.planted.is(Bug::FlipBit);
        self.history.note(self.now, || {
            let what = if power_goes {
                "the power goes"
            } else {
                "the process dies"
            };
            format!("───── {what} ─────")
        });
        self.keeper.forget();
        self.shells.clear();
        self.hosts.clear();
        self.channels.clear();
        self.verdict.jobs.crashed();
        if power_goes {
            self.tally.power_cuts += 1;
            self.keeper.disk.crash();
        } else {
            self.tally.kills += 1;
            self.keeper.disk.kill();
        }
        self.life += 1;
        self.is_down = true;
        let restart = self.now + self.random.within(self.scenario.restarting);
        for client in 0..self.clients.len() {
            let Some(link) = self.clients[client].link() else {
                continue;
            };
            // What the broker has sent may arrive still.
            let lucky = self.now + self.random.within(self.scenario.network);
            let record = &mut self.links[link.0];
            // One that an earlier crash has ended is not known to be yet.
            let is_open = matches!(record.end, End::Open(..));
            record.end = End::Gone;
            record.down_until.get_or_insert(lucky);
            let learns = lucky + self.random.within(Span::millis(0, 300));
            self.agenda.enter(learns, Happening::DownEnd { link });
            if is_open
                && let Some(will) = self.clients[client].will()
                // While nothing can be stored clients come back all the same.
                && self.refusing.is_empty()
                && self.random.percent(50)
            {
                let delay = Duration::from_secs(u64::from(will.delay_seconds));
                self.away_until[client] = restart + delay + Duration::from_secs(2);
                self.verdict.will_is_due(will.number, self.now);
            }
        }
        for link in &mut self.links {
            link.end = End::Gone;
        }
        self.refusing.clear();
        self.agenda.enter(restart, Happening::Restart);
    }

    fn restart(&mut self) {
        self.heal();
        self.is_down = false;
        if self.mood == Mood::Trouble && self.random.percent(20) && !self.planted.is(Bug::FlipBit) {
            // It may go in the middle of the recovery, or later.
            let operations = self.random.between(0, 40);
            self.keeper.disk.crash_at(operations);
        }
        self.start();
    }

    // The end.

    /// Nothing goes wrong any more, and everybody is there.
    fn calm_down(&mut self) {
        self.mood = Mood::Calm;
        // It may have gone where nobody looked.
        if self.keeper.disk.is_off() {
            self.crash(true);
        }
        self.heal();
        self.keeper.disk.crash_at(u64::MAX / 2);
        self.history
            .note(self.now, || "───── calm ─────".to_owned());
        for client in 0..self.clients.len() - 1 {
            self.clients[client].calm_down();
            self.with(client, |client, tools| client.finish_jobs(tools));
            if !self.clients[client].is_connected() {
                self.act_within(client, Span::millis(1, 50));
            }
        }
    }

    /// Until everything has come to rest.
    fn settle(&mut self) {
        const REST: Duration = Duration::from_millis(2_200);
        const REST_BY: Duration = Duration::from_secs(120);
        let begin = self.now;
        let mut rested = Duration::ZERO;
        while rested < REST && !self.is_over() {
            let before = self.traffic;
            let step = Duration::from_millis(550);
            self.run_until(self.now + step);
            let is_quiet = self.traffic == before
                && !self.is_down
                && self.clients.iter().all(|client| {
                    client.is_at_rest()
                        && (client.is_connected() || client.number + 1 == self.clients.len())
                });
            rested = if is_quiet {
                rested + step
            } else {
                Duration::ZERO
            };
            if self.now.since(begin) > REST_BY {
                let waits: Vec<String> = self
                    .clients
                    .iter()
                    .filter(|client| !client.is_at_rest() || !client.is_connected())
                    .map(|client| format!("client {} {}", client.number, client.waits_for()))
                    .collect();
                self.verdict.breach(Promise::Progress, waits.join("; "));
            }
        }
    }

    /// What was refused is tried again, later and later; if it is captured by a small queue, only as
    /// much of it as that has room for gets through each time.
    fn publish_delayed(&mut self) {
        const PUBLISHED_BY: Duration = Duration::from_secs(12 * 3600);
        let begin = self.now;
        while self.delayed_messages() > 0 && !self.is_over() {
            self.run_until(self.now + Duration::from_secs(5));
            if self.now.since(begin) > PUBLISHED_BY {
                let count = self.delayed_messages();
                let text = format!("{count} messages are not published");
                self.verdict.breach(Promise::Progress, text);
            }
        }
    }

    /// One more message on each topic: the subscriptions are still there.
    fn probe(&mut self) {
        for client in 0..self.clients.len() - 1 {
            let topics = self.clients[client].traits.topics.clone();
            self.clients[client].traits.window = usize::MAX;
            for topic in topics {
                self.with(client, |client, tools| {
                    client.publish_on(&topic, QoS::ExactlyOnce, None, tools);
                });
            }
        }
    }

    fn audit(&mut self) {
        let auditor = self.clients.len() - 1;
        self.verdict.begin_audit();
        self.act(auditor);
        self.settle();
        self.with(auditor, |client, tools| {
            client.subscribe_to(&[("r/#".to_owned(), QoS::AtLeastOnce)], tools);
        });
        self.settle();
        // What was refused and is sent again may come behind what was not.
        if !self.is_over() && self.tally.refusals == 0 {
            self.verdict.check_retained();
        }
        for topic in self.verdict.retained_topics() {
            self.with(auditor, |client, tools| {
                client.publish_on(&topic, QoS::AtLeastOnce, Some(true), tools);
            });
        }
        self.settle();
    }

    /// The auditor takes the dead letters; then everything that was pushed has been somewhere.
    fn audit_jobs(&mut self) {
        let auditor = self.clients.len() - 1;
        let dead = QUEUES.map(|queue| (format!("$queue/{queue}/$dlq"), QoS::AtLeastOnce));
        self.with(auditor, |client, tools| client.subscribe_to(&dead, tools));
        self.settle();
        self.publish_delayed();
        self.settle();
        self.run_until(self.now + Duration::from_secs(5));
        if !self.is_over() {
            self.verdict.check_jobs();
        }
    }

    /// Everybody ends their session; then nothing may be left.
    fn leave(&mut self) {
        for client in 0..self.clients.len() {
            if let Some(link) = self.clients[client].link() {
                self.cut(link);
                self.clients[client].disconnected();
            }
            self.clients[client].is_leaving = true;
            self.connect(client);
        }
        // Nobody comes again.
        for round in &mut self.rounds {
            *round += 1;
        }
        self.run_until(self.now + Duration::from_secs(3));
        for round in &mut self.rounds {
            *round += 1;
        }
        self.run_until(self.now + Duration::from_secs(2));
        if self.is_over() {
            return;
        }
        if let Some(left) = self.what_is_left() {
            self.verdict
                .breach(Promise::NothingLeft, format!("before a restart: {left}"));
        }
        self.crash(false);
        self.run_until(self.now + Duration::from_secs(1));
        if self.is_over() {
            return;
        }
        if let Some(left) = self.what_is_left() {
            self.verdict
                .breach(Promise::NothingLeft, format!("after a restart: {left}"));
        }
    }
}
