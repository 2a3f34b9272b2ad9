//! What a client does of its own accord.

use nexum_codec::{
    Disconnect, Filters, Packet, Subscribe, SubscriptionRequest, SubscriptionRequests, Unsubscribe,
    UserProperties,
};
use nexum_types::{
    PacketIdentifier, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions,
};

use super::{Client, Context, Outgoing, SentHere};
use crate::judge::messages::{Content, Origin};

/// What the world has to do about an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Nothing but send the bytes.
    Nothing,
    /// Close the connection behind them.
    Close,
    /// Cut the connection.
    Cut,
    /// Leave the connection as it is and open another.
    TakeOver,
    /// Say nothing for a while.
    Idle,
}

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
/// Messages under way at most; the rest would be made faster than they can leave.
const OUTGOING_MOST: usize = 25;

impl Client {
    /// Does something, as its traits have it.
    pub(crate) fn act(&mut self, context: &mut Context<'_>) -> Deed {
        let odds = self.traits.odds;
        let mut chosen = context.random.below(odds.total() as usize) as u32;
        let mut is = |weight: u32| {
            let hit = chosen < weight;
            chosen = chosen.wrapping_sub(weight);
            hit
        };
        if is(odds.publish) {
            let qos = *context.random.pick(&QOS);
            self.publish_at(qos, context);
            Deed::Nothing
        } else if is(odds.subscribe) {
            self.subscribe(context);
            Deed::Nothing
        } else if is(odds.unsubscribe) {
            self.unsubscribe(context);
            Deed::Nothing
        } else if is(odds.ping) {
            self.ping(context);
            Deed::Nothing
        } else if is(odds.disconnect) {
            self.disconnect(context);
            Deed::Close
        } else if is(odds.cut) {
            Deed::Cut
        } else if is(odds.take_over) {
            Deed::TakeOver
        } else {
            Deed::Idle
        }
    }

    pub(super) fn publish_at(&mut self, qos: QoS, context: &mut Context<'_>) {
        let topic = context.random.below(self.traits.topics.len());
        let name = self.traits.topics[topic].clone();
        let retain = context.random.percent(self.traits.retain_percent);
        let clears = retain && context.random.percent(15);
        let id = if qos == QoS::AtMostOnce {
            PacketIdentifier::FIRST
        } else {
            if self.outgoing.len() >= OUTGOING_MOST {
                return;
            }
            self.free_identifier(context.random)
        };
        let message = if clears {
            None
        } else {
            let random = &mut *context.random;
            let large = random.percent(self.traits.large_percent);
            let payload_bytes = if large {
                random.between(500, 9_000)
            } else {
                random.between(4, 60)
            } as usize;
            let content = Content {
                origin: Origin::Client(self.number),
                topic: name,
                qos,
                retain,
                expiry_seconds: (self.speaks_properties()
                    && random.percent(self.traits.expiry_percent))
                .then(|| random.between(1, 4) as u32),
                properties: self.properties(random),
                payload_bytes: payload_bytes.min(self.terms.maximum_packet_size / 2),
            };
            Some(context.judge.add_message(content))
        };
        let outgoing = Outgoing {
            id,
            message,
            topic,
            qos,
            released: false,
            was_sent: false,
            sent_here: SentHere::Nothing,
        };
        if qos == QoS::AtMostOnce {
            self.send_publish(&outgoing, context);
        } else {
            self.outgoing.push_back(outgoing);
            self.pump(context);
        }
    }

    pub(crate) fn subscribe(&mut self, context: &mut Context<'_>) {
        let v5 = self.version == ProtocolVersion::V5;
        let random = &mut *context.random;
        let mut wanted: Vec<(String, SubscriptionOptions)> = Vec::new();
        for _ in 0..random.between(1, 3) {
            let options = SubscriptionOptions {
                maximum_qos: *random.pick(&QOS),
                no_local: v5 && random.percent(20),
                retain_as_published: v5 && random.percent(30),
                retain_handling: if v5 {
                    *random.pick(&[
                        RetainHandling::SendAtSubscribe,
                        RetainHandling::SendAtSubscribe,
                        RetainHandling::SendIfNew,
                        RetainHandling::DoNotSend,
                    ])
                } else {
                    RetainHandling::SendAtSubscribe
                },
            };
            wanted.push((random.pick(&self.traits.filters).clone(), options));
        }
        if let Some(shared) = &self.traits.shared
            && random.percent(50)
        {
            let options = SubscriptionOptions {
                maximum_qos: self.traits.shared_qos.unwrap_or_else(|| *random.pick(&QOS)),
                // [MQTT-3.8.3-4]
                no_local: false,
                retain_as_published: v5 && random.percent(30),
                retain_handling: RetainHandling::SendAtSubscribe,
            };
            wanted.push((shared.clone(), options));
        }
        let identifier =
            (v5 && random.percent(50)).then(|| *random.pick(&[1, 2, 200, 268_435_455]));
        let id = self.free_identifier(context.random);
        self.requests.insert(id.value());
        let requests: Vec<SubscriptionRequest<'_>> = wanted
            .iter()
            .map(|(filter, options)| SubscriptionRequest {
                filter,
                options: *options,
            })
            .collect();
        let packet = Packet::Subscribe(Subscribe {
            packet_identifier: id,
            subscription_identifier: identifier,
            user_properties: UserProperties::EMPTY,
            requests: SubscriptionRequests::from_slice(&requests),
        });
        context.send(&packet, self.version);
    }

    fn unsubscribe(&mut self, context: &mut Context<'_>) {
        let random = &mut *context.random;
        let mut filters: Vec<String> = Vec::new();
        for _ in 0..random.between(1, 2) {
            filters.push(match &self.traits.shared {
                Some(shared) if random.percent(40) => shared.clone(),
                Some(_) | None => random.pick(&self.traits.filters).clone(),
            });
        }
        let id = self.free_identifier(context.random);
        self.requests.insert(id.value());
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let packet = Packet::Unsubscribe(Unsubscribe {
            packet_identifier: id,
            user_properties: UserProperties::EMPTY,
            filters: Filters::from_slice(&filters),
        });
        context.send(&packet, self.version);
    }

    fn disconnect(&mut self, context: &mut Context<'_>) {
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        if self.version == ProtocolVersion::V5 {
            if context.random.percent(30) {
                disconnect.reason_code = ReasonCode::DisconnectWithWill;
            }
            // [MQTT-3.14.2-2]: raised from zero it must not be.
            if context.random.percent(30) && self.traits.session_expiry_seconds.unwrap_or(0) > 0 {
                disconnect.session_expiry_interval_seconds = Some(*context.random.pick(&[0, 1, 5]));
            }
        }
        context.send(&Packet::Disconnect(disconnect), self.version);
    }

    /// Leaves and takes its session along.
    pub(crate) fn leave_for_good(&mut self, context: &mut Context<'_>) {
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        if self.version == ProtocolVersion::V5
            && self.traits.session_expiry_seconds.unwrap_or(0) > 0
        {
            disconnect.session_expiry_interval_seconds = Some(0);
        }
        context.send(&Packet::Disconnect(disconnect), self.version);
    }
}
