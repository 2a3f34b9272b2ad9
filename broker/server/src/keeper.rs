//! A shard's way to the store: submissions go out, answers and messages come back as letters.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use nexum_core::{Input, Key, LoadId, Shard, ShardId, StoreRefusal, Stored};
use nexum_records::{Encoder, RecordsError, read_message};
use nexum_storage::{
    Answer, Changes, Listener, ReadError, Reader, Refusal, StoreThread, Submitter,
};
use nexum_types::Message;

use crate::post::{Letter, PostOffice};

/// While so much has no answer, nothing is read from sockets.
const UNANSWERED_BYTES: usize = 64 * 1024 * 1024;

/// How long a store that cannot be read is left alone.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// Messages read under one view: a commit waits for a view to end.
const READ_AT_ONCE: usize = 16;

/// Submits for one shard.
pub(crate) struct Keeper {
    shard: ShardId,
    submitter: Submitter,
    encoder: Encoder,
    /// Submissions that the store's queue had no room for, in their order.
    waiting: VecDeque<(u64, Changes)>,
    /// What has no answer, with what it weighs.
    unanswered: VecDeque<usize>,
    unanswered_bytes: usize,
    loads: Sender<LoadRequest>,
}

struct LoadRequest {
    shard: ShardId,
    load: LoadId,
    keys: Vec<Key>,
}

/// Passes the store's answers on to a shard.
struct Answers {
    shard: ShardId,
    post_office: Arc<PostOffice>,
}

impl Listener for Answers {
    fn answered(&self, answers: &[Answer]) {
        let stored = answers.iter().map(|answer| Stored {
            sequence: answer.tag,
            refused: answer.result.as_ref().err().map(refusal),
        });
        self.post_office
            .mailbox(self.shard)
            .post(Letter::Stored(stored.collect()));
    }
}

fn refusal(refusal: &Refusal) -> StoreRefusal {
    StoreRefusal {
        is_certain: match refusal {
            Refusal::Full | Refusal::Behind | Refusal::TooLarge | Refusal::NoSeries => true,
            Refusal::Failed(_) | Refusal::Closed => false,
        },
        reason: Arc::from(refusal.to_string()),
    }
}

/// Makes the keepers of all shards.
pub(crate) struct Keepers {
    loads: Sender<LoadRequest>,
    post_office: Arc<PostOffice>,
}

impl Keepers {
    /// Starts the thread that reads messages back; it ends with the last keeper.
    pub(crate) fn start(store: &StoreThread, post_office: &Arc<PostOffice>) -> io::Result<Keepers> {
        let (loads, requests) = mpsc::channel();
        let reader = store.reader();
        let post = Arc::clone(post_office);
        thread::Builder::new()
            .name("loader".into())
            .spawn(move || read_messages(&requests, &reader, &post))?;
        Ok(Keepers {
            loads,
            post_office: Arc::clone(post_office),
        })
    }

    pub(crate) fn keeper(&self, store: &StoreThread, shard: ShardId) -> Keeper {
        let answers = Answers {
            shard,
            post_office: Arc::clone(&self.post_office),
        };
        Keeper {
            shard,
            submitter: store.submitter(Arc::new(answers)),
            encoder: Encoder::new(),
            waiting: VecDeque::new(),
            unanswered: VecDeque::new(),
            unanswered_bytes: 0,
            loads: self.loads.clone(),
        }
    }
}

impl Keeper {
    /// Hands over what the shard wants kept. What finds no room waits for the next answer.
    pub(crate) fn submit(&mut self, shard: &mut Shard) {
        while let Some(submission) = shard.take_submission() {
            let mut changes = Changes::new();
            self.encoder.encode(&submission.changes, &mut changes);
            if submission.follows_others {
                changes.keep_in_order();
            }
            self.unanswered.push_back(submission.weight_bytes);
            self.unanswered_bytes += submission.weight_bytes;
            self.waiting.push_back((submission.sequence, changes));
        }
        while let Some((sequence, changes)) = self.waiting.pop_front() {
            if let Err(changes) = self.submitter.try_submit(sequence, changes) {
                self.waiting.push_front((sequence, changes));
                return;
            }
        }
    }

    /// One answer came.
    pub(crate) fn note_answer(&mut self) {
        if let Some(weight) = self.unanswered.pop_front() {
            self.unanswered_bytes -= weight;
        }
    }

    /// Whether so much has no answer that publishers have to wait.
    pub(crate) fn is_behind(&self) -> bool {
        self.unanswered_bytes > UNANSWERED_BYTES
    }

    /// Whether every submission has its answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Has messages read; they come as a letter.
    pub(crate) fn load(&self, load: LoadId, keys: Vec<Key>) {
        let request = LoadRequest {
            shard: self.shard,
            load,
            keys,
        };
        // The thread outlives the keepers.
        let _sent = self.loads.send(request);
    }
}

/// Reads what is asked for, in its order, until nobody can ask any more.
fn read_messages(requests: &Receiver<LoadRequest>, reader: &Reader, post_office: &PostOffice) {
    let mut waiting = VecDeque::new();
    loop {
        let Some(request) = waiting.pop_front().or_else(|| requests.recv().ok()) else {
            return;
        };
        let LoadRequest { shard, load, keys } = request;
        let messages = loop {
            match read_all(reader, &keys) {
                Ok(messages) => break messages,
                Err(error) => tracing::warn!("messages cannot be read, it is tried again: {error}"),
            }
            // What cannot be read now is not lost: whoever waits for it waits.
            thread::sleep(READ_AGAIN);
            loop {
                match requests.try_recv() {
                    Ok(request) => waiting.push_back(request),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        };
        let loaded = Input::Loaded { load, messages };
        post_office.mailbox(shard).post(Letter::Input(loaded));
    }
}

/// The messages in the order of the keys; `None` where the store has none that is whole.
fn read_all(reader: &Reader, keys: &[Key]) -> Result<Vec<Option<Arc<Message>>>, io::Error> {
    let mut messages = Vec::with_capacity(keys.len());
    for keys in keys.chunks(READ_AT_ONCE) {
        let view = reader.view();
        for key in keys {
            messages.push(match read_message(&view, key) {
                Ok(message) => message.map(Arc::<Message>::new),
                Err(RecordsError::Read(ReadError::Io(error))) => return Err(error),
                Err(error) => {
                    tracing::error!("a message that waits for a client is lost: {error}");
                    None
                }
            });
        }
    }
    Ok(messages)
}
