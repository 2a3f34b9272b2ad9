//! What lies between the clients and the broker: connections whose bytes take their time, and that are
//! lost.

use std::time::Duration;

use nexum_types::Time;

use super::broker::End;
use super::clients::{Client, Tools};
use super::world::{Happening, World};
use crate::link::LinkId;
use crate::random::Span;

/// How long a settlement takes to the disk, at most: the network, two crossings, three turns, and a
/// commit.
const SETTLED_BY: Duration = Duration::from_millis(150);

/// How long after the disk is well again somebody may still be waiting to try it again.
const RECOVERED_BY: Duration = Duration::from_secs(4);

impl World {
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

    pub(super) fn down_arrived(&mut self, link: LinkId, bytes: &[u8], written: Time) {
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

    pub(super) fn answer_in_time(&mut self, client: usize, link: LinkId) {
        if let Some(at) = self.clients[client].next_answer() {
            let at = at.max(self.now + Duration::from_micros(1));
            self.agenda.enter(at, Happening::Answer { client, link });
        }
    }

    /// The client's end of a connection finds that the other is gone.
    pub(super) fn client_learns(&mut self, link: LinkId) {
        let client = self.links[link.0].client;
        if self.clients[client].link() == Some(link) {
            self.clients[client].disconnected();
            let pause = self.clients[client].traits.pause;
            self.act_within(client, pause);
        }
    }

    /// Lets a client do something, and sends what it has written.
    pub(super) fn with<R>(
        &mut self,
        client: usize,
        does: impl FnOnce(&mut Client, &mut Tools<'_>) -> R,
    ) -> R {
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
    pub(super) fn cut(&mut self, link: LinkId) {
        let lucky = self.now + self.random.within(self.scenario.network);
        self.history.note(self.now, || format!("{link:?} is cut"));
        let record = &mut self.links[link.0];
        record.up_until.get_or_insert(lucky);
        record.down_until.get_or_insert(self.now);
        let at = lucky + self.random.within(Span::millis(0, 400));
        self.agenda.enter(at, Happening::UpEnd { link });
    }

    /// A settlement that has arrived for certain, in good times, is stored.
    pub(super) fn confirm(&mut self, client: usize, link: LinkId, job: u64) {
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
}
