//! Bytes to packets, strictly: the harness's own reading of chapters 1 to 3 of both
//! specifications. Whatever it refuses, the broker must not send.

use std::fmt;

use crate::packet::{
    Ack, Auth, Connack, Connect, Disconnect, Packet, Publish, Suback, Subscribe, Unsuback,
    Unsubscribe, Version, Will,
};
use crate::property::{self, Properties, Property, PropertyType, PropertyValue};
use crate::reason;

/// Why bytes are no control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}

/// Reads the packet at the start of `bytes` and says how many of them it took. `None`: it is not
/// complete yet. CONNECT is read in the version it names itself.
///
/// # Errors
/// If the bytes break a rule of form of `version`.
pub fn decode(version: Version, bytes: &[u8]) -> Result<Option<(Packet, usize)>, Malformed> {
    let Some((&first_byte, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut length: usize = 0;
    let mut taken = None;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return malformed("the Remaining Length is not in its shortest form");
            }
            taken = Some(index + 1);
            break;
        }
    }
    let Some(taken) = taken else {
        if rest.len() >= 4 {
            return malformed("the Remaining Length has more than four bytes");
        }
        return Ok(None);
    };
    let Some(body) = rest.get(taken..taken + length) else {
        return Ok(None);
    };
    let mut reader = Reader { bytes: body };
    let packet = reader.packet(version, first_byte)?;
    if !reader.bytes.is_empty() {
        return malformed(format!(
            "{} bytes follow the last field: {packet:?}",
            reader.bytes.len()
        ));
    }
    Ok(Some((packet, 1 + taken + length)))
}

/// Where a property stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Connect,
    Will,
    Connack,
    Publish,
    Acknowledgement,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Auth,
}

/// Table 2-4: may the property stand there?
fn allowed(identifier: u8, place: Place) -> bool {
    use Place::{
        Acknowledgement, Auth, Connack, Connect, Disconnect, Publish, Subscribe, Unsubscribe, Will,
    };
    let places: &[Place] = match identifier {
        property::PAYLOAD_FORMAT_INDICATOR
        | property::MESSAGE_EXPIRY_INTERVAL
        | property::CONTENT_TYPE
        | property::RESPONSE_TOPIC
        | property::CORRELATION_DATA => &[Publish, Will],
        property::SUBSCRIPTION_IDENTIFIER => &[Publish, Subscribe],
        property::SESSION_EXPIRY_INTERVAL => &[Connect, Connack, Disconnect],
        property::ASSIGNED_CLIENT_IDENTIFIER
        | property::SERVER_KEEP_ALIVE
        | property::RESPONSE_INFORMATION
        | property::MAXIMUM_QOS
        | property::RETAIN_AVAILABLE
        | property::WILDCARD_SUBSCRIPTION_AVAILABLE
        | property::SUBSCRIPTION_IDENTIFIERS_AVAILABLE
        | property::SHARED_SUBSCRIPTION_AVAILABLE => &[Connack],
        property::AUTHENTICATION_METHOD | property::AUTHENTICATION_DATA => {
            &[Connect, Connack, Auth]
        }
        property::REQUEST_PROBLEM_INFORMATION | property::REQUEST_RESPONSE_INFORMATION => {
            &[Connect]
        }
        property::WILL_DELAY_INTERVAL => &[Will],
        property::SERVER_REFERENCE => &[Connack, Disconnect],
        property::REASON_STRING => &[Connack, Acknowledgement, Disconnect, Auth],
        property::RECEIVE_MAXIMUM
        | property::TOPIC_ALIAS_MAXIMUM
        | property::MAXIMUM_PACKET_SIZE => &[Connect, Connack],
        property::TOPIC_ALIAS => &[Publish],
        property::USER_PROPERTY => &[
            Connect,
            Will,
            Connack,
            Publish,
            Acknowledgement,
            Subscribe,
            Unsubscribe,
            Disconnect,
            Auth,
        ],
        _ => &[],
    };
    places.contains(&place)
}

/// Does the specification give a meaning to this value of the property?
fn meaningful(property: &Property) -> bool {
    match (property.identifier, &property.value) {
        (
            property::SUBSCRIPTION_IDENTIFIER
            | property::RECEIVE_MAXIMUM
            | property::TOPIC_ALIAS
            | property::MAXIMUM_PACKET_SIZE,
            value,
        ) => !matches!(
            value,
            PropertyValue::TwoByte(0) | PropertyValue::FourByte(0) | PropertyValue::Variable(0)
        ),
        // Every property of one byte is a yes or no, Maximum QoS a 0 or 1.
        (_, PropertyValue::Byte(value)) => *value <= 1,
        _ => true,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn packet(&mut self, version: Version, first_byte: u8) -> Result<Packet, Malformed> {
        let v5 = version == Version::V5;
        let flags = first_byte & 0x0F;
        let kind = first_byte >> 4;
        let expected_flags = match kind {
            3 => flags,
            6 | 8 | 10 => 0b0010,
            _ => 0,
        };
        if flags != expected_flags {
            return malformed(format!(
                "reserved flags of packet type {kind} are {flags:04b}"
            ));
        }
        Ok(match kind {
            1 => self.connect()?,
            2 => self.connack(v5)?,
            3 => self.publish(v5, flags)?,
            4 => Packet::Puback(self.acknowledgement(v5, reason::PUBACK)?),
            5 => Packet::Pubrec(self.acknowledgement(v5, reason::PUBACK)?),
            6 => Packet::Pubrel(self.acknowledgement(v5, reason::PUBREL)?),
            7 => Packet::Pubcomp(self.acknowledgement(v5, reason::PUBREL)?),
            8 => self.subscribe(v5)?,
            9 => self.suback(v5)?,
            10 => self.unsubscribe(v5)?,
            11 => self.unsuback(v5)?,
            12 => Packet::Pingreq,
            13 => Packet::Pingresp,
            14 => {
                let (reason, properties) = self.optional_reason(v5, Place::Disconnect)?;
                // 0x04 is what only a client sends.
                if reason != reason::DISCONNECT_WITH_WILL {
                    check_reason(reason, reason::DISCONNECT)?;
                }
                Packet::Disconnect(Disconnect { reason, properties })
            }
            15 if v5 => {
                let (reason, properties) = self.optional_reason(v5, Place::Auth)?;
                check_reason(reason, reason::AUTH)?;
                Packet::Auth(Auth { reason, properties })
            }
            _ => return malformed(format!("packet type {kind} is reserved")),
        })
    }

    fn connect(&mut self) -> Result<Packet, Malformed> {
        if self.string()? != "MQTT" {
            return malformed("the protocol name is not MQTT");
        }
        let version = match self.u8()? {
            4 => Version::V311,
            5 => Version::V5,
            other => return malformed(format!("protocol level {other}")),
        };
        let v5 = version == Version::V5;
        let flags = self.u8()?;
        if flags & 0x01 != 0 {
            return malformed("the reserved Connect Flag is set");
        }
        let (qos, has_will) = ((flags >> 3) & 0x03, flags & 0x04 != 0);
        if qos == 3 || (!has_will && flags & 0x38 != 0) {
            return malformed(format!("the will flags contradict each other: {flags:08b}"));
        }
        if !v5 && flags & 0xC0 == 0x40 {
            return malformed("a Password without a User Name");
        }
        let keep_alive_seconds = self.u16()?;
        let properties = self.properties(v5, Place::Connect)?;
        let client_id = self.string()?;
        let will = if has_will {
            Some(Will {
                properties: self.properties(v5, Place::Will)?,
                topic: self.string()?,
                payload: self.binary()?.to_vec(),
                qos,
                retain: flags & 0x20 != 0,
            })
        } else {
            None
        };
        let user_name = if flags & 0x80 != 0 {
            Some(self.string()?)
        } else {
            None
        };
        let password = if flags & 0x40 != 0 {
            Some(self.binary()?.to_vec())
        } else {
            None
        };
        Ok(Packet::Connect(Connect {
            version,
            clean_start: flags & 0x02 != 0,
            keep_alive_seconds,
            properties,
            client_id,
            will,
            user_name,
            password,
        }))
    }

    fn connack(&mut self, v5: bool) -> Result<Packet, Malformed> {
        let flags = self.u8()?;
        if flags > 1 {
            return malformed(format!(
                "reserved bits of Connect Acknowledge Flags: {flags:08b}"
            ));
        }
        let reason = self.u8()?;
        if v5 {
            check_reason(reason, reason::CONNACK)?;
        } else if reason > reason::V311_NOT_AUTHORIZED {
            return malformed(format!("return code {reason} is reserved"));
        }
        Ok(Packet::Connack(Connack {
            session_present: flags == 1,
            reason,
            properties: self.properties(v5, Place::Connack)?,
        }))
    }

    fn publish(&mut self, v5: bool, flags: u8) -> Result<Packet, Malformed> {
        let qos = (flags >> 1) & 0x03;
        let duplicate = flags & 0x08 != 0;
        if qos == 3 {
            return malformed("both QoS bits are set");
        }
        if qos == 0 && duplicate {
            return malformed("DUP is set at QoS 0");
        }
        let topic = self.string()?;
        if topic.contains(['+', '#']) {
            return malformed(format!("the Topic Name {topic:?} has a wildcard"));
        }
        if topic.is_empty() && !v5 {
            return malformed("the Topic Name is empty");
        }
        let packet_identifier = if qos > 0 { self.identifier()? } else { 0 };
        let properties = self.properties(v5, Place::Publish)?;
        if topic.is_empty() && properties.topic_alias().is_none() {
            return malformed("neither Topic Name nor Topic Alias");
        }
        if properties
            .response_topic()
            .is_some_and(|topic| topic.contains(['+', '#']))
        {
            return malformed("the Response Topic has a wildcard");
        }
        Ok(Packet::Publish(Publish {
            duplicate,
            qos,
            retain: flags & 0x01 != 0,
            topic,
            packet_identifier,
            properties,
            payload: std::mem::take(&mut self.bytes).to_vec(),
        }))
    }

    fn acknowledgement(&mut self, v5: bool, reasons: &[u8]) -> Result<Ack, Malformed> {
        let packet_identifier = self.identifier()?;
        let (reason, properties) = self.optional_reason(v5, Place::Acknowledgement)?;
        check_reason(reason, reasons)?;
        Ok(Ack {
            packet_identifier,
            reason,
            properties,
        })
    }

    fn subscribe(&mut self, v5: bool) -> Result<Packet, Malformed> {
        let packet_identifier = self.identifier()?;
        let properties = self.properties(v5, Place::Subscribe)?;
        let mut filters = Vec::new();
        while filters.is_empty() || !self.bytes.is_empty() {
            let filter = self.string()?;
            let options = self.u8()?;
            let reserved = if v5 { 0xC0 } else { 0xFC };
            if options & reserved != 0 || options & 0x03 == 3 || options & 0x30 == 0x30 {
                return malformed(format!("Subscription Options {options:08b}"));
            }
            filters.push((filter, options));
        }
        Ok(Packet::Subscribe(Subscribe {
            packet_identifier,
            properties,
            filters,
        }))
    }

    fn suback(&mut self, v5: bool) -> Result<Packet, Malformed> {
        let packet_identifier = self.identifier()?;
        let properties = self.properties(v5, Place::Acknowledgement)?;
        let reasons = std::mem::take(&mut self.bytes).to_vec();
        let known: &[u8] = if v5 { reason::SUBACK } else { &[0, 1, 2, 0x80] };
        check_reasons(&reasons, known)?;
        Ok(Packet::Suback(Suback {
            packet_identifier,
            properties,
            reasons,
        }))
    }

    fn unsubscribe(&mut self, v5: bool) -> Result<Packet, Malformed> {
        let packet_identifier = self.identifier()?;
        let properties = self.properties(v5, Place::Unsubscribe)?;
        let mut filters = Vec::new();
        while filters.is_empty() || !self.bytes.is_empty() {
            filters.push(self.string()?);
        }
        Ok(Packet::Unsubscribe(Unsubscribe {
            packet_identifier,
            properties,
            filters,
        }))
    }

    fn unsuback(&mut self, v5: bool) -> Result<Packet, Malformed> {
        let packet_identifier = self.identifier()?;
        let properties = self.properties(v5, Place::Acknowledgement)?;
        let reasons = if v5 {
            std::mem::take(&mut self.bytes).to_vec()
        } else {
            Vec::new()
        };
        if v5 {
            check_reasons(&reasons, reason::UNSUBACK)?;
        }
        Ok(Packet::Unsuback(Unsuback {
            packet_identifier,
            properties,
            reasons,
        }))
    }

    /// Reason Code and properties where both may be left out.
    fn optional_reason(&mut self, v5: bool, place: Place) -> Result<(u8, Properties), Malformed> {
        if !v5 || self.bytes.is_empty() {
            return Ok((0, Properties::default()));
        }
        let reason = self.u8()?;
        let properties = if self.bytes.is_empty() {
            Properties::default()
        } else {
            self.properties(v5, place)?
        };
        Ok((reason, properties))
    }

    fn properties(&mut self, v5: bool, place: Place) -> Result<Properties, Malformed> {
        if !v5 {
            return Ok(Properties::default());
        }
        let length = self.variable()?;
        let mut inner = Reader {
            bytes: self.take(length as usize)?,
        };
        let mut found: Vec<Property> = Vec::new();
        while !inner.bytes.is_empty() {
            let property = inner.property()?;
            let identifier = property.identifier;
            if !allowed(identifier, place) {
                return malformed(format!("property {identifier:#04x} in {place:?}"));
            }
            if !meaningful(&property) {
                return malformed(format!("{property:?} means nothing"));
            }
            let repeatable = identifier == property::USER_PROPERTY
                || (identifier == property::SUBSCRIPTION_IDENTIFIER && place == Place::Publish);
            if !repeatable && found.iter().any(|earlier| earlier.identifier == identifier) {
                return malformed(format!("property {identifier:#04x} twice in {place:?}"));
            }
            found.push(property);
        }
        Ok(Properties(found))
    }

    fn property(&mut self) -> Result<Property, Malformed> {
        let identifier = self.variable()?;
        let known = u8::try_from(identifier)
            .ok()
            .and_then(|identifier| Some((identifier, property::type_of(identifier)?)));
        let Some((identifier, kind)) = known else {
            return malformed(format!("there is no property {identifier:#04x}"));
        };
        let value = match kind {
            PropertyType::Byte => PropertyValue::Byte(self.u8()?),
            PropertyType::TwoByte => PropertyValue::TwoByte(self.u16()?),
            PropertyType::FourByte => PropertyValue::FourByte(self.u32()?),
            PropertyType::Variable => PropertyValue::Variable(self.variable()?),
            PropertyType::String => PropertyValue::String(self.string()?),
            PropertyType::Binary => PropertyValue::Binary(self.binary()?.to_vec()),
            PropertyType::Pair => PropertyValue::Pair(self.string()?, self.string()?),
        };
        Ok(Property { identifier, value })
    }

    fn identifier(&mut self) -> Result<u16, Malformed> {
        match self.u16()? {
            0 => malformed("the Packet Identifier is 0"),
            identifier => Ok(identifier),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return malformed(format!(
                "a field of {length} bytes, but only {} are left",
                self.bytes.len()
            ));
        };
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("exactly N bytes were taken"))
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn variable(&mut self) -> Result<u32, Malformed> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return malformed("a Variable Byte Integer is not in its shortest form");
                }
                return Ok(value);
            }
        }
        malformed("a Variable Byte Integer has more than four bytes")
    }

    fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let bytes = self.binary()?;
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains('\0') => malformed("a string contains U+0000"),
            Ok(text) => Ok(text.to_owned()),
            Err(error) => malformed(format!("a string is not UTF-8: {error}")),
        }
    }
}

fn check_reason(reason: u8, known: &[u8]) -> Result<(), Malformed> {
    if known.contains(&reason) {
        Ok(())
    } else {
        malformed(format!(
            "Reason Code {reason:#04x} has no place in this packet"
        ))
    }
}

fn check_reasons(reasons: &[u8], known: &[u8]) -> Result<(), Malformed> {
    if reasons.is_empty() {
        return malformed("no Reason Code");
    }
    reasons
        .iter()
        .try_for_each(|&reason| check_reason(reason, known))
}

#[cfg(test)]
mod tests;
