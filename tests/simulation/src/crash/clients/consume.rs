//! What a client does with what comes from queues.

use nexum_codec::{AcknowledgementKind, Property, Publish, PublishDelivery};
use nexum_types::{PacketIdentifier, ProtocolVersion, QoS, ReasonCode};

use super::super::jobs::{JobDelivery, leased_job, receipt_of};
use super::super::verdict::Promise;
use super::{Client, Job, Lease, Outgoing, Tools};

/// With so many packets under way it settles no further lease.
const SETTLING: usize = 24;

impl Client {
    /// The commands for what it has leased.
    pub(super) fn settle_leases(&mut self, tools: &mut Tools<'_>) {
        // As many as there are identifiers for.
        let room = SETTLING.saturating_sub(self.outgoing.len());
        let count = room.min(self.leases.len());
        for lease in self.leases.drain(..count).collect::<Vec<_>>() {
            let qos = *tools.random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]);
            let id = self.free_identifier();
            self.outgoing.push_back(Outgoing {
                id,
                number: None,
                topic: lease.topic,
                qos,
                retains: None,
                settles: lease.is_done.then_some(lease.job),
                released: false,
                was_sent: false,
                sent_here: false,
            });
        }
        self.pump(tools);
    }

    /// From now on it settles whatever it gets.
    pub(in crate::crash) fn finish_jobs(&mut self, tools: &mut Tools<'_>) {
        for (kind, id, job) in std::mem::take(&mut self.ignored) {
            self.accept(kind, id, Some(job), tools);
        }
        self.settle_leases(tools);
        self.subscribe_unconfirmed(tools);
    }

    /// A consumer without a feed would wait for ever.
    pub(super) fn subscribe_unconfirmed(&mut self, tools: &mut Tools<'_>) {
        if self.traits.treatment.is_none() || !self.is_connected() || !self.requests.is_empty() {
            return;
        }
        let filters = self.traits.filters.iter();
        let filters: Vec<_> = filters
            .filter(|(filter, _)| !self.confirmed.contains(filter))
            .cloned()
            .collect();
        self.subscribe_to(&filters, tools);
    }

    pub(super) fn take_job(&mut self, topic: &str, publish: &Publish<'_>, tools: &mut Tools<'_>) {
        let (kind, id) = match publish.delivery {
            PublishDelivery::AtMostOnce => {
                let text = format!("client {}: QoS 0 on {topic}", self.number);
                return tools.verdict.breach(Promise::Protocol, text);
            }
            PublishDelivery::AtLeastOnce(id) => (AcknowledgementKind::PubAck, id),
            PublishDelivery::ExactlyOnce(id) => {
                if !self.received.insert(id.value()) {
                    // Deliveries from queues are not sent again.
                    let text = format!("client {}: {topic} again as {}", self.number, id.value());
                    return tools.verdict.breach(Promise::Protocol, text);
                }
                (AcknowledgementKind::PubRec, id)
            }
        };
        let receipt = receipt_of(topic);
        let property = |key: &str| {
            publish
                .properties
                .iter()
                .find_map(|property| match property {
                    Property::UserProperty(name, value) if name == key => value.parse().ok(),
                    _ => None,
                })
        };
        let (Some(link), job) = (self.link(), leased_job(topic).or_else(|| property("q-id")))
        else {
            return;
        };
        let delivery = JobDelivery {
            client: self.number,
            link,
            topic,
            payload: publish.payload,
            content_type: self.content_type_of(publish),
            job,
            attempt: property("q-attempt"),
            written: tools.written,
        };
        let Some(number) = tools.verdict.job_received(&delivery) else {
            return;
        };
        let job = Job { number, job };
        let Some(treatment) = self.traits.treatment else {
            return;
        };
        let draw = tools.random.below(100) as u32;
        let refuses = !self.is_calm && draw < treatment.refuses_percent;
        let ignores = !self.is_calm && draw >= 100 - treatment.ignores_percent;
        if let Some(receipt) = receipt {
            if !ignores {
                self.lease(topic, receipt, job, refuses, tools);
            }
            // It takes the lease; the command settles it.
            return self.accept(kind, id, None, tools);
        }
        if ignores {
            return self.ignored.push((kind, id, job));
        }
        if refuses && self.traits.version == ProtocolVersion::V5 {
            let reason = *tools.random.pick(&[
                ReasonCode::UnspecifiedError,
                ReasonCode::QuotaExceeded,
                ReasonCode::PayloadFormatInvalid,
            ]);
            self.received.remove(&id.value());
            return self.answer_with(kind, id, reason, None, tools);
        }
        self.accept(kind, id, Some(job), tools);
    }

    /// PUBACK, or PUBREC whose PUBCOMP settles.
    fn accept(
        &mut self,
        kind: AcknowledgementKind,
        id: PacketIdentifier,
        settles: Option<Job>,
        tools: &mut Tools<'_>,
    ) {
        let at_once = match kind {
            AcknowledgementKind::PubAck => settles,
            _ => {
                if let Some(job) = settles {
                    self.in_flight.insert(id.value(), job);
                }
                None
            }
        };
        self.answer_with(kind, id, ReasonCode::Success, at_once, tools);
    }

    fn lease(
        &mut self,
        topic: &str,
        receipt: &str,
        job: Job,
        refuses: bool,
        tools: &mut Tools<'_>,
    ) {
        let queue = topic.split('/').nth(1).unwrap_or_default();
        let verb = match refuses {
            false => "$ack",
            true => *tools.random.pick(&["$nack", "$reject"]),
        };
        self.leases.push(Lease {
            job,
            topic: format!("$queue/{queue}/{verb}/{receipt}"),
            is_done: !refuses,
        });
        if self.is_calm {
            self.settle_leases(tools);
        }
    }
}
