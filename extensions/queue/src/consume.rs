//! Sessions that come and go, and what they subscribe to.

use nexum_extension_api::{
    ConsumerId, DeliveryId, ErrorCode, FeedId, Input, Output, Refusal, Subscribe,
};
use nexum_types::{QoS, Time};

use crate::filter::Filter;
use crate::member::{Consumer, Feed, MemberFeed, Slot};
use crate::queues::Queues;
use crate::settle::Ending;

impl Queues {
    pub(crate) fn attach(
        &mut self,
        consumer: ConsumerId,
        credit: u32,
        takes_properties: bool,
        now: Time,
    ) {
        let state = self.consumers.entry(consumer).or_default();
        state.is_attached = true;
        state.takes_properties = takes_properties;
        state.credit = credit;
        self.wake(consumer, now);
    }

    pub(crate) fn subscribe(&mut self, subscribe: Subscribe, now: Time) {
        let feed = subscribe.feed;
        if let Err(refusal) = self.try_subscribe(subscribe, now) {
            self.put_out(Output::Refuse { feed, refusal });
        }
    }

    fn try_subscribe(&mut self, subscribe: Subscribe, now: Time) -> Result<(), Refusal> {
        let options = subscribe.options.as_deref();
        if let Some(key) = options.and_then(|options| options.first_beyond(&[])) {
            return Err(Refusal::option(key, &[]));
        }
        let (filter, form) = Filter::parse(&subscribe.address)?;
        let name = subscribe.address.name();
        let Some(slot) = self.names.get(name).copied() else {
            let name = name.into();
            return self.wait_for(&name, Input::Subscribe(subscribe));
        };
        let Subscribe {
            feed,
            consumer,
            maximum_qos,
            ..
        } = subscribe;
        self.unsubscribe(feed);
        let Some(queue) = self.queue_mut(slot) else {
            return Ok(());
        };
        if maximum_qos == QoS::AtMostOnce && !queue.options.allow_qos0 {
            return Err(Refusal::new(
                ErrorCode::BadOption,
                "a consumer of a queue acknowledges: subscribe at QoS 1 or 2, or set allow_qos0",
            ));
        }
        let selector = queue.line.join(filter, &queue.entries);
        let member = queue.members.entry(consumer).or_default();
        // Who is new has its turn now, and not before all the others again and again.
        member.turn = member.turn.max(queue.turn);
        member.feeds.insert(
            0,
            MemberFeed {
                feed,
                selector,
                form,
            },
        );
        queue.stand(consumer);
        self.feeds.insert(feed, Feed { consumer, slot });
        let state = self.consumers.entry(consumer).or_default();
        state.feeds.push(feed);
        self.put_out(Output::Grant { feed, maximum_qos });
        self.dispatch(slot, now);
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, feed: FeedId) {
        self.stop_waiting(
            |input| matches!(input, Input::Subscribe(subscribe) if subscribe.feed == feed),
        );
        let Some(Feed { consumer, slot }) = self.feeds.remove(&feed) else {
            return;
        };
        if let Some(state) = self.consumers.get_mut(&consumer) {
            state.feeds.retain(|it| *it != feed);
        }
        self.leave_queue(slot, consumer, feed);
    }

    /// A consumer loses one of its feeds.
    fn leave_queue(&mut self, slot: Slot, consumer: ConsumerId, feed: FeedId) {
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        queue.sit(consumer);
        let Some(member) = queue.members.get_mut(&consumer) else {
            return;
        };
        let at = member.feeds.iter().position(|it| it.feed == feed);
        let Some(gone) = at.map(|at| member.feeds.remove(at)) else {
            return queue.stand(consumer);
        };
        queue.line.part(gone.selector);
        if !member.feeds.is_empty() {
            return queue.stand(consumer);
        }
        let is_asleep = std::mem::take(&mut member.is_asleep);
        // What it has not settled counts if it subscribes again.
        if member.unsettled == 0 {
            queue.members.remove(&consumer);
        }
        if is_asleep && let Some(state) = self.consumers.get_mut(&consumer) {
            state.asleep.retain(|it| *it != slot);
        }
    }

    pub(crate) fn detach(
        &mut self,
        consumer: ConsumerId,
        mut unanswered: Vec<DeliveryId>,
        has_ended: bool,
        now: Time,
    ) {
        unanswered.sort_unstable();
        self.stop_waiting(
            |input| matches!(input, Input::Subscribe(subscribe) if subscribe.consumer == consumer),
        );
        let Some(state) = self.consumers.get_mut(&consumer) else {
            return;
        };
        state.is_attached = false;
        state.credit = 0;
        state.held_leases = 0;
        state.asleep.clear();
        let feeds = std::mem::take(&mut state.feeds);
        let flights = state.flights.clone();
        for feed in feeds {
            if let Some(Feed { slot, .. }) = self.feeds.remove(&feed) {
                self.leave_queue(slot, consumer, feed);
            }
        }
        let mut given_back: Vec<Slot> = Vec::new();
        for delivery in flights {
            let Some(flight) = self.flights.get_mut(&delivery) else {
                continue;
            };
            if !std::mem::replace(&mut flight.is_orphan, true) {
                let is_unanswered = unanswered.binary_search(&DeliveryId(delivery)).is_ok();
                flight.is_returning = !flight.is_settled && !is_unanswered;
            }
            let flight = *flight;
            // What it has not settled does not count if it comes back.
            if let Some(queue) = self.queue_mut(flight.slot) {
                queue.members.remove(&consumer);
            }
            if flight.is_over {
                self.land(delivery);
            } else if has_ended && !flight.is_returning {
                self.end_flight(delivery);
                self.conclude_and_note(flight.slot, flight.sequence, Ending::Lapsed, now);
                given_back.push(flight.slot);
            }
        }
        let is_empty = |state: &Consumer| state.open == 0;
        if self.consumers.get(&consumer).is_some_and(is_empty) {
            self.consumers.remove(&consumer);
        }
        given_back.dedup();
        for slot in given_back {
            self.dispatch(slot, now);
        }
    }
}
