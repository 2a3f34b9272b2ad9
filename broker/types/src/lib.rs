//! The words of the MQTT specification as types.
//!
//! A value of a type in this crate is valid: fields are private where a rule binds them and the
//! one constructor checks the rule. Nothing here reads a clock, a socket or a packet, and nothing
//! here depends on another crate of the broker.
//!
//! ```
//! use nexum_types::{TopicFilter, TopicName};
//!
//! let topic = TopicName::new("home/kitchen/light").expect("no wildcard, not empty");
//! let filter = TopicFilter::new("home/+/#").expect("wildcards stand alone in their level");
//! assert!(filter.matches(topic));
//! ```

#![forbid(unsafe_code)]

mod client_id;
mod message;
mod packet_identifier;
mod qos;
mod reason_code;
mod share;
mod time;
mod topic;

pub use client_id::ClientId;
pub use message::{Message, MessageParts};
pub use packet_identifier::PacketIdentifier;
pub use qos::QoS;
pub use reason_code::ReasonCode;
pub use share::{ShareError, SharedSubscription};
pub use time::Time;
pub use topic::{Levels, MAX_TOPIC_BYTES, TopicError, TopicFilter, TopicName};

/// The version a connection speaks, as the Protocol Version byte of CONNECT names it.
///
/// Only the codec and the choice of an answer's form look at it; the rest of the broker speaks
/// one model (MQTT 3.1.1 section 3.1.2.2, MQTT 5 section 3.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1, protocol level 4.
    V3_1_1,
    /// MQTT 5.0, protocol version 5.
    V5,
}

/// What a subscriber does about retained messages when it subscribes (MQTT 5 section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetainHandling {
    /// 0: send retained messages at every SUBSCRIBE. MQTT 3.1.1 always does this.
    #[default]
    SendAtSubscribe,
    /// 1: send retained messages only when the subscription is new.
    SendIfNew,
    /// 2: never send retained messages at SUBSCRIBE.
    DoNotSend,
}

/// The Subscription Options byte of one filter in SUBSCRIBE (MQTT 5 section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS at which the subscriber wants deliveries.
    pub maximum_qos: QoS,
    /// Do not deliver what the same client published.
    pub no_local: bool,
    /// Deliver with the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// What to do about retained messages at SUBSCRIBE.
    pub retain_handling: RetainHandling,
}
