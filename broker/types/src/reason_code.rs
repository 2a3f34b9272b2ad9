use std::fmt;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// A Reason Code of MQTT 5 (section 2.4). MQTT 3.1.1 return codes are derived from it by
        /// the codec.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $value,)*
        }

        impl ReasonCode {
            /// The reason code with this value, if the specification knows one.
            #[must_use]
            pub const fn from_value(value: u8) -> Option<ReasonCode> {
                match value {
                    $($value => Some(ReasonCode::$name),)*
                    _ => None,
                }
            }

            /// The name in the table of section 2.4.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(ReasonCode::$name => $text,)*
                }
            }
        }
    };
}

reason_codes! {
    /// 0x00. Also Normal disconnection and Granted QoS 0.
    Success = 0x00, "Success";
    /// 0x01, SUBACK.
    GrantedQoS1 = 0x01, "Granted QoS 1";
    /// 0x02, SUBACK.
    GrantedQoS2 = 0x02, "Granted QoS 2";
    /// 0x04, DISCONNECT from a client.
    DisconnectWithWill = 0x04, "Disconnect with Will Message";
    /// 0x10, PUBACK and PUBREC.
    NoMatchingSubscribers = 0x10, "No matching subscribers";
    /// 0x11, UNSUBACK.
    NoSubscriptionExisted = 0x11, "No subscription existed";
    /// 0x18, AUTH.
    ContinueAuthentication = 0x18, "Continue authentication";
    /// 0x19, AUTH.
    ReAuthenticate = 0x19, "Re-authenticate";
    /// 0x80.
    UnspecifiedError = 0x80, "Unspecified error";
    /// 0x81.
    MalformedPacket = 0x81, "Malformed Packet";
    /// 0x82.
    ProtocolError = 0x82, "Protocol Error";
    /// 0x83.
    ImplementationSpecificError = 0x83, "Implementation specific error";
    /// 0x84.
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version";
    /// 0x85.
    ClientIdentifierNotValid = 0x85, "Client Identifier not valid";
    /// 0x86.
    BadUserNameOrPassword = 0x86, "Bad User Name or Password";
    /// 0x87.
    NotAuthorized = 0x87, "Not authorized";
    /// 0x88.
    ServerUnavailable = 0x88, "Server unavailable";
    /// 0x89.
    ServerBusy = 0x89, "Server busy";
    /// 0x8A.
    Banned = 0x8A, "Banned";
    /// 0x8B.
    ServerShuttingDown = 0x8B, "Server shutting down";
    /// 0x8C.
    BadAuthenticationMethod = 0x8C, "Bad authentication method";
    /// 0x8D.
    KeepAliveTimeout = 0x8D, "Keep Alive timeout";
    /// 0x8E.
    SessionTakenOver = 0x8E, "Session taken over";
    /// 0x8F.
    TopicFilterInvalid = 0x8F, "Topic Filter invalid";
    /// 0x90.
    TopicNameInvalid = 0x90, "Topic Name invalid";
    /// 0x91.
    PacketIdentifierInUse = 0x91, "Packet Identifier in use";
    /// 0x92.
    PacketIdentifierNotFound = 0x92, "Packet Identifier not found";
    /// 0x93.
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded";
    /// 0x94.
    TopicAliasInvalid = 0x94, "Topic Alias invalid";
    /// 0x95.
    PacketTooLarge = 0x95, "Packet too large";
    /// 0x96.
    MessageRateTooHigh = 0x96, "Message rate too high";
    /// 0x97.
    QuotaExceeded = 0x97, "Quota exceeded";
    /// 0x98.
    AdministrativeAction = 0x98, "Administrative action";
    /// 0x99.
    PayloadFormatInvalid = 0x99, "Payload format invalid";
    /// 0x9A.
    RetainNotSupported = 0x9A, "Retain not supported";
    /// 0x9B.
    QoSNotSupported = 0x9B, "QoS not supported";
    /// 0x9C.
    UseAnotherServer = 0x9C, "Use another server";
    /// 0x9D.
    ServerMoved = 0x9D, "Server moved";
    /// 0x9E.
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported";
    /// 0x9F.
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded";
    /// 0xA0.
    MaximumConnectTime = 0xA0, "Maximum connect time";
    /// 0xA1.
    SubscriptionIdentifiersNotSupported = 0xA1, "Subscription Identifiers not supported";
    /// 0xA2.
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported";
}

impl ReasonCode {
    /// The value as it stands in a packet.
    #[must_use]
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// Whether the operation failed: 0x80 and above.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.value() >= 0x80
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.value())
    }
}
