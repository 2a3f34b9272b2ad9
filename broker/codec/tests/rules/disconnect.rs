//! Section 3.14: DISCONNECT.

use nexum_codec::{DecodeError, Disconnect, Field, Packet, UserProperties, encode};
use nexum_types::ReasonCode;

use crate::notation::{V3_1_1, V5, accept, bytes, canonical, refuse};

const NORMAL: Disconnect<'static> = Disconnect::new(ReasonCode::Success);

#[test]
fn forms() {
    canonical(V3_1_1, "E0 |", Packet::Disconnect(NORMAL));
    canonical(V5, "E0 |", Packet::Disconnect(NORMAL));
    accept(V5, "E0 | 00", Packet::Disconnect(NORMAL));
    accept(V5, "E0 | 00 [ ]", Packet::Disconnect(NORMAL));
    let with_will = Disconnect::new(ReasonCode::DisconnectWithWill);
    canonical(V5, "E0 | 04", Packet::Disconnect(with_will));
    accept(V5, "E0 | 04 [ ]", Packet::Disconnect(with_will));
    let expected = Disconnect {
        reason_code: ReasonCode::UseAnotherServer,
        session_expiry_interval_seconds: Some(10),
        reason_string: Some("why"),
        server_reference: Some("other"),
        user_properties: UserProperties::from_pairs(&[("n", "v")]),
    };
    let text = "E0 | 9C [ 11 0000000A 1F s:why 26 s:n s:v 1C s:other ]";
    canonical(V5, text, Packet::Disconnect(expected));
    let expected = Disconnect {
        session_expiry_interval_seconds: Some(0),
        ..NORMAL
    };
    canonical(V5, "E0 | 00 [ 11 00000000 ]", Packet::Disconnect(expected));
}

#[test]
fn lengths() {
    refuse(V3_1_1, "E0 | 00", DecodeError::TrailingBytes { bytes: 1 });
    refuse(
        V5,
        "E0 | 00 [ ] 00",
        DecodeError::TrailingBytes { bytes: 1 },
    );
    refuse(
        V5,
        "E0 | 00 01",
        DecodeError::Truncated {
            field: Field::Properties,
        },
    );
}

#[test]
fn nothing_but_the_type_on_3_1_1() {
    let mut encoded = Vec::new();
    let packet = Packet::Disconnect(Disconnect::new(ReasonCode::ServerShuttingDown));
    encode(&packet, V3_1_1, &mut encoded).expect("small");
    assert_eq!(encoded, bytes("E0 |"));
}
