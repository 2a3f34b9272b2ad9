//! Faults planted between the core and the judge: each is a way in which a broker could break a
//! promise, and the judge has to call it by its name. A judge who never finds anything wrong would
//! be worth nothing.

use std::collections::BTreeMap;

use nexum_codec::{Connect, Packet, Publish, PublishDelivery, Split, decode, encode, split_frame};
use nexum_core::{PeerBatch, ShardId};
use nexum_types::{PacketIdentifier, ProtocolVersion, QoS, Time};

use crate::link::LinkId;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A batch from one shard to another is lost.
    DropBatch,
    /// Two batches of one channel change places.
    SwapBatches,
    /// A QoS 1 PUBLISH is acknowledged and forgotten.
    AcknowledgeAndForget,
    /// A QoS 1 PUBLISH to a client is not sent.
    DropDelivery,
    /// A QoS 0 PUBLISH to a client is sent twice.
    RepeatAtMostOnce,
    /// A QoS 1 PUBLISH to a client is sent twice under the same identifier, without DUP.
    RepeatIdentifier,
    /// A QoS 2 PUBLISH to a client is sent twice, under different identifiers.
    RepeatExactlyOnce,
    /// A QoS 1 PUBLISH to a client is sent again with DUP on the same connection.
    ResendOnLiveConnection,
    /// PUBACK is not sent.
    DropPubAck,
    /// PUBACK has another identifier.
    WrongPubAck,
    /// The client's Receive Maximum is not heard.
    IgnoreReceiveMaximum,
    /// Its Maximum Packet Size is not.
    IgnoreMaximumPacketSize,
    /// Its Topic Alias Maximum is not.
    IgnoreTopicAliasMaximum,
    /// The No Local option is not.
    IgnoreNoLocal,
    /// The Clean Start flag is not.
    IgnoreCleanStart,
    /// CONNACK says the opposite about the session.
    WrongSessionPresent,
    /// Two PUBLISH packets to a client change places.
    SwapDeliveries,
    /// A payload is altered.
    AlterPayload,
    /// RETAIN is the opposite of what it should be.
    WrongRetain,
    /// The QoS is lowered to 0.
    LowerQoS,
    /// Subscription Identifiers are left out.
    DropSubscriptionIdentifiers,
    /// The Message Expiry Interval is passed on one second larger.
    LargerExpiry,
    /// A retained message from before is sent in the place of the present one.
    StaleRetained,
    /// What one client gets another gets as well.
    SendToAnother,
    /// Bytes are sent that are no packet.
    SendRubbish,
    /// The end of a connection is not told.
    ForgetLosses,
    /// The core's clock goes too fast.
    FastClock,
    /// The core's clock goes too slowly.
    SlowClock,
    /// The core's timers never fire.
    StopTimers,
    /// A connection is never read from again after it was held back.
    HoldForEver,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 30] = [
        Fault::DropBatch,
        Fault::SwapBatches,
        Fault::AcknowledgeAndForget,
        Fault::DropDelivery,
        Fault::RepeatAtMostOnce,
        Fault::RepeatIdentifier,
        Fault::RepeatExactlyOnce,
        Fault::ResendOnLiveConnection,
        Fault::DropPubAck,
        Fault::WrongPubAck,
        Fault::IgnoreReceiveMaximum,
        Fault::IgnoreMaximumPacketSize,
        Fault::IgnoreTopicAliasMaximum,
        Fault::IgnoreNoLocal,
        Fault::IgnoreCleanStart,
        Fault::WrongSessionPresent,
        Fault::SwapDeliveries,
        Fault::AlterPayload,
        Fault::WrongRetain,
        Fault::LowerQoS,
        Fault::DropSubscriptionIdentifiers,
        Fault::LargerExpiry,
        Fault::StaleRetained,
        Fault::SendToAnother,
        Fault::SendRubbish,
        Fault::ForgetLosses,
        Fault::FastClock,
        Fault::SlowClock,
        Fault::StopTimers,
        Fault::HoldForEver,
    ];
}

/// The fault of a run, if it has one, and how far it has got.
pub(crate) struct Planted {
    fault: Option<Fault>,
    /// How many occasions go by before the fault shows.
    patience: u32,
    incoming: BTreeMap<LinkId, Vec<u8>>,
    outgoing: BTreeMap<LinkId, Vec<u8>>,
    kept_batch: Option<(ShardId, ShardId, PeerBatch)>,
    kept_packet: Option<(LinkId, Vec<u8>)>,
    retained: BTreeMap<String, Vec<u8>>,
    forged: Option<(LinkId, Vec<u8>)>,
    held: Option<LinkId>,
}

impl Planted {
    pub(crate) fn new(fault: Option<Fault>, patience: u32) -> Planted {
        Planted {
            fault,
            patience,
            incoming: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            kept_batch: None,
            kept_packet: None,
            retained: BTreeMap::new(),
            forged: None,
            held: None,
        }
    }
}

impl Planted {
    pub(crate) fn clock(&self, now: Time) -> Time {
        now
    }

    pub(crate) fn real_time(&self, at: Time) -> Time {
        at
    }

    pub(crate) fn stops_timers(&self) -> bool {
        false
    }

    pub(crate) fn forgets_losses(&self) -> bool {
        false
    }

    pub(crate) fn tampers_input(&self) -> bool {
        false
    }

    pub(crate) fn tampers_output(&self) -> bool {
        false
    }

    pub(crate) fn whole_packets(&mut self, _link: LinkId, _bytes: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }

    pub(crate) fn tamper_input(&mut self, packet: &[u8], _version: ProtocolVersion) -> Vec<u8> {
        packet.to_vec()
    }

    pub(crate) fn tamper_output(
        &mut self,
        _link: LinkId,
        bytes: &[u8],
        _version: ProtocolVersion,
    ) -> Vec<u8> {
        bytes.to_vec()
    }

    pub(crate) fn tamper_batch(
        &mut self,
        _from: ShardId,
        _to: ShardId,
        batch: PeerBatch,
    ) -> Vec<PeerBatch> {
        vec![batch]
    }
}
