//! What a shard still holds. When connections, sessions and retained messages are gone it must be
//! nothing; tests ask for it, because the tables that leak are those nobody looks at.

use super::Shard;

impl Shard {
    /// The tables that are not empty, by name and number of entries.
    #[doc(hidden)]
    #[must_use]
    pub fn residue(&self) -> Vec<(&'static str, usize)> {
        let tables = [
            ("connections", self.connections.len()),
            ("sessions", self.sessions.len()),
            ("clients", self.clients.len()),
            ("groups", self.groups.len()),
            ("retained", self.retained.len()),
            ("outputs", self.outputs.len()),
            ("resumed", self.resumed.len()),
            ("outboxes", self.outboxes.iter().map(Vec::len).sum()),
            ("announced", self.announced.len()),
            ("feeds", self.feeds.len()),
            ("exclusives", self.exclusives.len()),
            ("pending subscribes", self.pending_subscribes.len()),
            ("remote replays", self.remote_replays.len()),
            ("replaying", self.replaying.len()),
            ("replay requests", self.replay_requests),
            ("unfinished", self.unfinished.len()),
            ("promises", self.promises.len()),
            ("tickets", self.tickets.len()),
            ("loads", self.loads.len()),
            ("references", self.references.len()),
            ("session names", self.session_ids.len()),
            ("records aside", self.journal.aside()),
            ("unanswered submissions", self.journal.unanswered()),
        ];
        tables
            .into_iter()
            .filter(|(_, entries)| *entries > 0)
            .collect()
    }
}
