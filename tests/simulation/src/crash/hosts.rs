//! Extensions at work, each in a host without a thread: what shards and the store have for it
//! arrives later, its turns come when the seed says so, and it dies with the process.

use std::collections::VecDeque;
use std::time::Duration;

use nexum_core::{ExtensionBatch, ExtensionId, Input, ShardId};
use nexum_extension_api::{Label, Output};
use nexum_extension_host::{Composed, Host, HostEvent, HostParts, LineId};
use nexum_storage::{Answer, Reader};
use nexum_types::Time;

use super::broker::Work;
use super::faults::Bug;
use super::jobs::leased_job;
use super::verdict::Promise;
use super::world::{Happening, World};
use crate::judge::messages::{MessageId, read_payload};

/// Of a clock that is [fast](Bug::FastClock).
const FAST_BY: Duration = Duration::from_millis(100);

/// A host and what waits for it.
pub(super) struct HostShell {
    host: Host,
    work: VecDeque<HostWork>,
    /// The turn that is entered in the agenda.
    turn_at: Option<Time>,
    /// When the last batch of each shard arrives here…
    batches_by: Vec<Time>,
    /// …and the last outputs there.
    outputs_by: Vec<Time>,
}

/// Something for the next turn of a host.
pub(super) enum HostWork {
    Batch(ExtensionBatch),
    Answer(LineId, Answer),
}

impl World {
    /// Before any client: shards know what is captured before anything is published.
    pub(super) fn start_hosts(&mut self, composed: Vec<Composed>, reader: &Reader, seed: u64) {
        let shards = self.shells.len();
        self.hosts = composed
            .into_iter()
            .map(|composed| HostShell {
                host: Host::new(HostParts {
                    composed,
                    reader: reader.clone(),
                    shards: shards as u16,
                    seed,
                }),
                work: VecDeque::new(),
                turn_at: None,
                batches_by: vec![self.now; shards],
                outputs_by: vec![self.now; shards],
            })
            .collect();
        for host in 0..self.hosts.len() {
            let now = self.now;
            let captures = self.hosts[host].host.start(now);
            for shard in (0..shards as u16).map(ShardId) {
                self.note_captures(shard, &captures);
                if self.planted.is(Bug::LateCaptures) {
                    self.post_outputs(host, shard, captures.clone());
                    continue;
                }
                let input = Input::Extension {
                    extension: ExtensionId(host as u8),
                    outputs: captures.clone(),
                };
                let shell = &mut self.shells[usize::from(shard.0)];
                shell.shard.handle(input, now);
            }
        }
        for host in 0..self.hosts.len() {
            self.finish_host_turn(host);
        }
    }

    /// What a turn of a shard had for extensions.
    pub(super) fn post_to_hosts(&mut self, shard: ShardId) {
        for host in 0..self.hosts.len() {
            let shell = &mut self.shells[usize::from(shard.0)];
            let batch = shell.shard.take_extension_batch(ExtensionId(host as u8));
            let Some(mut batch) = batch else { continue };
            if self.planted.is(Bug::DropCompanions) {
                batch.companions.clear();
            }
            let at = self.now + self.random.within(self.scenario.crossing());
            let last = &mut self.hosts[host].batches_by[usize::from(shard.0)];
            let at = at.max(*last);
            *last = at;
            let happening = Happening::HostBatch {
                life: self.life,
                host,
                batch,
            };
            self.agenda.enter(at, happening);
        }
    }

    /// Something for a host, in its order.
    pub(super) fn give_host(&mut self, host: usize, work: HostWork) {
        self.hosts[host].work.push_back(work);
        let at = self.now + self.random.within(self.scenario.turn);
        self.wake_host(host, at);
    }

    fn wake_host(&mut self, host: usize, at: Time) {
        let shell = &mut self.hosts[host];
        if shell.turn_at.is_none_or(|turn| at < turn) {
            shell.turn_at = Some(at);
            let life = self.life;
            self.agenda.enter(at, Happening::HostTurn { life, host });
        }
    }

    pub(super) fn host_turn(&mut self, host: usize) {
        let now = self.now;
        let shell = &mut self.hosts[host];
        if shell.turn_at != Some(now) {
            return;
        }
        shell.turn_at = None;
        for work in std::mem::take(&mut shell.work) {
            match work {
                HostWork::Batch(batch) => shell.host.batch(batch, now),
                HostWork::Answer(line, answer) => shell.host.answers(line, vec![answer], now),
            }
        }
        let is_fast = self.planted.is(Bug::FastClock);
        let time = if is_fast { now + FAST_BY } else { now };
        shell.host.handle_timeout(time);
        if self.keeper.disk.is_off() {
            return self.crash(true);
        }
        self.finish_host_turn(host);
    }

    fn finish_host_turn(&mut self, host: usize) {
        let now = self.now;
        while let Some(submission) = self.hosts[host].host.take_submission(now) {
            self.submit_of_host(host, submission);
        }
        for shard in (0..self.shells.len() as u16).map(ShardId) {
            let outputs = self.hosts[host].host.take_outputs(shard);
            if !outputs.is_empty() {
                self.note_outputs(&outputs);
                self.post_outputs(host, shard, outputs);
            }
        }
        while let Some(event) = self.hosts[host].host.poll_event() {
            self.history.note(now, || format!("host {host}: {event:?}"));
            if let HostEvent::RecordLost(text) = event {
                self.verdict.breach(Promise::Recovers, text);
            }
        }
        if let Some(at) = self.hosts[host].host.poll_timeout() {
            let later = now + Duration::from_millis(1);
            self.wake_host(host, at.max(later));
        }
    }

    /// In one letter or several.
    fn post_outputs(&mut self, host: usize, shard: ShardId, mut outputs: Vec<Output>) {
        if self.planted.is(Bug::ShuffleOutputs) {
            outputs.reverse();
        }
        let mut outputs = outputs.into_iter();
        while outputs.len() > 0 {
            let count = match self.random.percent(50) {
                true => outputs.len(),
                false => 1 + self.random.below(outputs.len()),
            };
            let letter = outputs.by_ref().take(count).collect();
            let at = self.now + self.random.within(self.scenario.crossing());
            let last = &mut self.hosts[host].outputs_by[usize::from(shard.0)];
            let at = at.max(*last);
            *last = at;
            let happening = Happening::Outputs {
                life: self.life,
                host,
                shard,
                outputs: letter,
            };
            self.agenda.enter(at, happening);
        }
    }

    pub(super) fn outputs_arrived(&mut self, host: usize, shard: ShardId, outputs: Vec<Output>) {
        for output in &outputs {
            self.history.note(self.now, || {
                format!("host {host} ──► shard {}: {}", shard.0, brief(output))
            });
        }
        self.note_captures(shard, &outputs);
        let input = Input::Extension {
            extension: ExtensionId(host as u8),
            outputs,
        };
        self.give(shard, Work::Input(input));
    }
}

impl World {
    /// What is handed out, and what is published, by the number of the message.
    fn note_outputs(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Deliver(deliver) => {
                    let told = deliver.properties.iter().find(|(name, _)| *name == "q-id");
                    let job = match told {
                        Some((_, Label::Number(job))) => Some(*job),
                        Some((_, Label::Word(_) | Label::Text(_))) | None => None,
                    };
                    if let Some(job) = leased_job(&deliver.topic).or(job)
                        && let Err((promise, text)) = self.verdict.jobs.handed_out(job, self.now)
                    {
                        self.verdict.breach(promise, text);
                    }
                }
                Output::Publish(publish) => {
                    if let Some(MessageId(number)) = read_payload(publish.message.parts().payload) {
                        self.verdict.jobs.published(number);
                    }
                }
                Output::Reply { .. }
                | Output::Commit { .. }
                | Output::Capture { .. }
                | Output::Release { .. }
                | Output::Grant { .. }
                | Output::Refuse { .. }
                | Output::Write(_)
                | Output::Read { .. }
                | Output::Scan(_)
                | Output::Event { .. } => {}
            }
        }
    }

    /// How many messages wait to be published later.
    pub(super) fn delayed_messages(&self) -> u64 {
        let gauges = self.hosts.iter().flat_map(|shell| shell.host.gauges());
        let delayed = gauges.filter(|gauge| gauge.name == "nexum_delayed_messages");
        delayed.map(|gauge| gauge.value as u64).sum()
    }

    fn note_captures(&mut self, shard: ShardId, outputs: &[Output]) {
        let is_capture = |output: &Output| matches!(output, Output::Capture { .. });
        if outputs.iter().any(is_capture) {
            let shards = self.shells.len();
            self.verdict.jobs.captured_on(shard, shards, self.now);
        }
    }
}

/// An output in a line of the history.
fn brief(output: &Output) -> String {
    match output {
        Output::Reply { command, result } => match result {
            Ok(_) => format!("reply {command:?} ok"),
            Err(refusal) => format!("reply {command:?} refused: {refusal}"),
        },
        Output::Deliver(deliver) => format!(
            "deliver {:?} to {:?} on {} {:?}",
            deliver.delivery, deliver.consumer, deliver.topic, deliver.properties
        ),
        Output::Publish(publish) => format!("publish {:?} {}", publish.publication, publish.topic),
        Output::Commit { .. }
        | Output::Capture { .. }
        | Output::Release { .. }
        | Output::Grant { .. }
        | Output::Refuse { .. }
        | Output::Write(_)
        | Output::Read { .. }
        | Output::Scan(_)
        | Output::Event { .. } => format!("{output:?}"),
    }
}
