//! What other codecs make of a packet.
//!
//! An oracle reads one whole packet and writes it again in its own way. So the tests compare
//! meaning without knowing the other's model: what it wrote, read by `nexum-codec`, must be the
//! packet that was given to it. The oracles are independent, none is right by definition; the
//! specification settles a disagreement, and `tests/differential` holds its sentences.

mod mqtt5_protocol;
mod mqtt_protocol_core;
mod mqttbytes;
mod rmqtt_codec;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use nexum_types::ProtocolVersion;

/// Another codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the crates")]
pub enum Oracle {
    RmqttCodec,
    MqttProtocolCore,
    Mqtt5Protocol,
    Mqttbytes,
}

/// What an oracle makes of bytes that are one whole packet by their Remaining Length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// A packet, which it writes so.
    Accepts(Vec<u8>),
    /// A packet, which it cannot write again.
    AcceptsButCannotWrite(String),
    /// No packet.
    Refuses(String),
    /// It panicked.
    Panics(String),
}

impl Oracle {
    /// All of them.
    pub const ALL: [Oracle; 4] = [
        Oracle::RmqttCodec,
        Oracle::MqttProtocolCore,
        Oracle::Mqtt5Protocol,
        Oracle::Mqttbytes,
    ];

    /// Whether it speaks the version.
    #[must_use]
    pub fn speaks(self, version: ProtocolVersion) -> bool {
        match self {
            Oracle::RmqttCodec | Oracle::MqttProtocolCore | Oracle::Mqtt5Protocol => true,
            // Its MQTT 5 accepts most malformed packets and corrupts payloads.
            Oracle::Mqttbytes => version == ProtocolVersion::V3_1_1,
        }
    }

    /// Reads a packet and writes it again.
    #[must_use]
    pub fn opinion(self, packet: &[u8], version: ProtocolVersion) -> Opinion {
        let read_and_write = AssertUnwindSafe(|| match self {
            Oracle::RmqttCodec => rmqtt_codec::opinion(packet, version),
            Oracle::MqttProtocolCore => mqtt_protocol_core::opinion(packet, version),
            Oracle::Mqtt5Protocol => mqtt5_protocol::opinion(packet, version),
            Oracle::Mqttbytes => mqttbytes::opinion(packet),
        });
        quietly(|| catch_unwind(read_and_write)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            Opinion::Panics(
                text.or(panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default(),
            )
        })
    }
}

thread_local! {
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `ask` without a line on stderr for each panic: an oracle's panic is an opinion.
fn quietly<T>(ask: impl FnOnce() -> T) -> T {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !ASKING.get() {
                usual(panic);
            }
        }));
    });
    ASKING.set(true);
    let answer = ask();
    ASKING.set(false);
    answer
}

/// The opinion that follows from reading, then writing.
fn opinion<P, R: std::fmt::Debug, W: std::fmt::Debug>(
    read: Result<P, R>,
    write: impl FnOnce(P) -> Result<Vec<u8>, W>,
) -> Opinion {
    match read.map(write) {
        Ok(Ok(bytes)) => Opinion::Accepts(bytes),
        Ok(Err(error)) => Opinion::AcceptsButCannotWrite(format!("{error:?}")),
        Err(error) => Opinion::Refuses(format!("{error:?}")),
    }
}
