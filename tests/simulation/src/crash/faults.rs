//! What goes wrong: by the seed, and by a bug that is planted to see whether it is found.

use std::time::Duration;

use nexum_core::{Change, Key};
use nexum_extension_host::LineId;
use nexum_storage::{Changes, Durability, Failure, Fault, Operation, Options};

use crate::random::Random;

/// A bug planted between the shards and the disk. A verdict that finds none of them would be worth
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// Submissions are answered before they are committed.
    AnswerBeforeCommit,
    /// Commits are not synced, and the power goes.
    SkipSync,
    /// A bit of the log is another one when the broker starts again. This is no bug but damage: it
    /// must be told, or do no harm.
    FlipBit,
    /// Identifiers of QoS 2 publications are not stored.
    DropReceived,
    /// Messages that wait for a session are not stored.
    DropDeliveries,
    /// Messages that several sessions share are not stored.
    ForgetMessages,
    /// What an extension has stored of what has happened already, such as a settlement, is not.
    ForgetSettlements,
    /// What is to be stored together with what fulfils a command is not.
    DropCompanions,
    /// What an extension captures is not known to shards when they begin.
    LateCaptures,
    /// What is due later is taken for due.
    FastClock,
    /// What an extension wants of a shard comes in another order.
    ShuffleOutputs,
}

impl Bug {
    /// All of those that do not need an extension.
    pub const ALL: [Bug; 6] = [
        Bug::AnswerBeforeCommit,
        Bug::SkipSync,
        Bug::FlipBit,
        Bug::DropReceived,
        Bug::DropDeliveries,
        Bug::ForgetMessages,
    ];

    /// Those that show in runs with extensions.
    pub const OF_EXTENSIONS: [Bug; 7] = [
        Bug::AnswerBeforeCommit,
        Bug::SkipSync,
        Bug::ForgetSettlements,
        Bug::DropCompanions,
        Bug::LateCaptures,
        Bug::FastClock,
        Bug::ShuffleOutputs,
    ];
}

/// The bug of a run, if it has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planted {
    bug: Option<Bug>,
}

impl Planted {
    pub(super) fn new(bug: Option<Bug>) -> Planted {
        Planted { bug }
    }

    pub(super) fn is(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// What is stored in the place of these changes.
    pub(super) fn tamper(self, changes: &[Change]) -> Vec<Change> {
        let is_dropped = |change: &Change| match (self.bug, change) {
            (Some(Bug::DropReceived), Change::Put(Key::Received(..), _))
            | (Some(Bug::DropDeliveries), Change::Put(Key::Delivery(..), _))
            | (Some(Bug::ForgetMessages), Change::Put(Key::Message(_), _)) => true,
            (_, Change::Put(..) | Change::Delete(_)) => false,
        };
        changes
            .iter()
            .filter(|change| !is_dropped(change))
            .cloned()
            .collect()
    }

    /// What is stored in the place of what an extension wants stored.
    pub(super) fn tamper_line(self, line: LineId, changes: Changes) -> Changes {
        if !self.is(Bug::ForgetSettlements) || line == LineId::Telling {
            return changes;
        }
        let mut nothing = Changes::new();
        if changes.follows() {
            nothing.keep_in_order();
        }
        nothing
    }

    pub(super) fn tamper_options(self, options: &mut Options) {
        if self.is(Bug::SkipSync) {
            options.durability = Durability::Os;
        }
    }
}

/// Something that happens to the broker's machine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// The power goes.
    PowerCut,
    /// The power goes at this operation of the disk that changes something.
    PowerCutDuring(u64),
    /// The process dies.
    Kill,
    /// The disk has no more room than so many bytes, for a while.
    Full(u64, Duration),
    /// The disk fails, for a while.
    Failing(Operation, Duration),
}

impl Trouble {
    pub(super) fn new(random: &mut Random) -> Trouble {
        let while_ = Duration::from_millis(random.between(50, 1_500));
        match random.below(10) {
            0..=2 => Trouble::PowerCut,
            3..=5 => Trouble::PowerCutDuring(random.between(0, 60)),
            6 | 7 => Trouble::Kill,
            8 => Trouble::Full(random.between(0, 6_000), while_),
            _ => {
                let operation = *random.pick(&[Operation::Write, Operation::Sync]);
                Trouble::Failing(operation, while_)
            }
        }
    }
}

/// Of a disk that fails until it is healed, after a few more operations.
pub(super) fn failing(operation: Operation, after: u64) -> Fault {
    Fault {
        operation: Some(operation),
        name_ends: ".log",
        after,
        times: u64::MAX,
        failure: Failure::Broken,
    }
}
