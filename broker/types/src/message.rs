use crate::{QoS, Time, TopicName};

/// An application message that outlives the packet it came in: queued, retained, in flight, or on
/// its way to another shard.
///
/// Topic, properties and payload share one allocation, and every holder shares the message, so a
/// payload is in memory once however many sessions wait for it.
pub struct Message {
    block: Box<[u8]>,
    topic_bytes: u32,
    properties_bytes: u32,
    qos: QoS,
    retain: bool,
    published_at: Time,
    expires_at: Option<Time>,
}

/// What a [`Message`] is made of, borrowed: from a packet just received, or from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageParts<'a> {
    /// The topic it was published to.
    pub topic: TopicName<'a>,
    /// The properties that travel with it, encoded as in PUBLISH (MQTT 5 section 3.3.2.3) without
    /// the length: neither Topic Alias, Message Expiry Interval nor Subscription Identifier.
    pub properties: &'a [u8],
    /// The application's bytes.
    pub payload: &'a [u8],
    /// The QoS it was published at.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// When the broker took it: of two messages on a topic, this tells which is newer even to a
    /// shard that gets them in another order.
    pub published_at: Time,
    /// When it is no longer worth delivering (MQTT 5 section 3.3.2.3.3).
    pub expires_at: Option<Time>,
}

impl Message {
    /// Copies the parts into one allocation.
    #[must_use]
    pub fn new(parts: MessageParts<'_>) -> Message {
        let topic = parts.topic.as_str().as_bytes();
        let mut block =
            Vec::with_capacity(topic.len() + parts.properties.len() + parts.payload.len());
        block.extend_from_slice(topic);
        block.extend_from_slice(parts.properties);
        block.extend_from_slice(parts.payload);
        // Both fit: a topic has at most 65,535 bytes and a packet at most 268,435,455.
        Message {
            block: block.into_boxed_slice(),
            topic_bytes: topic.len() as u32,
            properties_bytes: parts.properties.len() as u32,
            qos: parts.qos,
            retain: parts.retain,
            published_at: parts.published_at,
            expires_at: parts.expires_at,
        }
    }

    /// The parts, borrowed.
    #[must_use]
    pub fn parts(&self) -> MessageParts<'_> {
        let (topic, rest) = self.block.split_at(self.topic_bytes as usize);
        let (properties, payload) = rest.split_at(self.properties_bytes as usize);
        let topic =
            std::str::from_utf8(topic).expect("the block begins with the topic it was made from");
        MessageParts {
            topic: TopicName::from_checked(topic),
            properties,
            payload,
            qos: self.qos,
            retain: self.retain,
            published_at: self.published_at,
            expires_at: self.expires_at,
        }
    }

    /// The application's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.block[(self.topic_bytes + self.properties_bytes) as usize..]
    }

    /// How long its topic is, in bytes.
    #[must_use]
    pub const fn topic_bytes(&self) -> usize {
        self.topic_bytes as usize
    }

    /// Topic, properties and payload, in bytes: what limits count.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.block.len()
    }

    /// The QoS it was published at.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// When the broker took it.
    #[must_use]
    pub const fn published_at(&self) -> Time {
        self.published_at
    }

    /// When it is no longer worth delivering.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Time> {
        self.expires_at
    }

    /// Whether its time had come at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = self.parts();
        f.debug_struct("Message")
            .field("topic", &parts.topic)
            .field("payload_bytes", &parts.payload.len())
            .field("qos", &parts.qos)
            .field("retain", &parts.retain)
            .finish_non_exhaustive()
    }
}
