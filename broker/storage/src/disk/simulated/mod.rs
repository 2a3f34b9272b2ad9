//! A disk that a seed decides: it forgets, tears and reorders what was not synced, fails when it is
//! told to, and has as much room as it is given.
//!
//! The power goes at [`crash`](SimulatedDisk::crash); the process alone dies at
//! [`kill`](SimulatedDisk::kill). After either, open files are dead and the directory is what a
//! machine would find when it starts again.
//!
//! What it assumes of real disks: a sector of 512 bytes is written whole or not at all, and what was
//! synced stays, unless [`flip_bit`](SimulatedDisk::flip_bit) is called.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};
use crate::random::Random;
use inode::{Change, Inode};
use machine::{Machine, NameChange};

mod inode;
mod machine;

/// A handle; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    machine: Arc<Mutex<Machine>>,
    /// The life of the process that has this handle, unless it follows the newest.
    life: Option<u64>,
}

/// What a disk is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Cutting or extending a file.
    SetLen,
    /// Opening a file that is there.
    Open,
    /// Making a file.
    Create,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Listing the directory.
    List,
    /// Syncing the directory.
    SyncDirectory,
}

impl Operation {
    /// Whether it changes anything. Crashes and counted faults come at these.
    pub fn changes(self) -> bool {
        !matches!(self, Operation::Read | Operation::Open | Operation::List)
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// ENOSPC. A write leaves a part of its bytes.
    NoSpace,
    /// EIO. A write leaves a part of its bytes, and a sync any part of what was to be synced.
    Broken,
    /// It says it was done, and nothing became durable: what a program that forgot it would see.
    /// Only for syncs.
    Forgotten,
}

/// Which operations fail, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Only operations of this kind; `None` is any that changes something.
    pub operation: Option<Operation>,
    /// Only on files whose name ends so.
    pub name_ends: &'static str,
    /// How many of them go well before.
    pub after: u64,
    /// How many of them fail then.
    pub times: u64,
    /// How.
    pub failure: Failure,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> SimulatedDisk {
        let machine = Machine {
            random: Random::new(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            life: 0,
            operations: 0,
            crash_at: None,
            off: false,
            faults: Vec::new(),
            room: u64::MAX,
        };
        SimulatedDisk {
            machine: Arc::new(Mutex::new(machine)),
            life: None,
        }
    }

    /// The disk as the process sees it that runs now: dead after the next crash or kill.
    pub fn mount(&self) -> Arc<dyn Disk> {
        Arc::new(SimulatedDisk {
            machine: Arc::clone(&self.machine),
            life: Some(self.machine().life),
        })
    }

    /// The power went and came back: of what was not synced an arbitrary part is there.
    pub fn crash(&self) {
        let mut machine = self.machine();
        let machine = &mut *machine;
        for file in &mut machine.files {
            file.lose(&mut machine.random);
        }
        let pending = std::mem::take(&mut machine.pending_names);
        let keep_percent = machine.random.next() % 101;
        for change in pending {
            if machine.random.percent(keep_percent) {
                change.apply(&mut machine.durable_names);
            }
        }
        machine.names = machine.durable_names.clone();
        machine.restart();
    }

    /// The process died; the system did not.
    pub fn kill(&self) {
        self.machine().restart();
    }

    /// The power goes at this operation of those that change something, counted from now; 0 is the
    /// next. From then on everything fails until [`crash`](Self::crash).
    pub fn crash_at(&self, operation: u64) {
        let mut machine = self.machine();
        machine.crash_at = Some(machine.operations + operation);
    }

    /// Whether the power is gone.
    pub fn is_off(&self) -> bool {
        self.machine().off
    }

    /// How many operations changed something until now.
    pub fn operations(&self) -> u64 {
        self.machine().operations
    }

    /// Has operations fail.
    pub fn fail(&self, fault: Fault) {
        self.machine().faults.push(fault);
    }

    /// Faults end.
    pub fn heal(&self) {
        self.machine().faults.clear();
    }

    /// Limits what all files together may have, in bytes.
    pub fn set_room(&self, bytes: u64) {
        self.machine().room = bytes;
    }

    /// What all files have, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.machine().used()
    }

    /// Alters one bit of what is on the disk, and of what is seen of it.
    ///
    /// # Panics
    /// There is no such file or bit.
    pub fn flip_bit(&self, name: &str, byte: u64, bit: u8) {
        let mut machine = self.machine();
        let inode = machine.names[name];
        let file = &mut machine.files[inode];
        let at = usize::try_from(byte).expect("a file fits into memory");
        file.seen[at] ^= 1 << bit;
        if let Some(durable) = file.durable.get_mut(at) {
            *durable ^= 1 << bit;
        }
    }

    /// What is seen of a file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let machine = self.machine();
        let inode = machine.names.get(name)?;
        Some(machine.files[*inode].seen.clone())
    }

    /// Puts a file there, durable at once.
    pub fn set_contents(&self, name: &str, bytes: &[u8]) {
        let mut machine = self.machine();
        let inode = machine.files.len();
        machine.files.push(Inode {
            seen: bytes.to_vec(),
            durable: bytes.to_vec(),
            pending: Vec::new(),
        });
        machine.names.insert(name.to_owned(), inode);
        machine.durable_names.insert(name.to_owned(), inode);
    }

    /// Takes a file away, durably at once.
    pub fn take(&self, name: &str) {
        let mut machine = self.machine();
        machine.names.remove(name);
        machine.durable_names.remove(name);
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine
            .lock()
            .expect("nothing panics while it is locked but a misused test")
    }

    /// The machine, if it runs and this handle is of its present life.
    fn running(&self) -> io::Result<MutexGuard<'_, Machine>> {
        let machine = self.machine();
        if self.life.is_some_and(|life| life != machine.life) {
            return Err(io::Error::other("the process that had this disk is dead"));
        }
        machine.powered()?;
        Ok(machine)
    }

    fn handle(&self, machine: &Machine, name: &str, inode: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimulatedFile {
            disk: SimulatedDisk {
                machine: Arc::clone(&self.machine),
                life: Some(machine.life),
            },
            name: name.to_owned(),
            inode,
        })
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Failure::NoSpace => io::ErrorKind::StorageFull.into(),
            Failure::Broken => io::Error::other("input/output error"),
            Failure::Forgotten => io::Error::other("forgotten, though it is no sync"),
        }
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut machine = self.running()?;
        if let Some(failure) = machine.begin(Operation::Open, name) {
            return Err(failure.error());
        }
        let inode = *machine.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&machine, name, inode))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut machine = self.running()?;
        if machine.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = machine.files.len();
        machine.files.push(Inode::default());
        let change = NameChange::Create(name.to_owned(), inode);
        machine.change_names(Operation::Create, change)?;
        Ok(self.handle(&machine, name, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut machine = self.running()?;
        let inode = *machine.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let change = NameChange::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            inode,
        };
        machine.change_names(Operation::Rename, change)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut machine = self.running()?;
        if !machine.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        machine.change_names(Operation::Remove, NameChange::Remove(name.to_owned()))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut machine = self.running()?;
        if let Some(failure) = machine.begin(Operation::List, "") {
            return Err(failure.error());
        }
        Ok(machine.names.keys().cloned().collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut machine = self.running()?;
        match machine.begin(Operation::SyncDirectory, "") {
            Some(Failure::Forgotten) => return machine.powered(),
            Some(failure) => return Err(failure.error()),
            None => machine.powered()?,
        }
        machine.pending_names.clear();
        machine.durable_names = machine.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let machine = self.running()?;
        Ok(machine.room.saturating_sub(machine.used()))
    }

    fn unique(&self) -> u128 {
        let mut machine = self.machine();
        u128::from(machine.random.next()) << 64 | u128::from(machine.random.next())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    name: String,
    inode: usize,
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut machine = self.disk.running()?;
        if let Some(failure) = machine.begin(Operation::Read, &self.name) {
            return Err(failure.error());
        }
        let seen = &machine.files[self.inode].seen;
        let from = seen.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.disk.running()?;
        let mut failure = machine.begin(Operation::Write, &self.name);
        let grows = (offset + bytes.len() as u64)
            .saturating_sub(machine.files[self.inode].seen.len() as u64);
        if machine.used().saturating_add(grows) > machine.room {
            failure = failure.or(Some(Failure::NoSpace));
        }
        let written = match failure {
            Some(_) => machine.random.up_to(bytes.len()),
            None => bytes.len(),
        };
        machine.files[self.inode].change(Change::Write {
            offset,
            bytes: bytes[..written].to_vec(),
        });
        machine.powered()?;
        match failure {
            Some(failure) => Err(failure.error()),
            None => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut machine = self.disk.running()?;
        let failure = machine.begin(Operation::Sync, &self.name);
        machine.powered()?;
        let machine = &mut *machine;
        let file = &mut machine.files[self.inode];
        match failure {
            Some(Failure::Forgotten) => Ok(()),
            Some(failure) => {
                file.sync_in_part(&mut machine.random);
                Err(failure.error())
            }
            None => {
                file.sync();
                Ok(())
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        let machine = self.disk.running()?;
        Ok(machine.files[self.inode].seen.len() as u64)
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut machine = self.disk.running()?;
        let mut failure = machine.begin(Operation::SetLen, &self.name);
        let grows = bytes.saturating_sub(machine.files[self.inode].seen.len() as u64);
        if grows > 0 && machine.used().saturating_add(grows) > machine.room {
            failure = failure.or(Some(Failure::NoSpace));
        }
        if let Some(failure) = failure {
            machine.powered()?;
            return Err(failure.error());
        }
        machine.files[self.inode].change(Change::SetLen(bytes));
        machine.powered()
    }

    fn forget_cached(&self) {
        let Ok(mut machine) = self.disk.running() else {
            return;
        };
        let file = &mut machine.files[self.inode];
        file.seen.clone_from(&file.durable);
        let pending = std::mem::take(&mut file.pending);
        for change in &pending {
            change.apply(&mut file.seen);
        }
        file.pending = pending;
    }
}
