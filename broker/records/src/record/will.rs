use nexum_core::Will;
use nexum_types::TopicName;

use crate::fields::{Fields, QOS, Unreadable, VERSION, flag, length, qos, text};

const RETAIN: u8 = 1 << 2;
const MESSAGE_EXPIRES: u8 = 1 << 3;

pub(crate) fn write(will: &Will, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.push(
        will.qos.bits()
            | flag(RETAIN, will.retain)
            | flag(
                MESSAGE_EXPIRES,
                will.message_expiry_interval_seconds.is_some(),
            ),
    );
    out.extend_from_slice(&will.delay_interval_seconds.to_le_bytes());
    if let Some(seconds) = will.message_expiry_interval_seconds {
        out.extend_from_slice(&seconds.to_le_bytes());
    }
    out.extend_from_slice(&length(will.topic.as_bytes()));
    out.extend_from_slice(&length(&will.properties));
    out.extend_from_slice(will.topic.as_bytes());
    out.extend_from_slice(&will.properties);
    out.extend_from_slice(&will.payload);
}

pub(crate) fn read(value: &[u8]) -> Result<Will, Unreadable> {
    let mut fields = Fields::of_value(value)?;
    let flags = fields.flags(QOS | RETAIN | MESSAGE_EXPIRES)?;
    let delay_interval_seconds = fields.u32()?;
    let message_expiry_interval_seconds = match flags & MESSAGE_EXPIRES {
        0 => None,
        _ => Some(fields.u32()?),
    };
    let topic_bytes = fields.u32()? as usize;
    let properties_bytes = fields.u32()? as usize;
    let topic = text(fields.bytes(topic_bytes)?)?;
    TopicName::new(topic).map_err(|_| Unreadable::Damaged("its topic is none"))?;
    Ok(Will {
        topic: Box::from(topic),
        properties: Box::from(fields.bytes(properties_bytes)?),
        payload: Box::from(fields.rest()),
        qos: qos(flags)?,
        retain: flags & RETAIN != 0,
        delay_interval_seconds,
        message_expiry_interval_seconds,
    })
}
