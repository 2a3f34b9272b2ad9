//! A naive bucket: a map of what is stored, and one of what will be if nothing is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use nexum_types::Time;

use crate::operation::{Action, Condition, HISTORY};

/// What a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Which write it is of.
    pub(crate) write: usize,
    pub(crate) value: String,
    /// As soon as it was told.
    pub(crate) revision: Option<u64>,
    pub(crate) expires_at: Option<Time>,
    /// Values before, the oldest first.
    pub(crate) former: Vec<String>,
}

pub(crate) type Map = BTreeMap<&'static str, Cell>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) stored: Map,
    pub(crate) decided: Map,
}

/// What has to come of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Conflict,
    NotFound,
    BadPayload,
    /// Nothing was there to delete.
    Nothing,
    Value(String),
    History(Vec<String>),
    Becomes(Option<Cell>),
}

/// What is asked for, with the revision that it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) key: &'static str,
    pub(crate) action: Action,
    pub(crate) condition: Condition,
    pub(crate) revision: u64,
}

pub(crate) fn is_there(cell: &Cell, now: Time) -> bool {
    cell.expires_at.is_none_or(|at| at > now)
}

impl Oracle {
    /// Nothing of what was decided was stored.
    pub(crate) fn give_up(&mut self) {
        self.decided = self.stored.clone();
    }

    /// The newest revision of a key that was told.
    pub(crate) fn known_revision(&self, key: &str) -> u64 {
        let known = |map: &Map| map.get(key).and_then(|cell| cell.revision);
        known(&self.decided).or(known(&self.stored)).unwrap_or(0)
    }

    pub(crate) fn note_revision(&mut self, write: usize, revision: u64) {
        for cell in self.stored.values_mut().chain(self.decided.values_mut()) {
            if cell.write == write {
                cell.revision = Some(revision);
            }
        }
    }
}

pub(crate) fn judge(map: &Map, asked: Asked, write: usize, now: Time) -> Expected {
    let cell = map.get(asked.key).filter(|cell| is_there(cell, now));
    let is_met = match asked.condition {
        Condition::None => true,
        Condition::Absent | Condition::CreateOnly => cell.is_none(),
        Condition::Known => match cell {
            Some(cell) => cell.revision == Some(asked.revision),
            None => asked.revision == 0,
        },
    };
    if !is_met {
        return Expected::Conflict;
    }
    let becomes = |value: String, expires_at| {
        let mut former = cell.map_or_else(Vec::new, |cell| cell.former.clone());
        former.extend(cell.map(|cell| cell.value.clone()));
        former.drain(..former.len().saturating_sub(HISTORY - 1));
        Expected::Becomes(Some(Cell {
            write,
            value,
            revision: None,
            expires_at,
            former,
        }))
    };
    let after = |seconds: u8| now + Duration::from_secs(u64::from(seconds));
    match (asked.action, cell) {
        (Action::Set { value, seconds }, _) => becomes(value.to_owned(), seconds.map(after)),
        (Action::Delete, None) => Expected::Nothing,
        (Action::Delete, Some(_)) => Expected::Becomes(None),
        (Action::Count(step), cell) => {
            let value = cell.map_or("0", |cell| &cell.value);
            let sum = value.parse::<i64>().ok();
            match sum.and_then(|value| value.checked_add(i64::from(step))) {
                Some(sum) => becomes(sum.to_string(), cell.and_then(|cell| cell.expires_at)),
                None => Expected::BadPayload,
            }
        }
        (Action::Touch(_) | Action::Get | Action::History, None) => Expected::NotFound,
        (Action::Touch(seconds), Some(cell)) => Expected::Becomes(Some(Cell {
            write,
            revision: None,
            expires_at: (seconds > 0).then(|| after(seconds)),
            ..cell.clone()
        })),
        (Action::Get, Some(cell)) => Expected::Value(cell.value.clone()),
        (Action::History, Some(cell)) => {
            let mut values = vec![cell.value.clone()];
            values.extend(cell.former.iter().rev().cloned());
            Expected::History(values)
        }
    }
}
