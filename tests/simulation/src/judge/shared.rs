//! Shared subscriptions: one member for each message, and never none while one is there.

use std::collections::BTreeMap;

use nexum_types::{QoS, Time};

use super::Judge;
use super::deliveries::Class;
use super::messages::MessageId;
use super::sessions::{Certainty, SessionId};
use super::subscriptions::SubscriptionRecord;
use super::topics::{matches, shared_filter};
use crate::link::LinkId;
use crate::rule::Rule;

/// A message was put out to a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assignment {
    session: SessionId,
    link: LinkId,
    qos: QoS,
    at: Time,
}

/// What the judge knows of a group: who got what, and who left.
#[derive(Debug, Default)]
pub(crate) struct GroupRecord {
    assignments: BTreeMap<MessageId, Vec<Assignment>>,
    departures: Vec<(SessionId, Time)>,
}

impl GroupRecord {
    fn has_left_since(&self, assignment: &Assignment) -> bool {
        self.departures
            .iter()
            .any(|(who, when)| *who == assignment.session && *when >= assignment.at)
    }
}

impl Judge {
    pub(super) fn member_may_leave(&mut self, session: SessionId, filter: &str) {
        let now = self.now;
        if shared_filter(filter).is_some() {
            let group = self.groups.entry(filter.to_owned()).or_default();
            group.departures.push((session, now));
        }
    }

    /// A message was put out to a member of a shared subscription for the first time.
    pub(super) fn check_shared(
        &mut self,
        link: LinkId,
        session: SessionId,
        message: MessageId,
        qos: QoS,
        subscription: &SubscriptionRecord,
    ) {
        let now = self.now;
        let published = self.message(message).publications.len();
        let highest = self.message(message).content.qos;
        let granted = subscription.options.maximum_qos.min(highest);
        if subscription.holds_since(self.message(message).first_published().unwrap_or(now))
            && qos != granted
        {
            let text = format!("{link:?}: {message:?} at {qos:?}, not {granted:?}");
            self.breach(Rule::EffectiveQoS, text);
        }
        let before = self
            .groups
            .get(&subscription.filter)
            .and_then(|group| group.assignments.get(&message))
            .cloned()
            .unwrap_or_default();
        let binding = before
            .iter()
            .filter(|assignment| !self.is_given_back(&subscription.filter, message, assignment))
            .count();
        if binding >= published {
            let text = format!(
                "{link:?}: {message:?} of {}, published {published} times, went to {before:?}",
                subscription.filter
            );
            self.breach(Rule::SharedOnce, text);
        }
        self.tally.shared += 1;
        self.tally.reassigned += u64::from(binding < before.len());
        let group = self.groups.entry(subscription.filter.clone()).or_default();
        let assignment = Assignment {
            session,
            link,
            qos,
            at: now,
        };
        group
            .assignments
            .entry(message)
            .or_default()
            .push(assignment);
    }

    /// Whether the member could not complete it and another may have it (section 4.8.2).
    fn is_given_back(&self, filter: &str, message: MessageId, assignment: &Assignment) -> bool {
        let Assignment {
            session,
            link,
            qos,
            at: _,
        } = *assignment;
        match qos {
            // Nothing completes QoS 0.
            QoS::AtMostOnce => return false,
            // [MQTT-4.8.2-4], [MQTT-4.8.2-5]
            QoS::ExactlyOnce => return false,
            QoS::AtLeastOnce => {}
        }
        let record = self.session(session);
        let open = record
            .exchanges
            .values()
            .any(|exchange| exchange.message == Some(message) && exchange.class == Class::Shared);
        let left = self
            .groups
            .get(filter)
            .is_some_and(|group| group.has_left_since(assignment));
        open && (self.link(link).ended_at.is_some() || left)
    }

    /// At rest: nothing stays with members who are gone while others are there.
    pub(crate) fn check_nothing_is_stranded(&mut self) -> usize {
        let now = self.now;
        let mut stranded = Vec::new();
        let filters: Vec<String> = self.shared_filters();
        for filter in filters {
            let Some(topic_filter) = shared_filter(&filter) else {
                continue;
            };
            let members: Vec<SessionId> = (0..self.sessions.len())
                .map(SessionId)
                .filter(|session| self.may_be_member(*session, &filter))
                .collect();
            for message in (0..self.messages.len() as u32).map(MessageId) {
                let published = self.message(message);
                let Some(from) = published.first_published() else {
                    continue;
                };
                let content = &published.content;
                if content.qos == QoS::AtMostOnce
                    || published.acknowledged_at.is_none()
                    || !matches(topic_filter, &content.topic)
                    || published
                        .expiry(now)
                        .is_some_and(|(earliest, _)| earliest <= now)
                {
                    continue;
                }
                // Somebody was there the whole time, and somebody is there now.
                let was_there = members.iter().any(|member| {
                    self.session(*member).is_alive(now) == Certainty::Yes
                        && self.holds(*member, &filter, from)
                });
                let is_there = members.iter().any(|member| {
                    self.session(*member).link.is_some() && self.holds(*member, &filter, now)
                });
                let all_take_it = self.everyone_takes(&filter, message);
                if was_there && is_there && all_take_it && !self.was_handed_over(&filter, message) {
                    stranded.push((filter.clone(), message));
                }
            }
        }
        if self.loses_nothing
            && let Some((filter, message)) = stranded.first()
        {
            let text = format!(
                "nobody of {filter} got {message:?}, {:?} of {:?}; {} are stranded",
                self.message(*message).content,
                self.message(*message).publications,
                stranded.len()
            );
            self.breach(Rule::SharedStranded, text);
        }
        stranded.len()
    }

    fn shared_filters(&self) -> Vec<String> {
        let mut filters: Vec<String> = self
            .sessions
            .iter()
            .flat_map(|session| &session.subscriptions.records)
            .filter(|record| record.is_shared())
            .map(|record| record.filter.clone())
            .collect();
        filters.sort();
        filters.dedup();
        filters
    }

    fn may_be_member(&self, session: SessionId, filter: &str) -> bool {
        self.session(session)
            .subscriptions
            .records
            .iter()
            .any(|record| record.filter == filter)
    }

    fn holds(&self, session: SessionId, filter: &str, since: Time) -> bool {
        self.session(session)
            .subscriptions
            .records
            .iter()
            .any(|record| record.filter == filter && record.holds_since(since))
    }

    /// Whether every member there ever was subscribed above QoS 0 and takes packets of this size.
    fn everyone_takes(&self, filter: &str, message: MessageId) -> bool {
        let bytes = self.message(message).packet_bytes();
        self.sessions.iter().all(|session| {
            session
                .subscriptions
                .records
                .iter()
                .filter(|record| record.filter == filter)
                .all(|record| {
                    record.options.maximum_qos != QoS::AtMostOnce
                        && bytes <= session.smallest_maximum
                })
        })
    }

    /// Some member's application has it; or it was begun at QoS 2 ([MQTT-4.8.2-5]), or with a member
    /// that then gave its membership up ([MQTT-3.10.4-3]), which is gone and has to complete it.
    fn was_handed_over(&self, filter: &str, message: MessageId) -> bool {
        let Some(group) = self.groups.get(filter) else {
            return false;
        };
        let mut assignments = group.assignments.get(&message).into_iter().flatten();
        assignments.any(|assignment| {
            let record = self.session(assignment.session);
            // UNSUBSCRIBE may have come before the broker took it in hand.
            let has_left = group
                .departures
                .iter()
                .any(|(who, _)| *who == assignment.session);
            let is_bound = assignment.qos == QoS::ExactlyOnce || has_left;
            record.received.contains(&message)
                || (is_bound && (record.link.is_none() || record.ended_at.is_some()))
        })
    }
}
