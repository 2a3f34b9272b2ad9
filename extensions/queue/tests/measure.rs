//! What a job costs. Run by hand:
//! `cargo test --release -p nexum-queue --test measure -- --ignored --nocapture`.
//!
//! On two shared cores, November 2026, payloads of 256 bytes and a million of them: push, deliver
//! and settle 0.6 µs, with 64 consumers 1.2 µs; deliver and settle out of a backlog 0.7 µs; 112 bytes
//! for a message that is only in the store; 1.2 KiB for an empty queue.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nexum_extension_api::{
    Address, Command, CommandId, ConsumerId, Extension, FeedId, Input, Outcome, Output, Subscribe,
    WriteId,
};
use nexum_queue::{QueueOptions, Queues, Settings};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe to be one; it hands on to the system's"
)]
// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const JOBS: u64 = 1_000_000;

struct Bench {
    queues: Queues,
    now: Time,
    key: u64,
    address: Address,
    message: Arc<Message>,
}

const CONSUMER: ConsumerId = ConsumerId { shard: 0, key: 1 };

impl Bench {
    fn new(memory_bytes: usize) -> Bench {
        let options = QueueOptions {
            max_len: 2 * JOBS,
            ..QueueOptions::default()
        };
        let mut bench = Bench {
            queues: Queues::new(Settings {
                declared: vec![("jobs".to_owned(), options)],
                memory_bytes,
                ..Settings::default()
            }),
            now: Time::from_micros(1_800_000_000_000_000),
            key: 0,
            address: Address::parse("$queue/jobs").expect("an address"),
            message: Arc::new(Message::new(MessageParts {
                topic: TopicName::new("$queue/jobs").expect("a topic"),
                properties: &[],
                payload: &[7; 256],
                qos: QoS::AtLeastOnce,
                retain: false,
                published_at: Time::ZERO,
                expires_at: None,
            })),
        };
        bench.feed(Input::Start { seed: 1 });
        bench
    }

    /// A store that answers at once.
    fn feed(&mut self, input: Input) {
        self.queues.handle(input, self.now);
        while let Some(output) = self.queues.poll_output() {
            match output {
                Output::Write(write) => {
                    let write = write.write;
                    let refused = None;
                    self.queues
                        .handle(Input::Written { write, refused }, self.now);
                }
                Output::Deliver(deliver) => {
                    let settled = Input::Settled {
                        consumer: deliver.consumer,
                        delivery: deliver.delivery,
                        outcome: Outcome::Done,
                    };
                    self.queues.handle(settled, self.now);
                }
                _ => {}
            }
        }
    }

    fn push(&mut self) {
        let command = self.command();
        self.feed(command);
    }

    fn command(&mut self) -> Input {
        self.key += 1;
        let message = Arc::clone(&self.message);
        Input::Command(Command {
            id: CommandId {
                shard: 0,
                key: self.key,
            },
            address: self.address.clone(),
            // A message of its own for each, as it comes from a packet.
            message: Arc::new(Message::new(message.parts())),
            options: None,
            client_id: None,
        })
    }

    /// As at work: pushes come many at a time, are stored many at a time, and wait for their
    /// settlement while others come.
    fn work(&mut self, rounds: usize) {
        const BATCH: usize = 500;
        let mut out = VecDeque::new();
        for _ in 0..rounds {
            let pushes: Vec<Input> = (0..BATCH).map(|_| self.command()).collect();
            let mut written = Vec::new();
            self.handle_all(pushes, &mut written, &mut out);
            let answers = written.drain(..).map(|write| Input::Written {
                write,
                refused: None,
            });
            let answers: Vec<Input> = answers.collect();
            self.handle_all(answers, &mut written, &mut out);
            let done = out.len().saturating_sub(5 * BATCH);
            let settled: Vec<Input> = out.drain(..done).collect();
            self.handle_all(settled, &mut written, &mut out);
        }
    }

    fn handle_all(
        &mut self,
        inputs: Vec<Input>,
        written: &mut Vec<WriteId>,
        out: &mut VecDeque<Input>,
    ) {
        for input in inputs {
            self.queues.handle(input, self.now);
            while let Some(output) = self.queues.poll_output() {
                match output {
                    Output::Write(write) => written.push(write.write),
                    Output::Deliver(deliver) => out.push_back(Input::Settled {
                        consumer: deliver.consumer,
                        delivery: deliver.delivery,
                        outcome: Outcome::Done,
                    }),
                    _ => {}
                }
            }
        }
    }

    fn consume(&mut self) {
        self.join(CONSUMER);
    }

    fn join(&mut self, consumer: ConsumerId) {
        self.feed(Input::Attach {
            consumer,
            credit: 100,
            client_id: Arc::from("worker"),
            takes_properties: false,
        });
        self.feed(Input::Subscribe(Subscribe {
            feed: FeedId {
                shard: 0,
                key: consumer.key,
            },
            consumer,
            address: self.address.clone(),
            maximum_qos: QoS::AtLeastOnce,
            wants_present: true,
            share_name: None,
            options: None,
        }));
    }
}

#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods, reason = "it measures real time")]
fn what_a_job_costs() {
    let mut bench = Bench::new(64 << 20);
    bench.consume();
    let start = std::time::Instant::now();
    for _ in 0..JOBS {
        bench.push();
    }
    let each = start.elapsed().as_nanos() / u128::from(JOBS);
    println!("push, deliver, settle with a waiting consumer: {each} ns");

    let mut bench = Bench::new(64 << 20);
    for key in 1..=64 {
        bench.join(ConsumerId { shard: 0, key });
    }
    bench.work(100);
    let start = std::time::Instant::now();
    bench.work(2000);
    let each = start.elapsed().as_nanos() / u128::from(JOBS);
    println!("the same with 64 consumers and 2500 unsettled: {each} ns");

    let mut bench = Bench::new(1 << 30);
    let start = std::time::Instant::now();
    for _ in 0..JOBS {
        bench.push();
    }
    let each = start.elapsed().as_nanos() / u128::from(JOBS);
    println!("push with nobody there: {each} ns");
    let start = std::time::Instant::now();
    bench.consume();
    let each = start.elapsed().as_nanos() / u128::from(JOBS);
    println!("deliver and settle out of {JOBS}: {each} ns");

    let mut bench = Bench::new(0);
    let before = ALLOCATED.load(Ordering::Relaxed);
    for _ in 0..JOBS {
        bench.push();
    }
    let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
    println!(
        "memory of a message that is only in the store: {} bytes",
        bytes as u64 / JOBS
    );

    let before = ALLOCATED.load(Ordering::Relaxed);
    let declared = (0..10_000).map(|at| (format!("queue-{at}"), QueueOptions::default()));
    let mut queues = Queues::new(Settings {
        declared: declared.collect(),
        ..Settings::default()
    });
    queues.handle(Input::Start { seed: 1 }, bench.now);
    while let Some(output) = queues.poll_output() {
        if let Output::Write(write) = output {
            let write = write.write;
            let refused = None;
            queues.handle(Input::Written { write, refused }, bench.now);
        }
    }
    let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
    println!("memory of an empty queue: {} bytes", bytes / 10_000);
}
