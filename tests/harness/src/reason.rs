//! Reason Codes of MQTT 5 (section 2.4) and return codes of 3.1.1, as they stand on the wire, and
//! which packet may carry which.

/// Success, normal disconnection, granted QoS 0.
pub const SUCCESS: u8 = 0x00;
/// DISCONNECT of a client that wants its Will Message published.
pub const DISCONNECT_WITH_WILL: u8 = 0x04;
/// The message was accepted but nobody subscribes to it.
pub const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// UNSUBACK of a filter the session did not hold.
pub const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
/// AUTH: go on.
pub const CONTINUE_AUTHENTICATION: u8 = 0x18;
/// AUTH: a client starts again.
pub const REAUTHENTICATE: u8 = 0x19;
/// The error without a better name; the failure of a 3.1.1 SUBACK.
pub const UNSPECIFIED_ERROR: u8 = 0x80;
/// The bytes break the rules of form.
pub const MALFORMED_PACKET: u8 = 0x81;
/// Well-formed, but not allowed here.
pub const PROTOCOL_ERROR: u8 = 0x82;
/// Valid, but this server does not take it.
pub const IMPLEMENTATION_SPECIFIC_ERROR: u8 = 0x83;
/// CONNACK to a version the server does not speak.
pub const UNSUPPORTED_PROTOCOL_VERSION: u8 = 0x84;
/// CONNACK to a Client Identifier the server does not allow.
pub const CLIENT_IDENTIFIER_NOT_VALID: u8 = 0x85;
/// CONNACK to wrong credentials.
pub const BAD_USER_NAME_OR_PASSWORD: u8 = 0x86;
/// Not allowed to do this.
pub const NOT_AUTHORIZED: u8 = 0x87;
/// The server stops.
pub const SERVER_SHUTTING_DOWN: u8 = 0x8B;
/// CONNACK to an Authentication Method the server does not know.
pub const BAD_AUTHENTICATION_METHOD: u8 = 0x8C;
/// Nothing came for one and a half times the Keep Alive.
pub const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
/// Another connection took the session over.
pub const SESSION_TAKEN_OVER: u8 = 0x8E;
/// The Topic Filter is correctly formed but not accepted.
pub const TOPIC_FILTER_INVALID: u8 = 0x8F;
/// The Topic Name is correctly formed but not accepted.
pub const TOPIC_NAME_INVALID: u8 = 0x90;
/// The Packet Identifier is in use.
pub const PACKET_IDENTIFIER_IN_USE: u8 = 0x91;
/// The Packet Identifier is not known.
pub const PACKET_IDENTIFIER_NOT_FOUND: u8 = 0x92;
/// More unacknowledged publications than the Receive Maximum.
pub const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
/// A Topic Alias of 0 or above the maximum.
pub const TOPIC_ALIAS_INVALID: u8 = 0x94;
/// Longer than the Maximum Packet Size.
pub const PACKET_TOO_LARGE: u8 = 0x95;
/// A limit of the implementation or the administrator is exceeded.
pub const QUOTA_EXCEEDED: u8 = 0x97;
/// The payload is not what the Payload Format Indicator says.
pub const PAYLOAD_FORMAT_INVALID: u8 = 0x99;

/// 3.1.1 CONNACK: the protocol level is not supported.
pub const V311_UNACCEPTABLE_PROTOCOL_LEVEL: u8 = 1;
/// 3.1.1 CONNACK: the Client Identifier is not allowed.
pub const V311_IDENTIFIER_REJECTED: u8 = 2;
/// 3.1.1 CONNACK: the MQTT service is not available.
pub const V311_SERVER_UNAVAILABLE: u8 = 3;
/// 3.1.1 CONNACK: malformed credentials.
pub const V311_BAD_USER_NAME_OR_PASSWORD: u8 = 4;
/// 3.1.1 CONNACK: not authorized to connect.
pub const V311_NOT_AUTHORIZED: u8 = 5;

/// What MQTT 5 allows in CONNACK (table 3-1).
pub(crate) const CONNACK: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
/// … in PUBACK and PUBREC (tables 3-4 and 3-5).
pub(crate) const PUBACK: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// … in PUBREL and PUBCOMP (tables 3-6 and 3-7).
pub(crate) const PUBREL: &[u8] = &[0x00, 0x92];
/// … in SUBACK (table 3-8).
pub(crate) const SUBACK: &[u8] = &[
    0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
];
/// … in UNSUBACK (table 3-9).
pub(crate) const UNSUBACK: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
/// … in DISCONNECT of a server (table 3-10, less what only a client sends).
pub(crate) const DISCONNECT: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
/// … in AUTH (table 3-11).
pub(crate) const AUTH: &[u8] = &[0x00, 0x18, 0x19];
