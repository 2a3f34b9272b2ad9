//! What the broker promises, one name a promise.

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The core panicked.
    Panicked,
    /// What it sends are packets of the connection's version.
    WellFormed,
    /// A packet is not larger than the client takes ([MQTT-3.1.2-24]).
    MaximumPacketSize,
    /// Nothing follows DISCONNECT ([MQTT-3.14.4-1]), and nothing is sent that nobody asked for.
    Expected,
    /// A Packet Identifier in use is not used for anything else ([MQTT-2.2.1-4]).
    PacketIdentifierFree,
    /// No more unacknowledged than the client's Receive Maximum ([MQTT-3.3.4-7]).
    SendQuota,
    /// Only after a reconnection, with DUP, in the original order ([MQTT-4.4.0-1]).
    Resend,
    /// An alias is at most the client's maximum and stands for a topic ([MQTT-3.1.2-26]).
    TopicAlias,
    /// PUBACK, PUBREC and PUBCOMP in the order of what they answer ([MQTT-4.6.0-2] to -4).
    AcknowledgementOrder,
    /// The reason code says what happened.
    ReasonCode,
    /// Only what a subscription matches is delivered.
    Subscribed,
    /// Not to the client that published it ([MQTT-3.8.3-3]).
    NoLocal,
    /// The lower of the QoS published and granted ([MQTT-3.8.4-8]).
    EffectiveQoS,
    /// RETAIN is what the subscription options ask for ([MQTT-3.3.1-8] to -13).
    RetainFlag,
    /// The identifiers of the matching subscriptions ([MQTT-3.3.4-3], [MQTT-3.3.4-4]).
    SubscriptionIdentifiers,
    /// Topic, payload and properties arrive as they were published.
    Unaltered,
    /// QoS 0 at most once, QoS 2 exactly once, QoS 1 not repeated on a live connection.
    NotRepeated,
    /// Order for each publisher, topic and QoS ([MQTT-4.6.0-6]).
    Order,
    /// What was acknowledged to its publisher reaches everyone who was subscribed.
    NotLost,
    /// An expired message is not sent ([MQTT-3.3.2-5]), and the interval shrinks ([MQTT-3.3.2-6]).
    MessageExpiry,
    /// Session Present says what is there ([MQTT-3.2.2-2], [MQTT-3.2.2-3]).
    SessionPresent,
    /// One connection a session, and a session ends when its time is over.
    SessionLifetime,
    /// A will is published once, when it is due, or not at all ([MQTT-3.1.2-8], [MQTT-3.1.3-9]).
    Will,
    /// A new subscription gets what is retained, and nothing older than that.
    Retained,
    /// A message of a shared subscription goes to one member.
    SharedOnce,
    /// A message of a shared subscription does not stay with a member that is gone.
    SharedStranded,
    /// Queues, buffers and tables stay within their bounds.
    Bounds,
    /// A publisher is held back no longer than the configuration says.
    HeldBack,
    /// A connection is closed when its keep alive or its time to connect is over, not before.
    Deadline,
    /// What is asked is answered, and what is to be sent is sent.
    Progress,
    /// When everybody is gone nothing is left.
    Leak,
}

/// How a promise was broken.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}
