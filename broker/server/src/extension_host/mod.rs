//! Extensions at work: a thread for each, with its own way to the store.
//!
//! A turn is: take what shards and the store posted, let the [`Host`] have it, submit what it wants
//! stored, hand each shard one batch, and sleep until there is more or something is due. Nothing here
//! waits for the disk, so a commit gathers whatever comes meanwhile; and no shard ever waits for an
//! extension, so what is published to plain topics costs what it costs without any.
//!
//! Its mailbox is bounded by the shards: each lets so many bytes of commands be unanswered, then
//! holds back whoever publishes more of them.

mod mailbox;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nexum_core::{ExtensionId, Input as ShardInput};
use nexum_extension_api::{Output, Severity};
use nexum_extension_host::{Composed, Host, HostEvent, HostParts, LineId, Submission};
use nexum_storage::{StoreThread, Submitter};

use self::mailbox::LineListener;
pub(crate) use self::mailbox::{HostLetter, HostMailbox};
use crate::clock::Clock;
use crate::guard::guarded;
use crate::post::{Letter, PostOffice};

/// Where processors are short, shards go first: what is plain must not wait for what is not.
const NICENESS: i32 = 5;

/// A shard looks at the time between two letters, so they should not be long.
const LETTER_OUTPUTS: usize = 128;

/// How long what is to be stored still is waited for when the broker goes down.
const END: Duration = Duration::from_secs(5);

/// What the thread of an extension is made of.
pub(crate) struct HostThreadParts {
    pub(crate) id: ExtensionId,
    pub(crate) composed: Composed,
    pub(crate) mailbox: Arc<HostMailbox>,
    pub(crate) post_office: Arc<PostOffice>,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
}

/// Runs one extension.
pub(crate) struct HostThread {
    id: ExtensionId,
    host: Host,
    mailbox: Arc<HostMailbox>,
    post_office: Arc<PostOffice>,
    clock: Clock,
    telling: Submitter,
    lasting: Submitter,
}

impl HostThread {
    pub(crate) fn new(parts: HostThreadParts, store: &StoreThread) -> HostThread {
        let HostThreadParts {
            id,
            composed,
            mailbox,
            post_office,
            clock,
            seed,
        } = parts;
        let submitter = |line| {
            let mailbox = Arc::clone(&mailbox);
            store.submitter(Arc::new(LineListener { line, mailbox }))
        };
        HostThread {
            id,
            host: Host::new(HostParts {
                composed,
                reader: store.reader(),
                shards: post_office.shard_count(),
                seed,
            }),
            telling: submitter(LineId::Telling),
            lasting: submitter(LineId::Lasting),
            mailbox,
            post_office,
            clock,
        }
    }

    /// Lets the extension start, before its thread does. Returns what it captures: each shard is to hear
    /// of it before anything is published.
    ///
    /// # Errors
    /// What it said when it panicked.
    pub(crate) fn begin(&mut self) -> Result<Vec<Output>, String> {
        guarded(|| self.host.start(self.clock.now()))
    }

    /// Until it is told to end, and has nothing that is not stored.
    ///
    /// # Panics
    /// If the extension does: its state may be half changed.
    pub(crate) fn run(mut self) {
        let own = rustix::thread::gettid();
        if let Err(error) = rustix::process::setpriority_process(Some(own), NICENESS) {
            tracing::debug!("the priority stays as it is: {error}");
        }
        self.finish_turn();
        let mut letters = Vec::new();
        let mut end_by: Option<Instant> = None;
        loop {
            if end_by.is_some_and(|by| self.host.is_idle() || by <= Instant::now()) {
                return;
            }
            let due = self.due().into_iter().chain(end_by).min();
            self.mailbox.wait(due, &mut letters);
            for letter in letters.drain(..) {
                let now = self.clock.now();
                match letter {
                    HostLetter::Batch(batch) => self.host.batch(batch, now),
                    HostLetter::Written(line, answers) => self.host.answers(line, answers, now),
                    // Who does not wait any more has no use for it.
                    HostLetter::Report(to) => drop(to.send(self.host.gauges())),
                    HostLetter::ShutDown => end_by = Some(Instant::now() + END),
                }
            }
            self.host.handle_timeout(self.clock.now());
            self.finish_turn();
        }
    }

    /// When there is something to do without a letter.
    fn due(&self) -> Option<Instant> {
        let due = self.host.poll_timeout()?;
        Some(Instant::now() + due.since(self.clock.now()))
    }

    /// Hands over what has gathered.
    fn finish_turn(&mut self) {
        self.submit();
        for shard in self.post_office.shards() {
            let mailbox = self.post_office.mailbox(shard);
            let mut outputs = self.host.take_outputs(shard).into_iter();
            while outputs.len() > 0 {
                mailbox.post(Letter::Input(ShardInput::Extension {
                    extension: self.id,
                    outputs: outputs.by_ref().take(LETTER_OUTPUTS).collect(),
                }));
            }
        }
        while let Some(event) = self.host.poll_event() {
            tell(self.host.name(), &event);
        }
    }

    /// Waits while the store's queue is full: an extension that writes more than the disk takes has
    /// to, and nobody else waits for it.
    fn submit(&mut self) {
        let now = self.clock.now();
        while let Some(Submission { line, changes }) = self.host.take_submission(now) {
            let submitter = match line {
                LineId::Telling => &self.telling,
                LineId::Lasting => &self.lasting,
            };
            // The answers come in order, so that nothing has to be looked up by a tag.
            if submitter.submit(0, changes).is_err() {
                // The store is closed, and nobody is told anything any more.
                return;
            }
        }
    }
}

fn tell(name: &'static str, event: &HostEvent) {
    match event {
        HostEvent::Said { severity, text } => match severity {
            Severity::Debug => tracing::debug!("{name}: {text}"),
            Severity::Info => tracing::info!("{name}: {text}"),
            Severity::Warn => tracing::warn!("{name}: {text}"),
        },
        HostEvent::CannotRead(error) => {
            tracing::warn!("{name}: records cannot be read, it is tried again: {error}");
        }
        HostEvent::RecordLost(error) => tracing::error!("{name}: a record is lost: {error}"),
    }
}
