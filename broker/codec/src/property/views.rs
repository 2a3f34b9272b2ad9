//! What a decoded packet keeps of its property section: the section's bytes, read again when
//! somebody asks. For a packet about to be encoded the same types hold a slice of values.

use std::fmt;

use crate::property::Property;
use crate::reader::Reader;

/// The properties of a section that was checked when its packet was decoded.
pub(crate) fn checked(section: &[u8]) -> impl Iterator<Item = Property<'_>> {
    let mut reader = Reader::new(section);
    std::iter::from_fn(move || {
        (!reader.is_empty())
            .then(|| Property::read(&mut reader).expect("the section was checked when decoded"))
    })
}

/// The user properties of a packet: names and values in order, names may repeat (for instance
/// section 3.3.2.3.7).
#[derive(Clone, Copy)]
pub struct UserProperties<'a>(UserPropertiesSource<'a>);

#[derive(Clone, Copy)]
enum UserPropertiesSource<'a> {
    /// A checked section; other properties may stand between.
    Section(&'a [u8]),
    Pairs(&'a [(&'a str, &'a str)]),
}

impl<'a> UserProperties<'a> {
    /// None.
    pub const EMPTY: UserProperties<'static> = UserProperties(UserPropertiesSource::Pairs(&[]));

    /// For a packet to be encoded.
    #[must_use]
    pub const fn from_pairs(pairs: &'a [(&'a str, &'a str)]) -> UserProperties<'a> {
        UserProperties(UserPropertiesSource::Pairs(pairs))
    }

    pub(crate) const fn from_checked(section: &'a [u8]) -> UserProperties<'a> {
        UserProperties(UserPropertiesSource::Section(section))
    }

    /// Names and values in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let (section, pairs): (&[u8], &[(&str, &str)]) = match self.0 {
            UserPropertiesSource::Section(section) => (section, &[]),
            UserPropertiesSource::Pairs(pairs) => (&[], pairs),
        };
        let from_section = checked(section).filter_map(|property| {
            if let Property::UserProperty(name, value) = property {
                Some((name, value))
            } else {
                None
            }
        });
        from_section.chain(pairs.iter().copied())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

impl Default for UserProperties<'_> {
    fn default() -> Self {
        UserProperties::EMPTY
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The Subscription Identifiers of a PUBLISH: those of the subscriptions that made the server send
/// it ([MQTT-3.3.4-3], [MQTT-3.3.4-4]).
#[derive(Clone, Copy)]
pub struct SubscriptionIdentifiers<'a>(SubscriptionIdentifiersSource<'a>);

#[derive(Clone, Copy)]
enum SubscriptionIdentifiersSource<'a> {
    /// A checked section; other properties may stand between.
    Section(&'a [u8]),
    Slice(&'a [u32]),
}

impl<'a> SubscriptionIdentifiers<'a> {
    /// None.
    pub const EMPTY: SubscriptionIdentifiers<'static> =
        SubscriptionIdentifiers(SubscriptionIdentifiersSource::Slice(&[]));

    /// For a packet to be encoded; each is 1 to 268,435,455.
    #[must_use]
    pub const fn from_slice(identifiers: &'a [u32]) -> SubscriptionIdentifiers<'a> {
        SubscriptionIdentifiers(SubscriptionIdentifiersSource::Slice(identifiers))
    }

    pub(crate) const fn from_checked(section: &'a [u8]) -> SubscriptionIdentifiers<'a> {
        SubscriptionIdentifiers(SubscriptionIdentifiersSource::Section(section))
    }

    /// The identifiers in order.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        let (section, slice): (&[u8], &[u32]) = match self.0 {
            SubscriptionIdentifiersSource::Section(section) => (section, &[]),
            SubscriptionIdentifiersSource::Slice(slice) => (&[], slice),
        };
        let from_section = checked(section).filter_map(|property| {
            if let Property::SubscriptionIdentifier(id) = property {
                Some(id)
            } else {
                None
            }
        });
        from_section.chain(slice.iter().copied())
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        match self.0 {
            // A section is kept only if it holds one.
            SubscriptionIdentifiersSource::Section(_) => false,
            SubscriptionIdentifiersSource::Slice(slice) => slice.is_empty(),
        }
    }
}

impl Default for SubscriptionIdentifiers<'_> {
    fn default() -> Self {
        SubscriptionIdentifiers::EMPTY
    }
}

impl PartialEq for SubscriptionIdentifiers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for SubscriptionIdentifiers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
