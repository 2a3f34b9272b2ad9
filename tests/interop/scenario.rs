//! The scenarios: for each feature a small story that fails if the feature is not there.
//!
//! Clients with a library for Rust or a command tell them here; the scripts for Python and
//! JavaScript tell the same ones in their own words.

use std::time::{Duration, Instant};

use crate::client::{Client, Failure, Message, Open, PATIENCE, Session, Transport, Version};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    Qos0,
    Qos1,
    Qos2,
    Retained,
    Will,
    SharedSubscription,
    Wildcards,
    Tls,
    ClientCertificate,
    OfflineQueue,
    UserProperties,
    RequestResponse,
}

/// What became of a scenario. `None` stands for a feature that this version does not have.
pub(crate) type Outcome = Option<Result<(), Failure>>;

impl Feature {
    pub(crate) const ALL: [Feature; 12] = [
        Feature::Qos0,
        Feature::Qos1,
        Feature::Qos2,
        Feature::Retained,
        Feature::Will,
        Feature::SharedSubscription,
        Feature::Wildcards,
        Feature::Tls,
        Feature::ClientCertificate,
        Feature::OfflineQueue,
        Feature::UserProperties,
        Feature::RequestResponse,
    ];

    /// Its name in topics and in the reports of the scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Feature::Qos0 => "qos0",
            Feature::Qos1 => "qos1",
            Feature::Qos2 => "qos2",
            Feature::Retained => "retained",
            Feature::Will => "will",
            Feature::SharedSubscription => "shared",
            Feature::Wildcards => "wildcards",
            Feature::Tls => "tls",
            Feature::ClientCertificate => "certificate",
            Feature::OfflineQueue => "offline",
            Feature::UserProperties => "properties",
            Feature::RequestResponse => "request",
        }
    }

    pub(crate) fn exists_in(self, version: Version) -> bool {
        match self {
            Feature::UserProperties | Feature::RequestResponse => version == Version::V5,
            Feature::Qos0
            | Feature::Qos1
            | Feature::Qos2
            | Feature::Retained
            | Feature::Will
            | Feature::SharedSubscription
            | Feature::Wildcards
            | Feature::Tls
            | Feature::ClientCertificate
            | Feature::OfflineQueue => true,
        }
    }
}

/// Tells every scenario with this client.
pub(crate) fn run(client: &dyn Client) -> Vec<(Feature, Outcome)> {
    Feature::ALL
        .into_iter()
        .map(|feature| {
            let story = Story {
                client,
                prefix: format!("{}-{}-{}", client.name(), client.version(), feature.name()),
            };
            let outcome = feature
                .exists_in(client.version())
                .then(|| story.tell(feature));
            (feature, outcome)
        })
        .collect()
}

struct Story<'a> {
    client: &'a dyn Client,
    /// Starts each topic and client identifier of this story.
    prefix: String,
}

impl Story<'_> {
    fn tell(&self, feature: Feature) -> Result<(), Failure> {
        match feature {
            Feature::Qos0 => self.each_once_and_in_order(0),
            Feature::Qos1 => self.each_once_and_in_order(1),
            Feature::Qos2 => self.each_once_and_in_order(2),
            Feature::Retained => self.retained(),
            Feature::Will => self.will(),
            Feature::SharedSubscription => self.shared_subscription(),
            Feature::Wildcards => self.wildcards(),
            Feature::Tls => self.tls(),
            Feature::ClientCertificate => self.client_certificate(),
            Feature::OfflineQueue => self.offline_queue(),
            Feature::UserProperties => self.user_properties(),
            Feature::RequestResponse => self.request_response(),
        }
    }

    fn each_once_and_in_order(&self, qos: u8) -> Result<(), Failure> {
        let topic = self.topic("t");
        let mut subscriber = self.open("subscriber")?;
        subscriber.subscribe(&[&topic], qos)?;
        let mut publisher = self.open("publisher")?;
        let payloads = ["1", "2", "3", "4", "5"];
        publisher.publish_all(&topic, &payloads, qos)?;
        for payload in payloads {
            expect(subscriber.as_mut(), &Message::new(&topic, payload, qos))?;
        }
        publisher.disconnect()?;
        subscriber.disconnect()
    }

    fn retained(&self) -> Result<(), Failure> {
        let topic = self.topic("state");
        let mut publisher = self.open("publisher")?;
        publisher.publish(&Message::new(&topic, "old", 1).retained())?;
        publisher.publish(&Message::new(&topic, "kept", 1).retained())?;

        let mut early = self.open("early")?;
        early.subscribe(&[&topic], 1)?;
        expect(early.as_mut(), &Message::new(&topic, "kept", 1).retained())?;
        // To those who are already there a retained message is one like any other.
        publisher.publish(&Message::new(&topic, "", 1).retained())?;
        expect(early.as_mut(), &Message::new(&topic, "", 1))?;

        // Nothing is kept any more: the first that comes is live.
        let mut late = self.open("late")?;
        late.subscribe(&[&topic], 1)?;
        publisher.publish(&Message::new(&topic, "live", 1))?;
        expect(late.as_mut(), &Message::new(&topic, "live", 1))?;

        publisher.disconnect()?;
        early.disconnect()?;
        late.disconnect()
    }

    fn will(&self) -> Result<(), Failure> {
        let topic = self.topic("last");
        let mut heir = self.open("heir")?;
        heir.subscribe(&[&topic], 1)?;

        // Who says goodbye leaves nothing; who does not leaves the will.
        for (name, payload, says_goodbye) in [
            ("polite", "of the polite", true),
            ("gone", "of the gone", false),
        ] {
            let mut testator = self.client.open(&Open {
                will: Some(Message::new(&topic, payload, 1)),
                ..self.identity(name)
            })?;
            testator.subscribe(&[&self.topic(name)], 0)?;
            if says_goodbye {
                testator.disconnect()?;
            } else {
                testator.abort()?;
            }
        }
        expect(heir.as_mut(), &Message::new(&topic, "of the gone", 1))?;
        heir.disconnect()
    }

    fn shared_subscription(&self) -> Result<(), Failure> {
        const MESSAGES: usize = 10;
        let topic = self.topic("work");
        let filter = format!("$share/workers/{topic}");
        let mut workers = [self.open("worker-1")?, self.open("worker-2")?];
        for worker in &mut workers {
            worker.subscribe(&[&filter], 1)?;
        }
        let mut publisher = self.open("publisher")?;
        let expected: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
        for payload in &expected {
            publisher.publish(&Message::new(&topic, payload, 1))?;
        }

        let mut done = [Vec::new(), Vec::new()];
        let deadline = Instant::now() + PATIENCE;
        while done[0].len() + done[1].len() < MESSAGES && Instant::now() < deadline {
            for (worker, done) in workers.iter_mut().zip(&mut done) {
                if let Some(message) = worker.next(Duration::from_millis(20))? {
                    done.push(message.payload);
                }
            }
        }
        let mut together = done.concat();
        together.sort_unstable();
        if together != expected || done.iter().any(Vec::is_empty) {
            return Err(format!("the members got {done:?}").into());
        }
        publisher.disconnect()?;
        let [first, second] = workers;
        first.disconnect()?;
        second.disconnect()
    }

    fn wildcards(&self) -> Result<(), Failure> {
        let house = &self.prefix;
        let mut subscriber = self.open("subscriber")?;
        subscriber.subscribe(&["home/+/#"], 1)?;
        let mut publisher = self.open("publisher")?;
        let matching = [
            format!("home/{house}"),
            format!("home/{house}/kitchen"),
            format!("home/{house}/kitchen/light"),
        ];
        for topic in [
            &format!("garden/{house}"),
            &matching[0],
            &matching[1],
            &format!("home-{house}/kitchen"),
            &matching[2],
        ] {
            publisher.publish(&Message::new(topic, "on", 1))?;
        }
        let mut arrived = Vec::new();
        while arrived.len() < matching.len() {
            let message = next(subscriber.as_mut())?;
            // Other houses are other clients' business.
            if message.topic.contains(house) {
                arrived.push(message.topic);
            }
        }
        arrived.sort_unstable();
        if arrived != matching {
            return Err(format!("home/+/# got {arrived:?}").into());
        }
        publisher.disconnect()?;
        subscriber.disconnect()
    }

    fn tls(&self) -> Result<(), Failure> {
        self.round_trip(Transport::Tls)
    }

    fn client_certificate(&self) -> Result<(), Failure> {
        let stranger = Open {
            transport: Transport::MutualTlsWithoutCertificate,
            ..self.identity("stranger")
        };
        let admitted = self
            .client
            .open(&stranger)
            .and_then(|mut session| session.subscribe(&[&self.topic("t")], 1));
        if admitted.is_ok() {
            return Err("a client without a certificate was let in".into());
        }
        self.round_trip(Transport::MutualTls)
    }

    fn round_trip(&self, transport: Transport) -> Result<(), Failure> {
        let topic = self.topic("t");
        let mut session = self.client.open(&Open {
            transport,
            ..self.identity("both")
        })?;
        session.subscribe(&[&topic], 1)?;
        // More than one TLS record.
        let message = Message::new(&topic, &"x".repeat(20_000), 1);
        session.publish(&message)?;
        expect(session.as_mut(), &message)?;
        session.disconnect()
    }

    fn offline_queue(&self) -> Result<(), Failure> {
        let topic = self.topic("t");
        let absent = Open {
            clean: false,
            ..self.identity("absent")
        };
        let mut session = self.client.open(&absent)?;
        session.subscribe(&[&topic], 1)?;
        session.disconnect()?;

        let messages = ["1", "2", "3"].map(|payload| Message::new(&topic, payload, 1));
        let mut publisher = self.open("publisher")?;
        for message in &messages {
            publisher.publish(message)?;
        }
        publisher.disconnect()?;

        let mut session = self.client.open(&absent)?;
        session.subscribe(&[&topic], 1)?;
        for message in &messages {
            expect(session.as_mut(), message)?;
        }
        session.disconnect()
    }

    fn user_properties(&self) -> Result<(), Failure> {
        let topic = self.topic("t");
        let mut session = self.open("both")?;
        session.subscribe(&[&topic], 1)?;
        let message = Message {
            // A name may come twice, and the order counts.
            user_properties: [("a", "1"), ("b", "2"), ("a", "3")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            ..Message::new(&topic, "payload", 1)
        };
        session.publish(&message)?;
        expect(session.as_mut(), &message)?;
        session.disconnect()
    }

    fn request_response(&self) -> Result<(), Failure> {
        let (requests, responses) = (self.topic("requests"), self.topic("responses"));
        let mut responder = self.open("responder")?;
        responder.subscribe(&[&requests], 1)?;
        let mut requester = self.open("requester")?;
        requester.subscribe(&[&responses], 1)?;

        let request = Message {
            response_topic: Some(responses.clone()),
            correlation_data: Some("the-first".to_owned()),
            ..Message::new(&requests, "question", 1)
        };
        requester.publish(&request)?;
        let asked = next(responder.as_mut())?;
        if asked != request {
            return Err(format!("the responder got {asked:?}").into());
        }
        let response = Message {
            correlation_data: asked.correlation_data,
            ..Message::new(&asked.response_topic.unwrap_or_default(), "answer", 1)
        };
        responder.publish(&response)?;
        let expected = Message {
            correlation_data: Some("the-first".to_owned()),
            ..Message::new(&responses, "answer", 1)
        };
        expect(requester.as_mut(), &expected)?;
        requester.disconnect()?;
        responder.disconnect()
    }

    fn topic(&self, name: &str) -> String {
        format!("interop/{}/{name}", self.prefix)
    }

    fn identity(&self, name: &str) -> Open {
        Open::new(&format!("{}-{name}", self.prefix))
    }

    fn open(&self, name: &str) -> Result<Box<dyn Session>, Failure> {
        self.client.open(&self.identity(name))
    }
}

fn next(session: &mut dyn Session) -> Result<Message, Failure> {
    session
        .next(PATIENCE)?
        .ok_or_else(|| Failure(format!("no message within {} s", PATIENCE.as_secs())))
}

/// The next message is this one.
fn expect(session: &mut dyn Session, expected: &Message) -> Result<(), Failure> {
    let arrived = next(session)?;
    if arrived == *expected {
        return Ok(());
    }
    Err(format!(
        "expected {} but got {}",
        shortened(expected),
        shortened(&arrived)
    )
    .into())
}

fn shortened(message: &Message) -> String {
    let text = format!("{message:?}");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
