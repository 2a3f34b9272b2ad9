//! Where to listen: `tcp://127.0.0.1:1883`, `wss://[::1]:8084/mqtt`.

use std::fmt;
use std::net::SocketAddr;

/// What a listener speaks beneath MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    WebSocket,
    SecureWebSocket,
}

impl Transport {
    const ALL: [(&'static str, Transport); 4] = [
        ("tcp", Transport::Tcp),
        ("tls", Transport::Tls),
        ("ws", Transport::WebSocket),
        ("wss", Transport::SecureWebSocket),
    ];

    /// Whether it needs a certificate.
    pub(crate) const fn is_encrypted(self) -> bool {
        match self {
            Transport::Tls | Transport::SecureWebSocket => true,
            Transport::Tcp | Transport::WebSocket => false,
        }
    }

    const fn is_web_socket(self) -> bool {
        match self {
            Transport::WebSocket | Transport::SecureWebSocket => true,
            Transport::Tcp | Transport::Tls => false,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Transport::ALL
            .iter()
            .find(|(_, transport)| transport == self);
        let (scheme, _) = known.expect("every transport has a scheme");
        f.write_str(scheme)
    }
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    pub(crate) transport: Transport,
    pub(crate) socket: SocketAddr,
    /// The path a WebSocket client asks for; empty where there is no WebSocket.
    pub(crate) path: String,
}

/// The path of WebSocket listeners that name none. Clients such as MQTT.js and MQTTX propose it.
const DEFAULT_PATH: &str = "/mqtt";

impl ListenAddress {
    /// Reads an address; without a scheme it is TCP.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong with it and what to write.
    pub(crate) fn parse(text: &str) -> Result<ListenAddress, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let Some((_, transport)) = Transport::ALL.iter().find(|(known, _)| *known == scheme) else {
            return Err(format!(
                "\"{text}\" begins with an unknown scheme; use tcp://, tls://, ws:// or wss://"
            ));
        };
        let (socket, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if !path.is_empty() && !transport.is_web_socket() {
            return Err(format!(
                "\"{text}\" has a path, which only ws:// and wss:// have; use \"{transport}://{socket}\""
            ));
        }
        let socket: SocketAddr = socket.parse().map_err(|_| {
            format!(
                "\"{text}\" has no IP address and port; write them as in \
                 \"{transport}://127.0.0.1:1883\", and 0.0.0.0 or [::] for every interface"
            )
        })?;
        Ok(ListenAddress {
            transport: *transport,
            socket,
            path: match (transport.is_web_socket(), path) {
                (false, _) => String::new(),
                (true, "") => DEFAULT_PATH.to_owned(),
                (true, path) => path.to_owned(),
            },
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.transport, self.socket, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::ListenAddress;

    #[test]
    fn an_address_reads_as_it_is_shown() {
        for (text, shown) in [
            ("tcp://127.0.0.1:1883", "tcp://127.0.0.1:1883"),
            ("127.0.0.1:0", "tcp://127.0.0.1:0"),
            ("[::1]:1883", "tcp://[::1]:1883"),
            ("tls://0.0.0.0:8883", "tls://0.0.0.0:8883"),
            ("ws://127.0.0.1:8083", "ws://127.0.0.1:8083/mqtt"),
            ("ws://127.0.0.1:8083/", "ws://127.0.0.1:8083/"),
            ("wss://[::]:8084/some/path", "wss://[::]:8084/some/path"),
        ] {
            let address = ListenAddress::parse(text).expect(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(ListenAddress::parse(shown), Ok(address));
        }
    }
}
