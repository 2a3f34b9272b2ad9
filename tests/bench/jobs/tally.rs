//! What was pushed, delivered and settled, and how long it took.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::Load;

/// Latencies are counted in steps of this.
const STEP: Duration = Duration::from_micros(20);
const STEPS: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Tally {
    origin: Instant,
    payload_bytes: usize,
    next: Cell<u64>,
    acknowledged: Cell<u64>,
    settled: Cell<u64>,
    twice: Cell<u64>,
    /// A bit for each job that came.
    came: RefCell<Vec<u64>>,
    is_over: Cell<bool>,
    latencies: RefCell<Vec<u32>>,
    measures: Cell<bool>,
}

/// Where a measurement began.
pub(crate) struct Begin {
    at: Instant,
    settled: u64,
    processor: Option<Duration>,
    process: Option<u32>,
}

impl Tally {
    pub(crate) fn new(load: &Load) -> Tally {
        Tally {
            origin: Instant::now(),
            payload_bytes: load.payload_bytes,
            next: Cell::new(0),
            acknowledged: Cell::new(0),
            settled: Cell::new(0),
            twice: Cell::new(0),
            came: RefCell::default(),
            is_over: Cell::new(false),
            latencies: RefCell::new(vec![0; STEPS + 1]),
            measures: Cell::new(false),
        }
    }

    /// The payload of the next job: its number, when it was made, and as many bytes as it has to
    /// have, none of them special to any protocol.
    pub(crate) fn next_payload(&self, out: &mut Vec<u8>) {
        let number = self.next.get();
        self.next.set(number + 1);
        let micros = self.origin.elapsed().as_micros() as u64;
        let begin = out.len();
        out.extend_from_slice(format!("{number:012}{micros:012}").as_bytes());
        out.resize(begin + self.payload_bytes, b'x');
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    pub(crate) fn acknowledged(&self, pushes: u64) {
        self.acknowledged.set(self.acknowledged.get() + pushes);
    }

    /// A job came.
    pub(crate) fn delivered(&self, payload: &[u8]) {
        let digits = |range: std::ops::Range<usize>| {
            let text = std::str::from_utf8(payload.get(range)?).ok()?;
            text.parse::<u64>().ok()
        };
        let (Some(number), Some(made)) = (digits(0..12), digits(12..24)) else {
            self.twice.set(self.twice.get() + 1);
            return;
        };
        let (word, bit) = ((number / 64) as usize, 1_u64 << (number % 64));
        let mut came = self.came.borrow_mut();
        if came.len() <= word {
            came.resize(word + 1, 0);
        }
        if came[word] & bit != 0 {
            self.twice.set(self.twice.get() + 1);
        }
        came[word] |= bit;
        if self.measures.get() {
            let now = self.origin.elapsed().as_micros() as u64;
            let step = now.saturating_sub(made) / STEP.as_micros() as u64;
            self.latencies.borrow_mut()[(step as usize).min(STEPS)] += 1;
        }
    }

    /// So many settlements were sent.
    pub(crate) fn settled(&self, jobs: u64) {
        self.settled.set(self.settled.get() + jobs);
    }

    /// What is settled from here on counts.
    pub(crate) fn begin(&self, process: Option<u32>) -> Begin {
        self.measures.set(true);
        Begin {
            at: Instant::now(),
            settled: self.settled.get(),
            processor: process.and_then(processor_time),
            process,
        }
    }

    /// The fields of a line of JSON.
    pub(crate) fn end(&self, begin: &Begin, load: &Load) -> String {
        self.measures.set(false);
        let took = begin.at.elapsed().as_secs_f64();
        let jobs = self.settled.get() - begin.settled;
        let used = begin.process.and_then(processor_time);
        let used = used.zip(begin.processor).map(|(end, begin)| end - begin);
        let per_job = used.map_or(0.0, |used| used.as_secs_f64() * 1e6 / jobs.max(1) as f64);
        format!(
            "\"server\":\"{}\",\"producers\":{},\"consumers\":{},\"window\":{},\"jobs_s\":{:.0},\
             \"cpu_us_per_job\":{per_job:.2},\"p50_us\":{},\"p99_us\":{}",
            load.server,
            load.producers,
            load.consumers,
            load.window,
            jobs as f64 / took,
            self.percentile(0.5),
            self.percentile(0.99),
        )
    }

    /// From the making of a job to its delivery, in microseconds.
    fn percentile(&self, share: f64) -> u128 {
        let latencies = self.latencies.borrow();
        let all: u64 = latencies.iter().map(|count| u64::from(*count)).sum();
        let mut left = (all as f64 * share) as u64;
        for (step, count) in latencies.iter().enumerate() {
            if left <= u64::from(*count) {
                return step as u128 * STEP.as_micros();
            }
            left -= u64::from(*count);
        }
        0
    }

    pub(crate) fn stop_pushing(&self) {
        self.is_over.set(true);
    }

    /// True if every job that was acknowledged came, and once.
    pub(crate) async fn wait_for_all(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            let missing = self.missing();
            if missing == 0 || Instant::now() > until {
                return missing == 0 && self.twice.get() == 0;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn missing(&self) -> u64 {
        let came: u64 = self
            .came
            .borrow()
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum();
        self.acknowledged.get().saturating_sub(came)
    }

    pub(crate) fn faults(&self) -> String {
        format!(
            "\"acknowledged\":{},\"missing\":{},\"twice\":{}",
            self.acknowledged.get(),
            self.missing(),
            self.twice.get()
        )
    }
}

/// What all threads of a process have used, as the scheduler counts it.
fn processor_time(process: u32) -> Option<Duration> {
    let mut all = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).ok()? {
        let path = thread.ok()?.path().join("schedstat");
        let text = std::fs::read_to_string(path).ok()?;
        let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
        all += nanoseconds;
    }
    Some(Duration::from_nanos(all))
}
