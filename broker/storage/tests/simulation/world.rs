//! A store on a simulated disk, a workload that a seed decides, and a judge who knows what was
//! promised.

use std::collections::BTreeMap;
use std::ops::Bound;

use nexum_storage::{
    Changes, CommitError, Failure, Fault, Head, Operation, Options, Refusal, SeriesId,
    SimulatedDisk, Store, TableId,
};

const TABLES: u64 = 3;
const KEYS: u64 = 24;
const SERIES_TABLE: TableId = TableId(9);

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    entries: BTreeMap<(u16, Vec<u8>), Vec<u8>>,
    series: BTreeMap<u64, Series>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Series {
    /// The offset of the first record that is kept.
    first: usize,
    next: usize,
    kept: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Change {
    Set(u16, Vec<u8>, Vec<u8>),
    Delete(u16, Vec<u8>),
    Create(u64),
    Append(u64, Vec<u8>),
    Trim(u64, u64),
    Remove(u64),
}

type Submission = Vec<Change>;

/// What happens besides the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// Syncs of files whose name ends so do nothing: as if the program forgot them.
    ForgetSyncs(&'static str),
    ForgetDirectorySyncs,
    /// Submissions count as promised before they are committed.
    PromiseEarly,
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) commits: u64,
    pub(crate) crashes: u64,
    pub(crate) kills: u64,
    pub(crate) failed: u64,
    pub(crate) full: u64,
    pub(crate) reopened: u64,
    pub(crate) checkpoints: u64,
    pub(crate) torn: u64,
    pub(crate) limbo_kept: u64,
    pub(crate) limbo_lost: u64,
}

pub(crate) struct World {
    disk: SimulatedDisk,
    random: Random,
    /// For series, in some seeds.
    series_random: Option<Random>,
    next_series: u64,
    planted: Planted,
    /// In order; those from `promised` on are in limbo.
    history: Vec<Submission>,
    promised: usize,
    /// What all of it comes to.
    current: Model,
    /// With a budget, which is not reached, checkpoints end segments.
    disk_budget_bytes: Option<u64>,
    pub(crate) tally: Tally,
}

type Verdict<T> = Result<T, String>;

fn options(disk_budget_bytes: Option<u64>) -> Options {
    Options {
        disk_budget_bytes,
        segment_bytes: 6000,
        overlay_bytes: 6000,
        checkpoint_log_bytes: 20_000,
        maximum_batch_bytes: 1 << 20,
        volume_bytes: 20_000,
        table_cache_bytes: 256 << 10,
        reserve_bytes: 4096,
        ..Options::default()
    }
}

fn fold(history: &[Submission]) -> Model {
    let mut model = Model::default();
    for change in history.iter().flatten() {
        model.apply(change);
    }
    model
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Set(table, key, value) => {
                self.entries.insert((*table, key.clone()), value.clone());
            }
            Change::Delete(table, key) => {
                self.entries.remove(&(*table, key.clone()));
            }
            Change::Create(number) => {
                self.series.entry(*number).or_default();
            }
            Change::Append(number, record) => {
                let series = self.series.get_mut(number).expect("it was taken");
                series.next += 1;
                series.kept.push(record.clone());
            }
            Change::Trim(number, before) => {
                if let Some(series) = self.series.get_mut(number) {
                    let before = (*before as usize).clamp(series.first, series.next);
                    series.kept.drain(..before - series.first);
                    series.first = before;
                }
            }
            Change::Remove(number) => {
                self.series.remove(number);
            }
        }
    }
}

fn seen(store: &Store) -> Verdict<Model> {
    let mut model = Model::default();
    for (number, head) in heads(store) {
        let series = Series {
            first: head.first as usize,
            next: head.next as usize,
            kept: records(store, number, head)?,
        };
        model.series.insert(number, series);
    }
    let view = store.view();
    for table in 0..TABLES as u16 {
        let range = view
            .range(TableId(table), (Bound::Unbounded, Bound::Unbounded))
            .map_err(|error| format!("a range: {error}"))?;
        for entry in range {
            let (key, value) = entry.map_err(|error| format!("an entry: {error}"))?;
            let found = view
                .get(TableId(table), &key)
                .map_err(|error| format!("a get: {error}"))?;
            if found.as_deref() != Some(&*value) {
                return Err("a range and a get see different values".into());
            }
            model.entries.insert((table, key.to_vec()), value.to_vec());
        }
    }
    Ok(model)
}

fn heads(store: &Store) -> Vec<(u64, Head)> {
    let view = store.view();
    let heads = view.all_series(SERIES_TABLE);
    heads.map(|(series, head)| (series.number, head)).collect()
}

fn series(number: u64) -> SeriesId {
    let table = SERIES_TABLE;
    SeriesId { table, number }
}

fn records(store: &Store, number: u64, head: Head) -> Verdict<Vec<Vec<u8>>> {
    let reader = store.reader();
    let mut kept = Vec::new();
    let mut from = head.first;
    while let Some(records) = reader
        .records(series(number), from)
        .map_err(|error| format!("a series: {error}"))?
    {
        for record in records.iter() {
            if record.offset != head.first + kept.len() as u64 {
                return Err(format!("an offset is left out before {}", record.offset));
            }
            kept.push(record.bytes.to_vec());
        }
        from = records.next();
    }
    Ok(kept)
}

impl World {
    pub(crate) fn new(seed: u64, planted: Planted) -> World {
        let mut random = Random::new(seed);
        let disk = SimulatedDisk::new(random.next());
        match planted {
            Planted::ForgetSyncs(name) => disk.fail(forget(Operation::Sync, name)),
            Planted::ForgetDirectorySyncs => disk.fail(forget(Operation::SyncDirectory, "")),
            Planted::Nothing | Planted::PromiseEarly => {}
        }
        // Not drawn, so that the other seeds stay what they were.
        let disk_budget_bytes = seed.is_multiple_of(4).then_some(1 << 20);
        World {
            disk,
            disk_budget_bytes,
            random,
            series_random: seed.is_multiple_of(3).then(|| Random::new(!seed)),
            next_series: 0,
            planted,
            history: Vec::new(),
            promised: 0,
            current: Model::default(),
            tally: Tally::default(),
        }
    }

    pub(crate) fn run(&mut self) -> Verdict<()> {
        let faulty = self.planted == Planted::Nothing && self.random.percent(40);
        let lives = 2 + self.random.below(4);
        for _ in 0..lives {
            let store = self.start()?;
            self.live(store, faulty)?;
        }
        self.start().map(drop)
    }

    /// Opens the store, perhaps with crashes on the way, and judges what it shows.
    fn start(&mut self) -> Verdict<Store> {
        for _ in 0..3 {
            if self.random.percent(40) {
                self.disk.crash_at(self.random.below(40));
            }
            let opened = Store::open(self.disk.mount(), options(self.disk_budget_bytes));
            if self.disk.is_off() {
                self.crash();
                drop(opened);
                continue;
            }
            let (store, report) = opened.map_err(|error| format!("cannot be opened: {error}"))?;
            if let Some(damage) = report.damage.first() {
                return Err(format!("damage where nothing was damaged: {damage}"));
            }
            self.tally.torn += u64::from(report.torn.is_some());
            self.judge_start(&store)?;
            return Ok(store);
        }
        // Without further crashes, so that it comes to an end.
        self.crash();
        let (store, _) = Store::open(self.disk.mount(), options(self.disk_budget_bytes))
            .map_err(|error| format!("cannot be opened: {error}"))?;
        self.judge_start(&store)?;
        Ok(store)
    }

    /// All that was promised is there, and of what was in limbo all or nothing.
    fn judge_start(&mut self, store: &Store) -> Verdict<()> {
        let seen = seen(store)?;
        let limbo = self.history.len() > self.promised;
        if seen == fold(&self.history[..self.promised]) {
            self.history.truncate(self.promised);
            self.tally.limbo_lost += u64::from(limbo);
        } else if seen == fold(&self.history) {
            self.promised = self.history.len();
            self.tally.limbo_kept += u64::from(limbo);
        } else if seen == fold(&self.without_puts_in_limbo()) {
            // There was no room for the others.
            self.history = self.without_puts_in_limbo();
            self.promised = self.history.len();
        } else {
            return Err(format!(
                "after recovery there is neither what was promised nor that with what was in \
                 limbo: {} promised, {} in limbo",
                self.promised,
                self.history.len() - self.promised
            ));
        }
        self.current = fold(&self.history);
        Ok(())
    }

    fn without_puts_in_limbo(&self) -> Vec<Submission> {
        let (promised, limbo) = self.history.split_at(self.promised);
        let only_deletes = |submission: &&Submission| {
            submission.iter().all(|change| {
                !matches!(
                    change,
                    Change::Set(..) | Change::Create(_) | Change::Append(..)
                )
            })
        };
        promised
            .iter()
            .chain(limbo.iter().filter(only_deletes))
            .cloned()
            .collect()
    }

    fn crash(&mut self) {
        self.tally.crashes += 1;
        self.disk.crash();
    }

    /// Works until the process or the machine dies, or all is closed.
    fn live(&mut self, mut store: Store, faulty: bool) -> Verdict<()> {
        let steps = self.random.below(60);
        if self.random.percent(70) {
            self.disk.crash_at(self.random.below(steps * 4 + 1));
        }
        let mut job = None;
        for _ in 0..steps {
            if faulty {
                self.trouble();
            }
            match self.random.below(10) {
                0..7 => self.commit(&mut store)?,
                7 => match job.take() {
                    None => job = store.begin_checkpoint().ok().flatten(),
                    Some(begun) => self.finish(&mut store, begun),
                },
                8 => {
                    if let Some(begun) = job.take() {
                        self.finish(&mut store, begun);
                    } else if store.checkpoint_is_due() && store.make_checkpoint().is_ok() {
                        self.tally.checkpoints += 1;
                    }
                }
                _ => self.reopen(&mut store),
            }
            if self.disk.is_off() {
                break;
            }
            if store.failure().is_none() && self.random.percent(30) {
                self.judge_view(&store)?;
            }
        }
        self.disk.heal_but_forgotten(self.planted);
        self.disk.set_room(u64::MAX);
        if self.disk.is_off() || self.random.percent(40) {
            // The power goes first: what a store does when it is dropped does not reach the disk.
            self.crash();
            drop(store);
        } else if self.random.percent(60) {
            // Its files are closed as the process ends, without another word to the disk.
            self.tally.kills += 1;
            self.disk.kill();
        } else if job.is_none() && store.failure().is_none() {
            store
                .close()
                .map_err(|error| format!("cannot be closed: {error}"))?;
            self.disk.kill();
        } else {
            self.disk.kill();
        }
        Ok(())
    }

    fn finish(&mut self, store: &mut Store, job: nexum_storage::CheckpointJob) {
        if store.finish_checkpoint(job.run()).is_ok() {
            self.tally.checkpoints += 1;
        }
    }

    fn judge_view(&self, store: &Store) -> Verdict<()> {
        match seen(store) {
            Ok(seen) if seen == fold(&self.history[..self.promised]) => Ok(()),
            Ok(_) => Err("readers see other than what was committed".into()),
            // A fault, or a disk that is off.
            Err(_) => Ok(()),
        }
    }

    fn trouble(&mut self) {
        match self.random.below(12) {
            0 => {
                let kinds = [
                    None,
                    Some(Operation::Write),
                    Some(Operation::Sync),
                    Some(Operation::SyncDirectory),
                    Some(Operation::Create),
                    Some(Operation::SetLen),
                    Some(Operation::Remove),
                ];
                let fault = Fault {
                    operation: kinds[self.random.below(kinds.len() as u64) as usize],
                    name_ends: ["", ".log", ".redb"][self.random.below(3) as usize],
                    after: self.random.below(4),
                    times: 1 + self.random.below(3),
                    failure: if self.random.percent(40) {
                        Failure::NoSpace
                    } else {
                        Failure::Broken
                    },
                };
                let volumes = Fault {
                    name_ends: ".vol",
                    ..fault.clone()
                };
                let random = self.series_random.as_mut();
                let hits_volumes = random.is_some_and(|random| random.percent(40));
                self.disk.fail(if hits_volumes { volumes } else { fault });
            }
            1 => {
                let room = self.disk.used_bytes() + self.random.below(8000);
                self.disk.set_room(room);
            }
            2..5 => {
                self.disk.heal();
                self.disk.set_room(u64::MAX);
            }
            _ => {}
        }
    }

    fn commit(&mut self, store: &mut Store) -> Verdict<()> {
        let mut tickets = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let (submission, changes) = self.submission();
            match store.submit(&changes) {
                Ok(ticket) => {
                    for change in &submission {
                        self.current.apply(change);
                    }
                    self.history.push(submission);
                    tickets.push(ticket);
                    if self.planted == Planted::PromiseEarly {
                        self.promised = self.history.len();
                    }
                }
                Err(Refusal::Failed(_) | Refusal::Full | Refusal::Behind) => {}
                Err(error) => return Err(format!("refused: {error}")),
            }
        }
        match store.commit() {
            Ok(_) => {
                self.promised = self.history.len();
                self.tally.commits += 1;
            }
            Err(CommitError::Full { kept, refused }) => {
                let first = self.history.len() - tickets.len();
                let batch = self.history.split_off(first);
                for (ticket, submission) in tickets.iter().zip(batch) {
                    if kept.contains(ticket) {
                        self.history.push(submission);
                    } else if !refused.contains(ticket) {
                        return Err("a submission got no answer".into());
                    }
                }
                self.promised = self.history.len();
                self.current = fold(&self.history);
                self.tally.full += 1;
            }
            Err(CommitError::Failed { refused, .. }) => {
                if refused != tickets {
                    return Err("a submission got no answer".into());
                }
                self.tally.failed += 1;
            }
        }
        Ok(())
    }

    fn reopen(&mut self, store: &mut Store) {
        if store.failure().is_some() && store.reopen().is_ok() {
            self.tally.reopened += 1;
            self.history.truncate(self.promised);
            self.current = fold(&self.history);
        }
    }

    fn submission(&mut self) -> (Submission, Changes) {
        let mut changes = Changes::new();
        let mut submission = Vec::new();
        let deletes = self.random.percent(25);
        let mut added = BTreeMap::new();
        for _ in 0..1 + self.random.below(4) {
            let table = self.random.below(TABLES) as u16;
            let key = self.random.below(KEYS).to_be_bytes().to_vec();
            if deletes || self.random.percent(20) {
                changes.delete(TableId(table), &key);
                added.insert((table, key.clone()), false);
                submission.push(Change::Delete(table, key));
                continue;
            }
            let bytes = match self.random.below(4) {
                0 => self.random.below(3000),
                _ => self.random.below(60),
            };
            let first = self.random.next();
            let value: Vec<u8> = (0..bytes)
                .map(|at| (first.wrapping_add(at * 7)) as u8)
                .collect();
            let there = added
                .get(&(table, key.clone()))
                .copied()
                .unwrap_or_else(|| self.current.entries.contains_key(&(table, key.clone())));
            if there || self.random.percent(30) {
                changes.put(TableId(table), &key, &value);
            } else {
                changes.insert(TableId(table), &key, &value);
            }
            added.insert((table, key.clone()), true);
            submission.push(Change::Set(table, key, value));
        }
        self.change_series(&mut submission, &mut changes);
        (submission, changes)
    }

    fn change_series(&mut self, submission: &mut Submission, changes: &mut Changes) {
        let Some(random) = &mut self.series_random else {
            return;
        };
        let mut model = self.current.clone();
        for _ in 0..random.below(4) {
            let known = model.series.len() as u64;
            let change = if known == 0 || random.percent(10) {
                self.next_series += 1;
                Change::Create(self.next_series)
            } else {
                let place = random.below(known) as usize;
                let (number, series) = model.series.iter().nth(place).expect("it is one of them");
                match random.below(20) {
                    0 => Change::Remove(*number),
                    1..5 => {
                        let some = random.below(series.next as u64 + 3);
                        Change::Trim(*number, some)
                    }
                    _ => {
                        let bytes = match random.below(5) {
                            0 => random.below(2000),
                            _ => random.below(100),
                        };
                        let first = random.next();
                        let record = (0..bytes).map(|at| (first ^ at) as u8);
                        Change::Append(*number, record.collect())
                    }
                }
            };
            match &change {
                Change::Create(number) => changes.create_series(series(*number)),
                Change::Append(number, record) => changes.append(series(*number), 0, record),
                Change::Trim(number, before) => changes.trim(series(*number), *before),
                Change::Remove(number) => changes.remove_series(series(*number)),
                Change::Set(..) | Change::Delete(..) => {}
            }
            model.apply(&change);
            submission.push(change);
        }
    }
}

fn forget(operation: Operation, name_ends: &'static str) -> Fault {
    Fault {
        operation: Some(operation),
        name_ends,
        after: 0,
        times: u64::MAX,
        failure: Failure::Forgotten,
    }
}

trait Heal {
    fn heal_but_forgotten(&self, planted: Planted);
}

impl Heal for SimulatedDisk {
    /// What the program forgets it goes on forgetting.
    fn heal_but_forgotten(&self, planted: Planted) {
        if planted == Planted::Nothing {
            self.heal();
        }
    }
}

impl Tally {
    fn fields(&mut self) -> [(&'static str, &mut u64); 10] {
        [
            ("commits", &mut self.commits),
            ("crashes", &mut self.crashes),
            ("kills", &mut self.kills),
            ("failed", &mut self.failed),
            ("full", &mut self.full),
            ("reopened", &mut self.reopened),
            ("checkpoints", &mut self.checkpoints),
            ("torn", &mut self.torn),
            ("limbo kept", &mut self.limbo_kept),
            ("limbo lost", &mut self.limbo_lost),
        ]
    }

    /// A run that has not seen all of it proves less than it should.
    pub(crate) fn assert_all_seen(mut self) {
        for (name, count) in self.fields() {
            assert!(*count > 0, "{name}: never");
        }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, mut other: Tally) {
        for ((_, mine), (_, others)) in self.fields().into_iter().zip(other.fields()) {
            *mine += *others;
        }
    }
}
