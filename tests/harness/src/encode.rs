//! Packets to bytes.

use crate::frame::Frame;
use crate::packet::{Ack, Connect, Packet, Publish, Version};
use crate::property::Properties;

impl Packet {
    /// The packet's bytes in `version`. Nothing is checked: QoS 3, an empty filter list or a
    /// property in the wrong packet are written as asked.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let v5 = version == Version::V5;
        match self {
            Packet::Connect(connect) => connect.frame(),
            Packet::Connack(connack) => {
                let frame = Frame::new(0x20)
                    .u8(u8::from(connack.session_present))
                    .u8(connack.reason);
                with_properties(frame, v5, &connack.properties)
            }
            Packet::Publish(publish) => publish.frame(v5),
            Packet::Puback(ack) => ack.frame(0x40, v5),
            Packet::Pubrec(ack) => ack.frame(0x50, v5),
            Packet::Pubrel(ack) => ack.frame(0x62, v5),
            Packet::Pubcomp(ack) => ack.frame(0x70, v5),
            Packet::Subscribe(subscribe) => {
                let frame = Frame::new(0x82).u16(subscribe.packet_identifier);
                let mut frame = with_properties(frame, v5, &subscribe.properties);
                for (filter, options) in &subscribe.filters {
                    frame = frame.string(filter).u8(*options);
                }
                frame
            }
            Packet::Suback(suback) => {
                let frame = Frame::new(0x90).u16(suback.packet_identifier);
                with_properties(frame, v5, &suback.properties).raw(&suback.reasons)
            }
            Packet::Unsubscribe(unsubscribe) => {
                let frame = Frame::new(0xA2).u16(unsubscribe.packet_identifier);
                let mut frame = with_properties(frame, v5, &unsubscribe.properties);
                for filter in &unsubscribe.filters {
                    frame = frame.string(filter);
                }
                frame
            }
            Packet::Unsuback(unsuback) => {
                let frame = Frame::new(0xB0).u16(unsuback.packet_identifier);
                with_properties(frame, v5, &unsuback.properties).raw(&unsuback.reasons)
            }
            Packet::Pingreq => Frame::new(0xC0),
            Packet::Pingresp => Frame::new(0xD0),
            Packet::Disconnect(disconnect) => {
                reason_frame(0xE0, v5, disconnect.reason, &disconnect.properties)
            }
            Packet::Auth(auth) => reason_frame(0xF0, v5, auth.reason, &auth.properties),
        }
        .bytes()
    }
}

impl Connect {
    fn frame(&self) -> Frame {
        let v5 = self.version == Version::V5;
        let mut flags = u8::from(self.clean_start) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | (will.qos << 3) | (u8::from(will.retain) << 5);
        }
        flags |= u8::from(self.password.is_some()) << 6;
        flags |= u8::from(self.user_name.is_some()) << 7;
        let frame = Frame::new(0x10)
            .string("MQTT")
            .u8(self.version.level())
            .u8(flags)
            .u16(self.keep_alive_seconds);
        let mut frame = with_properties(frame, v5, &self.properties).string(&self.client_id);
        if let Some(will) = &self.will {
            frame = with_properties(frame, v5, &will.properties)
                .string(&will.topic)
                .binary(&will.payload);
        }
        if let Some(user_name) = &self.user_name {
            frame = frame.string(user_name);
        }
        if let Some(password) = &self.password {
            frame = frame.binary(password);
        }
        frame
    }
}

impl Publish {
    fn frame(&self, v5: bool) -> Frame {
        let flags = (u8::from(self.duplicate) << 3) | (self.qos << 1) | u8::from(self.retain);
        let mut frame = Frame::new(0x30 | flags).string(&self.topic);
        if self.qos > 0 {
            frame = frame.u16(self.packet_identifier);
        }
        with_properties(frame, v5, &self.properties).raw(&self.payload)
    }
}

impl Ack {
    fn frame(&self, first_byte: u8, v5: bool) -> Frame {
        let frame = Frame::new(first_byte).u16(self.packet_identifier);
        // Reason Code and Property Length may be left out together when there is nothing to say.
        if v5 && (self.reason != 0 || !self.properties.is_empty()) {
            frame.u8(self.reason).properties(&self.properties)
        } else {
            frame
        }
    }
}

fn reason_frame(first_byte: u8, v5: bool, reason: u8, properties: &Properties) -> Frame {
    let frame = Frame::new(first_byte);
    if v5 && (reason != 0 || !properties.is_empty()) {
        frame.u8(reason).properties(properties)
    } else {
        frame
    }
}

fn with_properties(frame: Frame, v5: bool, properties: &Properties) -> Frame {
    if v5 {
        frame.properties(properties)
    } else {
        frame
    }
}
