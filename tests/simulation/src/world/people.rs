//! What clients, vandals, the administrator and the broker's own voice do, and when.

use nexum_core::{ConnectionLoss, Input};
use nexum_types::{QoS, ReasonCode};

use super::{Happening, Mood, World};
use crate::client::{Context, Deed, Phase};
use crate::link::{BrokerEnd, LinkId};
use crate::random::Span;
use crate::rule::Rule;
use crate::scenario::{Answering, Reading};

/// A client writes no more while so much of what it wrote was not read.
const BACKLOG_BYTES: usize = 20_000;
const AT_ONCE: Span = Span::micros(0, 0);

impl World {
    /// Lets a client use its tools, then sends what it has written.
    fn with<R>(
        &mut self,
        client: usize,
        does: impl FnOnce(&mut crate::client::Client, &mut Context<'_>) -> R,
    ) -> (R, Vec<u8>) {
        let mut context = Context {
            now: self.now,
            judge: &mut self.judge,
            random: &mut self.random,
            verifies_credentials: self.scenario.verifies_credentials,
            out: Vec::new(),
        };
        let result = does(&mut self.clients[client], &mut context);
        (result, context.out)
    }

    fn write_for(&mut self, client: usize, link: LinkId, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.clients[client].sent_at = self.now;
        self.up(link, bytes);
    }

    /// The client's next act; whatever was planned before is off.
    pub(super) fn act_within(&mut self, client: usize, span: Span) {
        self.rounds[client] += 1;
        let at = self.now + self.random.within(span);
        let round = self.rounds[client];
        self.agenda.enter(at, Happening::Act { client, round });
    }

    pub(super) fn act(&mut self, client: usize, round: u64) {
        if self.rounds[client] != round {
            return;
        }
        match (self.mood, self.clients[client].phase) {
            (Mood::Trouble | Mood::Calm, Phase::Offline) => self.come(client, None),
            (Mood::Trouble, Phase::Connected(link)) => self.do_something(client, link),
            (Mood::Trouble | Mood::Calm, Phase::Connecting(link)) => {
                self.wait_or_give_up(client, link)
            }
            (Mood::Calm, Phase::Connected(_)) | (Mood::Over, _) => {}
            (Mood::Leaving, phase) => self.leave_step_by_step(client, phase),
        }
    }

    fn come(&mut self, client: usize, clean: Option<bool>) {
        let link = self.connect(Some(client));
        let ((), bytes) = self.with(client, |client, context| {
            client.connect(link, clean, context)
        });
        self.write_for(client, link, &bytes);
        self.act_within(client, Span::millis(300, 3_000));
    }

    fn wait_or_give_up(&mut self, client: usize, link: LinkId) {
        if self.broker_is_gone(link) {
            return self.client_learns(link);
        }
        self.client_reads(link);
        if self.clients[client].phase != Phase::Connecting(link) {
            return;
        }
        // Its CONNECT may be lost, or the broker is slow; the longer the likelier.
        if self.links[link.0].severed || self.random.percent(20) {
            self.abandon(link);
            self.clients[client].disconnected();
            self.pause(client);
        } else {
            self.act_within(client, Span::millis(300, 3_000));
        }
    }

    /// Offline for a while.
    fn pause(&mut self, client: usize) {
        let span = match self.mood {
            Mood::Trouble => self.clients[client].traits.pause,
            Mood::Calm | Mood::Leaving | Mood::Over => Span::millis(5, 100),
        };
        self.act_within(client, span);
    }

    fn do_something(&mut self, client: usize, link: LinkId) {
        if self.broker_is_gone(link) {
            // Who does not read finds out when they write.
            return self.client_learns(link);
        }
        if self.links[link.0].up.unread() > BACKLOG_BYTES {
            let span = self.clients[client].traits.acts;
            return self.act_within(client, span);
        }
        let (deed, bytes) = self.with(client, |client, context| client.act(context));
        self.write_for(client, link, &bytes);
        let mut next = self.clients[client].traits.acts;
        match deed {
            Deed::Nothing => {}
            Deed::Close => {
                self.close_up(link);
                self.clients[client].disconnected();
                return self.pause(client);
            }
            Deed::Cut => {
                let broker_learns =
                    *self
                        .random
                        .pick(&[AT_ONCE, Span::millis(0, 500), Span::millis(500, 8_000)]);
                let client_learns = *self.random.pick(&[AT_ONCE, Span::millis(0, 2_000)]);
                self.cut(link, broker_learns, client_learns);
            }
            Deed::TakeOver => {
                // The old connection stays where it is; nobody reads it any more.
                self.links[link.0].client_open = false;
                let at = self.now + self.random.within(Span::millis(2_000, 8_000));
                let loss = ConnectionLoss::Error("reset".to_owned());
                self.agenda
                    .enter(at, Happening::BrokerLearns { link, loss });
                self.writable(link);
                self.clients[client].disconnected();
                return self.come(client, None);
            }
            Deed::Idle => next = Span::millis(500, 4_000),
        }
        self.act_within(client, next);
    }

    fn broker_is_gone(&self, link: LinkId) -> bool {
        let record = &self.links[link.0];
        record.broker == BrokerEnd::Gone && !record.severed
    }

    pub(super) fn client_takes(&mut self, client: usize, link: LinkId, bytes: &[u8]) {
        let before = self.clients[client].phase;
        let ((), out) = self.with(client, |client, context| client.read(link, bytes, context));
        self.write_for(client, link, &out);
        self.answer_later(client, link);
        if before != self.clients[client].phase {
            self.ping_later(client, link);
            if self.mood != Mood::Calm {
                let span = self.clients[client].traits.acts;
                self.act_within(client, span);
            }
        }
    }

    fn answer_later(&mut self, client: usize, link: LinkId) {
        if let Some(at) = self.clients[client].next_answer() {
            self.agenda.enter(at, Happening::Answer { client, link });
        }
    }

    pub(super) fn client_answers(&mut self, client: usize, link: LinkId) {
        if self.clients[client].phase.link() == Some(link) {
            let bytes = self.clients[client].take_answers(self.now);
            self.write_for(client, link, &bytes);
            if !bytes.is_empty() {
                self.answer_later(client, link);
            }
        }
    }

    fn ping_later(&mut self, client: usize, link: LinkId) {
        if let Some(at) = self.clients[client].ping_due() {
            self.agenda
                .enter(at.max(self.now), Happening::Ping { client, link });
        }
    }

    pub(super) fn client_pings(&mut self, client: usize, link: LinkId) {
        if self.clients[client].phase != Phase::Connected(link) {
            return;
        }
        if self.clients[client]
            .ping_due()
            .is_some_and(|due| due <= self.now)
        {
            let ((), bytes) = self.with(client, |client, context| client.ping(context));
            self.write_for(client, link, &bytes);
        }
        self.ping_later(client, link);
    }

    /// The client finds that the connection has ended.
    pub(super) fn client_learns(&mut self, link: LinkId) {
        let record = &mut self.links[link.0];
        let Some(client) = record.client else { return };
        if !record.client_open {
            return;
        }
        record.client_open = false;
        if !record.severed {
            self.close_up(link);
        }
        if self.clients[client].phase.link() == Some(link) {
            // A CONNECT under way must not be found later.
            if matches!(self.clients[client].phase, Phase::Connecting(_)) {
                self.abandon(link);
            }
            self.clients[client].disconnected();
            self.pause(client);
        }
    }

    /// The client stops making trouble; who read or answered nothing comes back as a new person.
    pub(super) fn calm_down(&mut self, client: usize, everybody: bool) {
        let traits = &self.clients[client].traits;
        let was_deaf = traits.reading == Reading::Never
            || matches!(traits.answering, Answering::Never)
            || self.clients[client].pings_unanswered > 3;
        let stays_away =
            !everybody && self.clients[client].phase == Phase::Offline && self.random.percent(30);
        self.clients[client].become_healthy();
        if stays_away {
            self.rounds[client] += 1;
            return;
        }
        match self.clients[client].phase {
            Phase::Offline | Phase::Connecting(_) => self.act_within(client, Span::millis(0, 500)),
            Phase::Connected(link) => {
                self.rounds[client] += 1;
                if was_deaf || self.broker_is_gone(link) {
                    self.cut(link, Span::millis(0, 200), AT_ONCE);
                } else {
                    self.agenda.enter(self.now, Happening::Read { link });
                }
            }
        }
    }

    /// Whether nothing is on its way to or from anybody who is connected.
    pub(super) fn everybody_is_quiet(&self) -> bool {
        self.clients.iter().all(|client| match client.phase {
            Phase::Offline => true,
            Phase::Connecting(_) => false,
            Phase::Connected(link) => self.is_quiet(link),
        })
    }

    pub(super) fn check_client_at_rest(&mut self, client: usize) {
        let Phase::Connected(link) = self.clients[client].phase else {
            // It may have stayed away; who wanted to come must be there.
            if self.clients[client].phase != Phase::Offline {
                let text = format!("client {client} gets no CONNACK");
                self.judge.breach(Rule::Progress, text);
            }
            return;
        };
        self.judge.check_answers(link);
        if !self.clients[client].is_at_rest() || !self.is_quiet(link) {
            let record = &self.links[link.0];
            let text = format!(
                "client {client} on {link:?} waits: {}; {} bytes up, {} bytes down, {:?}",
                self.clients[client].waits_for(),
                record.up.unread(),
                record.down.unread(),
                record.broker
            );
            self.judge.breach(Rule::Progress, text);
        }
    }

    /// Whatever a client has at the broker goes with it.
    fn leave_step_by_step(&mut self, client: usize, phase: Phase) {
        match phase {
            Phase::Offline if self.gone[client] => {}
            Phase::Offline => {
                self.came_to_leave[client] = true;
                self.come(client, Some(true));
            }
            Phase::Connecting(link) => {
                if self.links[link.0].severed || self.broker_is_gone(link) {
                    self.abandon(link);
                    self.clients[client].disconnected();
                }
                self.act_within(client, Span::millis(300, 1_000));
            }
            Phase::Connected(link) => {
                let ((), bytes) =
                    self.with(client, |client, context| client.leave_for_good(context));
                self.write_for(client, link, &bytes);
                self.close_up(link);
                self.clients[client].disconnected();
                self.gone[client] = self.came_to_leave[client];
                self.act_within(client, Span::millis(5, 100));
            }
        }
    }

    pub(super) fn vandal(&mut self) {
        if self.mood != Mood::Trouble {
            return;
        }
        let link = self.connect(None);
        let rubbish: Vec<u8> = match self.random.below(4) {
            // The beginning of a CONNECT that never ends.
            0 => b"\x10\x20\0\x04MQTT\x05".to_vec(),
            1 => (0..self.random.below(200))
                .map(|_| self.random.next() as u8)
                .collect(),
            // PUBLISH first.
            2 => b"\x30\x05\0\x01ahi".to_vec(),
            _ => Vec::new(),
        };
        self.up(link, &rubbish);
        if self.random.percent(30) {
            let loss = ConnectionLoss::EndOfStream;
            let at = self.now + self.random.within(Span::millis(0, 2_000));
            self.agenda
                .enter(at, Happening::BrokerLearns { link, loss });
        }
        let next = self.now + self.random.within(Span::millis(100, 3_000));
        self.agenda.enter(next, Happening::Vandal);
    }

    pub(super) fn administrator(&mut self) {
        if self.mood != Mood::Trouble {
            return;
        }
        let next = self.now + self.random.within(Span::millis(2_000, 20_000));
        self.agenda.enter(next, Happening::Administrator);
        let client = self.random.below(self.clients.len());
        if let Some(link) = self.clients[client].phase.link()
            && let BrokerEnd::Open { shard, key } = self.links[link.0].broker
        {
            self.judge.tally.ended_by_administrator += 1;
            let reason = ReasonCode::AdministrativeAction;
            self.input(
                shard,
                Input::Disconnect {
                    connection: key,
                    reason,
                },
            );
        }
    }

    pub(super) fn speak(&mut self) {
        if self.mood != Mood::Trouble {
            return;
        }
        let next = self.now + self.random.within(Span::millis(200, 2_000));
        self.agenda.enter(next, Happening::Voice);
        let topic = *self.random.pick(&["$SYS/broker/uptime", "t/0", "r/0"]);
        let qos = *self
            .random
            .pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let retain = self.random.percent(50);
        self.voice(topic.to_owned(), qos, retain);
    }
}
