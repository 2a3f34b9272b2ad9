//! Enhanced authentication (MQTT 5 section 4.12).

use nexum_codec::Auth;

use super::*;
use crate::{ExchangeOutcome, ExchangeStep, Input, Limits, Output};

fn connect_by_method(client_id: &str) -> Connect<'_> {
    let mut connect = connect(client_id);
    connect.properties.authentication_method = Some("method");
    connect.properties.authentication_data = Some(b"first");
    connect
}

fn auth<'a>(reason_code: ReasonCode, method: &'a str, data: &'a [u8]) -> Packet<'a> {
    Packet::Auth(Auth {
        reason_code,
        authentication_method: Some(method),
        authentication_data: Some(data),
        reason_string: None,
        user_properties: UserProperties::EMPTY,
    })
}

fn answer(broker: &mut Broker, client: usize, outcome: ExchangeOutcome) {
    broker.input(client, |connection| Input::Exchange {
        connection,
        outcome,
    });
}

/// The step that the method is asked about, with its data.
fn asked(broker: &mut Broker) -> (ExchangeStep, Vec<u8>) {
    let Some(Output::Exchange {
        method, step, data, ..
    }) = broker.asked.pop()
    else {
        panic!("the method is not asked")
    };
    assert_eq!(method, "method");
    assert!(broker.asked.is_empty(), "once");
    (step, data)
}

/// A client that was let in by the method.
fn admitted(broker: &mut Broker) -> usize {
    let client = broker.connect(connect_by_method("c"));
    asked(broker);
    answer(broker, client, ExchangeOutcome::Accepted { data: None });
    assert_eq!(broker.take(client), [connack(ReasonCode::Success)]);
    client
}

#[test]
fn connack_waits_for_the_method_and_carries_its_last_data() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.connect(connect_by_method("c"));
    let (step, data) = asked(&mut broker);
    assert!(matches!(step, ExchangeStep::Begin(credentials) if credentials.client_id == "c"));
    assert_eq!(data, b"first");
    assert_eq!(broker.take(client), []);
    assert!(
        broker.is_held(client),
        "nothing more is taken until the method has spoken"
    );

    answer(
        &mut broker,
        client,
        ExchangeOutcome::Continue {
            data: b"challenge".to_vec(),
        },
    );
    let challenge = Received::Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        method: "method".to_owned(),
        data: b"challenge".to_vec(),
    };
    assert_eq!(broker.take(client), [challenge], "[MQTT-4.12.0-2]");

    broker.send(
        client,
        auth(ReasonCode::ContinueAuthentication, "method", b"response"),
    );
    assert_eq!(
        asked(&mut broker),
        (ExchangeStep::Continue, b"response".to_vec())
    );
    answer(
        &mut broker,
        client,
        ExchangeOutcome::Accepted {
            data: Some(b"bye".to_vec()),
        },
    );
    let accepted = Received::ConnAck {
        session_present: false,
        reason_code: ReasonCode::Success,
        authentication_data: Some(b"bye".to_vec()),
    };
    assert_eq!(broker.take(client), [accepted]);
}

#[test]
fn a_method_that_nobody_serves_is_refused() {
    let mut broker = Broker::new(1, Limits::default());
    let mut packet = connect_by_method("c");
    packet.properties.authentication_method = Some("other");
    let client = broker.connect(packet);
    assert_eq!(
        broker.take(client),
        [connack(ReasonCode::BadAuthenticationMethod)]
    );
    assert!(broker.is_closed(client), "[MQTT-4.12.0-1]");
}

#[test]
fn a_client_that_the_method_refuses_gets_connack_and_is_closed() {
    for (outcome, reason) in [
        (ExchangeOutcome::Refused, ReasonCode::NotAuthorized),
        (ExchangeOutcome::Unavailable, ReasonCode::ServerUnavailable),
    ] {
        let mut broker = Broker::new(1, Limits::default());
        let client = broker.connect(connect_by_method("c"));
        answer(&mut broker, client, outcome);
        assert_eq!(broker.take(client), [connack(reason)], "[MQTT-4.12.0-4]");
        assert!(broker.is_closed(client));
    }
}

#[test]
fn packets_after_connect_wait_for_connack() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.connect(connect_by_method("c"));
    broker.send(client, Packet::PingReq);
    assert_eq!(broker.take(client), []);
    answer(
        &mut broker,
        client,
        ExchangeOutcome::Accepted { data: None },
    );
    assert_eq!(
        broker.take(client),
        [connack(ReasonCode::Success), Received::PingResp]
    );
}

#[test]
fn nothing_but_auth_and_disconnect_is_allowed_while_the_method_waits_for_the_client() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.connect(connect_by_method("c"));
    answer(
        &mut broker,
        client,
        ExchangeOutcome::Continue { data: Vec::new() },
    );
    broker.send(client, Packet::PingReq);
    assert!(broker.is_closed(client), "[MQTT-3.1.2-30]");
}

#[test]
fn the_method_stays_what_connect_said() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.connect(connect_by_method("c"));
    answer(
        &mut broker,
        client,
        ExchangeOutcome::Continue { data: Vec::new() },
    );
    broker.send(
        client,
        auth(ReasonCode::ContinueAuthentication, "other", b""),
    );
    assert!(broker.is_closed(client), "[MQTT-4.12.0-5]");
}

#[test]
fn a_connected_client_renews_its_authentication() {
    let mut broker = Broker::new(1, Limits::default());
    let client = admitted(&mut broker);
    broker.send(client, auth(ReasonCode::ReAuthenticate, "method", b"again"));
    assert_eq!(asked(&mut broker), (ExchangeStep::Renew, b"again".to_vec()));
    broker.send(client, Packet::PingReq);
    assert_eq!(
        broker.take(client),
        [Received::PingResp],
        "everything else goes on"
    );
    answer(
        &mut broker,
        client,
        ExchangeOutcome::Accepted {
            data: Some(b"fine".to_vec()),
        },
    );
    let renewed = Received::Auth {
        reason_code: ReasonCode::Success,
        method: "method".to_owned(),
        data: b"fine".to_vec(),
    };
    assert_eq!(broker.take(client), [renewed]);
}

#[test]
fn a_renewal_that_is_refused_ends_the_connection() {
    let mut broker = Broker::new(1, Limits::default());
    let client = admitted(&mut broker);
    broker.send(client, auth(ReasonCode::ReAuthenticate, "method", b""));
    answer(&mut broker, client, ExchangeOutcome::Refused);
    assert_eq!(
        broker.take(client),
        [Received::Disconnect(ReasonCode::NotAuthorized)]
    );
    assert!(broker.is_closed(client), "[MQTT-4.12.1-2]");
}

#[test]
fn a_renewal_keeps_the_method() {
    let mut broker = Broker::new(1, Limits::default());
    let client = admitted(&mut broker);
    broker.send(client, auth(ReasonCode::ReAuthenticate, "other", b""));
    assert_eq!(
        broker.take(client),
        [Received::Disconnect(ReasonCode::ProtocolError)]
    );
    assert!(broker.is_closed(client), "[MQTT-4.12.1-1]");
}

#[test]
fn a_renewal_under_way_is_not_begun_again() {
    let mut broker = Broker::new(1, Limits::default());
    let client = admitted(&mut broker);
    for _ in 0..2 {
        broker.send(client, auth(ReasonCode::ReAuthenticate, "method", b""));
    }
    assert_eq!(
        broker.take(client),
        [Received::Disconnect(ReasonCode::ProtocolError)]
    );
}

#[test]
fn auth_without_a_method_in_connect_is_a_protocol_error() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.admit(connect("c"));
    broker.send(client, auth(ReasonCode::ReAuthenticate, "method", b""));
    assert_eq!(
        broker.take(client),
        [Received::Disconnect(ReasonCode::ProtocolError)]
    );
    assert!(broker.is_closed(client), "[MQTT-4.12.0-6]");
}

#[test]
fn an_answer_that_comes_too_late_is_heard_by_nobody() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.connect(connect_by_method("c"));
    let patience = u64::from(Limits::default().authentication_timeout_seconds);
    broker.wait(std::time::Duration::from_secs(patience + 1));
    assert!(broker.is_closed(client));
    answer(
        &mut broker,
        client,
        ExchangeOutcome::Accepted { data: None },
    );
    assert_eq!(broker.take(client), []);
    assert_eq!(broker.shards[0].residue(), []);
}
