//! The verdict on made-up histories: it must be able to say no.

use super::*;

const STREAM: StreamId = StreamId(0);

/// A stream at this QoS, of which so many were sent at ticks 10, 11, … and all acknowledged.
struct Made {
    catalogue: Catalogue,
    sent: Vec<Sent>,
}

impl Made {
    fn new(kind: Kind, qos: u8, count: u64) -> Made {
        let mut catalogue = Catalogue::default();
        let stream = catalogue.add(Stream {
            publisher: "publisher".to_owned(),
            topic: "data/a".to_owned(),
            qos,
            kind,
        });
        assert_eq!(stream, STREAM);
        let sent = (10..10 + count)
            .map(|tick| Sent {
                first_sent: Tick(tick),
                last_sent: Tick(tick),
                acknowledged: true,
            })
            .collect();
        Made { catalogue, sent }
    }

    fn history(&self) -> History<'_> {
        History {
            catalogue: &self.catalogue,
            sent: BTreeMap::from([(STREAM, self.sent.as_slice())]),
        }
    }

    /// What is said of a subscriber that was confirmed at tick 5 and got these numbers.
    fn judge(&self, qos: u8, numbers: &[usize]) -> Vec<String> {
        self.judge_inbox(&inbox(qos, Some(Tick(5)), numbers))
    }

    fn judge_inbox(&self, inbox: &Inbox) -> Vec<String> {
        let breaches = self.history().judge(inbox);
        breaches.into_iter().map(|breach| breach.what).collect()
    }

    fn judge_retained(&self, found: Option<usize>) -> Vec<String> {
        let came = found.map(|number| (STREAM, number)).into_iter().collect();
        let breaches = outdated(&self.history(), &came);
        breaches.into_iter().map(|breach| breach.what).collect()
    }
}

fn inbox(qos: u8, confirmed: Option<Tick>, numbers: &[usize]) -> Inbox {
    Inbox {
        name: "subscriber".to_owned(),
        qos,
        subscriptions: vec![Subscription {
            filter: "data/+".to_owned(),
            confirmed,
        }],
        messages: numbers
            .iter()
            .map(|number| Message {
                stream: STREAM,
                number: *number,
            })
            .collect(),
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn all_in_order_is_no_breach() {
    for qos in [1, 2] {
        let made = Made::new(Kind::Plain, qos, 4);
        assert_eq!(made.judge(qos, &[0, 1, 2, 3]), NOTHING);
    }
}

#[test]
fn a_lost_one_is_found() {
    let made = Made::new(Kind::Plain, 1, 4);
    assert_eq!(
        made.judge(1, &[0, 1, 3]),
        ["lost: 1 of the 4 messages of publisher/data/a/1: [2]"]
    );
    assert_eq!(
        made.judge(1, &[]),
        ["lost: 4 of the 4 messages of publisher/data/a/1: [0, 1, 2, 3]"]
    );
}

#[test]
fn what_was_not_acknowledged_may_be_lost() {
    let mut made = Made::new(Kind::Plain, 1, 4);
    made.sent[2].acknowledged = false;
    assert_eq!(made.judge(1, &[0, 1, 3]), NOTHING);
}

#[test]
fn what_was_sent_before_the_suback_may_be_lost() {
    let made = Made::new(Kind::Plain, 1, 4);
    let late = inbox(1, Some(Tick(12)), &[3]);
    assert_eq!(made.judge_inbox(&late), NOTHING);
    let unconfirmed = inbox(1, None, &[]);
    assert_eq!(made.judge_inbox(&unconfirmed), NOTHING);
}

#[test]
fn another_topic_is_not_promised() {
    let made = Made::new(Kind::Plain, 1, 4);
    let mut elsewhere = inbox(1, Some(Tick(5)), &[]);
    elsewhere.subscriptions[0].filter = "will/#".to_owned();
    assert_eq!(made.judge_inbox(&elsewhere), NOTHING);
}

#[test]
fn twice_is_a_breach_from_qos_2_to_qos_2_only() {
    let numbers = [0, 1, 2, 1, 2, 3];
    for (publisher, subscriber) in [(1, 1), (1, 2), (2, 1)] {
        let made = Made::new(Kind::Plain, publisher, 4);
        assert_eq!(made.judge(subscriber, &numbers), NOTHING);
    }
    let made = Made::new(Kind::Plain, 2, 4);
    assert_eq!(
        made.judge(2, &numbers),
        ["came twice at QoS 2: 2 of the 4 messages of publisher/data/a/2: [1, 2]"]
    );
}

#[test]
fn reordered_ones_are_found_at_each_qos() {
    for qos in [1, 2] {
        let made = Made::new(Kind::Plain, qos, 4);
        assert_eq!(
            made.judge(qos, &[0, 2, 1, 3]),
            [format!(
                "came after a newer one: 1 of the 4 messages of publisher/data/a/{qos}: [1]"
            )]
        );
    }
}

#[test]
fn what_was_sent_before_the_suback_may_come_late() {
    let made = Made::new(Kind::Plain, 1, 4);
    let late = inbox(1, Some(Tick(11)), &[2, 1, 3]);
    assert_eq!(made.judge_inbox(&late), NOTHING);
    let in_time = inbox(1, Some(Tick(10)), &[2, 1, 3]);
    assert_eq!(made.judge_inbox(&in_time).len(), 1);
}

#[test]
fn wills_have_no_order_but_are_not_lost() {
    let made = Made::new(Kind::Will, 1, 3);
    assert_eq!(made.judge(1, &[1, 0, 2, 0]), NOTHING);
    assert_eq!(
        made.judge(1, &[1, 2]),
        ["lost: 1 of the 3 messages of publisher/data/a/1: [0]"]
    );
}

#[test]
fn what_was_never_sent_is_found() {
    let made = Made::new(Kind::Plain, 1, 1);
    assert_eq!(
        made.judge(1, &[0, 1]),
        ["never sent: 1 of the 1 messages of publisher/data/a/1: [1]"]
    );
}

#[test]
fn an_old_retained_message_is_found() {
    let made = Made::new(Kind::Retained, 1, 4);
    assert_eq!(made.judge_retained(Some(3)), NOTHING);
    assert_eq!(
        made.judge_retained(Some(2)),
        ["publisher/data/a/1: number 3 is acknowledged, Some(2) is retained"]
    );
    assert_eq!(
        made.judge_retained(None),
        ["publisher/data/a/1: number 3 is acknowledged, None is retained"]
    );
}

#[test]
fn a_retained_message_may_be_newer_than_the_last_acknowledged() {
    let mut made = Made::new(Kind::Retained, 1, 4);
    made.sent[2].acknowledged = false;
    made.sent[3].acknowledged = false;
    for found in [1, 2, 3] {
        assert_eq!(made.judge_retained(Some(found)), NOTHING);
    }
    // Sent again after number 3, number 2 is the newer one.
    made.sent[3].acknowledged = true;
    made.sent[2].last_sent = Tick(20);
    assert_eq!(made.judge_retained(Some(2)), NOTHING);
}

#[test]
fn nothing_need_be_retained_where_nothing_was_acknowledged() {
    let mut made = Made::new(Kind::Retained, 1, 1);
    made.sent[0].acknowledged = false;
    assert_eq!(made.judge_retained(None), NOTHING);
}
