//! Names of things that cross the boundary.

/// Names that a shard gives: the host finds the way back by the shard, the rest is opaque.
macro_rules! names_of_shards {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name {
                /// The shard that gave the name.
                pub shard: u16,
                /// What it is called there. Never given twice.
                pub key: u64,
            }
        )*
    };
}

/// Names that an extension gives, for the host to repeat in its answer.
macro_rules! names_of_extensions {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub u64);
        )*
    };
}

names_of_shards! {
    /// A session while it is attached to an extension: from [`Input::Attach`](crate::Input::Attach)
    /// to the [`Input::Detach`](crate::Input::Detach) that says that it has ended.
    ConsumerId;
    /// A granted subscription of a consumer, or one that may be.
    FeedId;
    /// A command that waits for its reply.
    CommandId;
    /// A captured message whose publisher waits.
    ReceiptId;
}

names_of_extensions! {
    /// What was delivered, until it is settled.
    DeliveryId;
    /// A capture.
    CaptureId;
    /// A write that the store is asked for.
    WriteId;
    /// A read.
    ReadId;
    /// A publication.
    PublicationId;
}
