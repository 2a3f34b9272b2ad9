//! The log: lines on standard error, for people or for programs.
//!
//! Whoever logs never waits for whoever reads. Lines go through a bounded queue to a thread that
//! writes them; when a terminal or a pipe stands still the queue fills, and what does not fit is
//! counted and left out, so that a paused pager cannot pause the broker.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogLevel};

/// Lines that may wait to be written.
const QUEUE_LINES: usize = 4096;

/// How long the end of the program waits for the last lines to be written.
const LONGEST_FLUSH: Duration = Duration::from_secs(1);

/// Starts to log. The answer must be kept until the program ends, and flushed then.
///
/// # Errors
/// If there is no thread left.
pub(crate) fn start(level: LogLevel, format: LogFormat) -> io::Result<Log> {
    let (sender, receiver) = sync_channel(QUEUE_LINES);
    let queue = Queue {
        sender,
        lost: Arc::default(),
    };
    let lost = Arc::clone(&queue.lost);
    thread::Builder::new()
        .name("nexum-log".to_owned())
        .spawn(move || write_lines(&receiver, &lost))?;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(level))
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(queue.clone());
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(Log { queue })
}

/// The running log.
#[derive(Debug)]
pub(crate) struct Log {
    queue: Queue,
}

impl Log {
    /// Waits until what was logged so far is written, for a second at most.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        // Nobody to wait for, or too slow a reader: the end does not depend on either.
        if self.queue.sender.try_send(Entry::Flush(done)).is_ok() {
            let _ = written.recv_timeout(LONGEST_FLUSH);
        }
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> LevelFilter {
        match level {
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

enum Entry {
    Line(Vec<u8>),
    /// Everything before it is written when it is answered.
    Flush(SyncSender<()>),
}

#[derive(Clone, Debug)]
struct Queue {
    sender: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Write for Queue {
    /// Takes one line: the subscriber writes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Entry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Queue;

    fn make_writer(&'a self) -> Queue {
        self.clone()
    }
}

fn write_lines(entries: &Receiver<Entry>, lost: &AtomicU64) {
    let mut stderr = io::stderr();
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                // A log that cannot be written cannot be complained about either.
                let _ = stderr.write_all(&line);
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(stderr, "{lost} lines of the log were lost here");
                }
            }
            Entry::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}
