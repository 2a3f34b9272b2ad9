//! Retained messages: what a fresh subscriber got against what was acknowledged.

use std::collections::BTreeMap;

use super::{History, Sent};
use crate::breach::Breach;
use crate::catalogue::{Kind, Message, StreamId};

/// Every retained topic that has less than was acknowledged. Nobody publishes meanwhile.
pub(crate) fn outdated(history: &History<'_>, came: &BTreeMap<StreamId, usize>) -> Vec<Breach> {
    history
        .catalogue
        .ids()
        .filter(|stream| history.catalogue.stream(*stream).kind == Kind::Retained)
        .filter_map(|stream| {
            let sent = history.sent(stream);
            let last = last_acknowledged(sent)?;
            let found = came.get(&stream).copied();
            let newer = found
                .and_then(|number| sent.get(number))
                .is_some_and(|found| found.last_sent >= sent[last].first_sent);
            (!newer).then(|| Breach {
                client: "a fresh subscriber".to_owned(),
                what: format!(
                    "{}: number {last} is acknowledged, {found:?} is retained",
                    history.catalogue.stream(stream)
                ),
                message: Some(Message {
                    stream,
                    number: last,
                }),
            })
        })
        .collect()
}

/// The topics of which something must be retained.
pub(crate) fn expected(history: &History<'_>) -> Vec<StreamId> {
    history
        .catalogue
        .ids()
        .filter(|stream| history.catalogue.stream(*stream).kind == Kind::Retained)
        .filter(|stream| last_acknowledged(history.sent(*stream)).is_some())
        .collect()
}

fn last_acknowledged(sent: &[Sent]) -> Option<usize> {
    sent.iter().rposition(|sent| sent.acknowledged)
}
