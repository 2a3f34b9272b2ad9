//! Promises that are fulfilled in several places: how many answers are still due, and what then.

use nexum_types::{PacketIdentifier, Time};

use super::Shard;
use super::command::Asker;
use super::extensions::Publishing;
use super::publish::{Publication, Published};
use crate::journal::{Part, Waiters};
use crate::key::ShardId;
use crate::peer::{NotKept, PeerMessage, Prepared, Receipt};
use crate::record::{Change, Key, SessionId};

/// A promise whose fulfilment is awaited.
#[derive(Debug)]
pub(super) struct Promise {
    remaining: u16,
    refused: Option<NotKept>,
    pub(super) then: Then,
}

/// What happens when it is fulfilled, or broken.
#[derive(Debug)]
pub(super) enum Then {
    /// Another shard is told.
    Answer {
        to: ShardId,
        receipt: Receipt,
        /// It has a publisher to tell, if it is not kept.
        revocable: bool,
    },
    /// What this shard and others have of a publication is committed.
    Commit(Box<Joint>),
    /// The will of a session is published: its record is not needed any more.
    ForgetWill(SessionId),
    /// Whoever asked for it is told.
    Tell(Box<Asker>),
    /// An extension has published it.
    Published(Box<Publishing>),
}

/// A QoS 2 publication that several shards keep, and that is committed in one submission with its
/// identifier.
#[derive(Debug)]
pub(super) struct Joint {
    part: Part,
    receipt: Receipt,
}

/// What another shard commits.
#[derive(Debug)]
pub(super) struct HandedOver {
    keys: Box<[Key]>,
    waiters: Waiters,
}

impl Shard {
    pub(super) fn promise(&mut self, then: Then) -> Receipt {
        let promise = Promise {
            remaining: 0,
            refused: None,
            then,
        };
        Receipt::Promise(self.promises.insert(promise) as u32)
    }

    /// All have been asked for their answer. If nobody was it is fulfilled at once.
    pub(super) fn await_promise(
        &mut self,
        receipt: Receipt,
        answers: u16,
        refused: Option<NotKept>,
        now: Time,
    ) {
        let Receipt::Promise(id) = receipt else {
            return;
        };
        if let Some(promise) = self.promises.get_mut(id as usize) {
            promise.remaining = answers;
            promise.refused = refused;
            if answers == 0 {
                self.fulfil(id, now);
            }
        }
    }

    /// One of the answers that somebody waits for.
    pub(super) fn settle(&mut self, receipt: Receipt, refused: Option<NotKept>, now: Time) {
        match receipt {
            Receipt::Owed {
                connection,
                sequence,
            } => self.on_owed_receipt(connection, sequence, refused, now),
            Receipt::Promise(id) => {
                let Some(promise) = self.promises.get_mut(id as usize) else {
                    return;
                };
                if promise.refused.is_none() {
                    promise.refused = refused;
                }
                promise.remaining = promise.remaining.saturating_sub(1);
                if promise.remaining == 0 {
                    self.fulfil(id, now);
                }
            }
        }
    }

    fn fulfil(&mut self, id: u32, now: Time) {
        let Promise { refused, then, .. } = self.promises.remove(id as usize);
        match then {
            Then::Answer { to, receipt, .. } => self.tell(
                to,
                PeerMessage::Kept {
                    receipt,
                    refused,
                    prepared: None,
                },
            ),
            Then::Commit(joint) => {
                let Joint { mut part, receipt } = *joint;
                let later = self.journal.release(part.puts());
                // Its publisher will send it again: nobody is to have it, and its identifier is to
                // be forgotten, whether or not the connection is there that could be told.
                let is_taken_back = match &refused {
                    None | Some(NotKept::SessionFull) => false,
                    Some(NotKept::StoreRefuses | NotKept::Refused(_)) => true,
                };
                let taken_back = is_taken_back.then(|| {
                    let waiters = std::mem::take(&mut part.waiters);
                    part.leave_out(&waiters.foreign);
                    part.leave_as_is(&waiters.of_publisher);
                    waiters
                });
                if refused.is_none() {
                    part.waiters.receipts.push(receipt);
                }
                self.journal.append(part);
                self.journal.catch_up(later);
                if let Some(waiters) = taken_back {
                    let others = self.take_back(waiters, now);
                    self.journal.waiters().append(others);
                }
                if refused.is_some() {
                    self.settle(receipt, refused, now);
                }
            }
            Then::Tell(asker) => self.on_published_for(*asker, refused, now),
            Then::Published(publishing) => self.on_published(*publishing, refused, now),
            Then::ForgetWill(session) => {
                let has_another = self
                    .session_ids
                    .get(&session)
                    .is_some_and(|index| self.sessions[*index as usize].will.is_some());
                // A will that the store did not take is published again after a restart.
                if !has_another && refused != Some(NotKept::StoreRefuses) {
                    self.journal.delete(Key::Will(session));
                }
            }
        }
    }

    /// Publishes what other shards may keep, too: they hand over what they would have committed,
    /// and this shard commits all of it, together with the identifier if it was received from a
    /// session that outlives its connection.
    pub(super) fn publish_jointly(
        &mut self,
        publication: &mut Publication<'_>,
        received: Option<(u32, PacketIdentifier)>,
        receipt: Receipt,
        now: Time,
    ) -> Published {
        let joint = Joint {
            part: Part::default(),
            receipt,
        };
        let promise = self.promise(Then::Commit(Box::new(joint)));
        publication.receipt = Some(promise);
        publication.joint = true;
        self.journal.capture();
        let mut published = self.publish(publication, now);
        let own_changes = std::mem::take(&mut publication.own_changes);
        let is_kept = publication.is_kept() || published.receipts > 0 || !own_changes.is_empty();
        for change in own_changes {
            let key = change.key().clone();
            self.journal.waiters().of_publisher.push(key);
            self.journal.push(change);
        }
        if is_kept
            && let Some((session, packet)) = received
            && let Some(id) = self.sessions[session as usize].keeps()
        {
            self.keep_received(session, id, packet);
        }
        let part = self.journal.captured();
        let Receipt::Promise(id) = promise else {
            return published;
        };
        if !is_kept {
            // What had to make room is gone all the same.
            self.journal.append(part);
            self.promises.remove(id as usize);
            return published;
        }
        if let Some(Promise {
            then: Then::Commit(joint),
            ..
        }) = self.promises.get_mut(id as usize)
        {
            joint.part = part;
        }
        let (answers, refused) = (published.receipts, published.refused.take());
        published.receipts = 1;
        self.pending_joint = Some((promise, answers, refused));
        published
    }

    /// After the acknowledgement is owed: the answers may be complete already.
    pub(super) fn begin_joint(&mut self, now: Time) {
        if let Some((promise, answers, refused)) = self.pending_joint.take() {
            self.await_promise(promise, answers, refused, now);
        }
    }

    /// An answer from another shard.
    pub(super) fn on_peer_kept(
        &mut self,
        receipt: Receipt,
        refused: Option<NotKept>,
        prepared: Option<Box<Prepared>>,
        now: Time,
    ) {
        if let (Some(prepared), Receipt::Promise(id)) = (prepared, receipt)
            && let Some(Promise {
                then: Then::Commit(joint),
                ..
            }) = self.promises.get_mut(id as usize)
        {
            for change in prepared.changes {
                if let Change::Put(key, _) = &change {
                    joint.part.waiters.foreign.push(key.clone());
                }
                joint.part.push(change);
            }
            joint.part.waiters.joints.extend(prepared.tickets);
        }
        self.settle(receipt, refused, now);
    }

    /// Hands what this shard would commit of a joint publication to the shard that does.
    pub(super) fn hand_over(
        &mut self,
        to: ShardId,
        receipt: Receipt,
        part: Part,
        refused: Option<NotKept>,
    ) {
        let puts = part.puts().cloned().collect();
        let Part {
            changes, waiters, ..
        } = part;
        let ticket = HandedOver {
            keys: puts,
            waiters,
        };
        let ticket = self.tickets.insert(ticket) as u32;
        let prepared = Prepared {
            changes,
            tickets: vec![(self.id, ticket)],
        };
        self.tell(
            to,
            PeerMessage::Kept {
                receipt,
                refused,
                prepared: Some(Box::new(prepared)),
            },
        );
    }

    pub(super) fn tell_joint(&mut self, shard: ShardId, ticket: u32, kept: bool, now: Time) {
        if shard == self.id {
            self.on_joint_stored(ticket, kept, now);
        } else {
            self.tell(shard, PeerMessage::JointStored { ticket, kept });
        }
    }

    pub(super) fn on_joint_stored(&mut self, ticket: u32, kept: bool, now: Time) {
        let Some(HandedOver { keys, waiters }) = self.tickets.try_remove(ticket as usize) else {
            return;
        };
        let later = self.journal.release(keys.iter());
        self.journal.catch_up(later);
        if kept {
            return self.on_kept(waiters, now);
        }
        // The shard that could not commit it has told its publisher; nobody was sent it.
        self.take_back(waiters, now);
    }
}
