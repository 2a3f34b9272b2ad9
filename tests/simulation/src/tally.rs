//! What a run had occasion to check: a rule whose subject never comes up proves nothing.

use std::ops::AddAssign;

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often things happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Tally {
            /// Each with its name.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }

        impl AddAssign for Tally {
            fn add_assign(&mut self, other: Tally) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

tally! {
    /// Events of the world.
    steps,
    /// CONNECT accepted.
    connected,
    /// …with a session that was there.
    resumed,
    /// CONNECT refused.
    refused,
    /// Sessions taken over.
    takeovers,
    /// Sessions that expired.
    sessions_expired,
    /// Connections closed for their keep alive.
    keep_alive_timeouts,
    /// Connections moved to another shard.
    rehomed,
    /// PUBLISH routed.
    published,
    /// Publishers told that it is taken.
    acknowledged,
    /// …or that somebody who should keep it has no room.
    not_kept,
    /// PUBLISH put out.
    delivered,
    /// PUBLISH and PUBREL sent again.
    resent,
    /// Retained messages for new subscriptions.
    replayed,
    /// PUBLISH without a topic name.
    aliases_used,
    /// Deliveries to members of shared subscriptions.
    shared,
    /// …of messages that a member before could not complete.
    reassigned,
    /// Wills that were due.
    wills_due,
    /// Wills that were not, because their client came back.
    wills_cancelled,
    /// Wills of which one cannot tell.
    wills_uncertain,
    /// Times that a publisher was held back.
    held,
    /// Connections closed before CONNECT.
    never_connected,
    /// Connections ended by an administrator.
    ended_by_administrator,
    /// Messages dropped because they expired.
    dropped_expired,
    /// …because a queue was full.
    dropped_full,
    /// …because the client was slow and the QoS 0.
    dropped_slow,
    /// …because the client does not take packets of that size.
    dropped_too_large,
    /// Messages that did not come, in runs whose bounds allow it.
    missing,
}
