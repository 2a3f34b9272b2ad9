//! The other shards: interest, forwarding, and the answers that wait for them.
//!
//! A shard's index holds its own subscribers and, as one entry per filter and shard, the interest
//! of others. A subscription is answered when every shard has noted the interest, so a message
//! published anywhere after SUBACK is delivered.

use std::sync::Arc;

use nexum_types::{Time, TopicFilter};

use super::Shard;
use super::publish::Publication;
use crate::key::{ConnectionKey, ShardId};
use crate::peer::{MemberKey, PeerBatch, PeerMessage, Publisher};
use crate::subscription::{Subscriber, Subscription};
use crate::subscription_index::FilterId;

/// A SUBSCRIBE whose interest other shards have not all noted.
#[derive(Debug)]
pub(super) struct PendingSubscribe {
    pub(super) remaining: u32,
    pub(super) what: Awaited,
}

#[derive(Debug)]
pub(super) enum Awaited {
    /// A SUBSCRIBE of this shard, whole, with the filters whose entry stands for it in the index.
    Subscribe {
        connection: ConnectionKey,
        session: u32,
        packet: Box<[u8]>,
        placeholders: Vec<FilterId>,
        /// What [`Overtaken::now`](crate::replay::Overtaken::now) was when it came.
        since: u64,
    },
    /// A member's shard waits for it.
    Member { shard: ShardId, token: u32 },
}

impl Shard {
    pub(super) fn tell(&mut self, to: ShardId, message: PeerMessage) {
        self.outboxes[usize::from(to.0)].push(message);
    }

    /// The shards beside this one.
    pub(super) fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.id;
        (0..self.shards)
            .map(ShardId)
            .filter(move |shard| *shard != own)
    }

    /// A publication for the subscribers of another shard.
    pub(super) fn forward(&mut self, to: ShardId, publication: &mut Publication<'_>) {
        let message = publication.message();
        let source = publication.source;
        self.tell(to, PeerMessage::Publish { message, source });
    }

    /// Tells the other shards that this one has a subscriber to a filter, or will have; returns
    /// how many answers to wait for. Repeated even if it was announced before, since an earlier
    /// announcement may still be under way.
    pub(super) fn announce(&mut self, filter: &str, token: u32) -> u32 {
        for shard in self.others() {
            self.tell(
                shard,
                PeerMessage::Interest {
                    filter: Box::from(filter),
                    token,
                },
            );
        }
        u32::from(self.shards) - 1
    }

    /// Counts an entry of this shard's own under a filter, so that the last to go is noticed.
    pub(super) fn count_subscriber(&mut self, id: FilterId, is_new: bool) {
        if self.shards > 1 && is_new {
            *self.announced.entry(id).or_default() += 1;
        }
    }

    /// A subscriber of this shard no longer has this filter.
    pub(super) fn withdraw(&mut self, id: FilterId, filter: impl FnOnce() -> String) {
        if self.shards == 1 {
            return;
        }
        let Some(count) = self.announced.get_mut(&id) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.announced.remove(&id);
        let filter = filter();
        for shard in self.others() {
            let filter = Box::from(filter.as_str());
            self.tell(shard, PeerMessage::InterestWithdrawn { filter });
        }
    }

    pub(super) fn unsubscribe_id(&mut self, id: FilterId, subscriber: Subscriber) {
        // The identifier may name another filter as soon as this one is removed.
        let filter = if self.shards > 1 {
            self.index.filter_text(id)
        } else {
            String::new()
        };
        if self.index.remove_id(id, subscriber).is_some() {
            self.withdraw(id, || filter);
        }
    }

    pub(super) fn hold_remote(&mut self, source: Publisher) {
        self.tell(
            source.shard,
            PeerMessage::Hold {
                connection: source.connection,
            },
        );
    }

    pub(super) fn release_remote(&mut self, source: Publisher) {
        self.tell(
            source.shard,
            PeerMessage::Release {
                connection: source.connection,
            },
        );
    }

    pub(super) fn on_peer(&mut self, from: ShardId, batch: PeerBatch, now: Time) {
        for message in batch.messages {
            self.on_peer_message(from, message, now);
        }
    }

    fn on_peer_message(&mut self, from: ShardId, message: PeerMessage, now: Time) {
        match message {
            PeerMessage::Publish { message, source } => {
                if message.parts().retain {
                    // Older ones may be under way from the shard that keeps it.
                    self.note_overtaken(&message);
                }
                if self.drop_if_expired(&message, now) {
                    return;
                }
                let mut publication = Publication::of_message(&message);
                publication.source = source;
                publication.from_peer = true;
                self.route(&mut publication, now);
            }
            PeerMessage::Interest { filter, token } => {
                if let Ok(filter) = TopicFilter::new(&filter) {
                    let peer = Subscriber::Peer(from.0);
                    self.index.insert(filter, peer, Subscription::default());
                }
                self.tell(from, PeerMessage::InterestNoted { token });
            }
            PeerMessage::InterestNoted { token } => self.on_interest_noted(token, now),
            PeerMessage::InterestWithdrawn { filter } => {
                if let Ok(filter) = TopicFilter::new(&filter) {
                    self.index.remove(filter, Subscriber::Peer(from.0));
                }
            }
            PeerMessage::Retain { message, receipt } => {
                self.keep_retained(&message);
                if let Some(receipt) = receipt {
                    self.tell(from, PeerMessage::Retained { receipt });
                }
            }
            PeerMessage::Retained { receipt } => self.on_receipt(receipt),
            PeerMessage::ReplayOpen { token, filter } => {
                self.open_remote_replay(from, token, &filter, now);
            }
            PeerMessage::ReplayNext { token } => self.advance_remote_replay(from, token, now),
            PeerMessage::ReplayClose { token } => self.close_remote_replay(from, token),
            PeerMessage::ReplayBatch {
                token,
                messages,
                complete,
            } => {
                self.on_replay_batch(from, token, messages, complete, now);
            }
            PeerMessage::Join {
                group,
                member,
                token,
            } => {
                let id = self.groups.find_or_create(&group);
                let key = MemberKey {
                    shard: from,
                    session: member,
                };
                let entry = self.pending_subscribes.vacant_key() as u32;
                let remaining = self.add_member(id, key, Some(entry));
                self.set_member_online(id, key, true, now);
                if remaining == 0 {
                    self.tell(from, PeerMessage::InterestNoted { token });
                } else {
                    let what = Awaited::Member { shard: from, token };
                    self.pending_subscribes
                        .insert(PendingSubscribe { remaining, what });
                }
            }
            PeerMessage::Leave { group, member } => {
                if let Some(id) = self.groups.find(&group) {
                    self.remove_member(
                        id,
                        MemberKey {
                            shard: from,
                            session: member,
                        },
                    );
                }
            }
            PeerMessage::MemberOnline {
                group,
                member,
                online,
            } => {
                if let Some(id) = self.groups.find(&group) {
                    let key = MemberKey {
                        shard: from,
                        session: member,
                    };
                    self.set_member_online(id, key, online, now);
                    if online {
                        self.drain_group(id, now);
                    }
                }
            }
            PeerMessage::Assign {
                group,
                member,
                message,
                source,
            } => {
                self.on_assigned(from, group, member, message, source, now);
            }
            PeerMessage::Settled { group, member } => {
                if let Some(id) = self.groups.find(&group)
                    && let Some(group) = self.groups.group_mut(id)
                {
                    group.settled(MemberKey {
                        shard: from,
                        session: member,
                    });
                    self.drain_group(id, now);
                }
            }
            PeerMessage::Return { group, message } => {
                if let Some(id) = self.groups.find(&group)
                    && !self.drop_if_expired(&message, now)
                {
                    self.deliver_to_group(id, &mut Publication::of_message(&message), now);
                }
            }
            PeerMessage::Hold { connection } => self.hold_here(connection),
            PeerMessage::Release { connection } => self.release_here(connection),
        }
    }

    fn on_interest_noted(&mut self, token: u32, now: Time) {
        let Some(pending) = self.pending_subscribes.get_mut(token as usize) else {
            return;
        };
        pending.remaining -= 1;
        if pending.remaining > 0 {
            return;
        }
        let awaited = self.pending_subscribes.remove(token as usize).what;
        self.on_subscribe_noted(token, awaited, now);
    }

    /// The home of a group chose a session of this shard.
    fn on_assigned(
        &mut self,
        home: ShardId,
        group: Arc<str>,
        member: crate::key::SessionKey,
        message: Arc<nexum_types::Message>,
        source: Option<Publisher>,
        now: Time,
    ) {
        let id = self.groups.find(&group);
        let terms = id
            .and_then(|id| self.groups.group(id))
            .and_then(|group| group.local.get(&member))
            .copied();
        let online = self
            .session_by_key(member)
            .is_some_and(|session| session.connection.is_some());
        match (id, terms) {
            (Some(id), Some(terms)) if online => {
                if self.drop_if_expired(&message, now) {
                    return self.settle_at_home(id, member);
                }
                let mut publication = Publication::of_message(&message);
                publication.source = source;
                self.deliver_to_member(id, member, terms, &mut publication, now);
            }
            // It went while the message came: the home knows by now, and chooses again.
            (Some(_) | None, _) => self.tell(home, PeerMessage::Return { group, message }),
        }
    }
}
