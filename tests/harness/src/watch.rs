//! What every packet of the broker must keep, whatever the test is about: the limits the peer's
//! own CONNECT announced, and the order of packets on one connection.

use std::collections::{HashMap, HashSet};

use crate::packet::{Connack, Connect, Packet, Publish, Version};
use crate::property::Properties;
use crate::reason;

/// The memory of one connection. It sees each packet the peer sends as a [`Packet`]; what a test
/// sends as raw bytes is past it, and then only the rules that need no announcement are checked.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    connect: Option<Connect>,
    connack: Option<Connack>,
    /// A packet came after which there must be no other.
    ended: bool,
    aliases: HashMap<u16, String>,
    /// Identifiers of PUBLISH packets the broker sent and the peer has not acknowledged in full.
    in_flight: HashSet<u16>,
}

impl Watch {
    pub(crate) fn connack(&self) -> Option<&Connack> {
        self.connack.as_ref()
    }

    pub(crate) fn sent(&mut self, packet: &Packet) {
        match packet {
            // A second CONNECT is a test's misdeed and announces nothing.
            Packet::Connect(connect) => {
                self.connect.get_or_insert_with(|| connect.clone());
            }
            Packet::Puback(ack) | Packet::Pubcomp(ack) => {
                self.in_flight.remove(&ack.packet_identifier);
            }
            Packet::Pubrec(ack) => {
                if ack.reason >= 0x80 {
                    self.in_flight.remove(&ack.packet_identifier);
                }
            }
            Packet::Connack(_)
            | Packet::Publish(_)
            | Packet::Pubrel(_)
            | Packet::Subscribe(_)
            | Packet::Suback(_)
            | Packet::Unsubscribe(_)
            | Packet::Unsuback(_)
            | Packet::Pingreq
            | Packet::Pingresp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => {}
        }
    }

    /// Judges a packet of the broker that took `size` bytes, and fills in the Topic Name an alias
    /// stands for.
    pub(crate) fn received(
        &mut self,
        version: Version,
        packet: &mut Packet,
        size: usize,
    ) -> Result<(), String> {
        if self.ended {
            return Err("a packet after the last one of the connection".to_owned());
        }
        let limit = self.announced(Properties::maximum_packet_size);
        if limit.is_some_and(|limit| size > limit as usize) {
            return Err(format!(
                "{size} bytes, but the Maximum Packet Size is {limit:?}"
            ));
        }
        if self.connack.is_none() && !matches!(packet, Packet::Connack(_) | Packet::Auth(_)) {
            return Err("a packet before CONNACK".to_owned());
        }
        match packet {
            Packet::Connack(connack) => self.on_connack(connack),
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => self.check_problem_information(&ack.properties),
            Packet::Suback(suback) => self.check_problem_information(&suback.properties),
            Packet::Unsuback(unsuback) => self.check_problem_information(&unsuback.properties),
            Packet::Pingresp => Ok(()),
            Packet::Disconnect(disconnect) => {
                self.ended = true;
                if version == Version::V311 {
                    Err("in 3.1.1 only a client sends DISCONNECT".to_owned())
                } else if disconnect.reason == reason::DISCONNECT_WITH_WILL {
                    Err("only a client disconnects with its will".to_owned())
                } else if disconnect.properties.session_expiry_interval().is_some() {
                    Err("a server's DISCONNECT has no Session Expiry Interval".to_owned())
                } else {
                    Ok(())
                }
            }
            Packet::Auth(auth) => {
                if self.announced_method().is_none() {
                    return Err("AUTH, but CONNECT named no method".to_owned());
                }
                if auth.properties.authentication_method() != self.announced_method() {
                    return Err("AUTH names another method than CONNECT".to_owned());
                }
                self.check_problem_information(&auth.properties)
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq => Err("only a client sends this packet".to_owned()),
        }
    }

    fn announced<T>(&self, read: impl Fn(&Properties) -> Option<T>) -> Option<T> {
        read(&self.connect.as_ref()?.properties)
    }

    fn announced_method(&self) -> Option<&str> {
        self.connect.as_ref()?.properties.authentication_method()
    }

    fn on_connack(&mut self, connack: &Connack) -> Result<(), String> {
        if self.connack.is_some() {
            return Err("a second CONNACK".to_owned());
        }
        self.connack = Some(connack.clone());
        self.ended = connack.reason != reason::SUCCESS;
        if self.ended && connack.session_present {
            return Err("Session Present in a refusal".to_owned());
        }
        let Some(connect) = &self.connect else {
            return Ok(());
        };
        if connect.clean_start && connack.session_present {
            return Err("Session Present after a clean start".to_owned());
        }
        if connack.properties.response_information().is_some()
            && self.announced(Properties::request_response_information) != Some(1)
        {
            return Err("Response Information nobody requested".to_owned());
        }
        let method = connack.properties.authentication_method();
        let expected = self.announced_method();
        let kept = match connack.reason {
            reason::SUCCESS => method == expected,
            _ => method.is_none() || method == expected,
        };
        if kept {
            Ok(())
        } else {
            Err(format!(
                "the Authentication Method {method:?} instead of {expected:?}"
            ))
        }
    }

    fn on_publish(&mut self, publish: &mut Publish) -> Result<(), String> {
        if let Some(alias) = publish.properties.topic_alias() {
            let maximum = self.announced(Properties::topic_alias_maximum).unwrap_or(0);
            if alias > maximum && self.connect.is_some() {
                return Err(format!("Topic Alias {alias}, but the maximum is {maximum}"));
            }
            if publish.topic.is_empty() {
                let Some(topic) = self.aliases.get(&alias) else {
                    return Err(format!("Topic Alias {alias} stands for nothing yet"));
                };
                publish.topic.clone_from(topic);
            } else {
                self.aliases.insert(alias, publish.topic.clone());
            }
        }
        if publish.qos == 0 {
            return Ok(());
        }
        let resumed = self
            .connack
            .as_ref()
            .is_some_and(|connack| connack.session_present);
        if publish.duplicate && !resumed {
            return Err("DUP in a session that is new".to_owned());
        }
        if !self.in_flight.insert(publish.packet_identifier) {
            return Err("the Packet Identifier is in use".to_owned());
        }
        let maximum = self
            .announced(Properties::receive_maximum)
            .unwrap_or(u16::MAX);
        if self.in_flight.len() > usize::from(maximum) {
            return Err(format!(
                "more in flight than the Receive Maximum of {maximum}"
            ));
        }
        Ok(())
    }

    fn check_problem_information(&self, properties: &Properties) -> Result<(), String> {
        let wanted = self.announced(Properties::request_problem_information) != Some(0);
        if wanted || (properties.reason_string().is_none() && properties.user().is_empty()) {
            Ok(())
        } else {
            Err("problem information in spite of Request Problem Information 0".to_owned())
        }
    }
}
