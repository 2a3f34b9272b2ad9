//! All shards of a broker, and clients that speak to it.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use nexum_codec::{
    Acknowledgement, AcknowledgementKind, Connect, Packet, PublishDelivery, Split, UserProperties,
    decode, split_frame,
};
use nexum_extension_api::{Extension, Output as Wish};
use nexum_types::{PacketIdentifier, ProtocolVersion, ReasonCode, Time};

use crate::{
    Change, ConnectionKey, ConnectionLoss, ConnectionOrigin, ExtensionConfig, ExtensionId, Input,
    Key, Limits, LoadId, Output, RecordTable, Shard, ShardConfig, ShardId, StoreRefusal, Stored,
    Submission,
};

/// Names a client of a [`Broker`].
pub(super) type ClientIndex = usize;

pub(super) struct Broker {
    pub(super) shards: Vec<Shard>,
    pub(super) now: Time,
    clients: Vec<Client>,
    /// What the core asked for and no client sees, the oldest first: checks of credentials and
    /// steps of enhanced authentication.
    pub(super) asked: Vec<Output>,
    /// What the store has.
    pub(super) records: RecordTable,
    /// What becomes of submissions.
    pub(super) store: Store,
    /// Those without an answer.
    unanswered: VecDeque<(usize, Submission)>,
    /// Whether messages are read when [`answer_loads`](Broker::answer_loads) is called.
    pub(super) slow_loads: bool,
    unanswered_loads: VecDeque<(usize, LoadId, Vec<Key>)>,
    extension: Option<Box<dyn Extension>>,
    /// What it was told.
    pub(super) told: Vec<nexum_extension_api::Input>,
}

/// How the store fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    /// It keeps everything at once.
    Quick,
    /// It answers when it is told to.
    Slow,
    /// It keeps nothing.
    Full,
}

struct Client {
    shard: usize,
    key: ConnectionKey,
    version: ProtocolVersion,
    closed: bool,
    /// It does not read what it is sent.
    stuck: bool,
    inbox: Vec<u8>,
}

/// A packet that a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    ConnAck {
        session_present: bool,
        reason_code: ReasonCode,
        authentication_data: Option<Vec<u8>>,
    },
    Publish {
        topic: String,
        payload: Vec<u8>,
        delivery: PublishDelivery,
        dup: bool,
    },
    Acknowledgement(AcknowledgementKind, PacketIdentifier, ReasonCode),
    SubAck(Vec<ReasonCode>),
    UnsubAck,
    PingResp,
    Disconnect(ReasonCode),
    Auth {
        reason_code: ReasonCode,
        method: String,
        data: Vec<u8>,
    },
}

impl Broker {
    pub(super) fn new(shards: u16, limits: Limits) -> Broker {
        Broker::extended(shards, limits, None)
    }

    /// With an extension, whose writes are stored at once.
    pub(super) fn extended(
        shards: u16,
        limits: Limits,
        extension: Option<Box<dyn Extension>>,
    ) -> Broker {
        let limits = Arc::new(limits);
        let extensions: Arc<[_]> = extension
            .iter()
            .map(|extension| ExtensionConfig {
                table: 16,
                claims: extension.claims(),
            })
            .collect();
        let shard = |id| {
            Shard::new(ShardConfig {
                id: ShardId(id),
                shards,
                limits: Arc::clone(&limits),
                seed: 7,
                authentication_methods: Arc::from([Box::from("method")]),
                extensions: Arc::clone(&extensions),
            })
        };
        Broker {
            shards: (0..shards).map(shard).collect(),
            now: Time::ZERO,
            clients: Vec::new(),
            asked: Vec::new(),
            records: RecordTable::default(),
            store: Store::Quick,
            unanswered: VecDeque::new(),
            extension,
            told: Vec::new(),
            slow_loads: false,
            unanswered_loads: VecDeque::new(),
        }
    }

    /// Opens a connection on the first shard and sends CONNECT.
    pub(super) fn connect(&mut self, connect: Connect<'_>) -> ClientIndex {
        let key = self.shards[0].open(origin(), self.now);
        let client = self.clients.len();
        self.clients.push(Client {
            shard: 0,
            key,
            version: connect.version,
            closed: false,
            stuck: false,
            inbox: Vec::new(),
        });
        self.send(client, Packet::Connect(connect));
        client
    }

    /// Sends CONNECT and takes the CONNACK, which lets the client in.
    pub(super) fn admit(&mut self, packet: Connect<'_>) -> ClientIndex {
        let client = self.connect(packet);
        let received = self.take(client);
        assert!(
            matches!(
                received.first(),
                Some(Received::ConnAck {
                    reason_code: ReasonCode::Success,
                    ..
                })
            ),
            "{received:?}"
        );
        client
    }

    pub(super) fn send(&mut self, client: ClientIndex, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        nexum_codec::encode(&packet, self.clients[client].version, &mut bytes).expect("small");
        self.send_bytes(client, &bytes);
    }

    pub(super) fn send_bytes(&mut self, client: ClientIndex, bytes: &[u8]) {
        let Client { shard, key, .. } = self.clients[client];
        self.shards[shard].receive(key, bytes, self.now);
        self.settle();
    }

    /// The same, and nothing comes of it before something else happens.
    pub(super) fn send_meanwhile(&mut self, client: ClientIndex, packet: Packet<'_>) {
        let Client {
            shard,
            key,
            version,
            ..
        } = self.clients[client];
        let mut bytes = Vec::new();
        nexum_codec::encode(&packet, version, &mut bytes).expect("small");
        self.shards[shard].receive(key, &bytes, self.now);
    }

    pub(super) fn acknowledge(
        &mut self,
        client: ClientIndex,
        kind: AcknowledgementKind,
        packet_identifier: PacketIdentifier,
    ) {
        let packet = Acknowledgement {
            packet_identifier,
            reason_code: ReasonCode::Success,
            reason_string: None,
            user_properties: UserProperties::EMPTY,
        };
        self.send(
            client,
            match kind {
                AcknowledgementKind::PubAck => Packet::PubAck(packet),
                AcknowledgementKind::PubRec => Packet::PubRec(packet),
                AcknowledgementKind::PubRel => Packet::PubRel(packet),
                AcknowledgementKind::PubComp => Packet::PubComp(packet),
            },
        );
    }

    /// What the client got since the last time it was asked for.
    pub(super) fn take(&mut self, client: ClientIndex) -> Vec<Received> {
        let Client { version, inbox, .. } = &mut self.clients[client];
        let bytes = std::mem::take(inbox);
        let mut rest = &bytes[..];
        let mut received = Vec::new();
        while !rest.is_empty() {
            let Ok(Split::Frame(frame)) = split_frame(rest, u32::MAX) else {
                panic!("half a packet")
            };
            rest = &rest[frame.size..];
            received.push(seen(decode(frame, *version).expect("a valid packet")));
        }
        received
    }

    /// The payloads of the PUBLISH packets among what it got.
    pub(super) fn take_payloads(&mut self, client: ClientIndex) -> Vec<Vec<u8>> {
        let payload = |received| match received {
            Received::Publish { payload, .. } => Some(payload),
            Received::ConnAck { .. }
            | Received::Acknowledgement(..)
            | Received::SubAck(_)
            | Received::UnsubAck
            | Received::PingResp
            | Received::Disconnect(_)
            | Received::Auth { .. } => None,
        };
        self.take(client).into_iter().filter_map(payload).collect()
    }

    /// The broker has closed the connection.
    pub(super) fn is_closed(&self, client: ClientIndex) -> bool {
        self.clients[client].closed
    }

    /// From now on it does not read what it is sent.
    pub(super) fn stop_reading(&mut self, client: ClientIndex) {
        self.clients[client].stuck = true;
    }

    /// How many bytes wait for it.
    pub(super) fn waiting_bytes(&self, client: ClientIndex) -> usize {
        let Client { shard, key, .. } = self.clients[client];
        self.shards[shard].pending_transmit(key)
    }

    /// The broker takes no bytes from it for now.
    pub(super) fn is_held(&self, client: ClientIndex) -> bool {
        let Client { shard, key, .. } = self.clients[client];
        !self.shards[shard].wants_read(key)
    }

    /// Acknowledges every QoS 1 delivery until none comes any more; returns their payloads.
    pub(super) fn acknowledge_all(&mut self, client: ClientIndex) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        loop {
            let received = self.take(client);
            if received.is_empty() {
                return payloads;
            }
            for received in received {
                if let Received::Publish {
                    payload, delivery, ..
                } = received
                {
                    payloads.push(payload);
                    if let PublishDelivery::AtLeastOnce(id) = delivery {
                        self.acknowledge(client, AcknowledgementKind::PubAck, id);
                    }
                }
            }
        }
    }

    /// Its network connection breaks.
    pub(super) fn lose(&mut self, client: ClientIndex) {
        let Client { shard, key, .. } = self.clients[client];
        self.clients[client].closed = true;
        self.shards[shard].lost(key, ConnectionLoss::EndOfStream, self.now);
        self.settle();
    }

    pub(super) fn input(
        &mut self,
        client: ClientIndex,
        input: impl FnOnce(ConnectionKey) -> Input,
    ) {
        let Client { shard, key, .. } = self.clients[client];
        self.shards[shard].handle(input(key), self.now);
        self.settle();
    }

    /// What the extension wants of a shard.
    pub(super) fn wish(&mut self, shard: usize, outputs: Vec<Wish>) {
        let extension = ExtensionId(0);
        self.shards[shard].handle(Input::Extension { extension, outputs }, self.now);
        self.settle();
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let due = self.shards.iter().filter_map(Shard::poll_timeout).min();
            self.now = due.unwrap_or(until).max(self.now).min(until);
            for shard in &mut self.shards {
                if shard.poll_timeout().is_some_and(|due| due <= self.now) {
                    shard.handle_timeout(self.now);
                }
            }
            self.settle();
            if self.now == until {
                return;
            }
        }
    }

    /// Carries everything where it belongs until nothing moves.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for from in 0..self.shards.len() {
                while let Some(output) = self.shards[from].poll_output() {
                    moved = true;
                    self.carry_out(from, output);
                }
                while let Some(key) = self.shards[from].poll_transmit() {
                    moved = true;
                    self.deliver(self.client(from, key), from, key);
                }
                while let Some(submission) = self.shards[from].take_submission() {
                    moved = true;
                    self.unanswered.push_back((from, submission));
                }
                if self.store != Store::Slow {
                    moved |= self.answer_submissions();
                }
                if let Some(batch) = self.shards[from].take_extension_batch(ExtensionId(0)) {
                    moved = true;
                    let companions: Vec<_> = batch
                        .companions
                        .into_iter()
                        .map(|(_, change)| change)
                        .collect();
                    self.records.apply(&companions);
                    self.feed_extension(batch.inputs);
                }
                for to in 0..self.shards.len() {
                    if let Some(batch) = self.shards[from].take_peer_batch(ShardId(to as u16)) {
                        moved = true;
                        let from = ShardId(from as u16);
                        self.shards[to].handle(Input::Peer { from, batch }, self.now);
                    }
                }
            }
        }
    }

    fn feed_extension(&mut self, inputs: Vec<nexum_extension_api::Input>) {
        let Some(mut extension) = self.extension.take() else {
            return;
        };
        self.told.extend(inputs.iter().cloned());
        let mut inputs = VecDeque::from(inputs);
        while let Some(input) = inputs.pop_front() {
            extension.handle(input, self.now);
            while let Some(output) = extension.poll_output() {
                let shard = match &output {
                    Wish::Reply { command, .. } => command.shard,
                    Wish::Grant { feed, .. } | Wish::Refuse { feed, .. } => feed.shard,
                    Wish::Deliver(deliver) => deliver.feed.shard,
                    Wish::Write(write) => {
                        inputs.push_back(nexum_extension_api::Input::Written {
                            write: write.write,
                            refused: None,
                        });
                        continue;
                    }
                    other => panic!("{other:?}"),
                };
                let input = Input::Extension {
                    extension: ExtensionId(0),
                    outputs: vec![output],
                };
                self.shards[usize::from(shard)].handle(input, self.now);
            }
        }
        self.extension = Some(extension);
    }

    /// The store comes to what it was given.
    pub(super) fn commit(&mut self) {
        self.answer_submissions();
        self.settle();
    }

    /// The store comes to what one shard has given it.
    pub(super) fn commit_of(&mut self, shard: usize) {
        let (own, others) = std::mem::take(&mut self.unanswered)
            .into_iter()
            .partition(|(from, _)| *from == shard);
        self.unanswered = own;
        self.answer_submissions();
        self.unanswered = others;
        self.settle();
    }

    /// The shard that has its session.
    pub(super) fn shard_of(&self, client: ClientIndex) -> usize {
        self.clients[client].shard
    }

    /// Messages come back from the store.
    pub(super) fn answer_loads(&mut self) {
        for (shard, load, keys) in std::mem::take(&mut self.unanswered_loads) {
            let messages = keys.iter().map(|key| self.records.message(key)).collect();
            self.shards[shard].handle(Input::Loaded { load, messages }, self.now);
        }
        self.settle();
    }

    /// How many submissions without an answer put records of these kinds.
    pub(super) fn unanswered_changes(&self, kinds: &[&str]) -> usize {
        let puts = |submission: &Submission| {
            kinds.iter().all(|kind| {
                submission.changes.iter().any(|change| match change {
                    Change::Put(Key::Received(..), _) => *kind == "received",
                    Change::Put(Key::Delivery(..), _) => *kind == "delivery",
                    Change::Put(..) | Change::Delete(_) => false,
                })
            })
        };
        let unanswered = self.unanswered.iter();
        unanswered
            .filter(|(_, submission)| puts(submission))
            .count()
    }

    fn answer_submissions(&mut self) -> bool {
        let answered = !self.unanswered.is_empty();
        for (shard, submission) in std::mem::take(&mut self.unanswered) {
            let refused = (self.store == Store::Full).then(|| StoreRefusal {
                is_certain: true,
                reason: Arc::from("full"),
            });
            if refused.is_none() {
                self.records.apply(&submission.changes);
            }
            let sequence = submission.sequence;
            let stored = Input::Stored(Stored { sequence, refused });
            self.shards[shard].handle(stored, self.now);
        }
        answered
    }

    /// The broker is killed and starts again with what the store has, and as many shards.
    pub(super) fn restart(&mut self, limits: Limits) {
        let shards = self.shards.len() as u16;
        let records = std::mem::take(&mut self.records);
        let now = self.now;
        let extension = self.extension.take();
        *self = Broker::extended(shards, limits, extension);
        self.now = now;
        let (restored, session, message) = records.restored(7, shards);
        self.records = records;
        for (shard, restored) in restored {
            self.shards[usize::from(shard.0)].restore(restored, now);
        }
        for shard in &mut self.shards {
            shard.finish_restoring(session, message, now);
        }
        self.settle();
    }

    /// The same, and it takes so long until it is there again.
    pub(super) fn down_for(&mut self, duration: Duration, limits: Limits) {
        self.now = self.now + duration;
        self.restart(limits);
    }

    fn carry_out(&mut self, from: usize, output: Output) {
        match output {
            Output::Close { connection } => {
                let client = self.client(from, connection);
                self.deliver(client, from, connection);
                self.clients[client].closed = true;
                self.shards[from].closed(connection);
            }
            Output::Rehome {
                connection,
                to,
                origin,
                received,
            } => {
                let client = self.client(from, connection);
                let to = usize::from(to.0);
                let key = self.shards[to].open(origin, self.now);
                self.clients[client].shard = to;
                self.clients[client].key = key;
                self.shards[to].receive(key, &received, self.now);
            }
            output @ (Output::Authenticate { .. } | Output::Exchange { .. }) => {
                self.asked.push(output);
            }
            Output::Load { load, keys } => {
                self.unanswered_loads.push_back((from, load, keys));
                if !self.slow_loads {
                    self.answer_loads();
                }
            }
            Output::ResumeReading { .. } | Output::Event(_) => {}
        }
    }

    fn deliver(&mut self, client: ClientIndex, shard: usize, key: ConnectionKey) {
        while !self.clients[client].stuck {
            let shard = &mut self.shards[shard];
            let mut slices = [IoSlice::new(&[]); 8];
            let count = shard.transmit(key, &mut slices);
            let bytes: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            if bytes.is_empty() {
                return;
            }
            shard.transmitted(key, bytes.len(), self.now);
            self.clients[client].inbox.extend_from_slice(&bytes);
        }
    }

    fn client(&self, shard: usize, key: ConnectionKey) -> ClientIndex {
        self.clients
            .iter()
            .position(|client| client.shard == shard && client.key == key)
            .expect("every connection is a client's")
    }
}

fn origin() -> ConnectionOrigin {
    ConnectionOrigin {
        address: None,
        listener: Arc::from("test"),
        anonymous: true,
        verify_credentials: false,
        certificate: None,
    }
}

fn seen(packet: Packet<'_>) -> Received {
    let acknowledgement = |kind, ack: Acknowledgement<'_>| {
        Received::Acknowledgement(kind, ack.packet_identifier, ack.reason_code)
    };
    match packet {
        Packet::ConnAck(ack) => Received::ConnAck {
            session_present: ack.session_present,
            reason_code: ack.reason_code,
            authentication_data: ack.properties.authentication_data.map(<[u8]>::to_vec),
        },
        Packet::Publish(publish) => Received::Publish {
            topic: publish
                .topic
                .map_or(String::new(), |topic| topic.as_str().to_owned()),
            payload: publish.payload.to_vec(),
            delivery: publish.delivery,
            dup: publish.dup,
        },
        Packet::PubAck(ack) => acknowledgement(AcknowledgementKind::PubAck, ack),
        Packet::PubRec(ack) => acknowledgement(AcknowledgementKind::PubRec, ack),
        Packet::PubRel(ack) => acknowledgement(AcknowledgementKind::PubRel, ack),
        Packet::PubComp(ack) => acknowledgement(AcknowledgementKind::PubComp, ack),
        Packet::SubAck(ack) => Received::SubAck(ack.reason_codes.iter().collect()),
        Packet::UnsubAck(_) => Received::UnsubAck,
        Packet::PingResp => Received::PingResp,
        Packet::Disconnect(disconnect) => Received::Disconnect(disconnect.reason_code),
        Packet::Auth(auth) => Received::Auth {
            reason_code: auth.reason_code,
            method: auth.authentication_method.unwrap_or_default().to_owned(),
            data: auth.authentication_data.unwrap_or_default().to_vec(),
        },
        packet @ (Packet::Connect(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq) => panic!("not a server's packet: {packet:?}"),
    }
}
