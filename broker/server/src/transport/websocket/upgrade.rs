//! The WebSocket handshake (RFC 6455 section 4, MQTT 5 section 6).
//!
//! A pure function from a request's bytes to what is answered. It never waits: the shard hands it
//! what has come so far.

use std::net::IpAddr;

use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::HeaderValue;
use tungstenite::http::header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};

/// Longest request accepted, in bytes. Browsers send cookies; MQTT clients send a few hundred.
const MAXIMUM_REQUEST_BYTES: usize = 8 * 1024;

/// The one subprotocol (MQTT 5 section 6: "mqtt" for both versions).
const SUBPROTOCOL: &str = "mqtt";

/// Which requests become MQTT connections.
#[derive(Clone, Debug)]
pub(crate) struct UpgradePolicy {
    pub(crate) path: String,
    /// Origins allowed besides the listener's own, or `*`.
    pub(crate) allowed_origins: Vec<String>,
    /// The listener can be reached from this machine alone.
    pub(crate) loopback: bool,
}

/// What is to be done with the bytes of a request so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// Wait for the rest of it.
    Incomplete,
    /// Answer this; after `request_bytes` frames begin.
    Accept {
        response: Vec<u8>,
        request_bytes: usize,
    },
    /// Answer this and close.
    Refuse {
        response: Vec<u8>,
        why: &'static str,
    },
}

struct Refusal {
    status: &'static str,
    header: &'static str,
    why: &'static str,
}

const fn refusal(status: &'static str, why: &'static str) -> Refusal {
    Refusal {
        status,
        header: "",
        why,
    }
}

/// Looks at what has come of a request.
pub(crate) fn upgrade(bytes: &[u8], policy: &UpgradePolicy) -> Upgrade {
    // Looked for first, so that a client that sends byte by byte is not parsed byte by byte.
    if !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        if bytes.len() < MAXIMUM_REQUEST_BYTES {
            return Upgrade::Incomplete;
        }
        return refuse(&refusal(
            "431 Request Header Fields Too Large",
            "a request without end",
        ));
    }
    match accept(bytes, policy) {
        Ok((response, request_bytes)) => Upgrade::Accept {
            response,
            request_bytes,
        },
        Err(refusal) => refuse(&refusal),
    }
}

fn accept(bytes: &[u8], policy: &UpgradePolicy) -> Result<(Vec<u8>, usize), Refusal> {
    let malformed = refusal("400 Bad Request", "not an HTTP request");
    let (request_bytes, request) = match Request::try_parse(bytes) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Err(malformed),
        Err(error) => return Err(explain(&error)),
    };
    if request_bytes > MAXIMUM_REQUEST_BYTES {
        return Err(refusal(
            "431 Request Header Fields Too Large",
            "a request too long",
        ));
    }
    let mut response = create_response(&request).map_err(|error| explain(&error))?;
    if request.uri().path() != policy.path {
        return Err(refusal("404 Not Found", "another path than the listener's"));
    }
    if !origin_allowed(&request, policy) {
        return Err(refusal("403 Forbidden", "an origin that is not allowed"));
    }
    // [MQTT-6.0.0-3]: the client includes "mqtt" in the list it offers.
    if !offers_mqtt(&request) {
        return Err(refusal(
            "400 Bad Request",
            "the subprotocol mqtt is not offered",
        ));
    }
    // [MQTT-6.0.0-4]: the server selects "mqtt".
    response.headers_mut().insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    let mut encoded = Vec::with_capacity(192);
    write_response(&mut encoded, &response).map_err(|_| malformed)?;
    Ok((encoded, request_bytes))
}

/// The status for what a handshake lacks.
fn explain(error: &Error) -> Refusal {
    match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => Refusal {
            status: "405 Method Not Allowed",
            header: "Allow: GET\r\n",
            why: "another method than GET",
        },
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader,
        ) => Refusal {
            status: "426 Upgrade Required",
            header: "Upgrade: websocket\r\n",
            why: "no WebSocket handshake",
        },
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => Refusal {
            status: "426 Upgrade Required",
            header: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            why: "another WebSocket version than 13",
        },
        Error::Protocol(
            ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey,
        ) => refusal("400 Bad Request", "no valid Sec-WebSocket-Key"),
        _ => refusal("400 Bad Request", "not an HTTP/1.1 request"),
    }
}

fn refuse(refusal: &Refusal) -> Upgrade {
    let Refusal {
        status,
        header,
        why,
    } = refusal;
    let response = format!(
        "HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{why}\n",
        why.len() + 1
    );
    Upgrade::Refuse {
        response: response.into_bytes(),
        why,
    }
}

fn offers_mqtt(request: &Request) -> bool {
    request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim() == SUBPROTOCOL)
}

/// Browsers let every page open a WebSocket to every host and say in Origin which page it was.
/// Allowed are clients that are no browser (no Origin), the origins that are configured, and
/// pages of this very host. A host name proves nothing to a listener on loopback, where a page
/// may have had its own name resolve to 127.0.0.1: there the page must come from this machine by
/// name or address.
fn origin_allowed(request: &Request, policy: &UpgradePolicy) -> bool {
    let mut origins = request.headers().get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    if origins.next().is_some() {
        return false;
    }
    let configured = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
    if policy.allowed_origins.iter().any(configured) {
        return true;
    }
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    let origin_host = host(authority);
    if policy.loopback {
        return is_this_machine(origin_host);
    }
    let own = request
        .headers()
        .get(HOST)
        .and_then(|value| value.to_str().ok());
    own.is_some_and(|own| host(own).eq_ignore_ascii_case(origin_host))
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(authority: &str) -> &str {
    if let Some((address, _)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return address;
    }
    authority
        .split_once(':')
        .map_or(authority, |(host, _)| host)
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> UpgradePolicy {
        UpgradePolicy {
            path: "/mqtt".to_owned(),
            allowed_origins: vec!["https://console.example".to_owned()],
            loopback: false,
        }
    }

    /// A good handshake with some lines replaced by others (by their first word).
    fn request(changes: &[(&str, &str)]) -> Vec<u8> {
        let lines = [
            "GET /mqtt HTTP/1.1",
            "Host: broker.example:8083",
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: mqtt",
        ];
        let mut text = String::new();
        for line in lines {
            let word = line.split(' ').next().expect("a line has a word");
            let line = changes
                .iter()
                .find(|(key, _)| *key == word)
                .map_or(line, |(_, new)| *new);
            if !line.is_empty() {
                text.push_str(line);
                text.push_str("\r\n");
            }
        }
        for (_, extra) in changes.iter().filter(|(key, _)| key.is_empty()) {
            text.push_str(extra);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    fn status(changes: &[(&str, &str)], policy: &UpgradePolicy) -> String {
        let response = match upgrade(&request(changes), policy) {
            Upgrade::Incomplete => return "incomplete".to_owned(),
            Upgrade::Accept { response, .. } | Upgrade::Refuse { response, .. } => response,
        };
        let response = String::from_utf8(response).expect("an ASCII response");
        response
            .split(' ')
            .nth(1)
            .expect("a status line")
            .to_owned()
    }

    #[test]
    fn an_mqtt_client_is_accepted_with_its_subprotocol() {
        let mut bytes = request(&[]);
        let size = bytes.len();
        bytes.extend(b"\x82\x80\0\0\0\0");
        let Upgrade::Accept {
            response,
            request_bytes,
        } = upgrade(&bytes, &policy())
        else {
            panic!("a good handshake is accepted");
        };
        assert_eq!(request_bytes, size);
        let response = String::from_utf8(response)
            .expect("ASCII")
            .to_ascii_lowercase();
        assert!(response.starts_with("http/1.1 101 "), "{response}");
        // The example of RFC 6455 section 1.3.
        let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_ascii_lowercase();
        assert!(response.contains(&accept), "{response}");
        assert!(
            response.contains("\r\nsec-websocket-protocol: mqtt\r\n"),
            "{response}"
        );
        assert!(!response.contains("extensions"), "{response}");
    }

    #[test]
    fn what_a_handshake_lacks_is_said_by_the_status() {
        for (changes, expected) in [
            (&[("GET", "POST /mqtt HTTP/1.1")][..], "405"),
            (&[("GET", "GET /mqtt HTTP/1.0")], "400"),
            (&[("GET", "GET /other HTTP/1.1")], "404"),
            (&[("GET", "GET /mqtt/ HTTP/1.1")], "404"),
            (&[("GET", "GET /mqtt?token=1 HTTP/1.1")], "101"),
            (&[("GET", "rubbish")], "400"),
            (&[("Upgrade:", "")], "426"),
            (&[("Upgrade:", "Upgrade: h2c")], "426"),
            (&[("Connection:", "Connection: keep-alive")], "426"),
            (
                &[("Sec-WebSocket-Version:", "Sec-WebSocket-Version: 8")],
                "426",
            ),
            (&[("Sec-WebSocket-Version:", "")], "426"),
            (&[("Sec-WebSocket-Key:", "")], "400"),
            (&[("Sec-WebSocket-Key:", "Sec-WebSocket-Key: short")], "400"),
            // [MQTT-6.0.0-3]
            (&[("Sec-WebSocket-Protocol:", "")], "400"),
            (
                &[(
                    "Sec-WebSocket-Protocol:",
                    "Sec-WebSocket-Protocol: mqttv3.1",
                )],
                "400",
            ),
            (
                &[(
                    "Sec-WebSocket-Protocol:",
                    "Sec-WebSocket-Protocol: mqttv3.1, mqtt",
                )],
                "101",
            ),
            (
                &[("Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: MQTT")],
                "400",
            ),
            (
                &[("", "Sec-WebSocket-Extensions: permessage-deflate")],
                "101",
            ),
        ] {
            assert_eq!(status(changes, &policy()), expected, "{changes:?}");
        }
    }

    #[test]
    fn pages_of_other_hosts_are_refused() {
        let loopback = UpgradePolicy {
            loopback: true,
            ..policy()
        };
        let anyone = UpgradePolicy {
            allowed_origins: vec!["*".to_owned()],
            ..policy()
        };
        for (origin, policy, expected) in [
            ("Origin: https://broker.example", &policy(), "101"),
            ("Origin: http://BROKER.example:3000", &policy(), "101"),
            ("Origin: https://console.example", &policy(), "101"),
            ("Origin: https://console.example:444", &policy(), "403"),
            ("Origin: https://evil.example", &policy(), "403"),
            ("Origin: null", &policy(), "403"),
            ("Origin: https://evil.example", &anyone, "101"),
            ("Origin: http://localhost:5173", &loopback, "101"),
            ("Origin: http://[::1]:5173", &loopback, "101"),
            // The page's name may have been made to resolve to this machine.
            ("Origin: https://broker.example", &loopback, "403"),
            ("Origin: https://console.example", &loopback, "101"),
        ] {
            assert_eq!(status(&[("", origin)], policy), expected, "{origin}");
        }
        let twice = [
            ("", "Origin: http://broker.example"),
            ("", "Origin: http://evil.example"),
        ];
        assert_eq!(status(&twice, &policy()), "403");
    }

    #[test]
    fn a_request_is_waited_for_up_to_its_bound() {
        let bytes = request(&[]);
        for end in 0..bytes.len() {
            assert_eq!(upgrade(&bytes[..end], &policy()), Upgrade::Incomplete);
        }
        let endless = vec![b'a'; MAXIMUM_REQUEST_BYTES];
        assert!(matches!(
            upgrade(&endless, &policy()),
            Upgrade::Refuse { .. }
        ));
        let long = format!("Cookie: {}", "c".repeat(MAXIMUM_REQUEST_BYTES));
        assert_eq!(status(&[("", &long)], &policy()), "431");
    }
}
