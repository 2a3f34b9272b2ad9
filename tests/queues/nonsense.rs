//! Clients that say whatever the grammar has words for, in any order: each packet has its answer, no
//! rule of the protocol is broken by it, and the broker lives.
//!
//! `NEXUM_NONSENSE_SEED` sets the seed, `NEXUM_NONSENSE_PACKETS` the packets of each client.

use std::thread;
use std::time::Duration;

use nexum_harness::{
    Broker, Connect, Packet, Peer, Property, Publish, Received, Subscribe, Unsubscribe, Version,
    Will, puback, pubcomp, pubrec, pubrel, reason,
};

use crate::random::Random;
use crate::scene::{Scene, builder};

const SEED: u64 = 1;
const PACKETS: u64 = 400;

/// What topics are made of.
const LEVELS: [&str; 51] = [
    "$queue",
    "$queue",
    "$queue",
    "$q",
    "$req",
    "$opt",
    "$delayed",
    "$share",
    "$exclusive",
    "$filter",
    "$reply",
    "$kv",
    "$kv",
    "$SYS",
    "jobs",
    "jobs",
    "jobs",
    "mail",
    "..",
    "",
    "eu",
    "$ctl",
    "$ctl",
    "$ack",
    "$nack",
    "$reject",
    "$extend",
    "$lease",
    "$dlq",
    "$cancel",
    "$get",
    "$incr",
    "$expire",
    "$history",
    "$keys",
    "rev=0",
    "create",
    "delete",
    "alter",
    "info",
    "purge",
    "dlq.redrive",
    "t1",
    "prio=9",
    "id=a,key=b",
    "delay=10ms",
    "ttl=1ms",
    "10ms",
    "1-1",
    "g",
    "ok",
];

/// Those that make sense, so that something happens.
const TOPICS: [&str; 22] = [
    "$queue/jobs",
    "$queue/jobs/eu",
    "$queue/mail",
    "$opt/id=x,prio=3/$queue/jobs",
    "$opt/ttl=20ms/$queue/mail/us",
    "$delayed/20ms/$queue/jobs",
    "$queue/jobs/$ctl/create",
    "$queue/mail/$ctl/create",
    "$queue/jobs/$ctl/delete",
    "$queue/jobs/$ctl/purge",
    "$req/t/$queue/jobs/$ctl/dlq.redrive",
    "$delayed/$cancel/x",
    "$kv/jobs/eu",
    "$kv/jobs/n/$incr",
    "$kv/mail/n/$decr",
    "$opt/ttl=20ms/$kv/jobs/eu",
    "$opt/nx=1/$kv/mail/a/b",
    "$req/t/$kv/jobs/eu/$get",
    "$req/t/$kv/jobs/$keys",
    "$delayed/20ms/$kv/mail/a",
    "$kv/jobs/$ctl/purge",
    "$kv/mail/$ctl/delete",
];

const FILTERS: [&str; 12] = [
    "$queue/jobs",
    "$queue/jobs/#",
    "$q/jobs/+",
    "$queue/mail/$lease/#",
    "$queue/jobs/$dlq",
    "$share/g/$queue/jobs/#",
    "$exclusive/$queue/mail",
    "$reply/+/+",
    "plain/#",
    "$kv/jobs/#",
    "$kv/mail/a/+",
    "$kv/jobs/eu",
];

const PAYLOADS: [&str; 9] = [
    "",
    "x",
    "{}",
    r#"{"all": true}"#,
    r#"{"max_attempts": 1, "visibility": "20ms", "backoff": {"first": "1ms"}}"#,
    r#"{"order": "key", "max_len": 5, "overflow": "dlq", "source": ["plain/+"]}"#,
    r#"{"order": "prio", "expired": "dlq", "allow_qos0": true, "dlq_max_len": 3}"#,
    r#"{"persist": false, "history": 3, "max_keys": 2}"#,
    r#"{"max_len": "#,
];

#[test]
fn nonsense_has_its_answers() {
    let number = |variable: &str, default| {
        let text = std::env::var(variable).ok();
        text.map_or(default, |text| text.parse().expect("it is a number"))
    };
    let seed = number("NEXUM_NONSENSE_SEED", SEED);
    let packets = number("NEXUM_NONSENSE_PACKETS", PACKETS);
    println!("NEXUM_NONSENSE_SEED={seed} NEXUM_NONSENSE_PACKETS={packets}");
    let mut random = Random::new(seed);
    let mut scene = Scene::on(
        builder()
            .set("queue.maximum_queues", 10)
            .set("kv.maximum_buckets", 10)
            .set("kv.auto_create", true),
    );
    for _ in 0..3 {
        thread::scope(|scope| {
            for number in 0..4 {
                let mut fool = Fool {
                    broker: &scene.broker,
                    number,
                    version: Version::ALL[number % 2],
                    random: random.fork(),
                };
                scope.spawn(move || fool.play(packets));
            }
        });
        let log = scene.broker.log();
        assert!(!log.contains("panicked"), "seed {seed}: {log}");
        // Whatever there is, it works, also after a restart.
        for _ in 0..2 {
            scene.control("sane", "delete", "");
            scene.create("sane", "");
            scene.push("$queue/sane", "x");
            let mut worker = scene.worker(Version::V5, "sane", "$queue/sane");
            assert_eq!(worker.expect_message().payload, b"x");
            scene.ask("$kv/jobs/$ctl/delete", "");
            scene.push("$kv/jobs/sane", "x");
            assert_eq!(scene.ask("$kv/jobs/sane/$incr", "").code, "bad_payload");
            drop(worker);
            scene.restart();
        }
    }
}

struct Fool<'a> {
    broker: &'a Broker,
    number: usize,
    version: Version,
    random: Random,
}

impl Fool<'_> {
    fn play(&mut self, packets: u64) {
        let mut left = packets;
        while left > 0 {
            let Some(mut peer) = self.connect() else {
                left -= 1;
                continue;
            };
            while left > 0 {
                left -= 1;
                let Some(packet) = self.packet(&mut peer) else {
                    break;
                };
                peer.send(packet.clone());
                if !self.hear(&mut peer, &packet) {
                    break;
                }
            }
        }
    }

    fn connect(&mut self) -> Option<Peer> {
        let name = format!("fool {}", self.number);
        let mut connect = Connect::new(self.version, &name);
        if self.random.percent(50) {
            connect = connect.persistent().resume();
        }
        if self.random.percent(20) {
            let topic = self.topic();
            connect = connect.will(Will::new(&topic, "gone").qos(self.qos()));
        }
        if self.version == Version::V5 && self.random.percent(50) {
            connect = connect.property(Property::receive_maximum(2));
        }
        let mut peer = self.broker.dial(self.version);
        peer.send(connect);
        (peer.expect_connack().reason == reason::SUCCESS).then_some(peer)
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.random.between(0, words.len() - 1)]
    }

    fn qos(&mut self) -> u8 {
        self.random.between(0, 2) as u8
    }

    fn topic(&mut self) -> String {
        if self.random.percent(60) {
            return self.one_of(&TOPICS).to_owned();
        }
        let count = self.random.between(1, 6);
        let levels: Vec<_> = (0..count).map(|_| self.one_of(&LEVELS)).collect();
        let topic = levels.join("/");
        if topic.is_empty() {
            "/".to_owned()
        } else {
            topic
        }
    }

    fn filter(&mut self) -> String {
        match self.random.between(1, 10) {
            1..=6 => self.one_of(&FILTERS).to_owned(),
            7 => format!("{}/#", self.topic()),
            8 => format!("{}/+", self.topic()),
            _ => self.topic(),
        }
    }

    /// `None`: it hangs up.
    fn packet(&mut self, peer: &mut Peer) -> Option<Packet> {
        let identifier = peer.next_identifier();
        let is_new = self.version == Version::V5;
        Some(match self.random.between(1, 100) {
            1..=60 => {
                let (topic, payload) = (self.topic(), self.one_of(&PAYLOADS));
                let mut publish = Publish::new(&topic, payload).qos(self.qos(), identifier);
                publish.retain = self.random.percent(10);
                if is_new && self.random.percent(30) {
                    let to = ["plain/answers", "$reply/a/b", "$queue/jobs"];
                    let to = self.one_of(&to);
                    publish = publish.property(Property::response_topic(to));
                }
                if is_new && self.random.percent(20) {
                    let key = self.one_of(&["prio", "delay", "id", "key", "rev", "other"]);
                    let value = self.one_of(&["1", "x", "", "5ms"]);
                    publish = publish.property(Property::user(key, value));
                }
                publish.into()
            }
            61..=82 => {
                let mut subscribe = Subscribe::new(identifier);
                for _ in 0..self.random.between(1, 3) {
                    subscribe = subscribe.filter(&self.filter(), self.qos());
                }
                subscribe.into()
            }
            83..=92 => Unsubscribe::new(identifier, &self.filter()).into(),
            93..=97 => Packet::Pingreq,
            _ => return None,
        })
    }

    /// Waits for the answer, and answers what comes meanwhile in one way or another. Returns whether
    /// the connection is still there.
    fn hear(&mut self, peer: &mut Peer, asked: &Packet) -> bool {
        let patience = match asked {
            Packet::Publish(publish) if publish.qos == 0 => Duration::from_millis(1),
            _ => Duration::from_secs(20),
        };
        loop {
            let packet = match peer.recv_within(patience) {
                Received::Packet(packet) => packet,
                // What is malformed as a topic filter ends the connection.
                Received::Closed => return false,
                Received::Nothing if patience.as_secs() == 0 => return true,
                Received::Nothing => panic!("no answer to {asked:?}"),
            };
            match (packet, asked) {
                (Packet::Publish(delivery), _) => self.answer(peer, &delivery),
                (Packet::Pubrel(ack), _) => peer.send(pubcomp(ack.packet_identifier)),
                (Packet::Pubrec(ack), Packet::Publish(_)) => {
                    if ack.reason >= 0x80 {
                        return true;
                    }
                    peer.send(pubrel(ack.packet_identifier));
                }
                (Packet::Puback(_) | Packet::Pubcomp(_), Packet::Publish(_))
                | (Packet::Suback(_), Packet::Subscribe(_))
                | (Packet::Unsuback(_), Packet::Unsubscribe(_))
                | (Packet::Pingresp, Packet::Pingreq) => return true,
                (Packet::Disconnect(_), _) => {}
                (other, _) => panic!("{asked:?} is answered by {other:?}"),
            }
        }
    }

    fn answer(&mut self, peer: &mut Peer, delivery: &Publish) {
        let answer = match delivery.qos {
            0 => return,
            1 => puback,
            _ => pubrec,
        };
        let mut answer = answer(delivery.packet_identifier);
        match self.random.between(1, 10) {
            1 => return,
            2..=4 if self.version == Version::V5 => {
                let refusals = [0x80, 0x83, 0x97, 0x99];
                answer = answer.reason(refusals[self.random.between(0, 3)]);
            }
            _ => {}
        }
        peer.send(answer);
    }
}
