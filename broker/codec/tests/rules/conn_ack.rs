//! Section 3.2: CONNACK.

use std::num::NonZeroU16;

use nexum_codec::{
    ConnAck, ConnAckProperties, DecodeError, Field, Packet, PacketType, UserProperties, encode,
    return_code,
};
use nexum_types::{QoS, ReasonCode};

use crate::notation::{V3_1_1, V5, bytes, canonical, refuse};

fn conn_ack(reason_code: ReasonCode) -> ConnAck<'static> {
    ConnAck {
        session_present: false,
        reason_code,
        properties: ConnAckProperties::default(),
    }
}

/// [MQTT-3.2.2-1]
#[test]
fn acknowledge_flags() {
    let present = ConnAck {
        session_present: true,
        ..conn_ack(ReasonCode::Success)
    };
    canonical(
        V3_1_1,
        "20 | 00 00",
        Packet::ConnAck(conn_ack(ReasonCode::Success)),
    );
    canonical(V3_1_1, "20 | 01 00", Packet::ConnAck(present));
    canonical(V5, "20 | 01 00 [ ]", Packet::ConnAck(present));
    for flags in 2..=u8::MAX {
        let error = DecodeError::ConnectAcknowledgeFlags;
        refuse(V3_1_1, &format!("20 | {flags:02X} 00"), error);
        refuse(V5, &format!("20 | {flags:02X} 00 [ ]"), error);
    }
}

/// [MQTT-3.2.2-6] [MQTT3-3.2.2-4]
#[test]
fn a_refusal_has_no_session() {
    refuse(V3_1_1, "20 | 01 05", DecodeError::SessionPresentOnRefusal);
    refuse(V5, "20 | 01 87 [ ]", DecodeError::SessionPresentOnRefusal);
    let claims = ConnAck {
        session_present: true,
        ..conn_ack(ReasonCode::NotAuthorized)
    };
    let mut encoded = Vec::new();
    encode(&Packet::ConnAck(claims), V5, &mut encoded).expect("small");
    assert_eq!(encoded, bytes("20 | 00 87 [ ]"));
}

/// Table 3.1 of 3.1.1.
#[test]
fn return_codes_of_3_1_1() {
    for (code, reason_code) in [
        (1, ReasonCode::UnsupportedProtocolVersion),
        (2, ReasonCode::ClientIdentifierNotValid),
        (3, ReasonCode::ServerUnavailable),
        (4, ReasonCode::BadUserNameOrPassword),
        (5, ReasonCode::NotAuthorized),
    ] {
        assert_eq!(return_code(reason_code), code);
        canonical(
            V3_1_1,
            &format!("20 | 00 {code:02X}"),
            Packet::ConnAck(conn_ack(reason_code)),
        );
    }
    for value in 6..=u8::MAX {
        let packet_type = PacketType::ConnAck;
        let error = DecodeError::ReasonCodeNotAllowed { packet_type, value };
        refuse(V3_1_1, &format!("20 | 00 {value:02X}"), error);
    }
    // What 3.1.1 cannot say it says as well as it can; never success for a failure.
    for (reason_code, code) in [
        (ReasonCode::ServerBusy, 3),
        (ReasonCode::ServerShuttingDown, 3),
        (ReasonCode::QuotaExceeded, 3),
        (ReasonCode::BadAuthenticationMethod, 4),
        (ReasonCode::Banned, 5),
    ] {
        assert_eq!(return_code(reason_code), code, "{reason_code}");
    }
    for reason_code in (0..=u8::MAX).filter_map(ReasonCode::from_value) {
        let code = return_code(reason_code);
        assert!(
            code <= 5 && (code != 0) == reason_code.is_error(),
            "{reason_code}"
        );
    }
}

#[test]
fn properties() {
    let properties = ConnAckProperties {
        session_expiry_interval_seconds: Some(10),
        receive_maximum: NonZeroU16::new(5),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: Some(65_536),
        assigned_client_identifier: Some("assigned"),
        topic_alias_maximum: Some(10),
        reason_string: Some("why"),
        wildcard_subscription_available: Some(false),
        subscription_identifiers_available: Some(false),
        shared_subscription_available: Some(true),
        server_keep_alive_seconds: Some(60),
        response_information: Some("answers/"),
        server_reference: Some("other"),
        authentication_method: Some("m"),
        authentication_data: Some(b"d"),
        user_properties: UserProperties::from_pairs(&[("n", "v")]),
    };
    let packet = Packet::ConnAck(ConnAck {
        properties,
        ..conn_ack(ReasonCode::Success)
    });
    canonical(
        V5,
        "20 | 00 00 [ 11 0000000A 21 0005 24 01 25 00 27 00010000 12 s:assigned 22 000A 1F s:why \
         26 s:n s:v 28 00 29 00 2A 01 13 003C 1A s:answers/ 1C s:other 15 s:m 16 s:d ]",
        packet,
    );
    // 3.1.1 has none.
    let mut encoded = Vec::new();
    encode(&packet, V3_1_1, &mut encoded).expect("small");
    assert_eq!(encoded, bytes("20 | 00 00"));
}

/// "If the Maximum QoS is absent, the Client uses a Maximum QoS of 2" (section 3.2.2.3.4).
#[test]
fn maximum_qos_2_is_said_by_saying_nothing() {
    let properties = ConnAckProperties {
        maximum_qos: Some(QoS::ExactlyOnce),
        ..ConnAckProperties::default()
    };
    let packet = Packet::ConnAck(ConnAck {
        properties,
        ..conn_ack(ReasonCode::Success)
    });
    let mut encoded = Vec::new();
    encode(&packet, V5, &mut encoded).expect("small");
    assert_eq!(encoded, bytes("20 | 00 00 [ ]"));
}

#[test]
fn lengths() {
    let error = |field| DecodeError::Truncated { field };
    refuse(V5, "20 |", error(Field::ConnectAcknowledgeFlags));
    refuse(V5, "20 | 00", error(Field::ReasonCode));
    // The Property Length is never left out of CONNACK.
    refuse(V5, "20 | 00 00", error(Field::PropertyLength));
    refuse(
        V5,
        "20 | 00 00 [ ] 00",
        DecodeError::TrailingBytes { bytes: 1 },
    );
    refuse(
        V3_1_1,
        "20 | 00 00 00",
        DecodeError::TrailingBytes { bytes: 1 },
    );
}
