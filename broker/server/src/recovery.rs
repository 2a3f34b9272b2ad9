//! Shards as they were before a restart.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nexum_core::{Input, Limits, MessageId, SessionId, Shard, ShardConfig, ShardId};
use nexum_extension_host::{Composed, RestoreError};
use nexum_records::{Meta, RecordsError, Recovered, recover};
use nexum_storage::{CommitError, Refusal, Store};

use crate::clock::Clock;

/// How often the log tells how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// Why what was kept cannot be used.
#[derive(Debug)]
pub enum RecoveryError {
    /// The records cannot be read.
    Records(RecordsError),
    /// What belongs to nobody cannot be deleted.
    Refused(Refusal),
    /// The same.
    NotCommitted(CommitError),
    /// An extension's records cannot be read.
    Extension(RestoreError),
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryError::Records(error) => write!(f, "{error}"),
            RecoveryError::Extension(error) => write!(f, "{error}"),
            RecoveryError::Refused(error) => {
                write!(f, "what belongs to nobody cannot be deleted: {error}")
            }
            RecoveryError::NotCommitted(error) => {
                write!(f, "what belongs to nobody cannot be deleted: {error}")
            }
        }
    }
}

impl std::error::Error for RecoveryError {}

/// Shards with what the store had, and the clock that goes on from there.
pub(crate) fn restore(
    store: &mut Store,
    shards: u16,
    limits: &Arc<Limits>,
    seed: u64,
    extensions: &mut [Composed],
) -> Result<(Vec<Shard>, Clock), RecoveryError> {
    let begun = Instant::now();
    Meta::open(store, seed).map_err(RecoveryError::Records)?;
    let configs: Arc<[_]> = extensions.iter().map(Composed::config).collect();
    let mut restored: Vec<Shard> = (0..shards)
        .map(|id| {
            Shard::new(ShardConfig {
                id: ShardId(id),
                shards,
                limits: Arc::clone(limits),
                seed,
                authentication_methods: Arc::from([]),
                extensions: Arc::clone(&configs),
            })
        })
        .collect();
    // Before anything is dated, so that nothing is dated before what there is.
    let started = Clock::start(nexum_types::Time::ZERO).now();
    let mut told = begun;
    let recovered = recover(
        &store.view(),
        seed,
        shards,
        &mut |shard, record| restored[usize::from(shard.0)].restore(record, started),
        &mut |progress| {
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                tracing::info!("recovering: {progress}");
            }
        },
    )
    .map_err(RecoveryError::Records)?;
    let clock = Clock::start(recovered.latest);
    report(&recovered, begun.elapsed());
    for garbage in &recovered.garbage {
        store.submit(garbage).map_err(RecoveryError::Refused)?;
        store.commit().map_err(RecoveryError::NotCommitted)?;
    }
    for extension in extensions {
        let begun = Instant::now();
        let count = extension
            .restore(store, clock.now())
            .map_err(RecoveryError::Extension)?;
        tracing::info!(
            "{}: recovered {count} records in {:.1} s",
            extension.extension.name(),
            begun.elapsed().as_secs_f64()
        );
    }
    let session = SessionId(recovered.next_session_id);
    let message = MessageId(recovered.next_message_id);
    let now = clock.now();
    for shard in &mut restored {
        shard.finish_restoring(session, message, now);
    }
    exchange(&mut restored, clock);
    Ok((restored, clock))
}

/// Lets the shards tell each other of their subscriptions until all know all.
fn exchange(shards: &mut [Shard], clock: Clock) {
    loop {
        let mut is_quiet = true;
        for from in 0..shards.len() {
            for to in 0..shards.len() {
                let batch = shards[from].take_peer_batch(ShardId(to as u16));
                if let Some(batch) = batch {
                    is_quiet = false;
                    let from = ShardId(from as u16);
                    shards[to].handle(Input::Peer { from, batch }, clock.now());
                }
            }
        }
        if is_quiet {
            return;
        }
    }
}

fn report(recovered: &Recovered, took: Duration) {
    let Recovered {
        sessions,
        subscriptions,
        deliveries,
        waiting,
        retained,
        lost,
        damaged,
        ..
    } = recovered;
    tracing::info!(
        "recovered {sessions} sessions with {subscriptions} subscriptions and {} messages, and \
         {retained} retained messages, in {:.1} s",
        deliveries + waiting,
        took.as_secs_f64()
    );
    if lost.count > 0 {
        tracing::error!("messages were lost: {lost}");
    }
    if damaged.count > 0 {
        tracing::error!("records cannot be read: {damaged}");
    }
}
