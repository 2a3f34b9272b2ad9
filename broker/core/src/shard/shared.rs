//! Shared subscriptions in the life of a shard: joining, choosing, giving back.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use nexum_codec::ForwardedProperties;
use nexum_types::{MessageParts, QoS, Time, TopicFilter};

use super::Shard;
use super::deliver::Terms;
use super::publish::Publication;
use crate::counters::DropReason;
use crate::journal::KeptWaiting;
use crate::key::{SessionKey, ShardId};
use crate::peer::{MemberKey, MemberTerms, Moved, NotKept, PeerMessage};
use crate::record::{Key, MessageId, SessionId, SubscriptionIdentifierList, Value};
use crate::session::{Awaiting, Delivery, DeliveryRecorded};
use crate::shared_subscription::{Group, GroupId, WaitingMessage, filter_of};
use crate::subscription::{Subscriber, Subscription};

/// A member on another shard is taken to have room below so many unsettled deliveries.
const REMOTE_ROOM: u32 = 1000;

/// What becomes of a session that gives deliveries back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Ends,
}

impl Shard {
    /// A session of this shard joins: the group's home and, through it, every other shard are told.
    /// It may be chosen as soon as the home knows. Returns how many answers to wait for.
    pub(super) fn announce_member(
        &mut self,
        session: u32,
        name: &Arc<str>,
        terms: MemberTerms,
        token: u32,
        now: Time,
    ) -> u32 {
        let durable = self.sessions[session as usize].keeps().is_some();
        let (id, member) = self.note_membership(session, name, terms);
        let home = self.home_of(name);
        if home == self.id {
            let key = MemberKey {
                shard: self.id,
                session: member,
            };
            let answers = self.add_member(id, key, Some(token), durable);
            self.set_member_online(id, key, true, now);
            return answers;
        }
        let group = Arc::clone(name);
        self.tell(
            home,
            PeerMessage::Join {
                group,
                member,
                token,
                durable,
            },
        );
        1
    }

    /// A session of this shard joins, or its terms change.
    pub(super) fn join_group(
        &mut self,
        session: u32,
        name: &Arc<str>,
        terms: MemberTerms,
        now: Time,
    ) {
        let (id, member) = self.note_membership(session, name, terms);
        if self.home_of(name) == self.id {
            let key = MemberKey {
                shard: self.id,
                session: member,
            };
            let durable = self.sessions[session as usize].keeps().is_some();
            self.add_member(id, key, None, durable);
        }
        self.tell_group(id, member, true, now);
    }

    pub(super) fn note_membership(
        &mut self,
        session: u32,
        name: &Arc<str>,
        terms: MemberTerms,
    ) -> (GroupId, SessionKey) {
        let id = self.groups.find_or_create(name);
        let member = self.session_key(session);
        let state = &mut self.sessions[session as usize];
        if state.shared_subscriptions.insert(id) {
            state.subscription_bytes += name.len() as u64;
        }
        if let Some(group) = self.groups.group_mut(id) {
            group.local.insert(member, terms);
        }
        (id, member)
    }

    /// At home: a member joins, from whichever shard; [`set_member_online`] lets it be chosen.
    /// Returns how many answers to wait for if there is a token to answer with.
    ///
    /// [`set_member_online`]: Self::set_member_online
    pub(super) fn add_member(
        &mut self,
        id: GroupId,
        key: MemberKey,
        token: Option<u32>,
        durable: bool,
    ) -> u32 {
        let Some(group) = self.groups.group_mut(id) else {
            return 0;
        };
        group.join(key, durable);
        let keeps = group.keeps();
        let name = Arc::clone(&group.name);
        let Ok(filter) = TopicFilter::new(filter_of(&name)) else {
            return 0;
        };
        let (filter_id, previous) = self.index.insert(
            filter,
            Subscriber::Group(id),
            Subscription::of_others(keeps),
        );
        self.count_subscriber(filter_id, previous.is_none());
        token.map_or(0, |token| self.announce(filter.as_str(), token, keeps))
    }

    /// A session of this shard gives its membership up. What waits for it goes to the others; what
    /// is in flight it completes itself ([MQTT-3.10.4-3]).
    pub(super) fn unsubscribe_from_group(&mut self, id: GroupId, member: SessionKey, now: Time) {
        let orphans =
            self.take_group_deliveries(member, |group| group == id, |_| false, Fate::Stays);
        if let Some(session) = self.session_by_key(member) {
            let queued = session.queue.iter_mut();
            for delivery in session.inflight.deliveries_mut().chain(queued) {
                if delivery.group == Some(id) {
                    delivery.group = None;
                }
            }
        }
        let session = self.session_by_key(member).and_then(|session| session.id);
        self.leave_group(id, member, session, orphans, now);
    }

    /// A session of this shard ends; what it had not completed goes to the others.
    pub(super) fn end_memberships(&mut self, session: u32, now: Time) {
        let state = &mut self.sessions[session as usize];
        let groups = std::mem::take(&mut state.shared_subscriptions);
        if groups.is_empty() {
            return;
        }
        let member = self.session_key(session);
        let mut orphans: BTreeMap<GroupId, Vec<Delivery>> = BTreeMap::new();
        let own = |group| groups.contains(&group);
        let id = self.session_by_key(member).and_then(|session| session.id);
        for delivery in self.take_group_deliveries(member, own, own, Fate::Ends) {
            if let Some(id) = delivery.group {
                orphans.entry(id).or_default().push(delivery);
            }
        }
        for group in groups {
            if let (Some(id), Some(group)) = (id, self.groups.group(group)) {
                let filter = Arc::from(format!("$share/{}", group.name));
                self.journal.delete(Key::Subscription(id, filter));
            }
            let orphans = orphans.remove(&group).unwrap_or_default();
            self.leave_group(group, member, id, orphans, now);
        }
    }

    /// `session` is what the store calls the member.
    fn leave_group(
        &mut self,
        id: GroupId,
        member: SessionKey,
        session: Option<SessionId>,
        orphans: Vec<Delivery>,
        now: Time,
    ) {
        let Some(group) = self.groups.group_mut(id) else {
            return;
        };
        group.local.remove(&member);
        let name = Arc::clone(&group.name);
        let home = self.home_of(&name);
        if home != self.id {
            let group = Arc::clone(&name);
            self.tell(home, PeerMessage::Leave { group, member });
        }
        let key = MemberKey {
            shard: self.id,
            session: member,
        };
        if home == self.id
            && let Some(group) = self.groups.group_mut(id)
        {
            // It is not to be chosen for what it gives back.
            group.set_online(key, false);
        }
        for delivery in orphans {
            self.return_to_group(id, session, delivery, now);
        }
        if home == self.id {
            self.remove_member(id, key);
        } else {
            self.groups.remove_if_empty(id);
        }
    }

    /// At home: a member is gone for good.
    pub(super) fn remove_member(&mut self, id: GroupId, key: MemberKey) {
        let Some(group) = self.groups.group_mut(id) else {
            return;
        };
        group.leave(key);
        if group.has_members() {
            return;
        }
        let name = Arc::clone(&group.name);
        if let Ok(filter) = TopicFilter::new(filter_of(&name))
            && let Some((filter_id, _)) = self.index.remove(filter, Subscriber::Group(id))
        {
            self.withdraw(filter_id, || filter.as_str().to_owned());
        }
        self.forget_group(id, &name);
    }

    /// After a restart: what waits in a group whose last member left just before it.
    pub(super) fn forget_memberless_groups(&mut self) {
        for id in self.groups.backlogged() {
            let is_memberless = self.groups.group(id).is_some_and(|it| !it.has_members());
            let Some(group) = self.groups.group(id).filter(|_| is_memberless) else {
                continue;
            };
            let name = Arc::clone(&group.name);
            self.forget_group(id, &name);
        }
    }

    fn forget_group(&mut self, id: GroupId, name: &Arc<str>) {
        if let Some(mut group) = self.groups.remove_if_empty(id) {
            let gone: Vec<_> = group
                .waiting_mut()
                .map(|waiting| (waiting.position, waiting.record))
                .collect();
            for (position, record) in gone {
                self.forget_waiting(name, position, record);
                self.counters.drop_message(DropReason::SessionEnded);
            }
        }
    }

    /// A message does not wait in a group any more.
    fn forget_waiting(&mut self, name: &Arc<str>, position: u64, record: Option<MessageId>) {
        if let Some(message) = record {
            let key = Key::Waiting(Arc::clone(name), position);
            self.journal.delete(key);
            self.drop_reference(message);
        }
    }

    /// At home: takes a message back that nobody was given.
    pub(super) fn revoke_waiting(&mut self, kept: KeptWaiting, now: Time) {
        let Some(group) = self.groups.group(kept.group) else {
            return;
        };
        let name = Arc::clone(&group.name);
        if let Some(waiting) = self.groups.take_waiting(kept.group, kept.position) {
            self.forget_waiting(&name, waiting.position, waiting.record);
            // Others may have waited behind it.
            self.drain_group(kept.group, now);
        }
    }

    /// At home: the store has a message that waits.
    pub(super) fn on_waiting_kept(&mut self, id: GroupId, position: u64, now: Time) {
        let Some(group) = self.groups.group_mut(id) else {
            return;
        };
        if let Some(waiting) = group.waiting_mut().find(|it| it.position == position) {
            waiting.stored = true;
            waiting.message = None;
        }
        self.drain_group(id, now);
    }

    /// At home: a message for one of the members.
    pub(super) fn deliver_to_group(
        &mut self,
        id: GroupId,
        publication: &mut Publication<'_>,
        now: Time,
    ) {
        // What one shard commits for all waits for that before it is given to anybody.
        let waits_first = publication.joint
            && self.groups.group(id).is_some_and(Group::keeps)
            && publication.parts.qos != QoS::AtMostOnce;
        let chosen = if waits_first {
            None
        } else {
            self.choose_member(id, &publication.parts)
        };
        let Some(member) = chosen else {
            if publication.parts.qos == QoS::AtMostOnce {
                return self.counters.drop_message(DropReason::Offline);
            }
            return self.wait_in_group(id, publication);
        };
        let Some(group) = self.groups.group(id) else {
            return;
        };
        if member.shard == self.id {
            let terms = *group
                .local
                .get(&member.session)
                .expect("a member of this shard is in its group");
            self.deliver_to_member(id, member.session, terms, publication, now);
            // A member that ends with its connection keeps nothing.
            self.drop_carried_reference(publication);
        } else {
            let group = Arc::clone(&group.name);
            let message = publication.message();
            let (source, revocable) = (publication.source, publication.revocable);
            let receipt = publication.receipt;
            publication.receipts += u16::from(receipt.is_some());
            let moved = std::mem::take(&mut publication.moved);
            // A reference goes with what moves.
            publication.carries_reference &= moved.is_empty();
            let assign = PeerMessage::Assign {
                group,
                member: member.session,
                message,
                source,
                revocable,
                receipt,
                moved,
            };
            self.tell(member.shard, assign);
        }
    }

    fn choose_member(&mut self, id: GroupId, parts: &MessageParts<'_>) -> Option<MemberKey> {
        let strategy = self.limits.shared_subscription_strategy;
        let (sessions, own, hasher) = (&self.sessions, self.id, &self.homes);
        self.groups.group_mut(id)?.choose(
            strategy,
            |member, outstanding| has_room(sessions, own, member, outstanding),
            || hasher.hash_one(sticky_key(parts)),
        )
    }

    /// At home: a message waits until a member is there.
    fn wait_in_group(&mut self, id: GroupId, publication: &mut Publication<'_>) {
        let message = publication.message();
        let size_bytes = message.size_bytes();
        let Some(group) = self.groups.group(id) else {
            return;
        };
        let keeps = group.keeps();
        let name = Arc::clone(&group.name);
        if !group.has_room_for(size_bytes, &self.limits) {
            self.drop_carried_reference(publication);
            return self.counters.drop_message(DropReason::QueueFull);
        }
        if keeps && self.journal.is_refusing() && publication.revocable {
            publication.refused = Some(NotKept::StoreRefuses);
            return self.counters.drop_message(DropReason::StoreRefuses);
        }
        let record = keeps.then(|| self.share(publication));
        let size_bytes = size_bytes as u32;
        let position = self.groups.wait(id, Some(message), size_bytes, record);
        if let Some(record) = record {
            let key = Key::Waiting(name, position);
            self.journal.put(key, Value::Waiting(record));
            let kept = KeptWaiting {
                group: id,
                position,
                revocable: publication.revocable,
            };
            self.journal.waiters().waiting.push(kept);
            publication.kept = true;
        }
    }

    pub(super) fn deliver_to_member(
        &mut self,
        id: GroupId,
        member: SessionKey,
        terms: MemberTerms,
        publication: &mut Publication<'_>,
        now: Time,
    ) {
        let identifiers: SubscriptionIdentifierList =
            terms.subscription_identifier.into_iter().collect();
        let terms = Terms {
            maximum_qos: terms.maximum_qos,
            retain_as_published: terms.retain_as_published,
            identifiers: &identifiers,
            // QoS 0 is not completed by anything, so nothing could be given back or settled.
            group: (publication.parts.qos.min(terms.maximum_qos) != QoS::AtMostOnce).then_some(id),
        };
        if terms.group.is_none() {
            self.settle_at_home(id, member);
        }
        self.deliver(member.index, terms, publication, now);
    }

    /// A session's connection came.
    pub(super) fn on_session_online(&mut self, session: u32, now: Time) {
        let member = self.session_key(session);
        for id in self.sessions[session as usize].shared_subscriptions.clone() {
            self.tell_group(id, member, true, now);
            self.drain_group(id, now);
        }
    }

    /// A session's connection went: others complete what it has not.
    pub(super) fn on_members_offline(&mut self, session: u32, now: Time) {
        if self.sessions[session as usize]
            .shared_subscriptions
            .is_empty()
        {
            return;
        }
        let member = self.session_key(session);
        for id in self.sessions[session as usize].shared_subscriptions.clone() {
            self.tell_group(id, member, false, now);
        }
        self.give_back(session, now);
    }

    /// What an absent session holds for its groups goes to others, as far as the store has it.
    pub(super) fn give_back(&mut self, session: u32, now: Time) {
        let member = self.session_key(session);
        // Section 4.8.2: what is in flight may wait for its member or go to another as soon as the
        // connection is lost. It waits only if there is no other.
        let has_others = |id: &GroupId| {
            self.groups.group(*id).is_some_and(|group| {
                self.home_of(&group.name) != self.id || group.has_online_members()
            })
        };
        let groups = &self.sessions[session as usize].shared_subscriptions;
        let inflight_too: BTreeSet<GroupId> = groups.iter().copied().filter(has_others).collect();
        let orphans = self.take_group_deliveries(
            member,
            |_| true,
            |group| inflight_too.contains(&group),
            Fate::Stays,
        );
        let session = self.sessions[session as usize].id;
        for delivery in orphans {
            if let Some(id) = delivery.group {
                self.return_to_group(id, session, delivery, now);
            }
        }
    }

    /// At home: the first member is there for what absent members of this shard still hold. They
    /// hold nothing while others are there, who get it as soon as its member has gone.
    fn reclaim_from_absent(&mut self, id: GroupId, now: Time) {
        let Some(group) = self.groups.group(id) else {
            return;
        };
        let absent: Vec<SessionKey> = group
            .local
            .keys()
            .copied()
            .filter(|key| {
                self.sessions
                    .get(key.index as usize)
                    .is_some_and(|session| session.connection.is_none())
            })
            .collect();
        for member in absent {
            let wanted = |group| group == id;
            let session = self.session_by_key(member).and_then(|session| session.id);
            for delivery in self.take_group_deliveries(member, wanted, wanted, Fate::Stays) {
                self.return_to_group(id, session, delivery, now);
            }
        }
    }

    fn tell_group(&mut self, id: GroupId, member: SessionKey, online: bool, now: Time) {
        let Some(group) = self.groups.group(id) else {
            return;
        };
        let name = Arc::clone(&group.name);
        let home = self.home_of(&name);
        if home == self.id {
            self.set_member_online(
                id,
                MemberKey {
                    shard: self.id,
                    session: member,
                },
                online,
                now,
            );
        } else {
            self.tell(
                home,
                PeerMessage::MemberOnline {
                    group: name,
                    member,
                    online,
                },
            );
        }
    }

    /// At home: a member's connection came or went.
    pub(super) fn set_member_online(
        &mut self,
        id: GroupId,
        key: MemberKey,
        online: bool,
        now: Time,
    ) {
        let Some(group) = self.groups.group_mut(id) else {
            return;
        };
        let nobody_was_there = !group.has_online_members();
        group.set_online(key, online);
        if online && nobody_was_there {
            self.reclaim_from_absent(id, now);
        }
    }

    /// At home: what waits for any member goes out as far as members have room.
    pub(super) fn drain_group(&mut self, id: GroupId, now: Time) {
        loop {
            let (sessions, own) = (&self.sessions, self.id);
            let Some(group) = self.groups.group_mut(id) else {
                return;
            };
            if group.backlog_len() == 0
                || !group.any_has_room(|member, outstanding| {
                    has_room(sessions, own, member, outstanding)
                })
            {
                return;
            }
            let Some(first) = group.waiting_mut().next() else {
                return;
            };
            if !first.stored {
                return;
            }
            if first.message.is_none() && first.record.is_some() {
                return self.load_for_group(id);
            }
            let name = Arc::clone(&group.name);
            let Some(waiting) = self.groups.next_waiting(id) else {
                return;
            };
            let WaitingMessage {
                position,
                message,
                record,
                ..
            } = waiting;
            let Some(message) = message else {
                continue;
            };
            if self.drop_if_expired(&message, now) {
                self.forget_waiting(&name, position, record);
                continue;
            }
            let mut publication = Publication::of_message(&message);
            if let Some(record) = record {
                publication.move_reference(record);
                let old = Key::Waiting(name, position);
                publication.moved.push(Moved {
                    old,
                    reference: Some(record),
                });
            }
            self.deliver_moved(id, publication, now);
        }
    }

    /// Gives a message that was kept elsewhere to a member, or lets it wait again: its old record is
    /// deleted in the submission that has the new one.
    fn deliver_moved(&mut self, id: GroupId, mut publication: Publication<'_>, now: Time) {
        self.deliver_to_group(id, &mut publication, now);
        self.drop_carried_reference(&mut publication);
        for moved in publication.moved {
            self.journal.replace(moved.old);
        }
    }

    /// A session may have room for what waits in its groups.
    pub(super) fn drain_groups_of(&mut self, session: u32, now: Time) {
        let state = &self.sessions[session as usize];
        if state.shared_subscriptions.is_empty() || !state.may_send() {
            return;
        }
        for id in self.groups.backlogged_among(&state.shared_subscriptions) {
            self.drain_group(id, now);
        }
    }

    /// The deliveries of groups that a session has not completed, oldest first: the ones in flight
    /// at QoS 1 of `inflight_of`, which only a session without a connection may lose, and the ones
    /// in its queue of `queued_of`. A QoS 2 delivery in flight stays ([MQTT-4.8.2-4],
    /// [MQTT-4.8.2-5]), and so does, in a session that lives on, what is on its way into the store:
    /// who gets it deletes its record, and must not do so before it is there. It is one walk over
    /// everything the session has, for however many groups.
    fn take_group_deliveries(
        &mut self,
        member: SessionKey,
        queued_of: impl Fn(GroupId) -> bool,
        inflight_of: impl Fn(GroupId) -> bool,
        fate: Fate,
    ) -> Vec<Delivery> {
        let Some(session) = self.session_by_key(member) else {
            return Vec::new();
        };
        let is_free =
            |delivery: &Delivery| fate == Fate::Ends || delivery.stored || !delivery.is_recorded();
        let exchanges = session.inflight.extract(|exchange| {
            let group = exchange
                .delivery
                .as_ref()
                .filter(|delivery| is_free(delivery))
                .and_then(|delivery| delivery.group);
            let may_go = exchange.awaiting == Awaiting::PubAck
                || exchange.awaiting == Awaiting::PubRec && !exchange.sent;
            may_go && group.is_some_and(&inflight_of)
        });
        let mut recorded = Vec::new();
        let mut taken = Vec::new();
        for (packet, exchange) in exchanges {
            session.gates.retain(|gate| *gate != packet);
            if exchange.recorded {
                recorded.push(packet);
            }
            taken.extend(exchange.delivery);
        }
        let queue = std::mem::take(&mut session.queue);
        for delivery in queue {
            if is_free(&delivery) && delivery.group.is_some_and(&queued_of) {
                taken.push(delivery);
            } else {
                session.queue.push_back(delivery);
            }
        }
        for delivery in &taken {
            session.release_bytes(delivery);
        }
        if let Some(id) = session.id {
            for packet in recorded {
                self.journal.delete(Key::Exchange(id, packet));
            }
        }
        taken
    }

    /// Another member is to have this. `session` is what the store calls the one that had it.
    pub(super) fn return_to_group(
        &mut self,
        id: GroupId,
        session: Option<SessionId>,
        delivery: Delivery,
        now: Time,
    ) {
        let old = session
            .filter(|_| delivery.is_recorded())
            .map(|session| Key::Delivery(session, delivery.position));
        let record = match delivery.record {
            DeliveryRecorded::Shared(record) => Some(record),
            DeliveryRecorded::Inline | DeliveryRecorded::Nothing => None,
        };
        let Some(group) = self.groups.group(id) else {
            self.forget_moved(old, record);
            return self.counters.drop_message(DropReason::SessionEnded);
        };
        let name = Arc::clone(&group.name);
        let home = self.home_of(&name);
        let Some(message) = delivery.message else {
            return self.return_unloaded(id, name, old, record, delivery.size_bytes, now);
        };
        if self.drop_if_expired(&message, now) {
            return self.forget_moved(old, record);
        }
        if home != self.id {
            let moved = old
                .into_iter()
                .map(|old| Moved {
                    old,
                    reference: record,
                })
                .collect();
            let back = PeerMessage::Return {
                group: name,
                message,
                receipt: None,
                moved,
            };
            return self.tell(home, back);
        }
        let mut publication = Publication::of_message(&message);
        if let (Some(record), Some(old)) = (record, old) {
            publication.move_reference(record);
            publication.moved.push(Moved {
                old,
                reference: Some(record),
            });
        }
        self.deliver_moved(id, publication, now);
    }

    /// The same for one whose message is in the store: it waits in the group, wherever that is, and
    /// is loaded there.
    fn return_unloaded(
        &mut self,
        id: GroupId,
        name: Arc<str>,
        old: Option<Key>,
        record: Option<MessageId>,
        size_bytes: u32,
        now: Time,
    ) {
        let Some(record) = record else {
            return;
        };
        let home = self.home_of(&name);
        if home != self.id {
            let unloaded = PeerMessage::ReturnUnloaded {
                group: name,
                record,
                size_bytes,
                old,
            };
            return self.tell(home, unloaded);
        }
        self.take_unloaded(id, name, record, size_bytes, old, now);
    }

    /// At home: a message that the store alone has waits, with the reference it had.
    pub(super) fn take_unloaded(
        &mut self,
        id: GroupId,
        name: Arc<str>,
        record: MessageId,
        size_bytes: u32,
        old: Option<Key>,
        now: Time,
    ) {
        let position = self.groups.wait(id, None, size_bytes, Some(record));
        let key = Key::Waiting(name, position);
        self.journal.put(key, Value::Waiting(record));
        let kept = KeptWaiting {
            group: id,
            position,
            revocable: false,
        };
        self.journal.waiters().waiting.push(kept);
        if let Some(old) = old {
            self.journal.replace(old);
        }
        self.drain_group(id, now);
    }

    pub(super) fn forget_moved(&mut self, old: Option<Key>, record: Option<MessageId>) {
        if let Some(old) = old {
            self.journal.delete(old);
            if let Some(record) = record {
                self.drop_reference(record);
            }
        }
    }

    /// A member completed a delivery.
    pub(super) fn on_group_delivery_settled(
        &mut self,
        session: u32,
        delivery: &Delivery,
        now: Time,
    ) {
        if let Some(id) = delivery.group {
            let member = self.session_key(session);
            self.settle_at_home(id, member);
            self.drain_group(id, now);
        }
    }

    pub(super) fn settle_at_home(&mut self, id: GroupId, member: SessionKey) {
        let Some(group) = self.groups.group(id) else {
            return;
        };
        let name = Arc::clone(&group.name);
        let home = self.home_of(&name);
        if home != self.id {
            self.tell(
                home,
                PeerMessage::Settled {
                    group: name,
                    member,
                },
            );
        } else if let Some(group) = self.groups.group_mut(id) {
            group.settled(MemberKey {
                shard: self.id,
                session: member,
            });
        }
    }
}

fn has_room(
    sessions: &slab::Slab<crate::session::Session>,
    own: ShardId,
    member: MemberKey,
    outstanding: u32,
) -> bool {
    if member.shard == own {
        sessions
            .get(member.session.index as usize)
            .is_some_and(crate::session::Session::may_send)
    } else {
        outstanding < REMOTE_ROOM
    }
}

/// What the sticky strategy goes by.
fn sticky_key<'a>(parts: &MessageParts<'a>) -> &'a str {
    ForwardedProperties::from_encoded(parts.properties)
        .ok()
        .and_then(|properties| {
            properties
                .user_properties()
                .iter()
                .find(|(name, _)| *name == "key")
                .map(|(_, value)| value)
        })
        .unwrap_or(parts.topic.as_str())
}
