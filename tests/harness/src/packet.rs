//! Every control packet of 3.1.1 and 5 as plain data with public fields, and short ways to write
//! the usual ones.

use crate::property::{Properties, Property};

/// The protocol version a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.
    V5,
}

impl Version {
    /// Both, for tests of what both specifications say.
    pub const ALL: [Version; 2] = [Version::V311, Version::V5];

    /// The Protocol Level (Protocol Version) byte of CONNECT.
    pub fn level(self) -> u8 {
        match self {
            Version::V311 => 4,
            Version::V5 => 5,
        }
    }
}

/// Any control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A client asks to be connected.
    Connect(Connect),
    /// The server's answer.
    Connack(Connack),
    /// A message.
    Publish(Publish),
    /// Answer to QoS 1.
    Puback(Ack),
    /// Answer to QoS 2, first part.
    Pubrec(Ack),
    /// QoS 2, second part.
    Pubrel(Ack),
    /// QoS 2, third part.
    Pubcomp(Ack),
    /// A client subscribes.
    Subscribe(Subscribe),
    /// The server's answer.
    Suback(Suback),
    /// A client unsubscribes.
    Unsubscribe(Unsubscribe),
    /// The server's answer.
    Unsuback(Unsuback),
    /// Is anyone there?
    Pingreq,
    /// Yes.
    Pingresp,
    /// The last packet of a connection.
    Disconnect(Disconnect),
    /// Enhanced authentication.
    Auth(Auth),
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Also the version the peer that sends it speaks from then on.
    pub version: Version,
    /// Clean Session in 3.1.1.
    pub clean_start: bool,
    /// 0 turns it off.
    pub keep_alive_seconds: u16,
    /// Not written to a 3.1.1 packet.
    pub properties: Properties,
    /// May be empty.
    pub client_id: String,
    /// What the server publishes should the connection end badly.
    pub will: Option<Will>,
    /// User Name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
}

/// The Will of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Will Topic.
    pub topic: String,
    /// Will Payload (Will Message in 3.1.1).
    pub payload: Vec<u8>,
    /// Will QoS.
    pub qos: u8,
    /// Will Retain.
    pub retain: bool,
    /// Will Properties; not written to a 3.1.1 packet.
    pub properties: Properties,
}

/// CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// The server kept the session.
    pub session_present: bool,
    /// Reason Code, or return code in 3.1.1.
    pub reason: u8,
    /// What the server offers.
    pub properties: Properties,
}

/// PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// DUP.
    pub duplicate: bool,
    /// 0, 1, 2 (or 3, to see what happens).
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name. A [`crate::Peer`] fills in the name an alias stands for.
    pub topic: String,
    /// 0 and absent from the wire at QoS 0.
    pub packet_identifier: u16,
    /// Not written to a 3.1.1 packet.
    pub properties: Properties,
    /// Payload.
    pub payload: Vec<u8>,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// That of the PUBLISH.
    pub packet_identifier: u16,
    /// 0 in 3.1.1.
    pub reason: u8,
    /// Empty in 3.1.1.
    pub properties: Properties,
}

/// SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// That of the SUBACK to come.
    pub packet_identifier: u16,
    /// Not written to a 3.1.1 packet.
    pub properties: Properties,
    /// Topic Filter and the byte after it: the QoS, in MQTT 5 with the other options.
    pub filters: Vec<(String, u8)>,
}

/// SUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// That of the SUBSCRIBE.
    pub packet_identifier: u16,
    /// Empty in 3.1.1.
    pub properties: Properties,
    /// One for each filter.
    pub reasons: Vec<u8>,
}

/// UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// That of the UNSUBACK to come.
    pub packet_identifier: u16,
    /// Not written to a 3.1.1 packet.
    pub properties: Properties,
    /// Topic Filters.
    pub filters: Vec<String>,
}

/// UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuback {
    /// That of the UNSUBSCRIBE.
    pub packet_identifier: u16,
    /// Empty in 3.1.1.
    pub properties: Properties,
    /// One for each filter; none in 3.1.1.
    pub reasons: Vec<u8>,
}

/// DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Not written to a 3.1.1 packet.
    pub reason: u8,
    /// Not written to a 3.1.1 packet.
    pub properties: Properties,
}

/// AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Reason Code.
    pub reason: u8,
    /// Method and data.
    pub properties: Properties,
}

impl Connect {
    /// A clean start without will, credentials or keep alive.
    pub fn new(version: Version, client_id: &str) -> Connect {
        Connect {
            version,
            clean_start: true,
            keep_alive_seconds: 0,
            properties: Properties::default(),
            client_id: client_id.to_owned(),
            will: None,
            user_name: None,
            password: None,
        }
    }

    /// Asks for the session of before, if there is one.
    pub fn resume(mut self) -> Connect {
        self.clean_start = false;
        self
    }

    /// Makes the session outlive its connection in either version: Clean Session 0 in 3.1.1, a
    /// Session Expiry Interval of an hour in 5 (where the start stays clean).
    pub fn persistent(mut self) -> Connect {
        match self.version {
            Version::V311 => self.clean_start = false,
            Version::V5 => self
                .properties
                .0
                .push(Property::session_expiry_interval(3600)),
        }
        self
    }

    /// Sets the Keep Alive.
    pub fn keep_alive(mut self, seconds: u16) -> Connect {
        self.keep_alive_seconds = seconds;
        self
    }

    /// Adds a property.
    pub fn property(mut self, property: Property) -> Connect {
        self.properties.0.push(property);
        self
    }

    /// Sets the will.
    pub fn will(mut self, will: Will) -> Connect {
        self.will = Some(will);
        self
    }

    /// Sets the User Name.
    pub fn user_name(mut self, user_name: &str) -> Connect {
        self.user_name = Some(user_name.to_owned());
        self
    }

    /// Sets the Password.
    pub fn password(mut self, password: &[u8]) -> Connect {
        self.password = Some(password.to_vec());
        self
    }
}

impl Will {
    /// A will at QoS 0, not retained.
    pub fn new(topic: &str, payload: &str) -> Will {
        Will {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            qos: 0,
            retain: false,
            properties: Properties::default(),
        }
    }

    /// Sets the Will QoS.
    pub fn qos(mut self, qos: u8) -> Will {
        self.qos = qos;
        self
    }

    /// Sets Will Retain.
    pub fn retain(mut self) -> Will {
        self.retain = true;
        self
    }

    /// Adds a property.
    pub fn property(mut self, property: Property) -> Will {
        self.properties.0.push(property);
        self
    }
}

impl Publish {
    /// A message at QoS 0.
    pub fn new(topic: &str, payload: &str) -> Publish {
        Publish {
            duplicate: false,
            qos: 0,
            retain: false,
            topic: topic.to_owned(),
            packet_identifier: 0,
            properties: Properties::default(),
            payload: payload.as_bytes().to_vec(),
        }
    }

    /// QoS 1.
    pub fn qos1(mut self, packet_identifier: u16) -> Publish {
        self.qos = 1;
        self.packet_identifier = packet_identifier;
        self
    }

    /// QoS 2.
    pub fn qos2(mut self, packet_identifier: u16) -> Publish {
        self.qos = 2;
        self.packet_identifier = packet_identifier;
        self
    }

    /// Any QoS; at 0 the identifier is dropped.
    pub fn qos(mut self, qos: u8, packet_identifier: u16) -> Publish {
        self.qos = qos;
        self.packet_identifier = if qos == 0 { 0 } else { packet_identifier };
        self
    }

    /// Sets RETAIN.
    pub fn retain(mut self) -> Publish {
        self.retain = true;
        self
    }

    /// Sets DUP.
    pub fn duplicate(mut self) -> Publish {
        self.duplicate = true;
        self
    }

    /// Adds a property.
    pub fn property(mut self, property: Property) -> Publish {
        self.properties.0.push(property);
        self
    }

    /// Replaces the payload.
    pub fn payload(mut self, payload: &[u8]) -> Publish {
        self.payload = payload.to_vec();
        self
    }
}

impl Ack {
    fn new(packet_identifier: u16) -> Ack {
        Ack {
            packet_identifier,
            reason: 0,
            properties: Properties::default(),
        }
    }
}

/// A PUBACK that says all is well.
pub fn puback(packet_identifier: u16) -> Packet {
    Packet::Puback(Ack::new(packet_identifier))
}

/// A PUBREC that says all is well.
pub fn pubrec(packet_identifier: u16) -> Packet {
    Packet::Pubrec(Ack::new(packet_identifier))
}

/// A PUBREL.
pub fn pubrel(packet_identifier: u16) -> Packet {
    Packet::Pubrel(Ack::new(packet_identifier))
}

/// A PUBCOMP.
pub fn pubcomp(packet_identifier: u16) -> Packet {
    Packet::Pubcomp(Ack::new(packet_identifier))
}

impl Packet {
    /// Replaces the Reason Code of an acknowledgement.
    ///
    /// # Panics
    /// If it is another packet.
    pub fn reason(mut self, reason: u8) -> Packet {
        match &mut self {
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => ack.reason = reason,
            Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::Publish(_)
            | Packet::Subscribe(_)
            | Packet::Suback(_)
            | Packet::Unsubscribe(_)
            | Packet::Unsuback(_)
            | Packet::Pingreq
            | Packet::Pingresp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => panic!("{self:?} is no acknowledgement"),
        }
        self
    }
}

impl Subscribe {
    /// Without a filter yet, which would be a protocol error.
    pub fn new(packet_identifier: u16) -> Subscribe {
        Subscribe {
            packet_identifier,
            properties: Properties::default(),
            filters: Vec::new(),
        }
    }

    /// Adds a filter with its options byte: the QoS, or in MQTT 5 what
    /// [`Subscribe::NO_LOCAL`] and its siblings add to it.
    pub fn filter(mut self, filter: &str, options: u8) -> Subscribe {
        self.filters.push((filter.to_owned(), options));
        self
    }

    /// Adds a property.
    pub fn property(mut self, property: Property) -> Subscribe {
        self.properties.0.push(property);
        self
    }

    /// Option bit: not my own messages.
    pub const NO_LOCAL: u8 = 0b0000_0100;
    /// Option bit: RETAIN as the publisher set it.
    pub const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
    /// Retain Handling 1: retained messages only if the subscription is new.
    pub const RETAINED_IF_NEW: u8 = 0b0001_0000;
    /// Retain Handling 2: no retained messages.
    pub const RETAINED_NEVER: u8 = 0b0010_0000;
}

impl Unsubscribe {
    /// Of one filter.
    pub fn new(packet_identifier: u16, filter: &str) -> Unsubscribe {
        Unsubscribe {
            packet_identifier,
            properties: Properties::default(),
            filters: vec![filter.to_owned()],
        }
    }

    /// Adds a filter.
    pub fn filter(mut self, filter: &str) -> Unsubscribe {
        self.filters.push(filter.to_owned());
        self
    }
}

impl Disconnect {
    /// Normal disconnection.
    pub fn normal() -> Disconnect {
        Disconnect::new(0)
    }

    /// With a Reason Code.
    pub fn new(reason: u8) -> Disconnect {
        Disconnect {
            reason,
            properties: Properties::default(),
        }
    }

    /// Adds a property.
    pub fn property(mut self, property: Property) -> Disconnect {
        self.properties.0.push(property);
        self
    }
}

impl Auth {
    /// With a Reason Code.
    pub fn new(reason: u8) -> Auth {
        Auth {
            reason,
            properties: Properties::default(),
        }
    }

    /// Adds a property.
    pub fn property(mut self, property: Property) -> Auth {
        self.properties.0.push(property);
        self
    }
}

macro_rules! packet_from {
    ($($kind:ident),*) => {
        $(impl From<$kind> for Packet {
            fn from(packet: $kind) -> Packet {
                Packet::$kind(packet)
            }
        })*
    };
}

packet_from!(
    Connect,
    Connack,
    Publish,
    Subscribe,
    Suback,
    Unsubscribe,
    Unsuback,
    Disconnect,
    Auth
);
