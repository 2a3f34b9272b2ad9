//! Faults planted between the core and the judge: each is a way in which a broker could break a
//! promise, and the judge has to notice. A judge who never finds anything wrong would be worth
//! nothing.

use std::collections::BTreeMap;

use nexum_codec::{Packet, PublishDelivery, Split, decode, encode, split_frame};
use nexum_core::PeerBatch;
use nexum_types::ProtocolVersion;

use crate::link::LinkId;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Batches from one shard to another are lost.
    DropBatches,
    /// QoS 1 PUBLISH packets to clients are not sent.
    DropDeliveries,
    /// QoS 2 PUBLISH packets to clients are sent twice.
    RepeatExactlyOnce,
    /// PUBACK is not sent.
    DropPubAcks,
    /// The last byte of payloads is altered.
    AlterPayloads,
    /// RETAIN is the opposite of what it should be.
    WrongRetain,
    /// CONNACK says the opposite about the session.
    WrongSessionPresent,
    /// Bytes are sent that are no packet.
    SendRubbish,
    /// The end of a connection is not told.
    ForgetLosses,
    /// The core's timers never fire.
    StopTimers,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 10] = [
        Fault::DropBatches,
        Fault::DropDeliveries,
        Fault::RepeatExactlyOnce,
        Fault::DropPubAcks,
        Fault::AlterPayloads,
        Fault::WrongRetain,
        Fault::WrongSessionPresent,
        Fault::SendRubbish,
        Fault::ForgetLosses,
        Fault::StopTimers,
    ];
}

/// The fault of a run, if it has one.
pub(crate) struct Planted {
    fault: Option<Fault>,
    /// How many more occasions go by before the fault shows.
    patience: u32,
    /// What the core sent of packets that are not whole yet.
    outgoing: BTreeMap<LinkId, Vec<u8>>,
}

impl Planted {
    pub(crate) fn new(fault: Option<Fault>, patience: u32) -> Planted {
        Planted {
            fault,
            patience,
            outgoing: BTreeMap::new(),
        }
    }

    pub(crate) fn stops_timers(&self) -> bool {
        self.fault == Some(Fault::StopTimers)
    }

    pub(crate) fn forgets_losses(&self) -> bool {
        self.fault == Some(Fault::ForgetLosses)
    }

    pub(crate) fn tampers_output(&self) -> bool {
        matches!(
            self.fault,
            Some(
                Fault::DropDeliveries
                    | Fault::RepeatExactlyOnce
                    | Fault::DropPubAcks
                    | Fault::AlterPayloads
                    | Fault::WrongRetain
                    | Fault::WrongSessionPresent
                    | Fault::SendRubbish
            )
        )
    }

    /// What is sent in place of what the core sent.
    pub(crate) fn tamper_output(
        &mut self,
        link: LinkId,
        bytes: &[u8],
        version: ProtocolVersion,
    ) -> Vec<u8> {
        let mut waiting = self.outgoing.remove(&link).unwrap_or_default();
        waiting.extend_from_slice(bytes);
        let mut sent = Vec::new();
        let mut at = 0;
        while let Ok(Split::Frame(frame)) = split_frame(&waiting[at..], u32::MAX) {
            let packet = &waiting[at..at + frame.size];
            at += frame.size;
            match decode(frame, version) {
                Ok(decoded) => self.tamper(packet, decoded, version, &mut sent),
                Err(_) => sent.extend_from_slice(packet),
            }
        }
        waiting.drain(..at);
        self.outgoing.insert(link, waiting);
        sent
    }

    fn tamper(
        &mut self,
        packet: &[u8],
        decoded: Packet<'_>,
        version: ProtocolVersion,
        sent: &mut Vec<u8>,
    ) {
        let occasion = match (self.fault, decoded) {
            (Some(Fault::DropDeliveries), Packet::Publish(publish)) => {
                matches!(publish.delivery, PublishDelivery::AtLeastOnce(_))
            }
            (Some(Fault::RepeatExactlyOnce), Packet::Publish(publish)) => {
                matches!(publish.delivery, PublishDelivery::ExactlyOnce(_))
            }
            (Some(Fault::AlterPayloads), Packet::Publish(publish)) => !publish.payload.is_empty(),
            (Some(Fault::DropPubAcks), Packet::PubAck(_))
            | (Some(Fault::WrongRetain | Fault::SendRubbish), Packet::Publish(_))
            | (Some(Fault::WrongSessionPresent), Packet::ConnAck(_)) => true,
            _ => false,
        };
        if !occasion || !self.is_time() {
            return sent.extend_from_slice(packet);
        }
        match (self.fault, decoded) {
            (Some(Fault::RepeatExactlyOnce), _) => {
                sent.extend_from_slice(packet);
                sent.extend_from_slice(packet);
            }
            (Some(Fault::AlterPayloads), _) => {
                sent.extend_from_slice(packet);
                if let Some(last) = sent.last_mut() {
                    *last ^= 1;
                }
            }
            (Some(Fault::WrongRetain), _) => {
                let first = sent.len();
                sent.extend_from_slice(packet);
                sent[first] ^= 1;
            }
            (Some(Fault::WrongSessionPresent), Packet::ConnAck(mut connack)) => {
                connack.session_present = !connack.session_present;
                encode(&Packet::ConnAck(connack), version, sent)
                    .expect("it was decoded from a packet of the same size");
            }
            (Some(Fault::SendRubbish), _) => sent.extend_from_slice(&[0xFF; 5]),
            _ => {}
        }
    }

    /// What another shard gets in place of a batch.
    pub(crate) fn tamper_batch(&mut self, batch: PeerBatch) -> Option<PeerBatch> {
        (self.fault != Some(Fault::DropBatches) || !self.is_time()).then_some(batch)
    }

    fn is_time(&mut self) -> bool {
        let is_time = self.patience == 0;
        self.patience = self.patience.saturating_sub(1);
        is_time
    }
}
