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
use crate::key::{SessionKey, ShardId};
use crate::peer::{MemberKey, MemberTerms, PeerMessage};
use crate::record::SubscriptionIdentifierList;
use crate::session::{Awaiting, Delivery};
use crate::shared_subscription::{GroupId, filter_of};
use crate::subscription::{Subscriber, Subscription};

/// A member on another shard is taken to have room below so many unsettled deliveries.
const REMOTE_ROOM: u32 = 1000;

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
        let (id, member) = self.note_membership(session, name, terms);
        let home = self.home_of(name);
        if home == self.id {
            let key = MemberKey {
                shard: self.id,
                session: member,
            };
            let answers = self.add_member(id, key, Some(token));
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
            self.add_member(id, key, None);
        }
        self.tell_group(id, member, true, now);
    }

    fn note_membership(
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
    pub(super) fn add_member(&mut self, id: GroupId, key: MemberKey, token: Option<u32>) -> u32 {
        let Some(group) = self.groups.group_mut(id) else {
            return 0;
        };
        group.join(key);
        let name = Arc::clone(&group.name);
        let Ok(filter) = TopicFilter::new(filter_of(&name)) else {
            return 0;
        };
        let (filter_id, previous) =
            self.index
                .insert(filter, Subscriber::Group(id), Subscription::default());
        self.count_subscriber(filter_id, previous.is_none());
        token.map_or(0, |token| self.announce(filter.as_str(), token))
    }

    /// A session of this shard gives its membership up. What waits for it goes to the others; what
    /// is in flight it completes itself ([MQTT-3.10.4-3]).
    pub(super) fn unsubscribe_from_group(&mut self, id: GroupId, member: SessionKey, now: Time) {
        let orphans = self.take_group_deliveries(member, |group| group == id, |_| false);
        if let Some(session) = self.session_by_key(member) {
            for delivery in session.inflight.deliveries_mut() {
                if delivery.group == Some(id) {
                    delivery.group = None;
                }
            }
        }
        self.leave_group(id, member, orphans, now);
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
        for delivery in self.take_group_deliveries(member, own, own) {
            if let Some(id) = delivery.group {
                orphans.entry(id).or_default().push(delivery);
            }
        }
        for id in groups {
            let orphans = orphans.remove(&id).unwrap_or_default();
            self.leave_group(id, member, orphans, now);
        }
    }

    fn leave_group(&mut self, id: GroupId, member: SessionKey, orphans: Vec<Delivery>, now: Time) {
        let Some(group) = self.groups.group_mut(id) else {
            return;
        };
        group.local.remove(&member);
        let name = Arc::clone(&group.name);
        let home = self.home_of(&name);
        if home == self.id {
            self.remove_member(
                id,
                MemberKey {
                    shard: self.id,
                    session: member,
                },
            );
            for delivery in orphans {
                self.return_to_group(id, delivery, now);
            }
        } else {
            self.tell(
                home,
                PeerMessage::Leave {
                    group: Arc::clone(&name),
                    member,
                },
            );
            for delivery in orphans {
                let (group, message) = (Arc::clone(&name), delivery.message);
                self.tell(home, PeerMessage::Return { group, message });
            }
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
        if let Some(group) = self.groups.remove_if_empty(id) {
            for _ in 0..group.backlog_len() {
                self.counters.drop_message(DropReason::SessionEnded);
            }
        }
    }

    /// At home: a message for one of the members.
    pub(super) fn deliver_to_group(
        &mut self,
        id: GroupId,
        publication: &mut Publication<'_>,
        now: Time,
    ) {
        let strategy = self.limits.shared_subscription_strategy;
        let parts = publication.parts;
        let (sessions, own, hasher) = (&self.sessions, self.id, &self.homes);
        let Some(group) = self.groups.group_mut(id) else {
            return;
        };
        let chosen = group.choose(
            strategy,
            |member, outstanding| has_room(sessions, own, member, outstanding),
            || hasher.hash_one(sticky_key(&parts)),
        );
        let Some(member) = chosen else {
            if parts.qos == QoS::AtMostOnce {
                return self.counters.drop_message(DropReason::Offline);
            }
            if !self.groups.wait(id, publication.message(), &self.limits) {
                self.counters.drop_message(DropReason::QueueFull);
            }
            return;
        };
        if member.shard == self.id {
            let terms = *group
                .local
                .get(&member.session)
                .expect("a member of this shard is in its group");
            self.deliver_to_member(id, member.session, terms, publication, now);
        } else {
            let group = Arc::clone(&group.name);
            let message = publication.message();
            let source = publication.source;
            let assign = PeerMessage::Assign {
                group,
                member: member.session,
                message,
                source,
            };
            self.tell(member.shard, assign);
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
        // Section 4.8.2: what is in flight may wait for its member or go to another as soon as the
        // connection is lost. It waits only if there is no other.
        let has_others = |id: &GroupId| {
            self.groups.group(*id).is_some_and(|group| {
                self.home_of(&group.name) != self.id || group.has_online_members()
            })
        };
        let groups = &self.sessions[session as usize].shared_subscriptions;
        let inflight_too: BTreeSet<GroupId> = groups.iter().copied().filter(has_others).collect();
        let orphans =
            self.take_group_deliveries(member, |_| true, |group| inflight_too.contains(&group));
        for delivery in orphans {
            if let Some(id) = delivery.group {
                self.return_to_group(id, delivery, now);
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
            for delivery in self.take_group_deliveries(member, wanted, wanted) {
                self.return_to_group(id, delivery, now);
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
            let Some(message) = self.groups.next_waiting(id) else {
                return;
            };
            if !self.drop_if_expired(&message, now) {
                self.deliver_to_group(id, &mut Publication::of_message(&message), now);
            }
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
    /// [MQTT-4.8.2-5]). It is one walk over everything the session has, for however many groups.
    fn take_group_deliveries(
        &mut self,
        member: SessionKey,
        queued_of: impl Fn(GroupId) -> bool,
        inflight_of: impl Fn(GroupId) -> bool,
    ) -> Vec<Delivery> {
        let Some(session) = self.session_by_key(member) else {
            return Vec::new();
        };
        let exchanges = session.inflight.extract(|exchange| {
            let group = exchange
                .delivery
                .as_ref()
                .and_then(|delivery| delivery.group);
            exchange.awaiting == Awaiting::PubAck && group.is_some_and(&inflight_of)
        });
        let mut taken: Vec<Delivery> = exchanges
            .into_iter()
            .filter_map(|exchange| exchange.delivery)
            .collect();
        let queue = std::mem::take(&mut session.queue);
        for delivery in queue {
            if delivery.group.is_some_and(&queued_of) {
                taken.push(delivery);
            } else {
                session.queue.push_back(delivery);
            }
        }
        for delivery in &taken {
            session.release_bytes(delivery);
        }
        taken
    }

    /// Another member is to have this.
    pub(super) fn return_to_group(&mut self, id: GroupId, delivery: Delivery, now: Time) {
        let Some(group) = self.groups.group(id) else {
            return self.counters.drop_message(DropReason::SessionEnded);
        };
        let home = self.home_of(&group.name);
        if home != self.id {
            let group = Arc::clone(&group.name);
            self.tell(
                home,
                PeerMessage::Return {
                    group,
                    message: delivery.message,
                },
            );
        } else if !self.drop_if_expired(&delivery.message, now) {
            self.deliver_to_group(id, &mut Publication::of_message(&delivery.message), now);
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
