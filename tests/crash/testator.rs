//! A client that is connected when the broker dies, and has left a will.

use nexum_harness::{Packet, Property, Received, Version, Will};

use crate::catalogue::{Message, StreamId};
use crate::session::{PATIENCE, Session, Stage};
use crate::verdict::Sent;

pub(crate) struct Testator {
    pub(crate) session: Session,
    stream: StreamId,
    sent: Vec<Sent>,
    delay: Delay,
}

/// When the will is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    /// At once, so that the client may come back meanwhile.
    None,
    /// After a second. Coming back earlier would revoke it [MQTT-3.1.3-9], so each time somebody
    /// else comes.
    Second,
}

impl Testator {
    pub(crate) fn new(session: Session, stream: StreamId, delay: Delay) -> Testator {
        Testator {
            session,
            stream,
            sent: Vec::new(),
            delay,
        }
    }

    /// Its wills so far. Those are acknowledged that it is entitled to.
    pub(crate) fn sent(&self) -> (StreamId, &[Sent]) {
        (self.stream, &self.sent)
    }

    /// Connects and stays until the broker is no longer there.
    pub(crate) fn play(&mut self, stage: &Stage<'_>) {
        let number = self.sent.len();
        let message = Message {
            stream: self.stream,
            number,
        };
        let topic = &stage.catalogue.stream(self.stream).topic;
        let mut will = Will::new(topic, &stage.catalogue.payload(message)).qos(1);
        let mut heir = Session::new(
            &format!("{}-{number}", self.session.name),
            self.session.version,
        );
        let session = match self.delay {
            Delay::None => &mut self.session,
            Delay::Second => {
                assert_eq!(heir.version, Version::V5, "3.1.1 has no Will Delay");
                will = will.property(Property::will_delay_interval(1));
                &mut heir
            }
        };
        let tick = session.note(stage, "CONNECT with a will", Some((message, 0)));
        self.sent.push(Sent {
            first_sent: tick,
            last_sent: tick,
            acknowledged: false,
        });
        let connect = session.connect_packet().will(will);
        if let Some(mut peer) = session.connect(stage, connect) {
            match peer.recv_within(PATIENCE) {
                Received::Closed => {
                    session.note(stage, "the connection ended", Some((message, 0)));
                    self.sent[number].acknowledged = true;
                }
                Received::Packet(Packet::Disconnect(disconnect)) => {
                    session.breach(format!("disconnected: {disconnect:?}"), Some(message));
                }
                other => session.breach(format!("a testator got {other:?}"), Some(message)),
            }
        }
        if self.delay == Delay::Second {
            self.session.inherit(heir);
        }
    }
}
