//! Checking credentials without stopping a shard.
//!
//! A password hash is slow on purpose, so it is verified on threads of its own. Both their number
//! and the line in front of them are bounded: a flood of logins costs what the threads cost, and
//! whoever does not fit into the line is told at once that the server is unavailable. The line is
//! fair by address, so a flood from one of them keeps nobody else out.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nexum_core::{AuthenticationOutcome, ConnectionKey, Credentials, ShardId};

use crate::fair_line::FairLine;
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

/// The threads that verify. They end with the last of those who ask them.
#[derive(Clone)]
pub(crate) struct AuthenticationPool {
    asking: Arc<Asking>,
    post_office: Arc<PostOffice>,
}

/// Closes the line when the last of those who ask is gone.
struct Asking(Arc<Line>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

struct Line {
    state: Mutex<LineState>,
    changed: Condvar,
}

struct LineState {
    jobs: FairLine<Job>,
    is_closed: bool,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next job; `None` when nobody can ask any more.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop() {
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl AuthenticationPool {
    /// Starts the threads; they post their answers.
    pub(crate) fn start(
        authenticator: &Arc<dyn Authenticator>,
        post_office: &Arc<PostOffice>,
    ) -> std::io::Result<AuthenticationPool> {
        let line = Arc::new(Line {
            state: Mutex::new(LineState {
                jobs: FairLine::new(WAITING),
                is_closed: false,
            }),
            changed: Condvar::new(),
        });
        for number in 0..THREADS {
            let line = Arc::clone(&line);
            let authenticator = Arc::clone(authenticator);
            let post_office = Arc::clone(post_office);
            thread::Builder::new()
                .name(format!("authenticate-{number}"))
                .spawn(move || verify_all(&line, &*authenticator, &post_office))?;
        }
        Ok(AuthenticationPool {
            asking: Arc::new(Asking(line)),
            post_office: Arc::clone(post_office),
        })
    }

    /// Has credentials verified. The answer is posted to the shard.
    pub(crate) fn verify(
        &self,
        shard: ShardId,
        connection: ConnectionKey,
        credentials: Credentials,
    ) {
        let address = credentials.address.map(|address| SocketAddr::ip(&address));
        let job = Job {
            shard,
            connection,
            credentials,
        };
        let line = &self.asking.0;
        let crowded_out = line.lock().jobs.push(address, job);
        line.changed.notify_one();
        if let Some(job) = crowded_out {
            answer(&self.post_office, &job, AuthenticationOutcome::Unavailable);
        }
    }
}

fn verify_all(line: &Line, authenticator: &dyn Authenticator, post: &PostOffice) {
    while let Some(job) = line.next() {
        let outcome =
            guarded(|| authenticator.authenticate(&job.credentials)).unwrap_or_else(|panic| {
                tracing::error!("the authenticator panicked: {panic}");
                AuthenticationOutcome::Unavailable
            });
        answer(post, &job, outcome);
    }
}

fn answer(post: &PostOffice, job: &Job, outcome: AuthenticationOutcome) {
    let letter = Letter::Authenticated {
        connection: job.connection,
        outcome,
    };
    post.mailbox(job.shard).post(letter);
}
