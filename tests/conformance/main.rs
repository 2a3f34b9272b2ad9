//! Conformance: every normative statement of MQTT 3.1.1 and 5 that binds a server, shown on the
//! real broker, packet by packet over its sockets.
//!
//! Each test names the statements it shows in its doc comment: `[MQTT-x.y.z-n]` is a statement of
//! MQTT 5, `[MQTT3-x.y.z-n]` one of 3.1.1. `manifest.toml` lists all statements of both, and
//! [`drift`] holds manifest, tests and the broker's own citations together.
//!
//! Where a specification leaves a choice, a test takes every outcome it allows. A broker of
//! somebody else's can be put in our place: `NEXUM_TEST_BROKER="mosquitto -p {port}"`.

#![expect(
    clippy::print_stdout,
    reason = "a test that fails shows what it printed: which of its cases it was"
)]

mod auth;
mod connack;
mod connect;
mod connect_fields;
mod disconnect;
mod drift;
mod errors;
mod expiry;
mod fixed_header;
mod flow_control;
mod keep_alive;
mod limits;
mod manifest;
mod ordering;
mod packet_identifier;
mod password;
mod ping;
mod publish;
mod publish_properties;
mod qos1;
mod qos2;
mod retain;
mod scene;
mod session;
mod shared;
mod subscribe;
mod subscribe_options;
mod subscription_identifier;
mod takeover;
mod topic_alias;
mod topics;
mod unsubscribe;
mod utf8;
mod websocket;
mod will;
