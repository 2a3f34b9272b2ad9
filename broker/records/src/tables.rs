//! Which table has which records.

use nexum_storage::TableId;

/// What is said once about all the others: see [`Meta`](crate::Meta).
pub const META: TableId = TableId(1);
/// [`Key::Session`](nexum_core::Key::Session).
pub const SESSIONS: TableId = TableId(2);
/// [`Key::Subscription`](nexum_core::Key::Subscription).
pub const SUBSCRIPTIONS: TableId = TableId(3);
/// [`Key::Will`](nexum_core::Key::Will).
pub const WILLS: TableId = TableId(4);
/// [`Key::Delivery`](nexum_core::Key::Delivery).
pub const DELIVERIES: TableId = TableId(5);
/// [`Key::Exchange`](nexum_core::Key::Exchange).
pub const EXCHANGES: TableId = TableId(6);
/// [`Key::Received`](nexum_core::Key::Received).
pub const RECEIVED: TableId = TableId(7);
/// [`Key::Waiting`](nexum_core::Key::Waiting).
pub const WAITING: TableId = TableId(8);
/// [`Key::Message`](nexum_core::Key::Message).
pub const MESSAGES: TableId = TableId(9);
/// [`Key::Retained`](nexum_core::Key::Retained).
pub const RETAINED: TableId = TableId(10);

/// The first table that is not of the broker itself: those below are reserved for it.
pub const FIRST_FREE: TableId = TableId(16);

/// The tables of records, without [`META`], in the order of their numbers, each with what it has.
pub const NAMED: [(TableId, &str); 9] = [
    (SESSIONS, "sessions"),
    (SUBSCRIPTIONS, "subscriptions"),
    (WILLS, "wills"),
    (DELIVERIES, "deliveries"),
    (EXCHANGES, "exchanges"),
    (RECEIVED, "received publications"),
    (WAITING, "messages waiting in shared subscriptions"),
    (MESSAGES, "shared messages"),
    (RETAINED, "retained messages"),
];

/// What a table has, in the plural; `None` for a table that is not in this crate.
#[must_use]
pub fn name(table: TableId) -> Option<&'static str> {
    if table == META {
        return Some("meta");
    }
    NAMED
        .iter()
        .find(|(named, _)| *named == table)
        .map(|(_, name)| *name)
}
