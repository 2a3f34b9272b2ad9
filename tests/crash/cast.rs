//! Who takes part, and what they are there for.

use nexum_harness::Version;

use crate::catalogue::{Catalogue, Kind, Stream, StreamId};
use crate::publisher::Publisher;
use crate::random::Random;
use crate::session::Session;
use crate::subscriber::{Role, Subscriber};
use crate::testator::{Delay, Testator};
use crate::verdict::History;

use Version::{V5, V311};

const PUBLISHERS: [(&str, Version); 4] = [("p1", V311), ("p2", V5), ("p3", V311), ("p4", V5)];

/// Every publisher publishes to all of them, at QoS 1 and 2.
const TOPICS: [&str; 3] = ["data/a", "data/b", "data/c/d"];

const SUBSCRIBERS: [(&str, Version, Role<'static>); 8] = [
    ("s1", V311, role(1, &["#"])),
    ("s2", V5, role(2, &["#"])),
    ("s3", V311, role(2, &["data/#"])),
    ("s4", V5, role(2, &["data/a", "data/b"]).slow(10)),
    (
        "s5",
        V5,
        role(1, &["data/+", "retained/#"]).joins(3).slow(30),
    ),
    ("s6", V311, role(2, &["+/a", "data/c/#"]).joins(2)),
    ("s7", V5, role(1, &["will/+"])),
    // Two filters match the same topic: it is one message all the same.
    ("s8", V5, role(2, &["data/a", "data/+"]).joins(2)),
];

const TESTATORS: [(&str, Version, Delay); 4] = [
    ("w1", V311, Delay::None),
    ("w2", V5, Delay::None),
    ("w3", V5, Delay::Second),
    ("w4", V5, Delay::Second),
];

const fn role(qos: u8, filters: &'static [&'static str]) -> Role<'static> {
    Role {
        qos,
        filters,
        joins: 1,
        receive_maximum: None,
    }
}

impl Role<'static> {
    const fn joins(mut self, round: usize) -> Role<'static> {
        self.joins = round;
        self
    }

    const fn slow(mut self, receive_maximum: u16) -> Role<'static> {
        self.receive_maximum = Some(receive_maximum);
        self
    }
}

/// Everybody, with what they remember.
pub(crate) struct Cast {
    pub(crate) catalogue: Catalogue,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) testators: Vec<Testator>,
}

impl Cast {
    pub(crate) fn new(random: &mut Random) -> Cast {
        let mut catalogue = Catalogue::default();
        let publishers = PUBLISHERS
            .iter()
            .map(|(name, version)| {
                let streams = streams_of(name, &mut catalogue);
                Publisher::new(Session::new(name, *version), &streams, random.fork())
            })
            .collect();
        let subscribers = SUBSCRIBERS
            .iter()
            .map(|(name, version, role)| {
                Subscriber::new(Session::new(name, *version), role, random.fork())
            })
            .collect();
        let testators = TESTATORS
            .iter()
            .map(|(name, version, delay)| {
                let stream = catalogue.add(Stream {
                    publisher: (*name).to_owned(),
                    topic: format!("will/{name}"),
                    qos: 1,
                    kind: Kind::Will,
                });
                Testator::new(Session::new(name, *version), stream, *delay)
            })
            .collect();
        Cast {
            catalogue,
            publishers,
            subscribers,
            testators,
        }
    }

    /// What was sent so far.
    pub(crate) fn history(&self) -> History<'_> {
        let published = self.publishers.iter().flat_map(Publisher::sent);
        let wills = self.testators.iter().map(Testator::sent);
        History {
            catalogue: &self.catalogue,
            sent: published.chain(wills).collect(),
        }
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        let publishers = self.publishers.iter().map(|publisher| &publisher.session);
        let subscribers = self
            .subscribers
            .iter()
            .map(|subscriber| &subscriber.session);
        let testators = self.testators.iter().map(|testator| &testator.session);
        publishers.chain(subscribers).chain(testators)
    }
}

fn streams_of(publisher: &str, catalogue: &mut Catalogue) -> Vec<StreamId> {
    let mut streams = Vec::new();
    for qos in [1, 2] {
        let plain = TOPICS.map(|topic| (topic.to_owned(), Kind::Plain));
        let retained = (format!("retained/{publisher}/{qos}"), Kind::Retained);
        for (topic, kind) in plain.into_iter().chain([retained]) {
            streams.push(catalogue.add(Stream {
                publisher: publisher.to_owned(),
                topic,
                qos,
                kind,
            }));
        }
    }
    streams
}
