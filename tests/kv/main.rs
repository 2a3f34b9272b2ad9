//! Keys and values, end to end: the real broker, a client of MQTT 3.1.1 that has nothing but topic,
//! payload and QoS, and a client of MQTT 5 that sees every property and Reason Code.

mod change;
mod crash;
mod expiry;
mod old;
mod refusals;
mod scene;
mod watch;
