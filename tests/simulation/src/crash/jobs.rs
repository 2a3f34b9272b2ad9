//! What was promised to those who use queues: what was pushed, and where it has been seen.
//!
//! A message of the run may be pushed more than once, where its client repeats it and that is
//! allowed; each push that is stored is a job with a number of its own, which the broker tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexum_core::ShardId;
use nexum_queue::Order;
use nexum_types::{QoS, Time};

use super::scenario::{CAPTURED, Extended};
use super::verdict::{ContentType, Promise};
use crate::link::LinkId;

/// In front of a target: the `id` follows, and a slash.
pub(super) const WITH_ID: &str = "$opt/id=";

/// Where what is published to a topic goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journey {
    /// As plain subscribers see it.
    pub(super) plain: Option<String>,
    pub(super) queue: Option<String>,
    /// What follows the name of the queue.
    levels: Option<String>,
    pub(super) delay: Option<Duration>,
    /// Its producer gave it an `id`: a repetition is known by that.
    has_id: bool,
}

impl Journey {
    /// Of what is published to this topic.
    fn new(topic: &str, captor: Option<&str>) -> Journey {
        if let Some(rest) = topic.strip_prefix("$delayed/")
            && let Some((when, target)) = rest.split_once('/')
        {
            let millis = when.trim_end_matches("ms").parse().unwrap_or(0);
            return Journey {
                delay: Some(Duration::from_millis(millis)),
                ..Journey::new(target, captor)
            };
        }
        if let Some(rest) = topic.strip_prefix(WITH_ID)
            && let Some((_, target)) = rest.split_once('/')
        {
            return Journey {
                has_id: true,
                ..Journey::new(target, captor)
            };
        }
        let pushed = topic
            .strip_prefix("$queue/")
            .or_else(|| topic.strip_prefix("$q/"));
        if let Some(rest) = pushed {
            let (queue, levels) = match rest.split_once('/') {
                Some((queue, levels)) => (queue, Some(levels.to_owned())),
                None => (rest, None),
            };
            return Journey {
                plain: None,
                queue: Some(queue.to_owned()),
                levels,
                delay: None,
                has_id: false,
            };
        }
        Journey {
            plain: Some(topic.to_owned()),
            queue: captor
                .filter(|_| topic.starts_with(CAPTURED))
                .map(str::to_owned),
            levels: Some(topic.to_owned()),
            delay: None,
            has_id: false,
        }
    }

    pub(super) fn is_captured(&self) -> bool {
        self.plain.is_some() && self.queue.is_some()
    }
}

/// Something that a consumer got.
#[derive(Clone, Debug)]
pub(super) struct JobDelivery<'a> {
    pub(super) client: usize,
    pub(super) link: LinkId,
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) content_type: ContentType<'a>,
    /// What the broker calls it, if it can say so.
    pub(super) job: Option<u64>,
    /// The first is 1.
    pub(super) attempt: Option<u64>,
    /// When the broker wrote it.
    pub(super) written: Time,
}

/// What is known of the message that a consumer got.
#[derive(Clone, Debug)]
pub(super) struct Pushed {
    pub(super) number: u32,
    pub(super) journey: Journey,
    pub(super) qos: QoS,
    /// Its publisher's session outlives its connections.
    pub(super) persistent: bool,
    pub(super) from: Option<Time>,
    pub(super) sends: u32,
    /// Its publisher was told that it is not kept, and never that it is.
    pub(super) refused: bool,
}

/// The job in the topic of a lease.
pub(super) fn leased_job(topic: &str) -> Option<u64> {
    let (sequence, _) = receipt_of(topic)?.split_once('-')?;
    u64::from_str_radix(sequence, 16).ok()
}

/// The receipt in the topic of a lease.
pub(super) fn receipt_of(topic: &str) -> Option<&str> {
    let (_, rest) = topic.split_once("/$lease/")?;
    rest.split('/').next()
}

/// What was pushed once.
#[derive(Debug)]
struct Job {
    number: u32,
    /// From then on it is never handed out again…
    gone_since: Option<Time>,
    /// …and nothing comes of it in a later life.
    gone_in: u32,
}

/// What consumers did to a message of the run.
#[derive(Debug, Default)]
struct Fate {
    jobs: BTreeSet<u64>,
    deliveries: u32,
    /// Some consumer said that it is done with it.
    done: bool,
    /// It came as a dead letter.
    dead: bool,
}

/// The order in which a queue's only consumer gets what it had never got.
#[derive(Debug, Default)]
struct Line {
    seen: BTreeSet<u64>,
    newest: u64,
}

#[derive(Debug, Default)]
pub(super) struct Jobs {
    captor: Option<&'static str>,
    /// A settlement in time is a settlement.
    lasts: bool,
    /// There is one consumer, and it gets the messages in order.
    is_ordered: bool,
    /// …by key.
    has_keys: bool,
    jobs: BTreeMap<u64, Job>,
    fates: BTreeMap<u32, Fate>,
    /// How often each job was handed out in this life.
    handed_out: BTreeMap<u64, u32>,
    /// How often each message was published after its delay.
    published: BTreeMap<u32, u32>,
    /// By queue, and by key if it has keys.
    lines: BTreeMap<(String, Option<String>), Line>,
    /// The first connection of a consumer in this life.
    first_link: Option<LinkId>,
    crashes: u32,
    /// Shards that hand over what is captured, in this life, until it is all of them.
    captures: BTreeSet<ShardId>,
    pub(super) captures_since: Option<Time>,
    pub(super) deliveries: u64,
    pub(super) settled: u64,
    pub(super) claims: u64,
}

impl Jobs {
    pub(super) fn new(extended: Option<&Extended>) -> Jobs {
        let Some(extended) = extended else {
            return Jobs::default();
        };
        Jobs {
            captor: extended.captor,
            lasts: extended.visibility > Duration::from_secs(10),
            is_ordered: extended.consumers == 1,
            has_keys: extended.order == Order::Key,
            ..Jobs::default()
        }
    }

    pub(super) fn journey(&self, topic: &str) -> Journey {
        Journey::new(topic, self.captor)
    }

    pub(super) fn crashed(&mut self) {
        self.crashes += 1;
        self.handed_out.clear();
        self.lines.clear();
        self.first_link = None;
        self.captures.clear();
    }

    /// A shard has been asked to hand over what is captured. When all of them have been, nothing may
    /// be missed from then on, whatever happens.
    pub(super) fn captured_on(&mut self, shard: ShardId, shards: usize, now: Time) {
        self.captures.insert(shard);
        if self.captures.len() == shards {
            self.captures_since.get_or_insert(now);
        }
    }

    /// A queue gives a job to a consumer, whom it may reach late. Returns the promise that this breaks.
    pub(super) fn handed_out(&mut self, job: u64, now: Time) -> Result<(), (Promise, String)> {
        *self.handed_out.entry(job).or_default() += 1;
        let known = self.jobs.get(&job);
        if known.is_some_and(|job| job.gone_since.is_some_and(|since| now > since)) {
            let text = format!("job {job} is handed out, and its settlement is stored");
            return Err((Promise::Settled, text));
        }
        Ok(())
    }

    /// A message whose delay is over is published.
    pub(super) fn published(&mut self, number: u32) {
        *self.published.entry(number).or_default() += 1;
    }

    /// A consumer got something. Returns the promise that this breaks.
    pub(super) fn delivered(
        &mut self,
        delivery: &JobDelivery<'_>,
        pushed: &Pushed,
    ) -> Result<(), (Promise, String)> {
        self.deliveries += 1;
        let JobDelivery {
            client,
            topic,
            job,
            written,
            ..
        } = *delivery;
        let number = pushed.number;
        let told = |promise, what: &str| {
            let text =
                format!("client {client} got message {number} as {job:?} on {topic}: {what}");
            Err((promise, text))
        };
        let queue = topic.split('/').nth(1).unwrap_or_default();
        if pushed.journey.queue.as_deref() != Some(queue) {
            return told(Promise::Unaltered, "it was not pushed there");
        }
        let levels = topic.splitn(3, '/').nth(2);
        let levels = levels.filter(|levels| !levels.starts_with('$'));
        if levels.is_some() && pushed.journey.levels.as_deref() != levels {
            return told(Promise::Unaltered, "it was not pushed with these levels");
        }
        let Some(from) = pushed.from else {
            return told(Promise::Unaltered, "it was never sent");
        };
        if pushed.refused && pushed.sends == 1 && !pushed.journey.is_captured() {
            return told(
                Promise::Refused,
                "its publisher was told that it is not kept",
            );
        }
        if pushed
            .journey
            .delay
            .is_some_and(|delay| written < from + delay)
        {
            return told(Promise::NotEarly, "it is not due");
        }
        let fate = self.fates.entry(number).or_default();
        fate.deliveries += 1;
        let is_dead = topic.ends_with("/$dlq");
        fate.dead |= is_dead;
        let Some(job) = job else {
            return Ok(());
        };
        fate.jobs.insert(job);
        let is_known = pushed.qos == QoS::ExactlyOnce && pushed.persistent;
        let is_once = is_known || pushed.journey.has_id;
        let most = match (&pushed.journey, is_once) {
            (journey, true) if !journey.is_captured() => 1,
            // It is published once more if somebody refuses it, and if the broker dies before it has
            // forgotten it.
            (journey, _) if journey.is_captured() && journey.delay.is_some() => {
                let published = self.published.get(&number).copied();
                published.unwrap_or_default().max(pushed.sends)
            }
            _ => pushed.sends,
        };
        if fate.jobs.len() > most as usize {
            let what = format!(
                "it was sent {} times, and pushed as {:?}",
                pushed.sends, fate.jobs
            );
            return told(Promise::PushedOnce, &what);
        }
        let known = self.jobs.entry(job).or_insert(Job {
            number,
            gone_since: None,
            gone_in: 0,
        });
        if known.number != number {
            return told(Promise::Unaltered, "this was the number of another one");
        }
        // What a consumer kept waiting for too long may be settled by another one meanwhile.
        let may_be_late = !self.lasts && known.gone_in == self.crashes;
        if !may_be_late && known.gone_since.is_some_and(|since| written > since) {
            return told(Promise::Settled, "its settlement is stored");
        }
        // What never left for a consumer is handed out once more as if nothing had been.
        let is_first = delivery.attempt == Some(1)
            && pushed.journey.delay.is_none()
            && self.handed_out.get(&job).is_none_or(|times| *times == 1);
        if self.is_ordered && is_first && !is_dead && self.first_link == Some(delivery.link) {
            let key = pushed.journey.levels.clone().filter(|_| self.has_keys);
            let line = self.lines.entry((queue.to_owned(), key)).or_default();
            if line.seen.insert(job) {
                if job < line.newest {
                    return told(Promise::Order, "a later one came before");
                }
                line.newest = job;
            }
        }
        Ok(())
    }

    /// A consumer that had nothing of this life before has a connection.
    pub(super) fn consumer_connected(&mut self, link: LinkId) {
        if !self.is_ordered {
            return;
        }
        // What another connection did not get may come late.
        self.first_link.get_or_insert(link);
    }

    /// A consumer says that it is done with it.
    pub(super) fn done(&mut self, number: u32) {
        self.fates.entry(number).or_default().done = true;
    }

    /// A settlement has arrived in time, and nothing hindered it on its way to the disk.
    pub(super) fn confirmed(&mut self, job: u64, now: Time) {
        if self.lasts {
            self.gone(job, now);
        }
    }

    /// It is certain that a job is not there any more.
    pub(super) fn gone(&mut self, job: u64, now: Time) {
        if let Some(job) = self.jobs.get_mut(&job) {
            self.settled += 1;
            if job.gone_since.is_none() {
                job.gone_since = Some(now);
                job.gone_in = self.crashes;
            }
        }
    }

    /// At the end: whether it has been settled, or died.
    pub(super) fn has_ended(&mut self, number: u32) -> Result<(), String> {
        self.claims += 1;
        match self.fates.get(&number) {
            Some(fate) if fate.done || fate.dead => Ok(()),
            Some(fate) => Err(format!("it came {} times", fate.deliveries)),
            None => Err("it never came".to_owned()),
        }
    }
}
