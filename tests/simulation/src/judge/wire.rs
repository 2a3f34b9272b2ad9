//! One network connection seen at the shell's boundary: what was fed to the core and what the
//! core put out, packet by packet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;

use nexum_codec::{
    Acknowledgement, ConnAck, Connect, Disconnect, Packet, Publish, PublishDelivery, Split, SubAck,
    Subscribe, UnsubAck, Unsubscribe, decode, split_frame,
};
use nexum_types::{ProtocolVersion, QoS, ReasonCode, Time};

use super::messages::{MessageId, Publication, read_payload};
use super::retained::WriteId;
use super::sessions::SessionId;
use super::{Judge, SLACK};
use crate::link::LinkId;
use crate::rule::Rule;

/// What CONNECT asked for.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) client_id: String,
    pub(crate) version: ProtocolVersion,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry_seconds: Option<u32>,
    pub(crate) receive_maximum: usize,
    pub(crate) maximum_packet_size: usize,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) will: Option<(MessageId, u32)>,
}

#[derive(Default)]
pub(crate) struct LinkRecord {
    /// `None` for a vandal, of whom nothing is expected.
    pub(crate) client: Option<usize>,
    pub(crate) terms: Option<Terms>,
    pub(crate) session: Option<SessionId>,
    /// As the core's event said; CONNACK has to say the same.
    pub(crate) session_present: Option<bool>,
    pub(crate) keep_alive_seconds: u16,
    /// Bytes were last fed then.
    pub(crate) fed_at: Time,
    pub(crate) ended_at: Option<Time>,
    /// DISCONNECT was fed: its reason and Session Expiry Interval.
    pub(crate) disconnect: Option<(ReasonCode, Option<u32>)>,
    pub(crate) connack: Option<ReasonCode>,
    pub(crate) told_to_go: Option<ReasonCode>,
    fed: Vec<u8>,
    put_out: Vec<u8>,
    /// What was fed and may wait in the core.
    unconfirmed: Vec<Unconfirmed>,
    aliases_in: BTreeMap<NonZeroU16, String>,
    pub(crate) aliases_out: BTreeMap<NonZeroU16, String>,
    owed: BTreeMap<Kind, VecDeque<Owed>>,
    pub(crate) pings: usize,
    pub(crate) subscribes: BTreeMap<u16, Vec<usize>>,
    pub(crate) unsubscribes: BTreeMap<u16, Vec<Vec<usize>>>,
    /// Deliveries put out on this connection and not completed.
    pub(crate) quota_used: BTreeSet<u16>,
    /// The last exchange that was sent again.
    pub(crate) last_resent: Option<u64>,
    /// PUBREL that the core may send: identifiers of PUBREC.
    releases_due: VecDeque<u16>,
    /// Since when nothing keeps the core from sending to it.
    idle_since: Option<Time>,
    /// PUBLISH packets on their way to the client.
    pub(crate) deliveries: VecDeque<super::deliveries::PutOut>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "they are named for the packets")]
enum Kind {
    PubAck,
    PubRec,
    PubComp,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    id: u16,
    message: Option<MessageId>,
    /// What it retains or clears.
    write: Option<WriteId>,
    /// When it was asked for.
    since: Time,
}

#[derive(Clone, Copy, Debug)]
enum Unconfirmed {
    Published {
        message: MessageId,
        publication: usize,
    },
    /// QoS 0, so nothing else tells that it is done.
    Retained {
        write: WriteId,
    },
    Completed {
        id: u16,
        serial: u64,
    },
}

impl LinkRecord {
    pub(super) fn new(client: Option<usize>, now: Time) -> LinkRecord {
        LinkRecord {
            client,
            fed_at: now,
            ..LinkRecord::default()
        }
    }

    /// Whether the client waits for nothing.
    pub(crate) fn owes_nothing(&self) -> Result<(), String> {
        for (kind, owed) in &self.owed {
            if let Some(owed) = owed.front() {
                return Err(format!("{kind:?} for {} since {:?}", owed.id, owed.since));
            }
        }
        if let Some(id) = self
            .subscribes
            .keys()
            .chain(self.unsubscribes.keys())
            .next()
        {
            return Err(format!("an answer to SUBSCRIBE or UNSUBSCRIBE {id}"));
        }
        if self.pings > 0 {
            return Err("PINGRESP".to_owned());
        }
        Ok(())
    }

    /// How many acknowledgements of any kind the core may have to put out at once.
    pub(crate) fn owed_count(&self) -> usize {
        self.owed.values().map(VecDeque::len).sum::<usize>() + self.releases_due.len()
    }

    fn version(&self) -> ProtocolVersion {
        self.terms
            .as_ref()
            .map_or(ProtocolVersion::V3_1_1, |terms| terms.version)
    }
}

impl Judge {
    /// These bytes were given to the core.
    pub(crate) fn bytes_fed(&mut self, link: LinkId, bytes: &[u8]) {
        let record = self.link_mut(link);
        if record.client.is_none() {
            return;
        }
        record.fed.extend_from_slice(bytes);
        self.read_fed(link);
    }

    /// Reads what was fed; what was sent behind CONNECT counts when the session is there.
    pub(super) fn read_fed(&mut self, link: LinkId) {
        let bytes = std::mem::take(&mut self.link_mut(link).fed);
        let mut at = 0;
        while let Ok(Split::Frame(frame)) = split_frame(&bytes[at..], u32::MAX) {
            let record = self.link(link);
            if record.terms.is_some() && record.session.is_none() {
                break;
            }
            at += frame.size;
            match decode(frame, self.link(link).version()) {
                Ok(packet) => self.packet_fed(link, &packet),
                Err(error) => {
                    self.breach(Rule::WellFormed, format!("{link:?}: a client sent {error}"));
                }
            }
        }
        let now = self.now;
        let record = self.link_mut(link);
        record.fed = bytes[at..].to_vec();
        if at > 0 {
            record.fed_at = now;
        }
    }

    /// These bytes came out of the core.
    pub(crate) fn bytes_put_out(&mut self, link: LinkId, bytes: &[u8]) {
        if self.link(link).client.is_none() {
            return;
        }
        let record = self.link_mut(link);
        record.put_out.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut record.put_out);
        let mut at = 0;
        loop {
            match split_frame(&bytes[at..], u32::MAX) {
                Ok(Split::Frame(frame)) => {
                    at += frame.size;
                    match decode(frame, self.link(link).version()) {
                        Ok(packet) => self.packet_put_out(link, &packet, frame.size),
                        Err(error) => {
                            let text = format!("{link:?}: put out {error}: {:?}", frame.body);
                            self.breach(Rule::WellFormed, text);
                        }
                    }
                }
                Ok(Split::Incomplete { .. }) => break,
                Err(error) => {
                    self.breach(Rule::WellFormed, format!("{link:?}: put out {error}"));
                    break;
                }
            }
        }
        self.link_mut(link).put_out = bytes[at..].to_vec();
    }

    /// The core waits for nothing before it handles what it was fed: so it has.
    pub(crate) fn confirmed(&mut self, link: LinkId) {
        if self.link(link).unconfirmed.is_empty() {
            return;
        }
        let by = self.now;
        for fed in std::mem::take(&mut self.link_mut(link).unconfirmed) {
            match fed {
                Unconfirmed::Published {
                    message,
                    publication,
                } => {
                    self.message_mut(message).publications[publication].by = Some(by);
                }
                // The shard that keeps it has it soon.
                Unconfirmed::Retained { write } => self.write_is_done(write, by + SLACK),
                Unconfirmed::Completed { id, serial } => {
                    if let Some(session) = self.link(link).session {
                        let exchanges = &mut self.session_mut(session).exchanges;
                        if exchanges
                            .get(&id)
                            .is_some_and(|exchange| exchange.serial == serial)
                        {
                            exchanges.remove(&id);
                        }
                    }
                }
            }
        }
    }

    /// Whether the socket takes everything; then what is due for subscriptions comes soon.
    pub(crate) fn socket_is_empty(&mut self, link: LinkId, is_empty: bool) {
        let now = self.now;
        // A PUBREL sent again takes a place in the quota until PUBCOMP, like a message.
        let has_quota = self
            .link(link)
            .session
            .is_none_or(|session| self.session(session).exchanges.is_empty());
        let record = self.link_mut(link);
        if !is_empty || !has_quota || !record.quota_used.is_empty() {
            record.idle_since = None;
            return;
        }
        let since = *record.idle_since.get_or_insert(now);
        if now.since(since) > std::time::Duration::from_secs(1)
            && let Some(session) = record.session
        {
            self.session_mut(session).subscriptions.close_rights(since);
        }
    }

    fn packet_fed(&mut self, link: LinkId, packet: &Packet<'_>) {
        self.history
            .note(self.now, || format!("{link:?} ──► {}", brief(packet)));
        self.traffic += u64::from(!matches!(packet, Packet::PingReq));
        match packet {
            Packet::Connect(connect) => self.connect_fed(link, connect),
            Packet::Publish(publish) => self.publish_fed(link, publish),
            Packet::PubAck(ack) => self.completion_fed(link, ack),
            Packet::PubComp(ack) => self.completion_fed(link, ack),
            Packet::PubRec(ack) => self.pubrec_fed(link, ack),
            Packet::PubRel(ack) => {
                let id = ack.packet_identifier.value();
                if let Some(session) = self.link(link).session {
                    self.session_mut(session).clearing.remove(&id);
                }
                self.owe(link, Kind::PubComp, id, None, None);
            }
            Packet::Subscribe(subscribe) => self.subscribe_fed(link, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe_fed(link, unsubscribe),
            Packet::PingReq => self.link_mut(link).pings += 1,
            Packet::Disconnect(disconnect) => {
                self.link_mut(link).disconnect = Some((
                    disconnect.reason_code,
                    disconnect.session_expiry_interval_seconds,
                ));
            }
            Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => {
                self.breach(
                    Rule::WellFormed,
                    format!("{link:?}: a client sent {packet:?}"),
                );
            }
        }
    }

    fn connect_fed(&mut self, link: LinkId, connect: &Connect<'_>) {
        let keep_alive = match self.limits.server_keep_alive_seconds {
            Some(most) if connect.keep_alive_seconds == 0 => most.get(),
            Some(most) => connect.keep_alive_seconds.min(most.get()),
            None => connect.keep_alive_seconds,
        };
        let will = connect
            .will
            .as_ref()
            .and_then(|will| Some((read_payload(will.payload)?, will.delay_interval_seconds)));
        let properties = &connect.properties;
        let terms = Terms {
            client_id: connect.client_id.to_owned(),
            version: connect.version,
            clean_start: connect.clean_start,
            session_expiry_seconds: properties.session_expiry_interval_seconds,
            receive_maximum: usize::from(properties.receive_maximum.get()),
            maximum_packet_size: properties.maximum_packet_size.unwrap_or(u32::MAX) as usize,
            topic_alias_maximum: properties.topic_alias_maximum,
            will,
        };
        let record = self.link_mut(link);
        record.keep_alive_seconds = keep_alive;
        record.terms = Some(terms);
    }

    fn publish_fed(&mut self, link: LinkId, publish: &Publish<'_>) {
        let now = self.now;
        let record = self.link_mut(link);
        let topic = match (publish.topic, publish.topic_alias) {
            (Some(topic), alias) => {
                if let Some(alias) = alias {
                    record.aliases_in.insert(alias, topic.as_str().to_owned());
                }
                topic.as_str().to_owned()
            }
            (None, alias) => alias
                .and_then(|alias| record.aliases_in.get(&alias))
                .cloned()
                .unwrap_or_default(),
        };
        let message = read_payload(publish.payload);
        let exactly_once = publish.delivery.qos() == QoS::ExactlyOnce;
        let mut publication = None;
        if let Some(message) = message {
            // [MQTT-4.3.3-10]: what the session knows already is not routed again.
            let session_of = |link: LinkId| self.link(link).session;
            let earlier = self.message(message).publications.last();
            let is_known = exactly_once
                && earlier.is_some_and(|earlier| {
                    !earlier.refused && earlier.link.and_then(session_of) == session_of(link)
                });
            let record = self.message_mut(message);
            if record.content.topic != topic {
                let text = format!("{link:?}: {message:?} went to {topic}");
                return self.breach(Rule::WellFormed, text);
            }
            if !is_known {
                publication = Some(record.publications.len());
                record.publications.push(Publication {
                    from: now,
                    by: None,
                    link: Some(link),
                    refused: false,
                });
                self.tally.published += 1;
            }
        }
        let write = match message {
            Some(_) => (publish.retain && publication.is_some())
                .then(|| self.retain_written(&topic, message, now, None)),
            None => Some(self.clearing_fed(link, &topic, publish.delivery)),
        };
        if let (Some(message), Some(publication)) = (message, publication) {
            let fed = Unconfirmed::Published {
                message,
                publication,
            };
            self.link_mut(link).unconfirmed.push(fed);
        }
        match publish.delivery {
            PublishDelivery::AtMostOnce => {
                let fed = write.map(|write| Unconfirmed::Retained { write });
                self.link_mut(link).unconfirmed.extend(fed);
            }
            PublishDelivery::AtLeastOnce(id) => {
                self.owe(link, Kind::PubAck, id.value(), message, write);
            }
            PublishDelivery::ExactlyOnce(id) => {
                self.owe(link, Kind::PubRec, id.value(), message, write);
            }
        }
    }

    /// An empty payload, which cannot say whether it is the same as before; at QoS 2 its
    /// identifier does.
    fn clearing_fed(&mut self, link: LinkId, topic: &str, delivery: PublishDelivery) -> WriteId {
        let now = self.now;
        let (PublishDelivery::ExactlyOnce(id), Some(session)) = (delivery, self.link(link).session)
        else {
            return self.retain_written(topic, None, now, None);
        };
        if let Some(known) = self.session(session).clearing.get(&id.value()) {
            return *known;
        }
        let write = self.retain_written(topic, None, now, None);
        self.session_mut(session).clearing.insert(id.value(), write);
        write
    }

    fn owe(
        &mut self,
        link: LinkId,
        kind: Kind,
        id: u16,
        message: Option<MessageId>,
        write: Option<WriteId>,
    ) {
        let owed = Owed {
            id,
            message,
            write,
            since: self.now,
        };
        self.link_mut(link)
            .owed
            .entry(kind)
            .or_default()
            .push_back(owed);
    }

    fn completion_fed(&mut self, link: LinkId, ack: &Acknowledgement<'_>) {
        self.complete(link, ack.packet_identifier.value());
    }

    /// The client has said the last word of an exchange.
    fn complete(&mut self, link: LinkId, id: u16) {
        self.link_mut(link).quota_used.remove(&id);
        let Some(session) = self.link(link).session else {
            return;
        };
        let Some(exchange) = self.session_mut(session).exchanges.get_mut(&id) else {
            return;
        };
        exchange.answered = true;
        let serial = exchange.serial;
        self.link_mut(link)
            .unconfirmed
            .push(Unconfirmed::Completed { id, serial });
    }

    fn pubrec_fed(&mut self, link: LinkId, ack: &Acknowledgement<'_>) {
        let id = ack.packet_identifier.value();
        if ack.reason_code.is_error() {
            return self.complete(link, id);
        }
        self.link_mut(link).releases_due.push_back(id);
        if let Some(session) = self.link(link).session
            && let Some(exchange) = self.session_mut(session).exchanges.get_mut(&id)
        {
            exchange.received = true;
        }
    }

    fn subscribe_fed(&mut self, link: LinkId, subscribe: &Subscribe<'_>) {
        let now = self.now;
        let Some(session) = self.link(link).session else {
            return;
        };
        let subscriptions = &mut self.session_mut(session).subscriptions;
        let numbers = subscribe
            .requests
            .iter()
            .map(|request| {
                let identifier = subscribe.subscription_identifier;
                subscriptions.request(request.filter, request.options, identifier, now)
            })
            .collect();
        let id = subscribe.packet_identifier.value();
        self.link_mut(link).subscribes.insert(id, numbers);
    }

    fn unsubscribe_fed(&mut self, link: LinkId, unsubscribe: &Unsubscribe<'_>) {
        let now = self.now;
        let Some(session) = self.link(link).session else {
            return;
        };
        let mut meant = Vec::new();
        for filter in unsubscribe.filters.iter() {
            meant.push(
                self.session_mut(session)
                    .subscriptions
                    .request_end(filter, now),
            );
            self.member_may_leave(session, filter);
        }
        let id = unsubscribe.packet_identifier.value();
        self.link_mut(link).unsubscribes.insert(id, meant);
    }

    fn packet_put_out(&mut self, link: LinkId, packet: &Packet<'_>, bytes: usize) {
        self.history
            .note(self.now, || format!("{link:?} ◄── {}", brief(packet)));
        self.traffic += u64::from(!matches!(packet, Packet::PingResp));
        let record = self.link(link);
        let Some(terms) = &record.terms else {
            return self.breach(
                Rule::Expected,
                format!("{link:?}: {packet:?} before CONNECT"),
            );
        };
        if bytes > terms.maximum_packet_size {
            let most = terms.maximum_packet_size;
            let text = format!("{link:?}: {bytes} of {most} bytes: {}", brief(packet));
            self.breach(Rule::MaximumPacketSize, text);
        }
        if self.link(link).told_to_go.is_some() {
            let text = format!("{link:?}: {} after DISCONNECT", brief(packet));
            self.breach(Rule::Expected, text);
        }
        if self.link(link).connack != Some(ReasonCode::Success)
            && !matches!(packet, Packet::ConnAck(_))
        {
            // [MQTT-3.2.0-1] [MQTT3-3.2.0-1]
            let text = format!("{link:?}: {} before CONNACK", brief(packet));
            self.breach(Rule::Expected, text);
        }
        match packet {
            Packet::ConnAck(connack) => self.connack_put_out(link, connack),
            Packet::Publish(publish) => self.publish_put_out(link, publish),
            Packet::PubAck(ack) => self.acknowledgement_put_out(link, Kind::PubAck, ack),
            Packet::PubRec(ack) => self.acknowledgement_put_out(link, Kind::PubRec, ack),
            Packet::PubComp(ack) => self.acknowledgement_put_out(link, Kind::PubComp, ack),
            Packet::PubRel(ack) => self.pubrel_put_out(link, ack),
            Packet::SubAck(suback) => self.suback_put_out(link, suback),
            Packet::UnsubAck(unsuback) => self.unsuback_put_out(link, unsuback),
            Packet::PingResp => {
                let pings = self.link(link).pings.checked_sub(1);
                match pings {
                    Some(pings) => self.link_mut(link).pings = pings,
                    None => self.breach(Rule::Expected, format!("{link:?}: PINGRESP")),
                }
            }
            Packet::Disconnect(disconnect) => self.disconnect_put_out(link, disconnect),
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Auth(_) => {
                self.breach(Rule::Expected, format!("{link:?}: {}", brief(packet)));
            }
        }
    }

    fn connack_put_out(&mut self, link: LinkId, connack: &ConnAck<'_>) {
        let record = self.link(link);
        if record.connack.is_some() {
            return self.breach(Rule::Expected, format!("{link:?}: a second CONNACK"));
        }
        let accepted = connack.reason_code == ReasonCode::Success;
        if accepted != record.session.is_some()
            || connack.session_present != record.session_present.unwrap_or(false)
        {
            let text = format!("{link:?}: {connack:?} beside {:?}", record.session_present);
            self.breach(Rule::SessionPresent, text);
        }
        self.link_mut(link).connack = Some(connack.reason_code);
    }

    fn acknowledgement_put_out(&mut self, link: LinkId, kind: Kind, ack: &Acknowledgement<'_>) {
        let now = self.now;
        let id = ack.packet_identifier.value();
        let front = self
            .link_mut(link)
            .owed
            .get_mut(&kind)
            .and_then(VecDeque::pop_front);
        let Some(owed) = front.filter(|owed| owed.id == id) else {
            let text = format!("{link:?}: {kind:?} {id}, and due is {front:?}");
            return self.breach(Rule::AcknowledgementOrder, text);
        };
        if ack.reason_code.is_error() {
            let is_full = ack.reason_code == ReasonCode::QuotaExceeded && !self.loses_nothing;
            if is_full && kind != Kind::PubComp {
                // Somebody who should keep it has no room; others may have it all the same.
                self.tally.not_kept += 1;
                if let Some(message) = owed.message
                    && let Some(last) = self.message_mut(message).publications.last_mut()
                {
                    last.refused = true;
                }
            } else if kind != Kind::PubComp {
                let text = format!("{link:?}: {kind:?} {id} says {}", ack.reason_code);
                self.breach(Rule::ReasonCode, text);
            }
            return;
        }
        if kind == Kind::PubComp {
            return;
        }
        if let Some(message) = owed.message {
            if ack.reason_code == ReasonCode::NoMatchingSubscribers {
                self.check_nobody_matches(link, message);
            }
            self.message_mut(message).acknowledged_at.get_or_insert(now);
            self.writes_are_done(message, now);
            self.tally.acknowledged += 1;
        }
        if let Some(write) = owed.write {
            self.write_is_done(write, now);
        }
    }

    fn check_nobody_matches(&mut self, link: LinkId, message: MessageId) {
        let record = self.message(message);
        let Some(from) = record.first_published() else {
            return;
        };
        let topic = record.content.topic.clone();
        let somebody = self.sessions.iter().find(|session| {
            session.is_alive(self.now) == super::sessions::Certainty::Yes
                && session.subscriptions.records.iter().any(|subscription| {
                    subscription.holds_since(from) && subscription.matches(&topic)
                })
        });
        if let Some(somebody) = somebody {
            let text = format!("{link:?}: {message:?} matches {}", somebody.client_id);
            self.breach(Rule::ReasonCode, text);
        }
    }

    fn pubrel_put_out(&mut self, link: LinkId, ack: &Acknowledgement<'_>) {
        let id = ack.packet_identifier.value();
        if self.link(link).releases_due.front() == Some(&id) {
            self.link_mut(link).releases_due.pop_front();
            return;
        }
        // Not an answer: then it is sent again after a reconnection.
        let Some(session) = self.link(link).session else {
            return;
        };
        let exchange = self.session(session).exchanges.get(&id).copied();
        match exchange {
            Some(exchange) if exchange.received && exchange.link != link => {
                self.session_mut(session)
                    .exchanges
                    .entry(id)
                    .and_modify(|exchange| {
                        exchange.link = link;
                    });
                self.note_resent(link, exchange.serial);
            }
            Some(_) | None => {
                let text = format!("{link:?}: PUBREL {id} for {exchange:?}");
                self.breach(Rule::Resend, text);
            }
        }
    }

    /// [MQTT-4.6.0-1] and section 4.4: again, in the original order.
    pub(super) fn note_resent(&mut self, link: LinkId, serial: u64) {
        let last = self.link_mut(link).last_resent.replace(serial);
        if last.is_some_and(|last| last >= serial) {
            let text = format!("{link:?}: exchange {serial} sent again after {last:?}");
            self.breach(Rule::Resend, text);
        }
        self.tally.resent += 1;
    }

    fn suback_put_out(&mut self, link: LinkId, suback: &SubAck<'_>) {
        let now = self.now;
        let id = suback.packet_identifier.value();
        let Some(numbers) = self.link_mut(link).subscribes.remove(&id) else {
            return self.breach(Rule::Expected, format!("{link:?}: SUBACK {id}"));
        };
        if numbers.len() != suback.reason_codes.len() {
            return self.breach(Rule::Expected, format!("{link:?}: {suback:?}"));
        }
        let Some(session) = self.link(link).session else {
            return;
        };
        for (number, reason_code) in numbers.into_iter().zip(suback.reason_codes.iter()) {
            let asked = self.session(session).subscriptions.records[number]
                .options
                .maximum_qos;
            let granted = !reason_code.is_error();
            if granted && reason_code.value() != asked.bits() {
                let text = format!("{link:?}: asked for {asked:?}, granted {reason_code}");
                self.breach(Rule::ReasonCode, text);
            }
            if !granted && self.loses_nothing {
                self.breach(
                    Rule::ReasonCode,
                    format!("{link:?}: SUBACK says {reason_code}"),
                );
            }
            self.session_mut(session)
                .subscriptions
                .answer(number, granted, link, now);
        }
    }

    fn unsuback_put_out(&mut self, link: LinkId, unsuback: &UnsubAck<'_>) {
        let now = self.now;
        let id = unsuback.packet_identifier.value();
        let Some(meant) = self.link_mut(link).unsubscribes.remove(&id) else {
            return self.breach(Rule::Expected, format!("{link:?}: UNSUBACK {id}"));
        };
        let Some(session) = self.link(link).session else {
            return;
        };
        if self.link(link).version() == ProtocolVersion::V5
            && unsuback.reason_codes.len() != meant.len()
        {
            return self.breach(Rule::Expected, format!("{link:?}: {unsuback:?}"));
        }
        for numbers in meant {
            self.session_mut(session).subscriptions.end(&numbers, now);
        }
    }

    fn disconnect_put_out(&mut self, link: LinkId, disconnect: &Disconnect<'_>) {
        if self.link(link).version() == ProtocolVersion::V3_1_1 {
            self.breach(Rule::WellFormed, format!("{link:?}: DISCONNECT on 3.1.1"));
        }
        self.link_mut(link).told_to_go = Some(disconnect.reason_code);
    }
}

/// A packet in a line of the history.
fn brief(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => format!(
            "PUBLISH {:?}{}{} {} alias {:?} expiry {:?} ids {:?} message {:?} ({} bytes)",
            publish.delivery,
            if publish.dup { " DUP" } else { "" },
            if publish.retain { " RETAIN" } else { "" },
            publish.topic.map_or("-", |topic| topic.as_str()),
            publish.topic_alias,
            publish.message_expiry_interval_seconds,
            publish.subscription_identifiers,
            read_payload(publish.payload),
            publish.payload.len(),
        ),
        Packet::Connect(connect) => format!(
            "CONNECT {:?} {:?} clean {} expiry {:?} keep alive {} receive {} size {:?} alias {} will {:?}",
            connect.client_id,
            connect.version,
            connect.clean_start,
            connect.properties.session_expiry_interval_seconds,
            connect.keep_alive_seconds,
            connect.properties.receive_maximum,
            connect.properties.maximum_packet_size,
            connect.properties.topic_alias_maximum,
            connect.will.as_ref().map(|will| (
                read_payload(will.payload),
                will.delay_interval_seconds,
                will.qos,
                will.retain,
            )),
        ),
        Packet::ConnAck(connack) => {
            format!(
                "CONNACK {} session present {}",
                connack.reason_code, connack.session_present
            )
        }
        Packet::PubAck(ack) => format!(
            "PUBACK {} {}",
            ack.packet_identifier.value(),
            ack.reason_code
        ),
        Packet::PubRec(ack) => format!(
            "PUBREC {} {}",
            ack.packet_identifier.value(),
            ack.reason_code
        ),
        Packet::PubRel(ack) => format!(
            "PUBREL {} {}",
            ack.packet_identifier.value(),
            ack.reason_code
        ),
        Packet::PubComp(ack) => {
            format!(
                "PUBCOMP {} {}",
                ack.packet_identifier.value(),
                ack.reason_code
            )
        }
        Packet::Subscribe(subscribe) => format!(
            "SUBSCRIBE {} identifier {:?} {:?}",
            subscribe.packet_identifier.value(),
            subscribe.subscription_identifier,
            subscribe
                .requests
                .iter()
                .map(|request| (request.filter, request.options))
                .collect::<Vec<_>>(),
        ),
        Packet::SubAck(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => format!("{packet:?}"),
    }
}
