use std::fmt;

use nexum_types::TopicName;

use crate::error::DecodeError;
use crate::property::section::PropertySection;
use crate::property::views::checked;
use crate::property::{Property, PropertyIdentifier, PropertySet, UserProperties};

/// What a server passes on with a message, unaltered and in order: the properties of a PUBLISH or
/// of a Will but Topic Alias, Message Expiry Interval, Subscription Identifier and Will Delay
/// Interval, which belong to one hop or change on the way ([MQTT-3.3.2-4], [MQTT-3.3.2-15],
/// [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]).
///
/// Holds them encoded as they were received: from the first that is passed on to the last, so that
/// what stands between decides whether one copy is enough.
#[derive(Clone, Copy, Default)]
pub struct ForwardedProperties<'a> {
    raw: &'a [u8],
    /// Whether `raw` holds a property that is not passed on.
    mixed: bool,
}

/// The properties of PUBLISH and of the Will (table 2-4).
const ALLOWED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::PayloadFormatIndicator,
    PropertyIdentifier::MessageExpiryInterval,
    PropertyIdentifier::ContentType,
    PropertyIdentifier::ResponseTopic,
    PropertyIdentifier::CorrelationData,
    PropertyIdentifier::SubscriptionIdentifier,
    PropertyIdentifier::WillDelayInterval,
    PropertyIdentifier::TopicAlias,
    PropertyIdentifier::UserProperty,
]);

impl<'a> ForwardedProperties<'a> {
    /// Checks an encoded property section (without its length), as a PUBLISH or a Will carries it.
    ///
    /// # Errors
    /// The first rule that the section breaks.
    pub fn from_encoded(section: &'a [u8]) -> Result<ForwardedProperties<'a>, DecodeError> {
        let mut properties = PropertySection::new(section, ALLOWED)
            .repeating(PropertyIdentifier::SubscriptionIdentifier);
        let mut run = ForwardedRun::default();
        loop {
            let start = properties.position();
            let Some(property) = properties.next()? else {
                break;
            };
            run.add(property.identifier(), start, properties.position());
        }
        Ok(run.of(section))
    }

    /// Whether there is nothing to pass on.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// The properties encoded, if they stand together – the usual case: one copy passes them on.
    /// `None` if others stand between; then [`write_to`](Self::write_to) leaves those out.
    #[inline]
    #[must_use]
    pub const fn as_encoded(self) -> Option<&'a [u8]> {
        if self.mixed { None } else { Some(self.raw) }
    }

    /// Appends the properties encoded, without a length.
    #[inline]
    pub fn write_to(self, out: &mut Vec<u8>) {
        if self.mixed {
            self.for_each_run(|run| out.extend_from_slice(run));
        } else {
            out.extend_from_slice(self.raw);
        }
    }

    /// How many bytes [`write_to`](Self::write_to) appends.
    #[must_use]
    pub fn encoded_bytes(self) -> usize {
        let mut bytes = 0;
        self.for_each_run(|run| bytes += run.len());
        bytes
    }

    /// The properties in order.
    pub fn iter(self) -> impl Iterator<Item = Property<'a>> {
        checked(self.raw).filter(|property| is_forwarded(property.identifier()))
    }

    /// Payload Format Indicator: true if the payload is said to be UTF-8.
    #[must_use]
    pub fn payload_format_indicator(self) -> Option<bool> {
        self.iter().find_map(|property| {
            if let Property::PayloadFormatIndicator(is_utf8) = property {
                Some(is_utf8)
            } else {
                None
            }
        })
    }

    /// Whether `payload` is what the Payload Format Indicator says. A receiver may check and answer
    /// Payload format invalid, 0x99 (section 3.3.2.3.2); decoding does not.
    #[must_use]
    pub fn payload_format_matches(self, payload: &[u8]) -> bool {
        self.payload_format_indicator() != Some(true) || std::str::from_utf8(payload).is_ok()
    }

    /// Content Type.
    #[must_use]
    pub fn content_type(self) -> Option<&'a str> {
        self.iter().find_map(|property| {
            if let Property::ContentType(text) = property {
                Some(text)
            } else {
                None
            }
        })
    }

    /// Response Topic.
    #[must_use]
    pub fn response_topic(self) -> Option<TopicName<'a>> {
        self.iter().find_map(|property| {
            if let Property::ResponseTopic(topic) = property {
                Some(topic)
            } else {
                None
            }
        })
    }

    /// Correlation Data.
    #[must_use]
    pub fn correlation_data(self) -> Option<&'a [u8]> {
        self.iter().find_map(|property| {
            if let Property::CorrelationData(bytes) = property {
                Some(bytes)
            } else {
                None
            }
        })
    }

    /// User Properties.
    #[must_use]
    pub const fn user_properties(self) -> UserProperties<'a> {
        UserProperties::from_checked(self.raw)
    }

    /// Calls `each` with the encoded properties, neighbours together.
    pub(crate) fn for_each_run(self, mut each: impl FnMut(&'a [u8])) {
        if !self.mixed {
            return each(self.raw);
        }
        let mut properties = PropertySection::new(self.raw, ALLOWED)
            .repeating(PropertyIdentifier::SubscriptionIdentifier);
        let mut run = 0..0;
        while let Some(property) = properties
            .next()
            .expect("the section was checked when it was decoded")
        {
            if !is_forwarded(property.identifier()) {
                each(&self.raw[run.clone()]);
                run.start = properties.position();
            }
            run.end = properties.position();
        }
        each(&self.raw[run]);
    }
}

impl PartialEq for ForwardedProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for ForwardedProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The stretch of a section from the first property that is passed on to the last, while the
/// section is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForwardedRun {
    first: usize,
    end: usize,
    /// Bytes of the properties that are passed on.
    bytes: usize,
}

impl ForwardedRun {
    /// The property between these positions was read.
    #[inline]
    pub(crate) fn add(&mut self, identifier: PropertyIdentifier, start: usize, end: usize) {
        if !is_forwarded(identifier) {
            return;
        }
        if self.bytes == 0 {
            self.first = start;
        }
        self.end = end;
        self.bytes += end - start;
    }

    /// The section was read to its end.
    #[inline]
    pub(crate) fn of<'a>(&self, section: &'a [u8]) -> ForwardedProperties<'a> {
        let raw = &section[self.first..self.end];
        ForwardedProperties {
            raw,
            mixed: raw.len() != self.bytes,
        }
    }
}

/// Whether a property of PUBLISH or of the Will is passed on as it is.
#[inline]
pub(crate) const fn is_forwarded(identifier: PropertyIdentifier) -> bool {
    !NOT_FORWARDED.contains(identifier)
}

const NOT_FORWARDED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::TopicAlias,
    PropertyIdentifier::MessageExpiryInterval,
    PropertyIdentifier::SubscriptionIdentifier,
    PropertyIdentifier::WillDelayInterval,
]);
