//! Shared subscriptions: the members of a group, and which of them gets a message.
//!
//! A group is ShareName and filter together ([MQTT-4.8.2-3..5]). It has one home, the shard its
//! name hashes to, which knows all members and chooses; on the shards of its members it is known
//! by name only, to tell the home of comings and goings.
//!
//! Messages that no member is there for wait in the group and not with a member that may never
//! come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use nexum_types::Message;
use slab::Slab;

use crate::limits::{Limits, SharedSubscriptionStrategy};
use crate::peer::{MemberKey, MemberTerms};
use crate::record::MessageId;

/// A group as one shard knows it; reused after the group is gone from that shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(u32);

#[derive(Default)]
pub(crate) struct SharedSubscriptions {
    groups: Slab<Group>,
    by_name: BTreeMap<Arc<str>, GroupId>,
    /// Those in which messages wait: few, if any, however many groups a session is in.
    backlogged: BTreeSet<GroupId>,
}

pub(crate) struct Group {
    /// `<ShareName>/<filter>`; a ShareName has no slash.
    pub(crate) name: Arc<str>,
    /// Sessions of this shard among the members: their terms are kept here too, for deliveries
    /// that the home assigns.
    pub(crate) local: BTreeMap<crate::key::SessionKey, MemberTerms>,
    /// All members, where this shard is the home, and the place of each in `online` while it is
    /// there.
    members: BTreeMap<MemberKey, Option<usize>>,
    /// Those with a connection, among whom a message's member is chosen.
    online: Vec<Member>,
    /// Where in `online` the next search begins.
    turn: usize,
    /// Messages that wait for any member.
    backlog: VecDeque<WaitingMessage>,
    backlog_bytes: u64,
    next_position: u64,
    /// Members that keep what they get beyond their connections: while there are any, what waits is
    /// kept, too.
    durable: BTreeSet<MemberKey>,
    /// The first of the backlog is being loaded.
    pub(crate) loads: bool,
}

/// A message that waits for any member.
#[derive(Debug)]
pub(crate) struct WaitingMessage {
    pub(crate) position: u64,
    /// `None` while the store alone has it.
    pub(crate) message: Option<Arc<Message>>,
    pub(crate) size_bytes: u32,
    /// The record of the message, if what waits is kept.
    pub(crate) record: Option<MessageId>,
    /// The store has it, or is not to have it.
    pub(crate) stored: bool,
}

#[derive(Debug)]
struct Member {
    key: MemberKey,
    /// Assigned and not settled.
    outstanding: u32,
}

impl SharedSubscriptions {
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<GroupId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn find_or_create(&mut self, name: &Arc<str>) -> GroupId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let group = Group {
            name: Arc::clone(name),
            local: BTreeMap::new(),
            members: BTreeMap::new(),
            online: Vec::new(),
            turn: 0,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            next_position: 0,
            durable: BTreeSet::new(),
            loads: false,
        };
        let id = GroupId(self.groups.insert(group) as u32);
        self.by_name.insert(Arc::clone(name), id);
        id
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id.0 as usize)
    }

    pub(crate) fn group_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(id.0 as usize)
    }

    /// Forgets the group if nobody here has to do with it any more; returns what waited in it.
    pub(crate) fn remove_if_empty(&mut self, id: GroupId) -> Option<Group> {
        let group = self.groups.get(id.0 as usize)?;
        if !group.members.is_empty() || !group.local.is_empty() {
            return None;
        }
        self.by_name.remove(&group.name);
        self.backlogged.remove(&id);
        Some(self.groups.remove(id.0 as usize))
    }

    /// A message waits for any member of a group. False if it has no room for another.
    pub(crate) fn wait(
        &mut self,
        id: GroupId,
        message: Option<Arc<Message>>,
        size_bytes: u32,
        record: Option<MessageId>,
    ) -> u64 {
        let Some(group) = self.group_mut(id) else {
            return 0;
        };
        group.next_position += 1;
        let position = group.next_position;
        group.restore_waiting(WaitingMessage {
            position,
            message,
            size_bytes,
            record,
            stored: record.is_none(),
        });
        self.backlogged.insert(id);
        position
    }

    /// What waited before a restart.
    pub(crate) fn restore_waiting(&mut self, id: GroupId, waiting: WaitingMessage) {
        if let Some(group) = self.group_mut(id) {
            group.next_position = group.next_position.max(waiting.position);
            group.restore_waiting(waiting);
            self.backlogged.insert(id);
        }
    }

    pub(crate) fn next_waiting(&mut self, id: GroupId) -> Option<WaitingMessage> {
        let group = self.group_mut(id)?;
        let waiting = group.next_waiting();
        if group.backlog.is_empty() {
            self.backlogged.remove(&id);
        }
        waiting
    }

    /// The message at this position waits no more.
    pub(crate) fn take_waiting(&mut self, id: GroupId, position: u64) -> Option<WaitingMessage> {
        let group = self.group_mut(id)?;
        let place = group
            .backlog
            .iter()
            .position(|waiting| waiting.position == position)?;
        let waiting = group.backlog.remove(place)?;
        group.backlog_bytes -= u64::from(waiting.size_bytes);
        if group.backlog.is_empty() {
            self.backlogged.remove(&id);
        }
        Some(waiting)
    }

    /// Those in which messages wait.
    pub(crate) fn backlogged(&self) -> Vec<GroupId> {
        self.backlogged.iter().copied().collect()
    }

    /// Those of `groups` in which messages wait.
    pub(crate) fn backlogged_among(&self, groups: &BTreeSet<GroupId>) -> Vec<GroupId> {
        let (few, many) = if self.backlogged.len() < groups.len() {
            (&self.backlogged, groups)
        } else {
            (groups, &self.backlogged)
        };
        few.iter().copied().filter(|id| many.contains(id)).collect()
    }
}

impl Group {
    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(crate) fn backlog_len(&self) -> usize {
        self.backlog.len()
    }

    /// A new member is not chosen before it is online.
    pub(crate) fn join(&mut self, key: MemberKey, durable: bool) {
        self.members.entry(key).or_default();
        if durable {
            self.durable.insert(key);
        } else {
            self.durable.remove(&key);
        }
    }

    pub(crate) fn leave(&mut self, key: MemberKey) {
        self.set_online(key, false);
        self.durable.remove(&key);
        self.members.remove(&key);
    }

    /// A member's connection came or went.
    pub(crate) fn set_online(&mut self, key: MemberKey, online: bool) {
        let Some(place) = self.members.get_mut(&key) else {
            return;
        };
        match (*place, online) {
            (None, true) => {
                *place = Some(self.online.len());
                let outstanding = 0;
                self.online.push(Member { key, outstanding });
            }
            (Some(gone), false) => {
                *place = None;
                self.online.swap_remove(gone);
                if let Some(moved) = self.online.get(gone) {
                    self.members.insert(moved.key, Some(gone));
                }
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    pub(crate) fn settled(&mut self, key: MemberKey) {
        if let Some(Some(place)) = self.members.get(&key) {
            let member = &mut self.online[*place];
            member.outstanding = member.outstanding.saturating_sub(1);
        }
    }

    pub(crate) fn has_online_members(&self) -> bool {
        !self.online.is_empty()
    }

    /// Whether some member could be sent a message at once.
    pub(crate) fn any_has_room(&self, has_room: impl Fn(MemberKey, u32) -> bool) -> bool {
        self.online
            .iter()
            .any(|member| has_room(member.key, member.outstanding))
    }

    /// The member that gets the next message, if one is there: one with room before one without,
    /// so that a slow member does not keep messages that others could take. `key_hash` is of what
    /// the sticky strategy goes by, which has no choice.
    pub(crate) fn choose(
        &mut self,
        strategy: SharedSubscriptionStrategy,
        has_room: impl Fn(MemberKey, u32) -> bool,
        key_hash: impl FnOnce() -> u64,
    ) -> Option<MemberKey> {
        let count = self.online.len();
        let turn = self.turn;
        let online = &self.online;
        // The turn may point behind the last, who left.
        let mut places = (0..count).map(|step| (turn + step) % count);
        let place = match strategy {
            SharedSubscriptionStrategy::RoundRobin => places
                .find(|place| has_room(online[*place].key, online[*place].outstanding))
                .or_else(|| (count > 0).then(|| turn % count)),
            SharedSubscriptionStrategy::LeastInflight => {
                places.min_by_key(|place| online[*place].outstanding)
            }
            SharedSubscriptionStrategy::Sticky => self.stickiest(key_hash()),
        }?;
        self.turn = (place + 1) % count;
        let member = &mut self.online[place];
        member.outstanding = member.outstanding.saturating_add(1);
        Some(member.key)
    }

    /// Rendezvous hashing: when a member comes or goes, only the keys that are its own move.
    fn stickiest(&self, key_hash: u64) -> Option<usize> {
        (0..self.online.len()).max_by_key(|place| {
            let member = self.online[*place].key;
            let identity = u64::from(member.shard.0) << 48
                ^ u64::from(member.session.index) << 20
                ^ u64::from(member.session.generation);
            mix(key_hash ^ mix(identity))
        })
    }

    /// Whether one more message of so many bytes may wait.
    pub(crate) fn has_room_for(&self, bytes: usize, limits: &Limits) -> bool {
        let (most, most_bytes) = if self.keeps() {
            (
                limits.persistent_queue_messages,
                limits.persistent_queue_bytes,
            )
        } else {
            (limits.session_queue_messages, limits.session_queue_bytes)
        };
        (self.backlog.len() as u64) < u64::from(most)
            && self.backlog_bytes + bytes as u64 <= most_bytes
    }

    /// Whether what waits is kept.
    pub(crate) fn keeps(&self) -> bool {
        !self.durable.is_empty()
    }

    /// What waits, the first first.
    pub(crate) fn waiting_mut(&mut self) -> impl Iterator<Item = &mut WaitingMessage> {
        self.backlog.iter_mut()
    }

    fn restore_waiting(&mut self, waiting: WaitingMessage) {
        self.backlog_bytes += u64::from(waiting.size_bytes);
        self.backlog.push_back(waiting);
    }

    fn next_waiting(&mut self) -> Option<WaitingMessage> {
        let waiting = self.backlog.pop_front()?;
        self.backlog_bytes -= u64::from(waiting.size_bytes);
        Some(waiting)
    }
}

/// The filter in a group's name.
pub(crate) fn filter_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, filter)| filter)
}

/// The finalizer of SplitMix64: every bit of the input moves every bit of the output.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{SessionKey, ShardId};

    fn member(n: u32) -> MemberKey {
        MemberKey {
            shard: ShardId(0),
            session: SessionKey {
                index: n,
                generation: n,
            },
        }
    }

    fn group(members: u32) -> Group {
        let mut groups = SharedSubscriptions::default();
        let id = groups.find_or_create(&Arc::from("g/a"));
        let mut group = groups.groups.remove(id.0 as usize);
        for n in 0..members {
            group.join(member(n), false);
            group.set_online(member(n), true);
        }
        group
    }

    fn chosen(group: &mut Group, strategy: SharedSubscriptionStrategy, key: u64) -> Option<u32> {
        group
            .choose(strategy, |_, _| true, || key)
            .map(|member| member.session.index)
    }

    #[test]
    fn round_robin_takes_turns_and_skips_the_absent() {
        let mut group = group(3);
        group.set_online(member(1), false);
        let turns: Vec<_> = (0..4)
            .map(|_| chosen(&mut group, SharedSubscriptionStrategy::RoundRobin, 0))
            .collect();
        assert_eq!(turns, [Some(0), Some(2), Some(0), Some(2)]);
        group.set_online(member(0), false);
        group.set_online(member(2), false);
        assert_eq!(
            chosen(&mut group, SharedSubscriptionStrategy::RoundRobin, 0),
            None
        );
    }

    #[test]
    fn least_inflight_prefers_who_has_settled() {
        let mut group = group(2);
        let strategy = SharedSubscriptionStrategy::LeastInflight;
        assert_eq!(chosen(&mut group, strategy, 0), Some(0));
        assert_eq!(chosen(&mut group, strategy, 0), Some(1));
        group.settled(member(1));
        assert_eq!(chosen(&mut group, strategy, 0), Some(1));
        assert_eq!(chosen(&mut group, strategy, 0), Some(0));
    }

    #[test]
    fn sticky_moves_only_the_keys_of_who_left() {
        let mut group = group(5);
        let strategy = SharedSubscriptionStrategy::Sticky;
        let before: Vec<_> = (0..200)
            .map(|key| chosen(&mut group, strategy, mix(key)))
            .collect();
        group.leave(member(3));
        for (key, before) in (0..200).zip(before) {
            let after = chosen(&mut group, strategy, mix(key));
            assert!(after == before || before == Some(3), "key {key}");
        }
    }
}
