//! Bytes a subscription and nanoseconds an operation at a million of them. One at a time:
//!
//! `cargo test --release -p nexum-core subscription_index::measurements -- --ignored --nocapture
//! --test-threads 1`

use super::*;

const COUNT: usize = 1_000_000;

type Key = [u32; 2];
type Value = [u32; 2];

/// Pseudorandom, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux tells it");
    let pages = status
        .split(' ')
        .nth(1)
        .expect("the second number is the resident set");
    pages.parse::<usize>().expect("it is a number") * 4096
}

/// What this thread has used of a processor, which others may be using too. It lags by up to the
/// kernel's tick.
fn processor_nanoseconds() -> u64 {
    let statistics =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let first = statistics
        .split(' ')
        .next()
        .expect("it begins with the time on a processor");
    first.parse().expect("it is a number")
}

/// Filters and a topic for each that it matches: three quarters without wildcards, the others
/// with `+` at two places or `#`; four to six levels, the last one unique.
fn mixed_filters() -> (Vec<String>, Vec<String>) {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let breadths = [10, 100, 1000, 10, 10];
    (0..COUNT)
        .map(|n| {
            let depth = 3 + random.below(3);
            let mut levels: Vec<String> = breadths[..depth]
                .iter()
                .zip(["plant", "line", "machine", "unit", "part"])
                .map(|(breadth, name)| format!("{name}{}", random.below(*breadth)))
                .collect();
            levels.push(format!("s{n:07}"));
            let topic = levels.join("/");
            match n % 8 {
                0 => {
                    let one = random.below(depth);
                    let other = (one + 1 + random.below(depth - 1)) % depth;
                    levels[one] = "+".to_owned();
                    levels[other] = "+".to_owned();
                }
                1 => levels.push("#".to_owned()),
                _ => {}
            }
            (levels.join("/"), topic)
        })
        .unzip()
}

/// The filters of the load generator's scenario.
fn device_filters() -> (Vec<String>, Vec<String>) {
    (0..COUNT)
        .map(|n| {
            let (a, b) = (n / 1000, n % 1000);
            let filter = match n % 12 {
                0 => format!("dev/{a:04}/+/s{n:07}"),
                4 => format!("+/{a:04}/{b:03}/s{n:07}"),
                8 => format!("dev/{a:04}/{b:03}/s{n:07}/#"),
                _ => format!("dev/{a:04}/{b:03}/s{n:07}"),
            };
            (filter, format!("dev/{a:04}/{b:03}/s{n:07}"))
        })
        .unzip()
}

/// Runs `operation` for every number below `count` and tells the nanoseconds each took.
fn nanoseconds(count: usize, mut operation: impl FnMut(usize)) -> f64 {
    let start = processor_nanoseconds();
    for n in 0..count {
        operation(n);
    }
    (processor_nanoseconds() - start) as f64 / count as f64
}

/// Copies in random order, side by side in memory: they are not what is to be cold.
fn shuffled(texts: &[String], random: &mut Random) -> Vec<String> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    for n in (1..order.len()).rev() {
        order.swap(n, random.below(n + 1));
    }
    order.into_iter().map(|n| texts[n].clone()).collect()
}

fn measure(name: &str, filters: &[String], topics: &[String]) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let filters = shuffled(filters, &mut random);
    let filters: Vec<_> = filters
        .iter()
        .map(|filter| TopicFilter::new(filter).expect("a valid filter"))
        .collect();
    let topics = shuffled(topics, &mut random);
    let topics: Vec<_> = topics
        .iter()
        .map(|topic| TopicName::new(topic).expect("a valid topic"))
        .collect();
    let key = |n: usize| [n as u32 % 100, 0];

    let before = resident_bytes();
    let mut index = SubscriptionIndex::<Key, Value>::new(random.0);
    let insert = nanoseconds(filters.len(), |n| {
        index.insert(filters[n], key(n), [0, 0]);
    });
    let bytes = (resident_bytes() - before) / index.len();

    let mut found = Vec::new();
    let mut best = f64::MAX;
    let mut matched = 0;
    for _ in 0..5 {
        matched = 0;
        best = best.min(nanoseconds(filters.len(), |n| {
            found.clear();
            index.matches(topics[n], &mut found);
            matched += found.len();
        }));
    }
    let mut hot = f64::MAX;
    for _ in 0..5 {
        hot = hot.min(nanoseconds(filters.len(), |n| {
            found.clear();
            index.matches(topics[n % 100], &mut found);
        }));
    }
    let mut ids: Vec<FilterId> = Vec::new();
    let find = nanoseconds(filters.len(), |n| {
        ids.push(index.find(filters[n]).expect("it was inserted"));
    });
    let replace = nanoseconds(filters.len(), |n| {
        index.insert(filters[n], key(n), [0, 1]);
    });
    let remove = nanoseconds(filters.len(), |n| {
        let n = n * 7919 % ids.len();
        index.remove_id(ids[n], key(n)).expect("it was inserted");
    });
    assert_eq!(index.len(), 0);
    let left = resident_bytes().saturating_sub(before) / filters.len();
    println!(
        "{name}: {bytes} bytes a subscription ({left} after all were removed); nanoseconds: \
         insert {insert:.0}, again {replace:.0}, find {find:.0}, \
         match {best:.0} ({:.2} found), of 100 topics in turn {hot:.0}, remove by id {remove:.0}",
        matched as f64 / topics.len() as f64,
    );
}

#[test]
#[ignore = "a measurement"]
fn a_million_filters_of_many_forms() {
    let (filters, topics) = mixed_filters();
    measure("mixed", &filters, &topics);
}

#[test]
#[ignore = "a measurement"]
fn a_million_filters_of_devices() {
    let (filters, topics) = device_filters();
    measure("devices", &filters, &topics);
}

#[test]
#[ignore = "a measurement"]
fn one_filter_with_100_000_subscribers() {
    let filter = TopicFilter::new("a/+").expect("a valid filter");
    let topic = TopicName::new("a/b").expect("a valid topic");
    let mut index = SubscriptionIndex::<Key, Value>::new(1);
    let key = |n: usize| [0, (n * 7919 % 100_000) as u32];
    let insert = nanoseconds(100_000, |n| {
        index.insert(filter, key(n), [0, 0]);
    });
    let mut found = Vec::new();
    let mut best = f64::MAX;
    for _ in 0..10 {
        best = best.min(nanoseconds(100, |_| {
            found.clear();
            index.matches(topic, &mut found);
        }));
    }
    let remove = nanoseconds(100_000, |n| {
        index.remove(filter, key(n)).expect("it was inserted");
    });
    println!(
        "100,000 subscribers; nanoseconds: insert {insert:.0}, match {:.2} a subscriber, \
         remove {remove:.0}",
        best / 100_000.0,
    );
}
