/// Quality of Service of one publication or subscription (section 4.3 of both versions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// Delivered at most once; nobody acknowledges.
    #[default]
    AtMostOnce = 0,
    /// Delivered at least once; PUBACK ends the exchange.
    AtLeastOnce = 1,
    /// Delivered exactly once; PUBREC, PUBREL and PUBCOMP.
    ExactlyOnce = 2,
}

impl QoS {
    /// The three levels, in order of their number.
    pub const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

    /// The level with this number; `None` for 3 and above, which no packet may carry
    /// ([MQTT-3.3.1-4], [MQTT3-3.3.1-4]).
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<QoS> {
        match bits {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }

    /// The number of the level: 0, 1 or 2.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}
