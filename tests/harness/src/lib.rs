//! What every end-to-end test stands on: the real broker in a process of its own, and a peer that
//! speaks MQTT byte by byte.
//!
//! It is an oracle: it shares no code with the broker, reads the specification for itself, and
//! refuses any packet of the broker that breaks a rule of form (reserved bits, lengths, properties
//! by packet, reason codes by packet). A [`Peer`] also holds the broker to what its own CONNECT
//! announced – Receive Maximum, Maximum Packet Size, Topic Alias Maximum, Request Problem
//! Information – in every test, not only in the ones about it.
//!
//! It is not a client: it never answers by itself, never retries, and sends whatever it is told.
//!
//! ```no_run
//! use nexum_harness::{Broker, Connect, Publish, Subscribe, Version};
//!
//! let broker = Broker::start("target/debug/nexum");
//! let mut subscriber = broker.connect(Connect::new(Version::V5, "subscriber"));
//! subscriber.send(Subscribe::new(1).filter("home/+", 1));
//! subscriber.expect_suback(1, &[1]);
//! let mut publisher = broker.connect(Connect::new(Version::V311, "publisher"));
//! publisher.send(Publish::new("home/kitchen", "on").qos1(7));
//! publisher.expect_puback(7);
//! assert_eq!(subscriber.expect_publish().payload, b"on");
//! ```

#![forbid(unsafe_code)]

mod broker;
mod decode;
mod directory;
mod encode;
mod frame;
mod packet;
mod peer;
mod property;
pub mod reason;
mod watch;
mod websocket;

pub use broker::{Broker, BrokerBuilder};
pub use decode::{Malformed, decode};
pub use directory::TemporaryDirectory;
pub use frame::Frame;
pub use packet::{
    Ack, Auth, Connack, Connect, Disconnect, Packet, Publish, Suback, Subscribe, Unsuback,
    Unsubscribe, Version, Will, puback, pubcomp, pubrec, pubrel,
};
pub use peer::{Peer, Received, Transport};
pub use property::{Properties, Property, PropertyValue};
pub use websocket::{WebSocket, WebSocketFrame};
