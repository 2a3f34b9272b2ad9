//! Section 3.15: AUTH.

use nexum_codec::{Auth, DecodeError, Field, Packet, UserProperties};
use nexum_types::ReasonCode;

use crate::notation::{V5, accept, canonical, refuse};

#[test]
fn forms() {
    let auth = Auth {
        reason_code: ReasonCode::Success,
        authentication_method: None,
        authentication_data: None,
        reason_string: None,
        user_properties: UserProperties::EMPTY,
    };
    canonical(V5, "F0 |", Packet::Auth(auth));
    let method = Auth {
        authentication_method: Some("m"),
        ..auth
    };
    canonical(V5, "F0 | 00 [ 15 s:m ]", Packet::Auth(method));
    let everything = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        authentication_data: Some(b"\xFF\x00"),
        reason_string: Some("why"),
        user_properties: UserProperties::from_pairs(&[("n", "v")]),
        ..method
    };
    let text = "F0 | 18 [ 15 s:m 16 0002FF00 1F s:why 26 s:n s:v ]";
    canonical(V5, text, Packet::Auth(everything));
    let text = "F0 | 18 [ 26 s:n s:v 16 0002FF00 1F s:why 15 s:m ]";
    accept(V5, text, Packet::Auth(everything));
}

/// "It is a Protocol Error to omit the Authentication Method" (section 3.15.2.2.2).
#[test]
fn a_method_must_be_there() {
    let error = DecodeError::AuthenticationMethodMissing;
    refuse(V5, "F0 | 00 [ ]", error);
    refuse(V5, "F0 | 19 [ 16 s:d ]", error);
}

#[test]
fn lengths() {
    // No sentence lets the Property Length alone be left out.
    refuse(
        V5,
        "F0 | 00",
        DecodeError::Truncated {
            field: Field::PropertyLength,
        },
    );
    refuse(
        V5,
        "F0 | 00 [ 15 s:m ] 00",
        DecodeError::TrailingBytes { bytes: 1 },
    );
}
