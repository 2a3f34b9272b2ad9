//! What everybody knows of each message, and what must not be.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// More says nothing more.
const MOST_BREACHES: usize = 50;

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    messages: BTreeMap<String, Fate>,
    breaches: Vec<String>,
}

/// What is known of a message.
#[derive(Clone, Debug, Default)]
struct Fate {
    not_before: Option<Instant>,
    /// PUBACK came to its producer.
    acknowledged: bool,
    deliveries: u32,
    /// A consumer said that it is done, or can never be: the broker may know.
    settled: bool,
    /// The broker answered that it knows: by which verb.
    finished: Option<&'static str>,
    dead: bool,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breach(&self, what: String) {
        let mut book = self.book();
        if book.breaches.len() < MOST_BREACHES {
            book.breaches.push(what);
        }
    }

    pub(super) fn breaches(&self) -> Vec<String> {
        self.book().breaches.clone()
    }

    /// It is about to be pushed.
    pub(super) fn pushes(&self, name: &str, not_before: Option<Instant>) {
        let fate = Fate {
            not_before,
            ..Fate::default()
        };
        self.book().messages.insert(name.to_owned(), fate);
    }

    pub(super) fn acknowledged(&self, name: &str) {
        self.with(name, |fate| fate.acknowledged = true);
    }

    pub(super) fn delivered(&self, name: &str, to: &str) {
        let mut breach = None;
        self.with(name, |fate| {
            fate.deliveries += 1;
            if fate.not_before.is_some_and(|due| Instant::now() < due) {
                breach = Some("came too early");
            }
            if let Some(verb) = fate.finished {
                breach = Some(match verb {
                    "$ack" => "came though its $ack was answered",
                    _ => "came though its $reject was answered",
                });
            }
        });
        if let Some(breach) = breach {
            self.breach(format!("{name} {breach}, to {to}"));
        }
    }

    pub(super) fn settled(&self, name: &str) {
        self.with(name, |fate| fate.settled = true);
    }

    pub(super) fn finished(&self, name: &str, verb: &'static str) {
        self.with(name, |fate| {
            fate.settled = true;
            fate.finished = Some(verb);
        });
    }

    pub(super) fn found_dead(&self, name: &str) {
        self.with(name, |fate| fate.dead = true);
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Fate)) {
        if let Some(fate) = self.book().messages.get_mut(name) {
            return change(fate);
        }
        self.breach(format!("{name:?} was pushed by nobody"));
    }

    /// Everything that is in a queue was delivered and settled.
    pub(super) fn judge(&self) {
        let messages = self.book().messages.clone();
        for (name, fate) in messages {
            if fate.acknowledged && !fate.settled && !fate.dead {
                self.breach(format!("{name} is lost: {fate:?}"));
            }
            if fate.finished == Some("$reject") && !fate.dead {
                self.breach(format!("{name} was rejected, and is no dead letter"));
            }
            if fate.finished == Some("$ack") && fate.dead {
                self.breach(format!("{name} was acknowledged, and is a dead letter"));
            }
        }
    }

    /// # Panics
    /// If nothing was there to be judged.
    pub(super) fn tell(&self) -> String {
        let book = self.book();
        let count = |is: fn(&Fate) -> bool| book.messages.values().filter(|it| is(it)).count();
        let acknowledged = count(|fate| fate.acknowledged);
        let repeated = count(|fate| fate.deliveries > 1);
        let finished = count(|fate| fate.finished.is_some());
        let delayed = count(|fate| fate.not_before.is_some() && fate.deliveries > 0);
        let dead = count(|fate| fate.dead);
        assert!(
            acknowledged > 0 && repeated > 0 && finished > 0 && delayed > 0 && dead > 0,
            "a run that shows nothing: {acknowledged} {repeated} {finished} {delayed} {dead}"
        );
        format!(
            "{} pushes, {acknowledged} acknowledged; {repeated} came more than once, {delayed} late; \
             {finished} were settled for certain, {dead} are dead",
            book.messages.len()
        )
    }
}
