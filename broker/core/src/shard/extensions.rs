//! The way to extensions and back: what gathers for each of them, what they capture, and what they
//! publish.

use std::sync::Arc;

use nexum_extension_api::{
    CaptureId, Captured, Change as ExtensionChange, Changes, CommandId, Input, Output,
    PublicationId, Publish, ReceiptId,
};
use nexum_types::{Message, MessageParts, QoS, Time, TopicFilter, TopicName};

use super::Shard;
use super::promise::Then;
use super::publish::{Pass, Publication};
use crate::address::ExtensionId;
use crate::extension::ExtensionBatch;
use crate::key::ConnectionKey;
use crate::peer::{NotKept, Receipt};
use crate::record::{Change, Key, Value};
use crate::subscription::{Subscriber, Subscription};

/// What a shard has for one extension.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) inputs: Vec<Input>,
    pub(super) companions: Vec<(CommandId, Change)>,
    /// Commands and captured messages without an answer.
    pub(super) unanswered_bytes: usize,
    /// Connections that wait until it is less.
    pub(super) held: Vec<ConnectionKey>,
    /// Where its records are.
    table: u16,
}

impl Outbox {
    pub(super) fn new(table: u16) -> Outbox {
        Outbox {
            table,
            ..Outbox::default()
        }
    }
}

/// A topic filter whose messages an extension is handed.
#[derive(Debug)]
pub(super) struct Capture {
    extension: ExtensionId,
    capture: CaptureId,
    filter: Box<str>,
}

/// A captured message that an extension has not committed.
#[derive(Debug)]
pub(super) struct PendingCapture {
    extension: ExtensionId,
    weight_bytes: usize,
    receipt: Receipt,
}

/// A publication of an extension's, until everybody who keeps it has it.
#[derive(Debug)]
pub(super) struct Publishing {
    extension: ExtensionId,
    publication: PublicationId,
    /// For those who do not keep it, afterwards.
    message: Option<Arc<Message>>,
    /// To be stored afterwards, because it could not be together.
    changes: Changes,
}

impl Publishing {
    /// Whether nobody has it, and nothing of it is stored, if it is refused.
    pub(super) fn is_taken_back(&self) -> bool {
        self.message.is_some()
    }
}

impl Shard {
    /// What has gathered for an extension since the last call.
    pub fn take_extension_batch(&mut self, extension: ExtensionId) -> Option<ExtensionBatch> {
        let outbox = self.extensions.get_mut(usize::from(extension.0))?;
        let inputs = std::mem::take(&mut outbox.inputs);
        let companions = std::mem::take(&mut outbox.companions);
        (!inputs.is_empty()).then_some(ExtensionBatch { inputs, companions })
    }

    pub(super) fn tell_extension(&mut self, extension: ExtensionId, input: Input) {
        if let Some(outbox) = self.extensions.get_mut(usize::from(extension.0)) {
            outbox.inputs.push(input);
        }
    }

    /// What an extension wants of this shard.
    pub(super) fn on_extension(&mut self, extension: ExtensionId, outputs: Vec<Output>, now: Time) {
        for output in outputs {
            self.journal.divide();
            match output {
                Output::Reply { command, result } => self.on_reply(command, result, now),
                Output::Commit { receipt, result } => {
                    if let Some(pending) = self.pending_captures.remove(receipt.key) {
                        self.note_answered(pending.extension, pending.weight_bytes);
                        let refused = result.err().map(|it| NotKept::Refused(Arc::new(it)));
                        self.settle(pending.receipt, refused, now);
                    }
                }
                Output::Capture { capture, filter } => self.capture(extension, capture, filter),
                Output::Release { capture } => self.release_capture(extension, capture),
                Output::Grant { feed, maximum_qos } => {
                    self.on_feed_answer(feed.key, Ok(maximum_qos), now);
                }
                Output::Refuse { feed, refusal } => {
                    self.on_feed_answer(feed.key, Err(refusal), now);
                }
                Output::Deliver(deliver) => self.on_deliver(extension, deliver, now),
                Output::Publish(publish) => self.publish_of_extension(extension, publish, now),
                // The host keeps those.
                Output::Write(_) | Output::Read { .. } | Output::Scan(_) | Output::Event { .. } => {
                }
            }
        }
    }

    fn capture(&mut self, extension: ExtensionId, capture: CaptureId, filter: Box<str>) {
        let Ok(topics) = TopicFilter::new(&filter) else {
            return;
        };
        let place = self.captures.vacant_key() as u32;
        let subscriber = Subscriber::Capture(place);
        self.index
            .insert(topics, subscriber, Subscription::default());
        self.captures.insert(Capture {
            extension,
            capture,
            filter,
        });
    }

    fn release_capture(&mut self, extension: ExtensionId, capture: CaptureId) {
        let mut captures = self.captures.iter();
        let place = captures
            .find(|(_, it)| it.extension == extension && it.capture == capture)
            .map(|(place, _)| place);
        if let Some(place) = place {
            let capture = self.captures.remove(place);
            if let Ok(topics) = TopicFilter::new(&capture.filter) {
                self.index.remove(topics, Subscriber::Capture(place as u32));
            }
        }
    }

    /// A publication matches a capture.
    pub(super) fn hand_to_capture(&mut self, place: u32, publication: &mut Publication<'_>) {
        // The shard where it was published has done it.
        if publication.from_peer {
            return;
        }
        let Some(Capture {
            extension, capture, ..
        }) = self.captures.get(place as usize)
        else {
            return;
        };
        let (extension, capture) = (*extension, *capture);
        let message = publication.message();
        let is_kept = publication.parts.qos != QoS::AtMostOnce;
        let receipt = publication.receipt.filter(|_| is_kept).map(|receipt| {
            publication.receipts += 1;
            let weight_bytes = message.size_bytes() + size_of::<Captured>();
            self.extensions[usize::from(extension.0)].unanswered_bytes += weight_bytes;
            let key = self.pending_captures.insert(PendingCapture {
                extension,
                weight_bytes,
                receipt,
            });
            ReceiptId {
                shard: self.id.0,
                key,
            }
        });
        let captured = Captured {
            capture,
            receipt,
            message,
        };
        self.tell_extension(extension, Input::Captured(captured));
        if let Some(source) = publication.source
            && source.shard == self.id
        {
            self.hold_if_behind(source.connection);
        }
    }

    /// What an extension publishes. Its changes are stored together with what subscribers keep of
    /// it, before anybody else gets it: after a crash it is published again, or it is not, and
    /// nobody has it twice.
    fn publish_of_extension(&mut self, extension: ExtensionId, publish: Publish, now: Time) {
        let Publish {
            publication: id,
            topic,
            message,
            changes,
        } = publish;
        let told = |refused| Input::Published {
            publication: id,
            refused,
        };
        let Ok(topic) = TopicName::new(&topic) else {
            return self.tell_extension(extension, told(None));
        };
        let parts = MessageParts {
            topic,
            ..message.parts()
        };
        let mut publishing = Publishing {
            extension,
            publication: id,
            message: None,
            changes: Changes::new(),
        };
        if self.words.is_addressed(topic.as_str()) {
            publishing.changes = changes;
            let promise = self.promise(Then::Published(Box::new(publishing)));
            let published = self.publish_anywhere(parts, None, Some(promise), None, now);
            return self.await_promise(promise, published.receipts, published.refused, now);
        }
        let table = self.extensions[usize::from(extension.0)].table;
        let message = Arc::new(Message::new(parts));
        let mut publication = Publication::of_message(&message);
        let is_kept = publication.parts.qos != QoS::AtMostOnce;
        if is_kept && self.journal.is_refusing() && self.would_be_kept(&publication) {
            let refusal = NotKept::StoreRefuses.refusal();
            return self.tell_extension(extension, told(Some(refusal)));
        }
        publishing.message = Some(Arc::clone(&message));
        let promise = self.promise(Then::Published(Box::new(publishing)));
        publication.revocable = true;
        publication.pass = Pass::Keepers;
        publication.own_changes = changes
            .into_iter()
            .map(|change| own_change(table, change))
            .collect();
        let published = self.publish_jointly(&mut publication, None, promise, now);
        self.await_promise(promise, published.receipts, published.refused, now);
        self.begin_joint(now);
    }

    /// Everybody who keeps a publication of an extension's has it, or will not.
    pub(super) fn on_published(
        &mut self,
        publishing: Publishing,
        refused: Option<NotKept>,
        now: Time,
    ) {
        let Publishing {
            extension,
            publication,
            message,
            changes,
        } = publishing;
        let refused = refused.map(|why| why.refusal());
        if refused.is_none() {
            if let Some(message) = message {
                let mut others = Publication::of_message(&message);
                others.pass = Pass::Others;
                self.publish(&mut others, now);
            }
            let table = self.extensions[usize::from(extension.0)].table;
            for change in changes {
                self.journal.push(own_change(table, change));
            }
        }
        self.tell_extension(
            extension,
            Input::Published {
                publication,
                refused,
            },
        );
    }
}

fn own_change(table: u16, change: ExtensionChange) -> Change {
    match change {
        ExtensionChange::Insert(key, value) | ExtensionChange::Put(key, value) => Change::Put(
            Key::Extension(table, Arc::from(&*key)),
            Value::Extension(Arc::from(value)),
        ),
        ExtensionChange::Delete(key) => Change::Delete(Key::Extension(table, Arc::from(&*key))),
    }
}
