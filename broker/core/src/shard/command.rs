//! What is published to an address: wrappers off, then to whoever serves it, and what comes back.
//!
//! ```text
//! PUBLISH ─► unwrap ─┬─ plain target ──────────────► publish
//!                    ├─ a served word ─► Command ─► extension ─► Reply ─► acknowledgement, reply
//!                    └─ for later ─────► Command to whoever serves $delayed
//! ```

use std::sync::Arc;
use std::time::Duration;

use nexum_codec::{Property, Publish, PublishDelivery};
use nexum_extension_api::{Address, Command, CommandId, ErrorCode, Input, Options, Refusal, Reply};
use nexum_types::{Message, MessageParts, PacketIdentifier, ProtocolVersion, Time, TopicName};

use super::Shard;
use super::promise::Then;
use super::publish::{Publication, Published};
use super::unwrap::{CANCEL, Unwrapped, is_verb, nobody_serves, of_address};
use crate::address::{ExtensionId, PublishAddress, Root, Served, canonical};
use crate::connection::Holds;
use crate::key::{ConnectionKey, SessionKey};
use crate::peer::{NotKept, Publisher, Receipt};
use crate::record::{Change, Key, SessionId, Value};
use crate::session::Received;

/// While so much of one shard waits for an extension, who publishes to it has to wait, too.
pub(super) const BEHIND_BYTES: usize = 4 * 1024 * 1024;

/// A command that an extension has not replied to.
#[derive(Debug)]
pub(super) struct PendingCommand {
    pub(super) extension: ExtensionId,
    pub(super) weight_bytes: usize,
    pub(super) then: ThenReply,
}

#[derive(Debug)]
pub(super) enum ThenReply {
    /// Whoever asked is told.
    Tell(Asker),
    /// It is one of several who were asked.
    OneOf(u64),
}

/// Several extensions that were asked the same, of whom one may know.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) remaining: usize,
    pub(super) found: bool,
    pub(super) asker: Asker,
}

/// Who wants to know what came of a publication.
#[derive(Debug, Default)]
pub(super) struct Asker {
    /// The acknowledgement that waits.
    pub(super) receipt: Option<Receipt>,
    /// The session that published it.
    pub(super) session: Option<SessionKey>,
    pub(super) answer: Option<Answer>,
    /// What its id is called, if it goes to a plain topic with one.
    pub(super) noted: Option<u64>,
    /// The identifier of QoS 2 that it came under, in a session that outlives its connection.
    pub(super) received: Option<(SessionId, PacketIdentifier)>,
}

/// Where a reply goes.
#[derive(Debug)]
pub(super) enum Answer {
    /// `$reply/<tag>/ok` or `…/err`.
    Tag(Box<str>),
    /// A Response Topic, with the Correlation Data (MQTT 5 section 4.10).
    Topic(Box<str>, Option<Box<[u8]>>),
    /// It is a will, whose client is gone: the log says if it is refused.
    Will {
        client_id: Option<Arc<str>>,
        topic: Box<str>,
    },
}

impl Shard {
    /// PUBLISH to an address: the packet was looked at as far as any PUBLISH is.
    pub(super) fn on_addressed_publish(
        &mut self,
        key: ConnectionKey,
        session: u32,
        publish: &Publish<'_>,
        topic: TopicName<'_>,
        parts: MessageParts<'_>,
        now: Time,
    ) {
        let version = self.connections[key.index as usize].version;
        let mut asker = Asker {
            receipt: match publish.delivery {
                PublishDelivery::AtMostOnce => None,
                PublishDelivery::AtLeastOnce(_) | PublishDelivery::ExactlyOnce(_) => {
                    Some(self.next_receipt(key))
                }
            },
            session: Some(self.session_key(session)),
            answer: None,
            noted: None,
            received: None,
        };
        let options = (version == ProtocolVersion::V5).then_some(publish.properties);
        let user_properties = options.into_iter().flat_map(|properties| {
            properties.iter().filter_map(|property| match property {
                Property::UserProperty(name, value) => Some((name, value)),
                _ => None,
            })
        });
        let unwrapped = match self.unwrap(topic.as_str(), user_properties, now) {
            Ok(unwrapped) => unwrapped,
            Err(refusal) => {
                return self.refuse_addressed(key, session, publish, topic, &refusal, now);
            }
        };
        let is_simple = unwrapped.root == Root::Plain
            && unwrapped.due.is_none()
            && unwrapped.tag.is_none()
            && unwrapped.options.id.is_none();
        if is_simple && let Ok(topic) = TopicName::new(unwrapped.target) {
            let lives_until = unwrapped.options.time_to_live.map(|lives| now + lives);
            let expires_at = parts.expires_at.into_iter().chain(lives_until).min();
            let parts = MessageParts {
                topic,
                expires_at,
                ..parts
            };
            return self.publish_from_client(key, session, publish.delivery, parts, now);
        }
        asker.answer = unwrapped
            .tag
            .map(|tag| Answer::Tag(Box::from(tag)))
            .or_else(|| response_topic(publish).filter(|_| is_verb(&unwrapped)));
        let kind = match publish.delivery {
            PublishDelivery::AtMostOnce => None,
            PublishDelivery::AtLeastOnce(id) => {
                Some((nexum_codec::AcknowledgementKind::PubAck, id))
            }
            PublishDelivery::ExactlyOnce(id) => {
                let state = &mut self.sessions[session as usize];
                state.received.insert(id, Received::Here);
                asker.received = state.keeps().map(|session| (session, id));
                Some((nexum_codec::AcknowledgementKind::PubRec, id))
            }
        };
        let source = Publisher {
            shard: self.id,
            connection: key,
        };
        match self.publish_unwrapped(unwrapped, parts, asker, Some(source), now) {
            Ok(published) => {
                if let Some((kind, id)) = kind {
                    self.owe(key, kind, id, published, now);
                    self.begin_joint(now);
                }
            }
            Err(refusal) => {
                if let PublishDelivery::ExactlyOnce(id) = publish.delivery {
                    self.forget_received(session, id);
                }
                self.refuse_addressed(key, session, publish, topic, &refusal, now);
            }
        }
        self.hold_if_behind(key);
    }

    /// By the acknowledgement, and by the reply where one was asked for: then no notice is needed.
    fn refuse_addressed(
        &mut self,
        key: ConnectionKey,
        session: u32,
        publish: &Publish<'_>,
        topic: TopicName<'_>,
        refusal: &Refusal,
        now: Time,
    ) {
        let Some(tag) = PublishAddress::tag_of(topic.as_str()) else {
            let answer = response_topic(publish).filter(|_| PublishAddress::asks(topic.as_str()));
            if answer.is_none() || publish.delivery != PublishDelivery::AtMostOnce {
                self.refuse_publish(key, publish.delivery, refusal, now);
            }
            if let Some(Answer::Topic(topic, correlation)) = answer {
                let result = Err(refusal.clone());
                self.respond(&topic, correlation.as_deref(), &result, now);
            }
            return;
        };
        let (topic, session) = (format!("$reply/{tag}/err"), self.session_key(session));
        let is_old = self.connections[key.index as usize].version == ProtocolVersion::V3_1_1;
        match publish.delivery {
            PublishDelivery::AtLeastOnce(id) if is_old => {
                let kind = nexum_codec::AcknowledgementKind::PubAck;
                let told = Published {
                    matched: true,
                    ..Published::default()
                };
                self.owe(key, kind, id, told, now);
            }
            PublishDelivery::AtMostOnce => {}
            PublishDelivery::AtLeastOnce(_) | PublishDelivery::ExactlyOnce(_) => {
                self.refuse_publish(key, publish.delivery, refusal, now);
            }
        }
        self.reply_privately(session, &topic, &refusal.to_json(), now);
    }

    /// Publishes for the broker itself, a will or an extension, to any topic or address. As many
    /// answers as the result counts will come for the receipt.
    pub(super) fn publish_anywhere(
        &mut self,
        parts: MessageParts<'_>,
        publisher: Option<u32>,
        receipt: Option<Receipt>,
        answer: Option<Answer>,
        now: Time,
    ) -> Published {
        let topic = parts.topic;
        if !self.words.is_addressed(topic.as_str()) || topic.as_str().starts_with("$SYS/") {
            let mut publication = Publication::new(parts);
            publication.publisher = publisher;
            publication.receipt = receipt;
            return self.publish(&mut publication, now);
        }
        let asker = Asker {
            receipt,
            session: publisher.map(|session| self.session_key(session)),
            answer,
            noted: None,
            received: None,
        };
        let unwrapped = self.unwrap(topic.as_str(), std::iter::empty(), now);
        let published = unwrapped
            .and_then(|unwrapped| self.publish_unwrapped(unwrapped, parts, asker, None, now));
        published.unwrap_or_else(|refusal| Published {
            matched: false,
            receipts: 0,
            refused: Some(NotKept::Refused(Arc::new(refusal))),
        })
    }

    fn publish_unwrapped(
        &mut self,
        unwrapped: Unwrapped<'_>,
        mut parts: MessageParts<'_>,
        asker: Asker,
        source: Option<Publisher>,
        now: Time,
    ) -> Result<Published, Refusal> {
        let Unwrapped {
            options,
            target,
            root,
            due,
            ..
        } = unwrapped;
        let mut options = options;
        if let Some(time_to_live) = options.time_to_live.take() {
            let begins = due.unwrap_or(now);
            let expires_at = begins + time_to_live;
            parts.expires_at = Some(parts.expires_at.map_or(expires_at, |at| at.min(expires_at)));
        }
        let delays = matches!(root, Root::Served { served, .. } if served.claim.delays);
        options.delay = due.map(|due| due.since(now));
        match root {
            Root::Reserved(CANCEL) => self.cancel(target, parts, asker),
            _ if due.is_some() && !delays => {
                let Some(served) = self.words.delayed() else {
                    return Err(nobody_serves("$delayed"));
                };
                let address = Address::parse(&format!("$delayed/at/{target}"));
                let address = address.map_err(|error| of_address(&error))?;
                Ok(self.send_command(served, address, options, parts, asker))
            }
            Root::Served { served, spelling } => {
                let address = canonical(target, spelling, served.claim.word);
                let address = Address::parse(&address).map_err(|error| of_address(&error))?;
                Ok(self.send_command(served, address, options, parts, asker))
            }
            Root::Plain => {
                let topic = TopicName::new(target)
                    .map_err(|error| Refusal::new(ErrorCode::BadAddress, error.to_string()))?;
                let parts = MessageParts { topic, ..parts };
                let mut asker = asker;
                // Nothing that is plain has more to say of a will than its receipt.
                if matches!(asker.answer, Some(Answer::Will { .. })) {
                    asker.answer = None;
                }
                if let Some(id) = &options.id
                    && asker.session.is_some()
                {
                    asker.noted = self.note_id(&asker, id, now);
                    if asker.noted.is_none() {
                        return Ok(self.acknowledge_repeat(asker, now));
                    }
                }
                Ok(self.publish_plain(parts, asker, source, now))
            }
            Root::Sys | Root::Reply | Root::Reserved(_) => Err(nobody_serves(target)),
        }
    }

    /// A publication with an id on a plain topic: nothing if the same client sent it before.
    fn note_id(&mut self, asker: &Asker, id: &str, now: Time) -> Option<u64> {
        let client_id = self.session_by_key(asker.session?)?.client_id.shared();
        let window = Duration::from_secs(u64::from(self.limits.deduplication_window_seconds));
        self.recent_ids.note(&client_id, id, window, now)
    }

    /// A repeat is as good as what it repeats.
    fn acknowledge_repeat(&mut self, asker: Asker, now: Time) -> Published {
        if asker.answer.is_some() {
            let reply = Reply {
                properties: vec![("duplicate", 1.into())],
                ..Reply::default()
            };
            let unacknowledged = Asker {
                receipt: None,
                ..asker
            };
            self.tell_asker(unacknowledged, Ok(reply), now);
        }
        Published {
            matched: true,
            ..Published::default()
        }
    }

    /// A plain topic out of its wrappers: as if it had been published so.
    fn publish_plain(
        &mut self,
        parts: MessageParts<'_>,
        asker: Asker,
        source: Option<Publisher>,
        now: Time,
    ) -> Published {
        let mut publication = Publication::new(parts);
        publication.publisher = asker.session.map(|session| session.index);
        publication.source = source;
        publication.revocable = source.is_some();
        if asker.answer.is_none() && asker.noted.is_none() {
            publication.receipt = asker.receipt;
            return self.publish(&mut publication, now);
        }
        let has_receipt = asker.receipt.is_some();
        let promise = self.promise(Then::Tell(Box::new(asker)));
        publication.receipt = Some(promise);
        let published = self.publish(&mut publication, now);
        // The acknowledgement is owed first.
        self.pending_joint = Some((promise, published.receipts, published.refused));
        if !has_receipt {
            self.begin_joint(now);
        }
        Published {
            matched: published.matched,
            receipts: u16::from(has_receipt),
            refused: None,
        }
    }

    /// `$delayed/$cancel/<id>`: everybody who keeps what is to be published later is asked.
    fn cancel(
        &mut self,
        id: &str,
        parts: MessageParts<'_>,
        asker: Asker,
    ) -> Result<Published, Refusal> {
        let asked: Vec<Served> = self.words.delaying().copied().collect();
        if asked.is_empty() {
            return Err(nobody_serves("$delayed"));
        }
        let has_receipt = asker.receipt.is_some();
        let inquiry = Inquiry {
            remaining: asked.len(),
            found: false,
            asker,
        };
        let inquiry = self.inquiries.insert(inquiry);
        for served in asked {
            let address = Address::parse(&format!("{}/_/{CANCEL}/{id}", served.claim.word));
            let address = address.map_err(|error| of_address(&error))?;
            let then = ThenReply::OneOf(inquiry);
            self.send(served, address, Options::default(), parts, None, then);
        }
        Ok(Published {
            matched: true,
            receipts: u16::from(has_receipt),
            refused: None,
        })
    }

    fn send_command(
        &mut self,
        served: Served,
        address: Address,
        options: Options,
        parts: MessageParts<'_>,
        asker: Asker,
    ) -> Published {
        let client_id = asker
            .session
            .and_then(|session| self.session_by_key(session))
            .map(|session| session.client_id.shared());
        let receipts = u16::from(asker.receipt.is_some());
        let companion = self.companion_of(&asker);
        let then = ThenReply::Tell(asker);
        let id = self.send(served, address, options, parts, client_id, then);
        if let Some(companion) = companion {
            let outbox = &mut self.extensions[usize::from(served.extension.0)];
            outbox.companions.push((id, companion));
        }
        Published {
            matched: true,
            receipts,
            refused: None,
        }
    }

    /// The record of the identifier that a publication came under: a repetition of one that was
    /// pushed must not be pushed again.
    fn companion_of(&mut self, asker: &Asker) -> Option<Change> {
        let ((id, packet), key) = (asker.received?, asker.session?);
        let session = self.session_by_key(key)?;
        *session.received.get_mut(packet)? = Received::Waiting;
        let key = Key::Received(id, packet);
        // One that was deleted and is there still would be deleted later, and this one with it.
        self.journal.abandon(&key);
        Some(Change::Put(key, Value::Received))
    }

    fn send(
        &mut self,
        served: Served,
        address: Address,
        options: Options,
        parts: MessageParts<'_>,
        client_id: Option<Arc<str>>,
        then: ThenReply,
    ) -> CommandId {
        let message = Arc::new(Message::new(parts));
        let weight_bytes = message.size_bytes() + size_of::<Command>();
        let extension = served.extension;
        let key = self.commands.insert(PendingCommand {
            extension,
            weight_bytes,
            then,
        });
        let id = CommandId {
            shard: self.id.0,
            key,
        };
        let options = (options != Options::default()).then(|| Box::new(options));
        let outbox = &mut self.extensions[usize::from(extension.0)];
        outbox.unanswered_bytes += weight_bytes;
        outbox.inputs.push(Input::Command(Command {
            id,
            address,
            message,
            options,
            client_id,
        }));
        id
    }

    /// Who publishes to an extension that is behind waits for it.
    pub(super) fn hold_if_behind(&mut self, key: ConnectionKey) {
        let is_behind = |outbox: &super::extensions::Outbox| outbox.unanswered_bytes > BEHIND_BYTES;
        if let Some(outbox) = self.extensions.iter_mut().find(|outbox| is_behind(outbox))
            && let Some(connection) = self.connections.get_mut(key.index as usize)
            && !connection.holds.has(Holds::EXTENSION)
        {
            connection.holds.add(Holds::EXTENSION);
            outbox.held.push(key);
        }
    }
}

/// The Response Topic of a request, with its Correlation Data.
fn response_topic(publish: &Publish<'_>) -> Option<Answer> {
    let topic = publish
        .properties
        .iter()
        .find_map(|property| match property {
            Property::ResponseTopic(topic) => Some(topic),
            _ => None,
        })?;
    let correlation = publish
        .properties
        .iter()
        .find_map(|property| match property {
            Property::CorrelationData(data) => Some(Box::from(data)),
            _ => None,
        });
    Some(Answer::Topic(Box::from(topic.as_str()), correlation))
}
