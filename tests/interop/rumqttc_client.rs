//! rumqttc, the client library most Rust programs use: one library, but a module for each version.
//!
//! Nothing runs in the background: a session moves when it is asked for something, and what arrives
//! meanwhile waits.

use std::collections::VecDeque;
use std::fs;
use std::time::{Duration, Instant};

use rumqttc::{TlsConfiguration, Transport as Wire};

use crate::broker::Place;
use crate::client::{Client, Failure, Message, Open, PATIENCE, Session, Transport, Version};

/// A session that is to outlive its connection does so for this long.
const SESSION_EXPIRY_SECONDS: u32 = 300;
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const MAXIMUM_PACKET_SIZE_BYTES: u32 = 1 << 20;
/// Requests that may wait for the connection; it takes each before the next is made.
const REQUESTS: usize = 10;

pub(crate) struct Rumqttc<'a> {
    place: &'a Place,
    version: Version,
}

impl<'a> Rumqttc<'a> {
    pub(crate) fn new(place: &'a Place, version: Version) -> Rumqttc<'a> {
        Rumqttc { place, version }
    }

    fn wire(&self, transport: Transport) -> Result<(u16, Wire), Failure> {
        let certificates = &self.place.certificates;
        let (address, certificate) = match transport {
            Transport::Plain => return Ok((self.place.tcp.port(), Wire::tcp())),
            Transport::Tls => (self.place.tls, None),
            Transport::MutualTlsWithoutCertificate => (self.place.mutual_tls, None),
            Transport::MutualTls => {
                let certificate = fs::read(&certificates.client)?;
                (
                    self.place.mutual_tls,
                    Some((certificate, fs::read(&certificates.client_key)?)),
                )
            }
        };
        let configuration = TlsConfiguration::Simple {
            ca: fs::read(&certificates.authority)?,
            alpn: None,
            client_auth: certificate,
        };
        Ok((address.port(), Wire::tls_with_config(configuration)))
    }
}

impl Client for Rumqttc<'_> {
    fn name(&self) -> &'static str {
        "rumqttc"
    }

    fn version(&self) -> Version {
        self.version
    }

    fn open(&self, open: &Open) -> Result<Box<dyn Session>, Failure> {
        let (port, wire) = self.wire(open.transport)?;
        let library: Box<dyn Library> = match self.version {
            Version::V311 => Box::new(V311::new(open, port, wire)?),
            Version::V5 => Box::new(V5::new(open, port, wire)?),
        };
        let mut session = Polled {
            library,
            arrived: VecDeque::new(),
        };
        session.until(|event| matches!(event, Event::Connected), "CONNACK")?;
        Ok(Box::new(session))
    }
}

/// What the two modules of the library have in common.
trait Library {
    /// The next event, or `None` if nothing happens in time.
    fn poll(&mut self, patience: Duration) -> Result<Option<Event>, Failure>;
    fn subscribe(&self, filter: &str, qos: u8) -> Result<(), Failure>;
    fn publish(&self, message: &Message) -> Result<(), Failure>;
    fn disconnect(&self) -> Result<(), Failure>;
}

#[derive(Debug)]
enum Event {
    Connected,
    Granted,
    /// The handshake of a message of ours is complete.
    Published,
    Arrived(Message),
    Disconnected,
    /// What no scenario waits for.
    Other,
}

struct Polled {
    library: Box<dyn Library>,
    arrived: VecDeque<Message>,
}

impl Polled {
    fn until(&mut self, wanted: impl Fn(&Event) -> bool, name: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while let Some(event) = self
            .library
            .poll(deadline.saturating_duration_since(Instant::now()))?
        {
            if wanted(&event) {
                return Ok(());
            }
            if let Event::Arrived(message) = event {
                self.arrived.push_back(message);
            }
        }
        Err(Failure(format!("no {name}")))
    }
}

impl Session for Polled {
    fn subscribe(&mut self, filters: &[&str], qos: u8) -> Result<(), Failure> {
        for filter in filters {
            self.library.subscribe(filter, qos)?;
            self.until(|event| matches!(event, Event::Granted), "SUBACK")?;
        }
        Ok(())
    }

    fn publish(&mut self, message: &Message) -> Result<(), Failure> {
        self.library.publish(message)?;
        self.until(|event| matches!(event, Event::Published), "acknowledgement")
    }

    fn next(&mut self, patience: Duration) -> Result<Option<Message>, Failure> {
        let deadline = Instant::now() + patience;
        while self.arrived.is_empty() {
            match self
                .library
                .poll(deadline.saturating_duration_since(Instant::now()))?
            {
                Some(Event::Arrived(message)) => self.arrived.push_back(message),
                Some(
                    Event::Connected
                    | Event::Granted
                    | Event::Published
                    | Event::Disconnected
                    | Event::Other,
                ) => {}
                None => break,
            }
        }
        Ok(self.arrived.pop_front())
    }

    fn disconnect(mut self: Box<Self>) -> Result<(), Failure> {
        self.library.disconnect()?;
        self.until(|event| matches!(event, Event::Disconnected), "DISCONNECT")
    }

    fn abort(self: Box<Self>) -> Result<(), Failure> {
        // The socket goes with the connection.
        Ok(())
    }
}

struct V311 {
    client: rumqttc::Client,
    connection: rumqttc::Connection,
}

impl V311 {
    fn new(open: &Open, port: u16, wire: Wire) -> Result<V311, Failure> {
        let mut options = rumqttc::MqttOptions::new(&open.client_id, "localhost", port);
        options
            .set_transport(wire)
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(open.clean)
            .set_max_packet_size(
                MAXIMUM_PACKET_SIZE_BYTES as usize,
                MAXIMUM_PACKET_SIZE_BYTES as usize,
            );
        if let Some(will) = &open.will {
            let qos = rumqttc::qos(will.qos).map_err(|error| format!("{error:?}"))?;
            options.set_last_will(rumqttc::LastWill::new(
                &will.topic,
                will.payload.as_bytes(),
                qos,
                will.retain,
            ));
        }
        let (client, mut connection) = rumqttc::Client::new(options, REQUESTS);
        connection
            .eventloop
            .network_options
            .set_connection_timeout(PATIENCE.as_secs());
        Ok(V311 { client, connection })
    }
}

impl Library for V311 {
    fn poll(&mut self, patience: Duration) -> Result<Option<Event>, Failure> {
        use rumqttc::{Event as Seen, Outgoing, Packet, SubscribeReasonCode};
        let Ok(result) = self.connection.recv_timeout(patience) else {
            return Ok(None);
        };
        Ok(Some(match result? {
            Seen::Incoming(Packet::ConnAck(_)) => Event::Connected,
            Seen::Incoming(Packet::SubAck(suback)) => {
                if suback.return_codes.contains(&SubscribeReasonCode::Failure) {
                    return Err("the subscription was refused".into());
                }
                Event::Granted
            }
            Seen::Incoming(Packet::PubAck(_) | Packet::PubComp(_))
            | Seen::Outgoing(Outgoing::Publish(0)) => Event::Published,
            Seen::Incoming(Packet::Publish(publish)) => Event::Arrived(Message {
                topic: publish.topic,
                payload: text(&publish.payload),
                qos: publish.qos as u8,
                retain: publish.retain,
                ..Message::default()
            }),
            Seen::Outgoing(Outgoing::Disconnect) => Event::Disconnected,
            _ => Event::Other,
        }))
    }

    fn subscribe(&self, filter: &str, qos: u8) -> Result<(), Failure> {
        let qos = rumqttc::qos(qos).map_err(|error| format!("{error:?}"))?;
        Ok(self.client.subscribe(filter, qos)?)
    }

    fn publish(&self, message: &Message) -> Result<(), Failure> {
        let qos = rumqttc::qos(message.qos).map_err(|error| format!("{error:?}"))?;
        Ok(self.client.publish(
            &message.topic,
            qos,
            message.retain,
            message.payload.as_bytes(),
        )?)
    }

    fn disconnect(&self) -> Result<(), Failure> {
        Ok(self.client.disconnect()?)
    }
}

struct V5 {
    client: rumqttc::v5::Client,
    connection: rumqttc::v5::Connection,
}

impl V5 {
    fn new(open: &Open, port: u16, wire: Wire) -> Result<V5, Failure> {
        let mut options = rumqttc::v5::MqttOptions::new(&open.client_id, "localhost", port);
        options
            .set_transport(wire)
            .set_keep_alive(KEEP_ALIVE)
            .set_connection_timeout(PATIENCE.as_secs())
            .set_clean_start(open.clean)
            .set_session_expiry_interval((!open.clean).then_some(SESSION_EXPIRY_SECONDS))
            .set_max_packet_size(Some(MAXIMUM_PACKET_SIZE_BYTES));
        if let Some(will) = &open.will {
            options.set_last_will(rumqttc::v5::mqttbytes::v5::LastWill::new(
                &will.topic,
                will.payload.clone(),
                qos_of_v5(will.qos)?,
                will.retain,
                None,
            ));
        }
        let (client, connection) = rumqttc::v5::Client::new(options, REQUESTS);
        Ok(V5 { client, connection })
    }
}

impl Library for V5 {
    fn poll(&mut self, patience: Duration) -> Result<Option<Event>, Failure> {
        use rumqttc::Outgoing;
        use rumqttc::v5::Event as Seen;
        use rumqttc::v5::mqttbytes::v5::{Packet, SubscribeReasonCode};
        let Ok(result) = self.connection.recv_timeout(patience) else {
            return Ok(None);
        };
        Ok(Some(match result? {
            Seen::Incoming(Packet::ConnAck(_)) => Event::Connected,
            Seen::Incoming(Packet::SubAck(suback)) => {
                for code in &suback.return_codes {
                    if !matches!(code, SubscribeReasonCode::Success(_)) {
                        return Err(format!("the subscription was refused: {code:?}").into());
                    }
                }
                Event::Granted
            }
            Seen::Incoming(Packet::PubAck(_) | Packet::PubComp(_))
            | Seen::Outgoing(Outgoing::Publish(0)) => Event::Published,
            Seen::Incoming(Packet::Publish(publish)) => {
                let properties = publish.properties.unwrap_or_default();
                Event::Arrived(Message {
                    topic: text(&publish.topic),
                    payload: text(&publish.payload),
                    qos: publish.qos as u8,
                    retain: publish.retain,
                    user_properties: properties.user_properties,
                    response_topic: properties.response_topic,
                    correlation_data: properties.correlation_data.map(|data| text(&data)),
                })
            }
            Seen::Outgoing(Outgoing::Disconnect) => Event::Disconnected,
            _ => Event::Other,
        }))
    }

    fn subscribe(&self, filter: &str, qos: u8) -> Result<(), Failure> {
        Ok(self.client.subscribe(filter, qos_of_v5(qos)?)?)
    }

    fn publish(&self, message: &Message) -> Result<(), Failure> {
        let properties = rumqttc::v5::mqttbytes::v5::PublishProperties {
            user_properties: message.user_properties.clone(),
            response_topic: message.response_topic.clone(),
            correlation_data: message.correlation_data.clone().map(Into::into),
            ..Default::default()
        };
        Ok(self.client.publish_with_properties(
            &message.topic,
            qos_of_v5(message.qos)?,
            message.retain,
            message.payload.clone(),
            properties,
        )?)
    }

    fn disconnect(&self) -> Result<(), Failure> {
        Ok(self.client.disconnect()?)
    }
}

fn qos_of_v5(qos: u8) -> Result<rumqttc::v5::mqttbytes::QoS, Failure> {
    rumqttc::v5::mqttbytes::qos(qos).ok_or_else(|| Failure(format!("there is no QoS {qos}")))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
