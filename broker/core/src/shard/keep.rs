//! What is kept beyond the shard's own life: putting it into the journal, and what happens when the
//! store has it, or refuses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nexum_codec::AcknowledgementKind;
use nexum_types::{ClientId, PacketIdentifier, Time};

use super::Shard;
use super::promise::Then;
use super::publish::Publication;
use super::timers::Timer;
use crate::connection::{CorkedConnAck, Holds};
use crate::journal::{KeptDelivery, KeptWaiting, Waiters};
use crate::key::{ConnectionKey, SessionKey};
use crate::output::{DisconnectCause, Event, Output};
use crate::peer::{NotKept, PeerMessage, Receipt};
use crate::record::{
    Change, Content, DeliveryRecord, Key, MessageId, SessionId, SessionRecord, StoreRefusal,
    Stored, Submission, Value,
};
use crate::session::{Delivery, DeliveryRecorded, Exchange, Received};

/// How long a store that refuses is left alone.
const RETRY: Duration = Duration::from_millis(500);

impl Shard {
    /// What has gathered for the store since the last call, in one piece or, if it is much, in
    /// several. To be submitted before the batches for other shards are sent; answered by
    /// [`Input::Stored`](crate::Input::Stored), in this order.
    pub fn take_submission(&mut self) -> Option<Submission> {
        self.journal.submit()
    }

    /// Puts the record of a delivery into the journal, if its session keeps what it gets.
    pub(super) fn record_delivery(
        &mut self,
        session: u32,
        delivery: &mut Delivery,
        publication: &mut Publication<'_>,
        packet_identifier: Option<PacketIdentifier>,
    ) {
        let state = &self.sessions[session as usize];
        let Some(id) = state.keeps() else {
            return;
        };
        let is_inline = delivery.group.is_none() && publication.is_kept_once();
        let content = if is_inline {
            delivery.record = DeliveryRecorded::Inline;
            Content::Inline(publication.message())
        } else {
            let message = self.share(publication);
            delivery.record = DeliveryRecorded::Shared(message);
            Content::Shared {
                id: message,
                size_bytes: delivery.size_bytes,
            }
        };
        let group = delivery.group.and_then(|group| self.groups.group(group));
        let record = DeliveryRecord {
            content,
            qos: delivery.qos,
            retain: delivery.retain,
            subscription_identifiers: delivery.subscription_identifiers.clone(),
            group: group.map(|group| Arc::clone(&group.name)),
            packet_identifier,
        };
        let key = Key::Delivery(id, delivery.position);
        self.journal.put(key, Value::Delivery(record));
        let kept = KeptDelivery {
            session: self.session_key(session),
            position: delivery.position,
            packet_identifier,
            revocable: publication.revocable,
        };
        self.journal.waiters().deliveries.push(kept);
        publication.kept = true;
    }

    /// The record of a message that several share, with one reference more.
    pub(super) fn share(&mut self, publication: &mut Publication<'_>) -> MessageId {
        if publication.carries_reference
            && let Some(id) = publication.shared
        {
            publication.carries_reference = false;
            return id;
        }
        let id = match publication.shared {
            Some(id) => id,
            None => {
                let id = self.next_message_id;
                // Those of one shard leave the same remainder: see `MessageId::owner`.
                self.next_message_id.0 += u64::from(self.shards);
                publication.shared = Some(id);
                let message = publication.message();
                self.journal.put(Key::Message(id), Value::Message(message));
                id
            }
        };
        self.add_reference(id);
        id
    }

    /// One more shares a message.
    pub(super) fn add_reference(&mut self, message: MessageId) {
        let owner = message.owner(self.shards);
        if owner == self.id {
            *self.references.entry(message).or_default() += 1;
        } else {
            self.tell(owner, PeerMessage::Share { message });
        }
    }

    /// A publication that came with a reference to its record goes where nothing is kept.
    pub(super) fn drop_carried_reference(&mut self, publication: &mut Publication<'_>) {
        if std::mem::take(&mut publication.carries_reference)
            && let Some(id) = publication.shared
        {
            self.drop_reference(id);
        }
    }

    /// A record that names a shared message is deleted.
    fn drop_reference_of(&mut self, key: &Key, message: MessageId) {
        if message.owner(self.shards) == self.id {
            self.drop_reference(message);
        } else {
            // Deleted before what names it, it would be missed after a crash.
            self.journal.forget_with(key, message);
        }
    }

    /// One of those who share a message needs it no more.
    pub(super) fn drop_reference(&mut self, message: MessageId) {
        if message.owner(self.shards) != self.id {
            return self.journal.waiters().forgotten.push(message);
        }
        if let Some(references) = self.references.get_mut(&message) {
            *references -= 1;
            if *references == 0 {
                self.references.remove(&message);
                self.journal.delete(Key::Message(message));
            }
        }
    }

    /// A delivery is over, or its message is in the hands of its client.
    pub(super) fn forget_delivery(&mut self, session: u32, delivery: &Delivery) {
        let Some(id) = self.sessions[session as usize].id else {
            return;
        };
        if !delivery.is_recorded() {
            return;
        }
        let key = Key::Delivery(id, delivery.position);
        self.journal.delete(key.clone());
        if let DeliveryRecorded::Shared(message) = delivery.record {
            self.drop_reference_of(&key, message);
        }
    }

    /// An exchange is over.
    pub(super) fn forget_exchange(
        &mut self,
        session: u32,
        packet_identifier: PacketIdentifier,
        exchange: &Exchange,
    ) {
        if exchange.recorded
            && let Some(id) = self.sessions[session as usize].id
        {
            self.journal.delete(Key::Exchange(id, packet_identifier));
        }
        if let Some(delivery) = &exchange.delivery {
            self.forget_delivery(session, delivery);
        }
    }

    /// The client may use an identifier again. Returns whether the store has to know first.
    pub(super) fn forget_received(&mut self, session: u32, packet: PacketIdentifier) -> bool {
        let state = &mut self.sessions[session as usize];
        let id = state.id;
        match (state.received.remove(packet), id) {
            (Some(Received::Waiting | Received::AskedAgain(_) | Received::Stored), Some(id)) => {
                self.journal.delete(Key::Received(id, packet));
                true
            }
            (Some(_) | None, _) => false,
        }
    }

    /// Puts what a session is into the journal.
    pub(super) fn record_session(&mut self, session: u32) {
        let state = &self.sessions[session as usize];
        let Some(id) = state.id else {
            return;
        };
        let record = SessionRecord {
            client_id: state.client_id.shared(),
            expiry_interval_seconds: state.expiry_interval_seconds,
            disconnected_at: state.connection.is_none().then_some(state.disconnected_at),
        };
        self.journal.put(Key::Session(id), Value::Session(record));
    }

    /// A name for a new session.
    pub(super) fn take_session_id(&mut self) -> SessionId {
        let id = self.next_session_id;
        self.next_session_id.0 += u64::from(self.shards);
        id
    }

    /// What was put just now is to be safe before the connection is sent anything, or listened to.
    pub(super) fn cork(&mut self, key: ConnectionKey) {
        let connection = &mut self.connections[key.index as usize];
        connection.corks += 1;
        connection.holds.add(Holds::CORKED);
        self.journal.waiters().corked.push(key);
    }

    fn uncork(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        connection.corks = connection.corks.saturating_sub(1);
        connection.connack = CorkedConnAck::None;
        if connection.corks == 0 && connection.is_closing() {
            // It ended meanwhile, and is closed when it has been told what it was promised.
            return self.outputs.push_back(Output::Close { connection: key });
        }
        if connection.corks == 0 {
            let has_output = connection.outbound.pending() > 0;
            self.lift_hold(key, Holds::CORKED);
            if has_output {
                self.list_for_transmit(key.index);
            }
        }
    }

    /// The next packet of an exchange waits for what was put just now.
    pub(super) fn gate(&mut self, session: u32, packet_identifier: PacketIdentifier) {
        let key = self.session_key(session);
        self.sessions[session as usize]
            .gates
            .push_back(packet_identifier);
        self.journal.waiters().gates.push((key, packet_identifier));
    }

    pub(super) fn on_stored(&mut self, stored: Stored, now: Time) {
        let Some(submitted) = self.journal.answered(stored.sequence) else {
            debug_assert!(false, "answers come in the order of submissions");
            return;
        };
        match stored.refused {
            None => {
                self.on_kept(submitted.waiters, now);
                self.journal.note_kept(stored.sequence);
                let mut changes = submitted.changes.iter();
                if self.told_of_refusal
                    && !self.journal.is_refusing()
                    // A full store takes deletions: that tells nothing.
                    && changes.any(|change| matches!(change, Change::Put(..)))
                {
                    self.told_of_refusal = false;
                    self.event(Event::StoreRecovered);
                }
            }
            Some(refusal) => {
                let is_first = self
                    .journal
                    .begin_refusing(stored.sequence, &submitted.changes);
                for change in &*submitted.changes {
                    if let Change::Delete(key) = change
                        && self.is_received_anew(key)
                    {
                        self.journal.abandon(key);
                    }
                }
                if is_first {
                    self.wheel.arm(now + RETRY, Timer::Store);
                }
                if !std::mem::replace(&mut self.told_of_refusal, true) {
                    let reason = Arc::clone(&refusal.reason);
                    self.event(Event::StoreRefuses { reason });
                }
                self.on_refused(submitted.waiters, &refusal, now);
            }
        }
    }

    /// Whether this is an identifier that was deleted and has come again meanwhile, so that an
    /// extension may have it stored with what came under it.
    fn is_received_anew(&mut self, key: &Key) -> bool {
        let Key::Received(id, packet) = key else {
            return false;
        };
        let Some(index) = self.session_ids.get(id).copied() else {
            return false;
        };
        match self.sessions[index as usize].received.get_mut(*packet) {
            None | Some(Received::Here) => false,
            Some(Received::Waiting | Received::AskedAgain(_) | Received::Stored) => true,
        }
    }

    pub(super) fn on_store_timer(&mut self, now: Time) {
        if !self.journal.is_refusing() {
            return;
        }
        if !self.journal.retry() {
            self.wheel.arm(now + RETRY, Timer::Store);
        }
    }

    /// What they waited for is safe.
    pub(super) fn on_kept(&mut self, waiters: Waiters, now: Time) {
        let Waiters {
            deliveries,
            waiting,
            gates,
            joints,
            foreign: _,
            of_publisher: _,
            forgotten,
            received,
            receipts,
            sessions,
            ended,
            corked,
        } = waiters;
        for delivery in deliveries {
            self.on_delivery_kept(delivery, now);
        }
        for KeptWaiting {
            group, position, ..
        } in waiting
        {
            self.on_waiting_kept(group, position, now);
        }
        if self.journal.is_refusing() {
            // An earlier submission may have deleted what names them, too, and was not taken.
            let waiters = self.journal.waiters();
            waiters.forgotten.extend(forgotten);
            waiters.ended.extend(ended);
        } else {
            for client_id in ended {
                self.on_ended_kept(&client_id);
            }
            for message in forgotten {
                let owner = message.owner(self.shards);
                self.tell(owner, PeerMessage::Forget { message });
            }
        }
        for (session, packet_identifier) in gates {
            self.open_gate(session, packet_identifier, now);
        }
        for (shard, ticket) in joints {
            self.tell_joint(shard, ticket, true, now);
        }
        for (session, packet) in received {
            self.on_received_kept(session, packet, now);
        }
        for receipt in receipts {
            self.settle(receipt, None, now);
        }
        for key in sessions {
            if let Some(session) = self.session_by_key(key) {
                session.stored = true;
            }
        }
        for connection in corked {
            self.uncork(connection);
        }
    }

    /// The store has a delivery: its message need not be in memory, unless it is to be sent soon.
    fn on_delivery_kept(&mut self, kept: KeptDelivery, now: Time) {
        let limits = Arc::clone(&self.limits);
        let Some(session) = self.session_by_key(kept.session) else {
            return;
        };
        let exchange = kept
            .packet_identifier
            .and_then(|id| session.inflight.get_mut(id))
            .filter(|exchange| exchange.position == kept.position);
        if let Some(exchange) = exchange {
            let is_sent = exchange.sent;
            let mut is_of_group = false;
            if let Some(delivery) = &mut exchange.delivery {
                delivery.stored = true;
                is_of_group = delivery.group.is_some();
                if is_sent || session.connection.is_none() {
                    delivery.unload();
                }
            }
            if is_of_group && session.connection.is_none() {
                self.give_back(kept.session.index, now);
            }
            return;
        }
        let may_hold = session.may_hold(&limits);
        if let Some(place) = session.place_in_queue(kept.position) {
            let delivery = &mut session.queue[place];
            delivery.stored = true;
            if !may_hold {
                delivery.unload();
            }
            let is_of_group = delivery.group.is_some();
            if place == 0 && session.connection.is_some() {
                self.pump(kept.session.index, now);
            } else if is_of_group && session.connection.is_none() {
                self.give_back(kept.session.index, now);
            }
        }
    }

    /// The store has a session of this client no more.
    fn on_ended_kept(&mut self, client_id: &ClientId) {
        if let Some(deletions) = self.ended.get_mut(client_id) {
            *deletions -= 1;
            if *deletions == 0 {
                self.ended.remove(client_id);
            }
        }
    }

    pub(super) fn on_received_kept(
        &mut self,
        key: SessionKey,
        packet: PacketIdentifier,
        now: Time,
    ) {
        let Some(session) = self.session_by_key(key) else {
            return;
        };
        let Some(received) = session.received.get_mut(packet) else {
            return;
        };
        if let Received::AskedAgain(receipt) = std::mem::replace(received, Received::Stored) {
            self.settle(receipt, None, now);
        }
    }

    /// The next packet of an exchange may leave, after those that were to leave before it.
    fn open_gate(&mut self, key: SessionKey, packet_identifier: PacketIdentifier, now: Time) {
        let Some(session) = self.session_by_key(key) else {
            return;
        };
        if let Some(exchange) = session.inflight.get_mut(packet_identifier) {
            exchange.gated = false;
        }
        self.send_opened(key.index, now);
        // A walk over what is to be sent again may have waited for the gate.
        if self.session_by_key(key).is_some_and(|it| it.has_backlog()) {
            self.pump(key.index, now);
        }
    }

    /// Sends what waits behind open gates, as far as the socket allows: however much comes back from
    /// the store at once.
    pub(super) fn send_opened(&mut self, session: u32, now: Time) {
        let most = self.outbound_limit();
        while let Some(state) = self.sessions.get_mut(session as usize)
            && let Some(first) = state.gates.front().copied()
            && !state.is_gated(first)
            && state
                .connection
                .is_none_or(|key| self.connections[key.index as usize].outbound.pending() < most)
            && let Some(first) = self.sessions[session as usize].gates.pop_front()
        {
            self.send_ungated(session, first, now);
        }
    }

    /// What could not be kept is submitted again later. Publishers are told if it is certain that
    /// what they sent is not kept; then it is taken back as far as nobody was sent it.
    fn on_refused(&mut self, mut waiters: Waiters, refusal: &StoreRefusal, now: Time) {
        for key in std::mem::take(&mut waiters.corked) {
            let connack = self.connection(key).map(|connection| connection.connack);
            if connack == Some(CorkedConnAck::Resumed) {
                // The store has the session. Who comes to take what waits must not be kept out.
                self.uncork(key);
            } else {
                self.end_connection(key, DisconnectCause::Unstored, now);
            }
        }
        if refusal.is_certain {
            waiters = self.take_back(waiters, now);
        }
        self.journal.waiters().append(waiters);
    }

    /// What they wait for will not be kept: publishers are told, and what nobody was sent is taken
    /// back. Returns those who wait all the same.
    pub(super) fn take_back(&mut self, mut waiters: Waiters, now: Time) -> Waiters {
        let (revocable, others) = std::mem::take(&mut waiters.deliveries)
            .into_iter()
            .partition::<Vec<_>, _>(|delivery| delivery.revocable);
        waiters.deliveries = others;
        let mut relieved = BTreeSet::new();
        for delivery in revocable {
            if self.revoke(delivery) {
                relieved.insert(delivery.session);
            } else {
                waiters.deliveries.push(delivery);
            }
        }
        let (revocable, others) = std::mem::take(&mut waiters.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|waiting| waiting.revocable);
        waiters.waiting = others;
        for waiting in revocable {
            self.revoke_waiting(waiting, now);
        }
        // Other shards take theirs back, and an extension publishes again, which must not be undone.
        let foreign = std::mem::take(&mut waiters.foreign);
        let of_publisher = std::mem::take(&mut waiters.of_publisher);
        for key in foreign.iter().chain(&of_publisher) {
            self.journal.abandon(key);
        }
        let (told, others) = std::mem::take(&mut waiters.receipts)
            .into_iter()
            .partition::<Vec<_>, _>(|receipt| self.is_of_publisher(*receipt));
        waiters.receipts = others;
        for (key, packet) in std::mem::take(&mut waiters.received) {
            let Some(session) = self.session_by_key(key) else {
                continue;
            };
            let asked = session.received.asked_again(packet);
            self.forget_received(key.index, packet);
            if let Some(receipt) = asked {
                self.settle(receipt, Some(NotKept::StoreRefuses), now);
            }
        }
        for (shard, ticket) in std::mem::take(&mut waiters.joints) {
            self.tell_joint(shard, ticket, false, now);
        }
        for receipt in told {
            self.settle(receipt, Some(NotKept::StoreRefuses), now);
        }
        // Others may have waited behind what is gone.
        for key in relieved {
            if self.session_by_key(key).is_some() {
                self.pump(key.index, now);
            }
        }
        waiters
    }

    fn is_of_publisher(&self, receipt: Receipt) -> bool {
        match receipt {
            Receipt::Owed {
                connection,
                sequence,
            } => self
                .connection(connection)
                .and_then(|connection| connection.owed_at(sequence))
                .is_none_or(|owed| owed.kind != AcknowledgementKind::PubComp),
            Receipt::Promise(id) => {
                let promise = self.promises.get(id as usize);
                promise.is_some_and(|promise| match &promise.then {
                    Then::Answer { revocable, .. } => *revocable,
                    Then::Commit(_) | Then::Tell(_) => true,
                    Then::Published(publishing) => publishing.is_taken_back(),
                    Then::ForgetWill(_) => false,
                })
            }
        }
    }

    /// Takes a delivery back that its client was not sent. False if it was.
    fn revoke(&mut self, kept: KeptDelivery) -> bool {
        let Some(session) = self.session_by_key(kept.session) else {
            return true;
        };
        let index = kept.session.index;
        if let Some(place) = session.place_in_queue(kept.position) {
            if let Some(delivery) = session.queue.remove(place) {
                session.release_bytes(&delivery);
                self.forget_delivery(index, &delivery);
            }
            return true;
        }
        let Some(id) = kept.packet_identifier else {
            return false;
        };
        let unsent = session
            .inflight
            .get_mut(id)
            .is_none_or(|exchange| exchange.position == kept.position && !exchange.sent);
        if !unsent {
            return false;
        }
        let used_quota = session
            .resend_from
            .is_none_or(|from| session.inflight.position(id).is_some_and(|at| at < from));
        session.gates.retain(|gate| *gate != id);
        if let Some(exchange) = session.inflight.take(id) {
            if used_quota {
                session.quota_used = session.quota_used.saturating_sub(1);
            }
            if let Some(delivery) = &exchange.delivery {
                session.release_bytes(delivery);
            }
            self.forget_exchange(index, id, &exchange);
        }
        true
    }
}
