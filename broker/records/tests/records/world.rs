//! A store, and what comes back from it.

use std::ops::Bound;
use std::sync::Arc;

use nexum_core::{Change, Restored, ShardId};
use nexum_records::{Encoder, RecordsError, Recovered, recover, tables};
use nexum_storage::{Changes, Options, SimulatedDisk, Store, TableId};

pub(crate) const SEED: u64 = 42;
pub(crate) const SHARDS: u16 = 3;

pub(crate) struct World {
    disk: Arc<SimulatedDisk>,
    pub(crate) store: Store,
    encoder: Encoder,
}

/// An entry of a table: table, key, value.
pub(crate) type Entry = (TableId, Vec<u8>, Vec<u8>);

impl World {
    pub(crate) fn new() -> World {
        let disk = Arc::new(SimulatedDisk::new(1));
        World {
            store: open(&disk),
            disk,
            encoder: Encoder::new(),
        }
    }

    pub(crate) fn with(changes: &[Change]) -> World {
        let mut world = World::new();
        world.change(changes);
        world
    }

    pub(crate) fn with_entries(entries: &[Entry]) -> World {
        let mut world = World::new();
        for (table, key, value) in entries {
            world.put(*table, key, value);
        }
        world
    }

    /// One submission, committed.
    pub(crate) fn change(&mut self, changes: &[Change]) {
        let mut bytes = Changes::new();
        self.encoder.encode(changes, &mut bytes);
        self.submit(&bytes);
    }

    pub(crate) fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) {
        let mut bytes = Changes::new();
        bytes.put(table, key, value);
        self.submit(&bytes);
    }

    pub(crate) fn submit(&mut self, changes: &Changes) {
        self.store.submit(changes).expect("there is room");
        self.store.commit().expect("the disk works");
    }

    pub(crate) fn checkpoint(&mut self) {
        self.store.make_checkpoint().expect("the disk works");
    }

    pub(crate) fn crash(self) -> World {
        let World { disk, store, .. } = self;
        drop(store);
        disk.crash();
        World {
            store: open(&disk),
            disk,
            encoder: Encoder::new(),
        }
    }

    pub(crate) fn try_recover(&self) -> Result<(Vec<(ShardId, String)>, Recovered), RecordsError> {
        let mut restored = Vec::new();
        let recovered = recover(
            &self.store.view(),
            SEED,
            SHARDS,
            &mut |shard, record| restored.push((shard, words(&record))),
            &mut |_| {},
        )?;
        Ok((restored, recovered))
    }

    pub(crate) fn recover(&self) -> (Vec<(ShardId, String)>, Recovered) {
        self.try_recover().expect("all versions are known")
    }

    /// What came back, without the shards.
    pub(crate) fn restored(&self) -> Vec<String> {
        let (restored, _) = self.recover();
        restored.into_iter().map(|(_, record)| record).collect()
    }

    /// Everything in the tables of records.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let view = self.store.view();
        let mut entries = Vec::new();
        for (table, _) in tables::NAMED {
            let range = view.range(table, (Bound::Unbounded, Bound::Unbounded));
            for entry in range.expect("it can be read") {
                let (key, value) = entry.expect("it can be read");
                entries.push((table, key.to_vec(), value.to_vec()));
            }
        }
        entries
    }
}

fn open(disk: &SimulatedDisk) -> Store {
    let options = Options {
        reserve_bytes: 0,
        ..Options::default()
    };
    let (store, _) = Store::open(disk.mount(), options).expect("it is whole");
    store
}

/// A record in words that say all that is in it.
pub(crate) fn words(record: &Restored) -> String {
    match record {
        // The words of a message leave out what it is made of.
        Restored::Retained(message) => format!("Retained({:?})", message.parts()),
        record => format!("{record:?}"),
    }
}
