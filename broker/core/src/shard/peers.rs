//! The other shards: interest, forwarding, and the answers that wait for them.
//!
//! A shard's index holds its own subscribers and, as one entry per filter and shard, the interest
//! of others. A subscription is answered when every shard has noted the interest, so a message
//! published anywhere after SUBACK is delivered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use nexum_extension_api::Refusal;
use nexum_types::{Message, QoS, Time, TopicFilter};

use super::Shard;
use super::feeds::FeedRequest;
use super::promise::Then;
use super::publish::Publication;
use crate::key::{ConnectionKey, SessionKey, ShardId};
use crate::peer::{MemberKey, Moved, PeerBatch, PeerMessage, Publisher, Receipt};
use crate::subscription::{Subscriber, Subscription};
use crate::subscription_index::FilterId;

/// A SUBSCRIBE whose interest other shards have not all noted.
#[derive(Debug)]
pub(super) struct PendingSubscribe {
    pub(super) remaining: u32,
    pub(super) answers: Answers,
    pub(super) what: Awaited,
}

/// What is known of the filters of a SUBSCRIBE before it is answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Filters that another session has exclusively.
    pub(super) refused: BTreeSet<Box<str>>,
    /// What extensions said, by the place of the filter in the packet.
    pub(super) feeds: BTreeMap<usize, Result<QoS, Refusal>>,
}

impl PendingSubscribe {
    pub(super) fn new(remaining: u32, what: Awaited) -> PendingSubscribe {
        PendingSubscribe {
            remaining,
            answers: Answers::default(),
            what,
        }
    }
}

#[derive(Debug)]
pub(super) enum Awaited {
    /// A SUBSCRIBE of this shard, whole, with the filters whose entry stands for it in the index.
    Subscribe {
        connection: ConnectionKey,
        session: u32,
        packet: Box<[u8]>,
        placeholders: Vec<FilterId>,
        /// What an extension is not asked for yet: it is to be reserved first, or the packet names
        /// it more than once.
        postponed: BTreeMap<Box<str>, VecDeque<FeedRequest>>,
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
    pub(super) fn forward(
        &mut self,
        to: ShardId,
        publication: &mut Publication<'_>,
        durable: bool,
    ) {
        let message = publication.message();
        let (source, revocable) = (publication.source, publication.revocable);
        let is_kept = durable && publication.parts.qos != QoS::AtMostOnce;
        let receipt = publication.receipt.filter(|_| is_kept);
        publication.receipts += u16::from(receipt.is_some());
        let is_shared = receipt.is_some() && publication.joint && !publication.is_kept_once();
        let shared = is_shared.then(|| self.share(publication));
        publication.kept |= is_shared;
        let publish = PeerMessage::Publish {
            message,
            source,
            revocable,
            receipt,
            joint: publication.joint && receipt.is_some(),
            shared,
        };
        self.tell(to, publish);
    }

    /// Tells the other shards that this one has a subscriber to a filter, or will have; returns
    /// how many answers to wait for. Repeated even if it was announced before, since an earlier
    /// announcement may still be under way.
    pub(super) fn announce(&mut self, filter: &str, token: u32, durable: bool) -> u32 {
        for shard in self.others() {
            self.tell(
                shard,
                PeerMessage::Interest {
                    filter: Box::from(filter),
                    token,
                    durable,
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
            PeerMessage::Publish {
                message,
                source,
                revocable,
                receipt,
                joint,
                shared,
            } => {
                let mut publication = Publication::of_message(&message);
                publication.source = source;
                publication.revocable = revocable;
                publication.from_peer = true;
                if let Some(shared) = shared {
                    publication.move_reference(shared);
                }
                let receipt = receipt.map(|receipt| (receipt, joint));
                self.on_forwarded(from, &message, &mut publication, receipt, now);
                self.drop_carried_reference(&mut publication);
            }
            PeerMessage::Interest {
                filter,
                token,
                durable,
            } => {
                if let Ok(filter) = TopicFilter::new(&filter) {
                    let peer = Subscriber::Peer(from.0);
                    let id = self.index.find(filter);
                    let was = id.and_then(|id| self.index.value(id, peer));
                    let was_durable = was.is_some_and(Subscription::is_durable);
                    self.durable_interests += usize::from(durable && !was_durable);
                    let durable = durable || was_durable;
                    let interest = Subscription::of_others(durable);
                    self.index.insert(filter, peer, interest);
                }
                self.tell(from, PeerMessage::InterestNoted { token });
            }
            PeerMessage::InterestNoted { token } => self.on_interest_noted(token, now),
            PeerMessage::Reserve(claim) => self.on_claim(claim, None, now),
            PeerMessage::Contest { holder, claim } => {
                self.tell(from, PeerMessage::Contested { holder, claim });
            }
            PeerMessage::Contested { holder, claim } => self.on_claim(claim, Some(holder), now),
            PeerMessage::Reserved { claim, granted } => self.on_reserved(&claim, granted, now),
            PeerMessage::Unreserve { filter, member } => self.on_unreserve(&filter, member),
            PeerMessage::InterestWithdrawn { filter } => {
                if let Ok(filter) = TopicFilter::new(&filter)
                    && let Some((_, was)) = self.index.remove(filter, Subscriber::Peer(from.0))
                {
                    self.durable_interests -= usize::from(was.is_durable());
                }
            }
            PeerMessage::Retain { message, receipt } => {
                self.on_peer_retain(from, &message, receipt, now);
            }
            PeerMessage::Kept {
                receipt,
                refused,
                prepared,
            } => self.on_peer_kept(receipt, refused, prepared, now),
            PeerMessage::JointStored { ticket, kept } => self.on_joint_stored(ticket, kept, now),
            PeerMessage::Share { message } => self.add_reference(message),
            PeerMessage::Forget { message } => self.drop_reference(message),
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
                durable,
            } => {
                let id = self.groups.find_or_create(&group);
                let key = MemberKey {
                    shard: from,
                    session: member,
                };
                let entry = self.pending_subscribes.vacant_key() as u32;
                let remaining = self.add_member(id, key, Some(entry), durable);
                self.set_member_online(id, key, true, now);
                if remaining == 0 {
                    self.tell(from, PeerMessage::InterestNoted { token });
                } else {
                    let what = Awaited::Member { shard: from, token };
                    self.pending_subscribes
                        .insert(PendingSubscribe::new(remaining, what));
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
                revocable,
                receipt,
                moved,
            } => {
                let assigned = Assigned {
                    group,
                    message,
                    source,
                    revocable,
                    receipt,
                    moved,
                };
                self.on_assigned(from, assigned, member, now);
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
            PeerMessage::Return {
                group,
                message,
                receipt,
                moved,
            } => {
                let returned = Assigned {
                    group,
                    message,
                    source: None,
                    revocable: false,
                    receipt,
                    moved,
                };
                self.on_returned(returned, now);
            }
            PeerMessage::ReturnUnloaded {
                group,
                record,
                size_bytes,
                old,
            } => match self.groups.find(&group) {
                Some(id) => self.take_unloaded(id, group, record, size_bytes, old, now),
                None => self.forget_moved(old, Some(record)),
            },
            PeerMessage::Hold { connection } => self.hold_here(connection),
            PeerMessage::Release { connection } => self.release_here(connection),
        }
    }

    pub(super) fn on_interest_noted(&mut self, token: u32, now: Time) {
        let Some(pending) = self.pending_subscribes.get_mut(token as usize) else {
            return;
        };
        pending.remaining -= 1;
        if pending.remaining > 0 {
            return;
        }
        let PendingSubscribe { what, answers, .. } = self.pending_subscribes.remove(token as usize);
        self.on_subscribe_noted(token, what, &answers, now);
    }

    /// A publication that another shard forwards. Whatever becomes of it, the receipt is answered.
    fn on_forwarded(
        &mut self,
        from: ShardId,
        message: &Arc<Message>,
        publication: &mut Publication<'_>,
        receipt: Option<(Receipt, bool)>,
        now: Time,
    ) {
        if message.parts().retain {
            // Older ones may be under way from the shard that keeps it.
            self.note_overtaken(message);
        }
        let is_expired = self.drop_if_expired(message, now);
        match receipt {
            Some((receipt, true)) => {
                publication.joint = true;
                self.journal.capture();
                if !is_expired {
                    self.route(publication, now);
                }
                let part = self.journal.captured();
                self.hand_over(from, receipt, part, publication.refused.take());
            }
            Some((receipt, false)) => {
                let answer = self.promise(Then::Answer {
                    to: from,
                    receipt,
                    revocable: publication.revocable,
                });
                publication.receipt = Some(answer);
                if !is_expired {
                    self.route(publication, now);
                    self.await_own_commit(publication);
                }
                self.await_promise(
                    answer,
                    publication.receipts,
                    publication.refused.take(),
                    now,
                );
            }
            None if is_expired => {}
            None => {
                self.route(publication, now);
            }
        }
    }

    /// The home of a group chose a session of this shard.
    fn on_assigned(&mut self, home: ShardId, assigned: Assigned, member: SessionKey, now: Time) {
        let id = self.groups.find(&assigned.group);
        let terms = id
            .and_then(|id| self.groups.group(id))
            .and_then(|group| group.local.get(&member))
            .copied();
        let online = self
            .session_by_key(member)
            .is_some_and(|session| session.connection.is_some());
        let (Some(id), Some(terms), true) = (id, terms, online) else {
            // It went while the message came: the home knows by now, and chooses again.
            let Assigned {
                group,
                message,
                source: _,
                revocable: _,
                receipt,
                moved,
            } = assigned;
            let back = PeerMessage::Return {
                group,
                message,
                receipt,
                moved,
            };
            return self.tell(home, back);
        };
        let answer = assigned.receipt.map(|receipt| {
            self.promise(Then::Answer {
                to: home,
                receipt,
                revocable: assigned.revocable,
            })
        });
        let mut publication = assigned.publication(answer);
        if self.drop_if_expired(&assigned.message, now) {
            self.settle_at_home(id, member);
        } else {
            self.deliver_to_member(id, member, terms, &mut publication, now);
        }
        self.finish_assigned(publication, answer, now);
    }

    /// A member of another shard cannot complete a message of a group of this shard.
    fn on_returned(&mut self, returned: Assigned, now: Time) {
        let mut publication = returned.publication(returned.receipt);
        if let Some(id) = self.groups.find(&returned.group)
            && !self.drop_if_expired(&returned.message, now)
        {
            self.deliver_to_group(id, &mut publication, now);
        }
        let receipt = publication.receipt;
        self.await_own_commit(&mut publication);
        if publication.receipts == 0
            && let Some(receipt) = receipt
        {
            self.settle(receipt, publication.refused.take(), now);
        }
        self.drop_carried_reference(&mut publication);
        for moved in publication.moved {
            self.journal.replace(moved.old);
        }
    }

    fn finish_assigned(
        &mut self,
        mut publication: Publication<'_>,
        answer: Option<Receipt>,
        now: Time,
    ) {
        self.await_own_commit(&mut publication);
        if let Some(answer) = answer {
            self.await_promise(
                answer,
                publication.receipts,
                publication.refused.take(),
                now,
            );
        }
        self.drop_carried_reference(&mut publication);
        for moved in publication.moved {
            self.journal.replace(moved.old);
        }
    }
}

/// A message of a group on its way between the group's home and a member.
struct Assigned {
    group: Arc<str>,
    message: Arc<Message>,
    source: Option<Publisher>,
    /// As in [`PeerMessage::Assign`].
    revocable: bool,
    receipt: Option<Receipt>,
    moved: Vec<Moved>,
}

impl Assigned {
    fn publication(&self, receipt: Option<Receipt>) -> Publication<'_> {
        let mut publication = Publication::of_message(&self.message);
        publication.source = self.source;
        publication.revocable = self.revocable;
        publication.receipt = receipt;
        for moved in &self.moved {
            if let Some(reference) = moved.reference {
                publication.move_reference(reference);
            }
        }
        publication.moved.clone_from(&self.moved);
        publication
    }
}
