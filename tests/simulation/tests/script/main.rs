//! ENOSPC and EIO at every write, every sync and everything else that changes the disk in a
//! scripted run of a shard over a real store: no acknowledgement is false.
//!
//! One run counts the operations of the disk. Then each of them fails, once or until the disk is
//! healed, in a run of its own; and that run ends in two ways: the disk is healed and everything
//! has to go on, or the power goes at once. Either way all that was acknowledged has to be there:
//! sessions, subscriptions and their ends, messages and retained messages, and QoS 2 exchanges,
//! whose messages come once.

mod books;
mod people;
mod rig;

use std::collections::BTreeMap;
use std::time::Duration;

use nexum_harness::{Publish, Version};
use nexum_storage::{Failure, Fault, Operation};

use books::Books;
use people::{Person, Subscribed};
use rig::Rig;

/// Is away when most is published.
const OFFLINE: usize = 0;
/// Is there all the time, but for a moment.
const ONLINE: usize = 1;
/// Subscribes and unsubscribes.
const FICKLE: usize = 2;
/// Starts anew.
const RENEWED: usize = 3;
/// Publishes in a session that stays.
const FAITHFUL: usize = 4;
/// Publishes in one that does not.
const CASUAL: usize = 5;

/// How a run goes, and what it is held to.
#[derive(Clone, Copy, Debug)]
struct Plan {
    end: End,
    /// What passes between two acts, so that a store that refuses is tried again or is not.
    pace_milliseconds: u64,
    /// Whether somebody comes for what is on the disk while that fails.
    comes_meanwhile: bool,
    /// Whether UNSUBACK counts as a promise.
    ends_count: bool,
    /// Whether CONNACK counts as a promise while the disk fails.
    sessions_count: bool,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Healed,
    PowerLoss,
}

impl Plan {
    fn of(times: u64, end: End, pace_milliseconds: u64) -> Plan {
        Plan {
            end,
            pace_milliseconds,
            comes_meanwhile: times == 1,
            ends_count: end == End::Healed,
            sessions_count: times == 1,
        }
    }
}

struct Play {
    plan: Plan,
    rig: Rig,
    people: Vec<Person>,
    books: Books,
}

impl Play {
    fn new(seed: u64, plan: Plan) -> Play {
        Play {
            plan,
            rig: Rig::new(seed),
            people: vec![
                Person::new("offline", Version::V5, true),
                Person::new("online", Version::V311, true),
                Person::new("fickle", Version::V5, true),
                Person::new("renewed", Version::V5, true),
                Person::new("faithful", Version::V5, true),
                Person::new("casual", Version::V311, false),
            ],
            books: Books::default(),
        }
    }

    /// One of them acts; then all hear what came of it.
    fn act(&mut self, who: usize, what: impl FnOnce(&mut Person, &mut Rig)) {
        what(&mut self.people[who], &mut self.rig);
        self.hear();
        if self.plan.pace_milliseconds > 0 {
            self.wait(self.plan.pace_milliseconds);
        }
    }

    fn hear(&mut self) {
        for person in &mut self.people {
            person.listen(&mut self.rig);
        }
        self.books.keep(&mut self.people);
    }

    fn wait(&mut self, milliseconds: u64) {
        self.rig.wait(Duration::from_millis(milliseconds));
        self.hear();
    }

    fn publish(&mut self, who: usize, topic: &str, payload: &str, qos: u8) {
        self.put(who, Publish::new(topic, payload).qos(qos, 1));
    }

    fn put(&mut self, who: usize, publish: Publish) {
        // A publisher that was cut off comes back, if it is let in.
        self.act(who, Person::come);
        if !self.people[who].is_in() {
            return;
        }
        let payload = String::from_utf8(publish.payload.clone());
        let payload = payload.expect("the script publishes text");
        self.books
            .publishing(&self.people, &publish.topic, &payload, publish.retain);
        self.act(who, |person, rig| person.publish(rig, publish));
    }

    /// What happens in every run, as far as the disk lets it.
    fn script(&mut self) {
        self.act(OFFLINE, Person::come);
        self.act(OFFLINE, |person, rig| person.subscribe(rig, "t/#", 2));
        self.act(OFFLINE, Person::leave);
        self.act(ONLINE, Person::come);
        self.act(ONLINE, |person, rig| person.subscribe(rig, "t/#", 1));
        self.act(FICKLE, Person::come);
        self.act(FICKLE, |person, rig| person.subscribe(rig, "x/#", 1));
        self.act(FICKLE, |person, rig| person.subscribe(rig, "y/#", 2));
        self.act(RENEWED, Person::come);
        self.act(RENEWED, |person, rig| person.subscribe(rig, "n/#", 1));
        self.act(RENEWED, Person::leave);

        self.publish(FAITHFUL, "t/1", "one", 1);
        self.publish(FAITHFUL, "t/2", "two", 2);
        self.publish(CASUAL, "t/3", "three", 1);
        self.publish(CASUAL, "t/4", "four", 2);
        self.publish(CASUAL, "n/1", "for the old session", 1);
        self.put(FAITHFUL, Publish::new("r/a", "a 1").retain().qos1(1));
        self.put(CASUAL, Publish::new("r/b", "b 1").retain().qos2(1));

        // Between PUBREC and PUBREL there are a checkpoint and a while.
        self.people[FAITHFUL].releases = false;
        self.publish(FAITHFUL, "t/5", "five", 2);
        self.act(FICKLE, |person, rig| person.unsubscribe(rig, "y/#"));
        self.publish(CASUAL, "y/1", "for nobody", 1);
        self.rig.make_checkpoint();
        self.wait(600);
        self.act(FAITHFUL, Person::release);
        self.publish(FAITHFUL, "t/6", "six", 2);
        self.put(FAITHFUL, Publish::new("r/a", "a 2").retain().qos2(1));
        self.put(FAITHFUL, Publish::new("r/b", "").retain().qos1(1));

        // A subscriber loses its network, and comes back for what came meanwhile.
        self.act(FICKLE, Person::vanish);
        self.publish(CASUAL, "x/1", "x one", 1);
        self.publish(FAITHFUL, "x/2", "x two", 2);
        self.act(FICKLE, Person::come);

        // Another gets messages and is cut off before it can say so.
        self.people[ONLINE].answers = false;
        self.publish(FAITHFUL, "t/7", "seven", 1);
        self.publish(FAITHFUL, "t/8", "eight", 2);
        self.act(ONLINE, Person::vanish);
        self.people[ONLINE].answers = true;
        self.act(ONLINE, Person::come);

        self.books.forgive(self.people[RENEWED].name);
        self.act(RENEWED, Person::come_anew);
        self.publish(CASUAL, "n/2", "for the new session", 1);
        self.rig.make_checkpoint();
        self.wait(1100);

        // What was away receives, and is gone before the exchanges are over.
        if self.plan.comes_meanwhile {
            self.people[OFFLINE].answers = false;
            self.act(OFFLINE, Person::come);
            self.act(OFFLINE, Person::vanish);
            self.people[OFFLINE].answers = true;
        }
        self.act(FICKLE, Person::come);
        self.act(FICKLE, |person, rig| person.subscribe(rig, "z/#", 2));
        self.publish(FAITHFUL, "z/1", "z one", 1);
        self.publish(CASUAL, "z/2", "z two", 2);
        self.publish(FAITHFUL, "t/9", "nine", 2);
        self.act(FICKLE, |person, rig| person.unsubscribe(rig, "x/#"));
        self.put(FAITHFUL, Publish::new("r/a", "a 3").retain().qos1(1));
    }

    /// The power goes, whatever state the disk is in, and comes back with a disk that works.
    fn lose_power(&mut self) {
        self.rig.lose_power();
        for person in &mut self.people {
            person.promised &= self.plan.sessions_count;
            person.forget_line();
        }
    }

    /// The disk works again, and the broker has the time to notice.
    fn heal(&mut self) {
        self.rig.disk.heal();
        for _ in 0..4 {
            self.wait(1000);
        }
    }

    /// Everybody comes, fetches what waits, and finishes what was begun; then the books are right.
    /// New messages are taken, and go where promised subscriptions are and nowhere else.
    fn audit(&mut self, round: &str) {
        for who in 0..self.people.len() {
            self.people[who].releases = true;
            self.act(who, Person::come);
            assert!(
                self.people[who].is_in(),
                "{} is not let in, though the disk works",
                self.people[who].name
            );
            self.act(who, Person::release);
        }
        self.wait(1500);
        for person in &self.people {
            assert!(
                person.is_done(),
                "{}: its publications are not answered, though the disk works",
                person.name
            );
        }
        let before = self.books.acknowledged;
        let topics = ["t/last", "n/last", "x/last", "y/last", "z/last"];
        for (index, topic) in topics.into_iter().enumerate() {
            let who = [FAITHFUL, CASUAL][index % 2];
            let payload = format!("{topic} {round}");
            self.publish(who, topic, &payload, 1 + (index % 2) as u8);
        }
        self.wait(1500);
        let taken = self.books.acknowledged - before;
        assert_eq!(taken, topics.len(), "new messages are taken");
        self.books.check(&self.people);
        for person in &self.people {
            for topic in topics {
                let payload = format!("{topic} {round}");
                let came = person.got.iter().any(|got| got.payload == payload);
                assert!(
                    !came || !self.plan.ends_count || person.subscribed_to(topic) != Subscribed::No,
                    "{}: {topic} came, though the end of the subscription was promised",
                    person.name
                );
            }
        }
        let mut viewer = Person::new("viewer", Version::V5, false);
        viewer.come(&mut self.rig);
        viewer.subscribe(&mut self.rig, "r/#", 1);
        viewer.listen(&mut self.rig);
        let shown: BTreeMap<String, String> = viewer
            .got
            .iter()
            .map(|got| (got.topic.clone(), got.payload.clone()))
            .collect();
        self.books.check_retained(&shown);
        viewer.leave(&mut self.rig);
    }
}

/// One run with one fault. Returns how many publications were acknowledged in its script.
fn run(plan: Plan, fault: Fault) -> usize {
    let mut play = Play::new(fault.after, plan);
    play.rig.disk.fail(fault);
    play.script();
    let acknowledged = play.books.acknowledged;
    if plan.end == End::Healed {
        play.heal();
        play.audit("after it was healed");
    }
    play.lose_power();
    play.audit("after the power was lost");
    acknowledged
}

/// Publications in the script.
const PUBLICATIONS: usize = 21;

/// How many operations of the disk the script takes.
fn operations(plan: Plan) -> u64 {
    let mut play = Play::new(0, plan);
    let before = play.rig.disk.operations();
    play.script();
    let operations = play.rig.disk.operations() - before;
    assert_eq!(play.books.acknowledged, PUBLICATIONS, "all are taken");
    for who in 0..play.people.len() {
        assert!(play.people[who].promised || who == CASUAL, "{who}");
    }
    play.audit("without a fault");
    play.lose_power();
    play.audit("after the power was lost");
    operations
}

fn check(operation: Option<Operation>, failure: Failure, times: u64) {
    let mut refused = 0;
    for end in [End::Healed, End::PowerLoss] {
        for pace_milliseconds in [0, 600] {
            let plan = Plan::of(times, end, pace_milliseconds);
            let operations = operations(plan);
            assert!(operations > 100, "the script is no script: {operations}");
            for after in 0..operations {
                let fault = Fault {
                    operation,
                    name_ends: "",
                    after,
                    times,
                    failure,
                };
                let outcome = std::panic::catch_unwind(|| run(plan, fault.clone()));
                let acknowledged = outcome.unwrap_or_else(|panic| {
                    eprintln!("{fault:?} of {operations} operations, {plan:?}");
                    std::panic::resume_unwind(panic);
                });
                refused += PUBLICATIONS.saturating_sub(acknowledged);
            }
        }
    }
    assert!(refused > 0, "no fault was felt");
}

#[test]
fn no_acknowledgement_is_false_when_there_is_no_room_once() {
    check(None, Failure::NoSpace, 1);
}

/// As on a full disk: what takes no room goes on.
#[test]
fn no_acknowledgement_is_false_when_nothing_can_be_written_any_more() {
    check(Some(Operation::Write), Failure::NoSpace, u64::MAX);
}

/// As on a disk that has no room even for what makes some.
#[test]
fn no_acknowledgement_is_false_when_nothing_can_be_changed_any_more() {
    check(None, Failure::NoSpace, u64::MAX);
}

#[test]
fn no_acknowledgement_is_false_when_an_operation_fails_once() {
    check(None, Failure::Broken, 1);
}

#[test]
fn no_acknowledgement_is_false_when_the_disk_is_broken() {
    check(None, Failure::Broken, u64::MAX);
}

/// Writes arrive in the system's cache, and no sync brings them to the disk.
#[test]
fn no_acknowledgement_is_false_when_nothing_can_be_synced_any_more() {
    check(Some(Operation::Sync), Failure::Broken, u64::MAX);
}
