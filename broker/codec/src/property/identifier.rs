use std::fmt;

macro_rules! property_identifiers {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        /// Which property (table 2-4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the names are those of table 2-4")]
        pub enum PropertyIdentifier {
            $($name = $value,)*
        }

        impl PropertyIdentifier {
            /// All 27, in order of their number.
            pub const ALL: [PropertyIdentifier; 27] = [$(PropertyIdentifier::$name,)*];

            /// The property with this identifier, if the specification knows one.
            #[inline]
            #[must_use]
            pub const fn from_value(value: u32) -> Option<PropertyIdentifier> {
                match value {
                    $($value => Some(PropertyIdentifier::$name),)*
                    _ => None,
                }
            }

            /// The name in table 2-4.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(PropertyIdentifier::$name => $text,)*
                }
            }
        }
    };
}

property_identifiers! {
    PayloadFormatIndicator = 0x01, "Payload Format Indicator";
    MessageExpiryInterval = 0x02, "Message Expiry Interval";
    ContentType = 0x03, "Content Type";
    ResponseTopic = 0x08, "Response Topic";
    CorrelationData = 0x09, "Correlation Data";
    SubscriptionIdentifier = 0x0B, "Subscription Identifier";
    SessionExpiryInterval = 0x11, "Session Expiry Interval";
    AssignedClientIdentifier = 0x12, "Assigned Client Identifier";
    ServerKeepAlive = 0x13, "Server Keep Alive";
    AuthenticationMethod = 0x15, "Authentication Method";
    AuthenticationData = 0x16, "Authentication Data";
    RequestProblemInformation = 0x17, "Request Problem Information";
    WillDelayInterval = 0x18, "Will Delay Interval";
    RequestResponseInformation = 0x19, "Request Response Information";
    ResponseInformation = 0x1A, "Response Information";
    ServerReference = 0x1C, "Server Reference";
    ReasonString = 0x1F, "Reason String";
    ReceiveMaximum = 0x21, "Receive Maximum";
    TopicAliasMaximum = 0x22, "Topic Alias Maximum";
    TopicAlias = 0x23, "Topic Alias";
    MaximumQoS = 0x24, "Maximum QoS";
    RetainAvailable = 0x25, "Retain Available";
    UserProperty = 0x26, "User Property";
    MaximumPacketSize = 0x27, "Maximum Packet Size";
    WildcardSubscriptionAvailable = 0x28, "Wildcard Subscription Available";
    SubscriptionIdentifierAvailable = 0x29, "Subscription Identifier Available";
    SharedSubscriptionAvailable = 0x2A, "Shared Subscription Available";
}

impl PropertyIdentifier {
    /// The identifier as it stands in a packet; all known ones take one byte.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for PropertyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some of the properties: those a packet may carry, or those it has carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PropertySet(u64);

impl PropertySet {
    /// No property.
    pub(crate) const EMPTY: PropertySet = PropertySet(0);

    pub(crate) const fn of(members: &[PropertyIdentifier]) -> PropertySet {
        let mut set = PropertySet::EMPTY;
        let mut index = 0;
        while index < members.len() {
            set = set.with(members[index]);
            index += 1;
        }
        set
    }

    /// The identifiers are below 64, so each has a bit of its own.
    #[inline]
    pub(crate) const fn with(self, member: PropertyIdentifier) -> PropertySet {
        PropertySet(self.0 | 1 << member.value())
    }

    #[inline]
    pub(crate) const fn contains(self, member: PropertyIdentifier) -> bool {
        self.0 & 1 << member.value() != 0
    }
}
