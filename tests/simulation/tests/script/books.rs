//! What was acknowledged, and to whom it is owed.

use std::collections::BTreeMap;

use crate::people::{Person, Subscribed};

#[derive(Default)]
pub(crate) struct Books {
    /// Who had a promised subscription when a message was published, by payload.
    published: BTreeMap<String, Vec<&'static str>>,
    /// Messages that were acknowledged, with who is to get them.
    owed: Vec<(String, &'static str)>,
    /// What a topic may retain: the last value that was acknowledged, and those that were published
    /// after it. An empty one is none.
    retained: BTreeMap<String, Vec<String>>,
    pub(crate) acknowledged: usize,
}

impl Books {
    /// A message is about to be published. Payloads tell messages apart.
    pub(crate) fn publishing(
        &mut self,
        people: &[Person],
        topic: &str,
        payload: &str,
        retain: bool,
    ) {
        let subscribers = people
            .iter()
            .filter(|person| person.subscribed_to(topic) == Subscribed::Yes)
            .map(|person| person.name)
            .collect();
        self.published.insert(payload.to_owned(), subscribers);
        if retain {
            let values = self.retained.entry(topic.to_owned()).or_default();
            if values.is_empty() {
                values.push(String::new());
            }
            values.push(payload.to_owned());
        }
    }

    /// Somebody starts anew, and is owed nothing of before.
    pub(crate) fn forgive(&mut self, name: &str) {
        self.owed.retain(|(_, subscriber)| *subscriber != name);
        for subscribers in self.published.values_mut() {
            subscribers.retain(|subscriber| *subscriber != name);
        }
    }

    /// Takes down what was acknowledged meanwhile.
    pub(crate) fn keep(&mut self, people: &mut [Person]) {
        for person in people {
            for (topic, payload) in person.acknowledged.drain(..) {
                self.acknowledged += 1;
                if let Some(values) = self.retained.get_mut(&topic)
                    && let Some(place) = values.iter().rposition(|value| *value == payload)
                {
                    values.drain(..place);
                }
                // Clearing a retained message is no message to wait for.
                if payload.is_empty() {
                    continue;
                }
                for subscriber in self.published.remove(&payload).unwrap_or_default() {
                    self.owed.push((payload.clone(), subscriber));
                }
            }
        }
    }

    /// Holds everybody to what is owed. All have fetched what waits for them.
    pub(crate) fn check(&self, people: &[Person]) {
        for (payload, subscriber) in &self.owed {
            let person = people.iter().find(|person| person.name == *subscriber);
            let person = person.expect("who is owed something is among them");
            let times = person
                .got
                .iter()
                .filter(|got| got.payload == *payload)
                .count();
            assert!(
                times > 0,
                "{subscriber}: {payload:?} was acknowledged and is lost"
            );
        }
        for person in people {
            for (index, got) in person.got.iter().enumerate() {
                let is_repeated = person.got[..index].contains(got);
                assert!(
                    got.qos < 2 || got.payload.is_empty() || !is_repeated,
                    "{}: {got:?} came twice",
                    person.name
                );
            }
        }
    }

    /// Holds what a topic retains to what it may.
    pub(crate) fn check_retained(&self, shown: &BTreeMap<String, String>) {
        for (topic, values) in &self.retained {
            let value = shown.get(topic).cloned().unwrap_or_default();
            assert!(
                values.contains(&value),
                "{topic} retains {value:?}, and may retain {values:?}"
            );
        }
    }
}

impl Person {
    /// Whether a message to this topic is to come.
    pub(crate) fn subscribed_to(&self, topic: &str) -> Subscribed {
        let matching = self.filters.iter().filter(|(filter, _)| {
            let prefix = filter.strip_suffix("/#");
            prefix.is_some_and(|prefix| topic.starts_with(prefix))
        });
        matching.fold(Subscribed::No, |known, (_, state)| match (known, state) {
            (Subscribed::Yes, _) | (_, Subscribed::Yes) => Subscribed::Yes,
            (Subscribed::Perhaps, _) | (_, Subscribed::Perhaps) => Subscribed::Perhaps,
            (Subscribed::No, Subscribed::No) => Subscribed::No,
        })
    }
}
