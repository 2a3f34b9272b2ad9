//! What a session is subscribed to, as far as an onlooker can know: between a request and its
//! answer it may be one way or the other.

use std::collections::BTreeMap;

use nexum_types::{QoS, RetainHandling, SubscriptionOptions, Time};

use super::topics::{matches, shared_filter};
use crate::link::LinkId;

/// One filter of one SUBSCRIBE.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionRecord {
    /// As the client wrote it.
    pub(crate) filter: String,
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
    pub(crate) requested_at: Time,
    /// SUBACK said yes.
    pub(crate) granted_at: Option<Time>,
    /// It was asked to be given up or replaced…
    pub(crate) leaving_at: Option<Time>,
    /// …by this later record, if that was granted.
    replaced_by: Option<usize>,
    /// It is gone for certain.
    pub(crate) left_at: Option<Time>,
}

impl SubscriptionRecord {
    pub(crate) fn is_shared(&self) -> bool {
        shared_filter(&self.filter).is_some()
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        matches(shared_filter(&self.filter).unwrap_or(&self.filter), topic)
    }

    /// Whether it may have been in force at some time of that span.
    pub(crate) fn may_hold(&self, from: Time, to: Time) -> bool {
        self.requested_at <= to && self.left_at.is_none_or(|left| left >= from)
    }

    /// Whether it has been in force without doubt from then until now. What happened at the same
    /// time may have happened before.
    pub(crate) fn holds_since(&self, from: Time) -> bool {
        self.granted_at.is_some_and(|granted| granted < from) && self.leaving_at.is_none()
    }
}

/// Retained messages that a SUBSCRIBE asked for.
#[derive(Clone, Debug)]
pub(crate) struct ReplayRight {
    pub(crate) filter: String,
    pub(crate) maximum_qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) identifier: Option<u32>,
    pub(crate) requested_at: Time,
    /// When it was granted, and on which connection it has to be satisfied now.
    pub(crate) granted: Option<(Time, LinkId)>,
    /// Whether the broker has no choice.
    pub(crate) due: bool,
    /// Topics of which it has got its message.
    pub(crate) taken: BTreeMap<String, Taken>,
    /// Whatever it was due has long been sent.
    pub(crate) closed: bool,
    /// It was not satisfied on the connection it was granted on.
    pub(crate) is_renewed: bool,
    record: usize,
}

/// A retained message as it was put out.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) at: Time,
    pub(crate) form: RetainedForm,
}

/// What tells for which subscription a retained message is.
#[derive(Clone, Debug)]
pub(crate) struct RetainedForm {
    /// At which QoS it was published…
    pub(crate) published: QoS,
    /// …and put out.
    pub(crate) qos: QoS,
    /// Its Subscription Identifiers, which 3.1.1 does not show.
    pub(crate) identifiers: Option<Vec<u32>>,
}

impl RetainedForm {
    fn fits(&self, right: &ReplayRight) -> bool {
        self.qos == self.published.min(right.maximum_qos)
            && self
                .identifiers
                .as_ref()
                .is_none_or(|identifiers| identifiers.iter().eq(right.identifier.iter()))
    }
}

impl ReplayRight {
    /// Whether a message in this form may be put out for it, unless it has had one.
    pub(crate) fn is_for(&self, topic: &str, form: &RetainedForm) -> bool {
        self.granted.is_some() && !self.closed && matches(&self.filter, topic) && form.fits(self)
    }
}

/// All subscriptions that a session ever had.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    pub(crate) records: Vec<SubscriptionRecord>,
    pub(crate) rights: Vec<ReplayRight>,
}

impl Subscriptions {
    /// SUBSCRIBE asks for this; returns the number of the record.
    pub(crate) fn request(
        &mut self,
        filter: &str,
        options: SubscriptionOptions,
        identifier: Option<u32>,
        now: Time,
    ) -> usize {
        let number = self.records.len();
        let mut existed = false;
        let mut may_exist = false;
        self.relax_rights(filter);
        for record in &mut self.records {
            if record.filter == filter && record.left_at.is_none() {
                existed |= record.holds_since(now);
                may_exist = true;
                if record.leaving_at.is_none() {
                    record.leaving_at = Some(now);
                    record.replaced_by = Some(number);
                }
            }
        }
        let wanted = match options.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => !existed,
            RetainHandling::DoNotSend => false,
        };
        if wanted && shared_filter(filter).is_none() {
            self.rights.push(ReplayRight {
                filter: filter.to_owned(),
                maximum_qos: options.maximum_qos,
                no_local: options.no_local,
                identifier,
                requested_at: now,
                granted: None,
                due: options.retain_handling == RetainHandling::SendAtSubscribe || !may_exist,
                taken: BTreeMap::new(),
                closed: false,
                is_renewed: false,
                record: number,
            });
        }
        self.records.push(SubscriptionRecord {
            filter: filter.to_owned(),
            options,
            identifier,
            requested_at: now,
            granted_at: None,
            leaving_at: None,
            replaced_by: None,
            left_at: None,
        });
        number
    }

    /// The subscription is given up or replaced: what was retained for it may still come.
    fn relax_rights(&mut self, filter: &str) {
        for right in self
            .rights
            .iter_mut()
            .filter(|right| right.filter == filter)
        {
            right.due = false;
        }
    }

    /// SUBACK answers.
    pub(crate) fn answer(&mut self, number: usize, granted: bool, link: LinkId, now: Time) {
        for record in &mut self.records {
            if record.replaced_by == Some(number) && record.left_at.is_none() {
                if granted {
                    record.left_at = Some(now);
                } else {
                    record.leaving_at = None;
                    record.replaced_by = None;
                }
            }
        }
        if granted {
            self.records[number].granted_at = Some(now);
            for right in self
                .rights
                .iter_mut()
                .filter(|right| right.record == number)
            {
                right.granted = Some((now, link));
            }
        } else {
            self.records[number].leaving_at = Some(now);
            self.records[number].left_at = Some(now);
            self.rights.retain(|right| right.record != number);
        }
    }

    /// UNSUBSCRIBE asks to give this up; returns the records it means.
    pub(crate) fn request_end(&mut self, filter: &str, now: Time) -> Vec<usize> {
        let mut meant = Vec::new();
        self.relax_rights(filter);
        for (number, record) in self.records.iter_mut().enumerate() {
            if record.filter == filter && record.left_at.is_none() {
                record.leaving_at.get_or_insert(now);
                record.replaced_by = None;
                meant.push(number);
            }
        }
        meant
    }

    /// UNSUBACK answers.
    pub(crate) fn end(&mut self, numbers: &[usize], now: Time) {
        for number in numbers {
            self.records[*number].left_at.get_or_insert(now);
        }
    }

    /// Since then nothing kept the broker from sending what it still had for these rights.
    pub(crate) fn close_rights(&mut self, idle_since: Time) {
        for right in &mut self.rights {
            right.closed |= right.granted.is_some_and(|(at, _)| at <= idle_since);
        }
    }

    /// The client is back: what it may not have got of what was retained is sent again, from the
    /// beginning, unless it is QoS 0.
    pub(crate) fn renew_rights(&mut self, link: LinkId, now: Time) {
        for right in &mut self.rights {
            if right.closed || right.maximum_qos == QoS::AtMostOnce {
                continue;
            }
            // SUBACK may have been lost on its way.
            right.due &= right.granted.is_some();
            let granted_at = right.granted.map_or(now, |(at, _)| at);
            right.granted = Some((granted_at, link));
            right.taken.clear();
            right.is_renewed = true;
        }
    }

    /// Plain subscriptions that may have matched in that span.
    pub(crate) fn plain_that_may_match<'a>(
        &'a self,
        topic: &'a str,
        from: Time,
        to: Time,
    ) -> impl Iterator<Item = &'a SubscriptionRecord> {
        self.records.iter().filter(move |record| {
            !record.is_shared() && record.may_hold(from, to) && record.matches(topic)
        })
    }

    /// The shared subscription that may have matched in that span.
    pub(crate) fn shared_that_may_match(
        &self,
        topic: &str,
        from: Time,
        to: Time,
    ) -> Option<&SubscriptionRecord> {
        self.records
            .iter()
            .rev()
            .find(|record| record.is_shared() && record.may_hold(from, to) && record.matches(topic))
    }
}
