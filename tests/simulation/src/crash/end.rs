//! The end of a run: nothing goes wrong any more, everything comes to rest, and what was promised is asked
//! for.

use std::time::Duration;

use nexum_types::QoS;

use super::scenario::QUEUES;
use super::verdict::Promise;
use super::world::{Mood, World};
use crate::random::Span;

impl World {
    /// Nothing goes wrong any more, and everybody is there.
    pub(super) fn calm_down(&mut self) {
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
    pub(super) fn settle(&mut self) {
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
    pub(super) fn publish_delayed(&mut self) {
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
    pub(super) fn probe(&mut self) {
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

    pub(super) fn audit(&mut self) {
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
    pub(super) fn audit_jobs(&mut self) {
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
    pub(super) fn leave(&mut self) {
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
