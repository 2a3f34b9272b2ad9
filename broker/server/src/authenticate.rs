//! Checking credentials without stopping a shard.
//!
//! A password hash is slow on purpose, so it is verified on threads of its own. Both their number
//! and the line in front of them are bounded: a flood of logins costs what the threads cost, and
//! whoever does not fit into the line is told at once that the server is unavailable.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nexum_core::{AuthenticationOutcome, ConnectionKey, Credentials, ShardId};

use crate::guard::guarded;
use crate::post::{Letter, PostOffice};

/// Decides who may connect.
pub trait Authenticator: Send + Sync {
    /// Checks credentials. It may take its time: it is called on a thread of its own.
    fn authenticate(&self, credentials: &Credentials) -> AuthenticationOutcome;

    /// Reads again what it decides by. On an error, what was there stays.
    ///
    /// # Errors
    /// What is wrong, in words for the log.
    fn reload(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Verifications at once. Argon2id takes 19 MiB and a core for each.
const THREADS: usize = 2;

/// Verifications that wait. Two threads get through them within the default time that a client
/// has to be authenticated.
const WAITING: usize = 256;

struct Job {
    shard: ShardId,
    connection: ConnectionKey,
    credentials: Credentials,
}

/// The threads that verify. They end when every sender is gone.
#[derive(Clone)]
pub(crate) struct AuthenticationPool {
    jobs: SyncSender<Job>,
}

impl AuthenticationPool {
    /// Starts the threads; they post their answers.
    pub(crate) fn start(
        authenticator: &Arc<dyn Authenticator>,
        post_office: &Arc<PostOffice>,
    ) -> std::io::Result<AuthenticationPool> {
        let (jobs, line) = sync_channel(WAITING);
        let line = Arc::new(Mutex::new(line));
        for number in 0..THREADS {
            let line = Arc::clone(&line);
            let authenticator = Arc::clone(authenticator);
            let post_office = Arc::clone(post_office);
            thread::Builder::new()
                .name(format!("authenticate-{number}"))
                .spawn(move || verify_all(&line, &*authenticator, &post_office))?;
        }
        Ok(AuthenticationPool { jobs })
    }

    /// Has credentials verified. The answer is posted to the shard, unless it is known at once.
    pub(crate) fn verify(
        &self,
        shard: ShardId,
        connection: ConnectionKey,
        credentials: Credentials,
    ) -> Option<AuthenticationOutcome> {
        match self.jobs.try_send(Job {
            shard,
            connection,
            credentials,
        }) {
            Ok(()) => None,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                Some(AuthenticationOutcome::Unavailable)
            }
        }
    }
}

fn verify_all(line: &Mutex<Receiver<Job>>, authenticator: &dyn Authenticator, post: &PostOffice) {
    loop {
        // Only one thread waits in the channel, the others for the lock.
        let next = line.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job {
            shard,
            connection,
            credentials,
        }) = next
        else {
            return;
        };
        let outcome =
            guarded(|| authenticator.authenticate(&credentials)).unwrap_or_else(|panic| {
                tracing::error!("the authenticator panicked: {panic}");
                AuthenticationOutcome::Unavailable
            });
        post.mailbox(shard).post(Letter::Authenticated {
            connection,
            outcome,
        });
    }
}
