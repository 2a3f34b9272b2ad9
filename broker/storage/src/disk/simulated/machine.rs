//! What a machine has: files, names for them, and what is to go wrong.

use std::collections::BTreeMap;
use std::io;

use super::inode::Inode;
use super::{Failure, Fault, Operation};
use crate::random::Random;

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) random: Random,
    /// Files, by inode; those without a name are kept, too.
    pub(super) files: Vec<Inode>,
    /// What a process sees.
    pub(super) names: BTreeMap<String, usize>,
    /// What is on the disk.
    pub(super) durable_names: BTreeMap<String, usize>,
    /// From the latter to the former.
    pub(super) pending_names: Vec<NameChange>,
    /// Which life of the process this is. Files opened in an earlier one are dead.
    pub(super) life: u64,
    /// Operations that changed something.
    pub(super) operations: u64,
    /// The power goes at this one.
    pub(super) crash_at: Option<u64>,
    pub(super) off: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) room: u64,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create(String, usize),
    Remove(String),
    Rename {
        from: String,
        to: String,
        inode: usize,
    },
}

impl Machine {
    pub(super) fn restart(&mut self) {
        self.life += 1;
        self.off = false;
        self.crash_at = None;
    }

    pub(super) fn powered(&self) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    pub(super) fn used(&self) -> u64 {
        self.names
            .values()
            .map(|inode| self.files[*inode].seen.len() as u64)
            .sum()
    }

    /// Before an operation: whether the power goes with it, and whether it fails. Where the power
    /// goes the operation is begun, so that a part of it may become durable.
    pub(super) fn begin(&mut self, operation: Operation, name: &str) -> Option<Failure> {
        if operation.changes() {
            if self.crash_at.is_some_and(|at| self.operations >= at) {
                self.off = true;
            }
            self.operations += 1;
        }
        let fault = self.faults.iter_mut().find(|fault| {
            let meant = match fault.operation {
                Some(meant) => meant == operation,
                None => operation.changes(),
            };
            meant && name.ends_with(fault.name_ends) && fault.times > 0
        })?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times = fault.times.saturating_sub(1);
        Some(fault.failure)
    }

    pub(super) fn change_names(
        &mut self,
        operation: Operation,
        change: NameChange,
    ) -> io::Result<()> {
        let name = match &change {
            NameChange::Create(name, _) | NameChange::Remove(name) => name,
            NameChange::Rename { to, .. } => to,
        };
        if let Some(failure) = self.begin(operation, &name.clone()) {
            return Err(failure.error());
        }
        change.apply(&mut self.names);
        self.pending_names.push(change);
        self.powered()
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
            NameChange::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}
