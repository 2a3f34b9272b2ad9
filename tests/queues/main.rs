//! Work queues, end to end: the real broker, stock clients of MQTT 3.1.1 that have nothing but
//! topic, payload and QoS (the commands of mosquitto, paho, MQTT.js), and a client of MQTT 5 that
//! sees every property and Reason Code.
//!
//! Each row of the interface has its tests: `$queue` with its verbs, `$req` and `$reply`, the
//! options, `$delayed`, `$exclusive`, and what is refused. What becomes of a queue when the broker
//! is killed is shown in [`crash`].

mod backlog;
mod bad_input;
mod commands;
mod consume;
mod crash;
mod dead;
mod exclusive;
mod full;
mod later;
mod lease;
mod manage;
mod nonsense;
mod options;
mod push;
#[path = "../crash/random.rs"]
mod random;
mod routing;
mod scene;
mod sessions;
mod settle;
mod slow;
mod wills;
