//! The agenda of a run: clients act, bytes travel, shards have their turns, and the power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexum_core::{ExtensionBatch, Key, LoadId, PeerBatch, ShardId};
use nexum_extension_api::Output;
use nexum_types::Time;

use super::broker::{End, Link, Shell, Work, origin};
use super::clients::{Client, Deed, Phase};
use super::faults::{Bug, Planted, Trouble, failing};
use super::hosts::{HostShell, HostWork};
use super::jobs::Jobs;
use super::keeper::{Keeper, Told};
use super::scenario::{Cast, Scenario};
use super::tally::Tally;
use super::verdict::{Promise, Verdict};
use crate::agenda::Agenda;
use crate::history::History;
use crate::link::LinkId;
use crate::random::{Random, Span};

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
pub(super) enum Mood {
    Trouble,
    Calm,
}

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
    pub(super) clients: Vec<Client>,
    pub(super) rounds: Vec<u64>,
    /// A client stays away so long.
    away_until: Vec<Time>,
    pub(super) mood: Mood,
    /// The disk fails, or is full.
    pub(super) is_unwell: bool,
    /// There is no broker.
    pub(super) is_down: bool,
    /// When the broker wrote what is being read.
    pub(super) written: Time,
    /// Packets under way in either direction, at any time.
    pub(super) traffic: u64,
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

    pub(super) fn is_over(&self) -> bool {
        self.verdict.has_breach() || self.tally.damage_told > 0
    }

    pub(super) fn run_until(&mut self, end: Time) {
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

    // The clients.

    pub(super) fn act_within(&mut self, client: usize, span: Span) {
        self.rounds[client] += 1;
        let at = (self.now + self.random.within(span)).max(self.away_until[client]);
        let round = self.rounds[client];
        self.agenda.enter(at, Happening::Act { client, round });
    }

    pub(super) fn act(&mut self, client: usize) {
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

    pub(super) fn connect(&mut self, client: usize) {
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

    pub(super) fn heal(&mut self) {
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
}
