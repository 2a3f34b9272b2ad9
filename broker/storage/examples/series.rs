//! Appends records to a series, and reads them from its beginning, as fast as it goes:
//!
//! ```sh
//! cargo run --release -p nexum-storage --example series -- DIRECTORY [RECORDS] [BYTES]
//! ```

use std::hint::black_box;
use std::time::Instant;

use nexum_storage::{Changes, Options, RealDisk, SeriesId, Store, TableId};

const SERIES: SeriesId = SeriesId {
    table: TableId(1),
    number: 1,
};
/// Records of a submission.
const TOGETHER: u64 = 1000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("the first argument is a directory");
    let mut number = |default| {
        arguments
            .next()
            .map_or(default, |it| it.parse().expect("a number"))
    };
    let (records, bytes) = (number(1_000_000), number(256));
    let disk = RealDisk::open(directory).expect("a directory");
    let (mut store, _) =
        Store::open(std::sync::Arc::new(disk), Options::default()).expect("a store");
    let record = vec![b'x'; usize::try_from(bytes).expect("it fits into memory")];

    let mut changes = Changes::new();
    changes.create_series(SERIES);
    store.submit(&changes).expect("room");
    let begun = Instant::now();
    for first in (0..records).step_by(TOGETHER as usize) {
        changes.clear();
        for stamp in first..records.min(first + TOGETHER) {
            changes.append(SERIES, stamp, &record);
        }
        store.submit(&changes).expect("room");
        store.commit().expect("room");
        if store.checkpoint_is_due() {
            store.make_checkpoint().expect("room");
        }
    }
    tell("appended", records, begun);
    store.make_checkpoint().expect("room");

    let reader = store.reader();
    for _ in 0..3 {
        let begun = Instant::now();
        let (mut from, mut sum) = (0, 0);
        while let Some(page) = reader.records(SERIES, from).expect("it can be read") {
            sum += page.iter().map(|it| it.bytes.len()).sum::<usize>();
            from = page.next();
        }
        black_box(sum);
        tell("read", records, begun);
    }
    let begun = Instant::now();
    for stamp in 0..1000 {
        black_box(
            reader
                .offset_at(SERIES, stamp * (records / 1000))
                .expect("it can be read"),
        );
    }
    tell("found by time", 1000, begun);
}

fn tell(what: &str, records: u64, begun: Instant) {
    let took = begun.elapsed().as_secs_f64();
    eprintln!(
        "{what} {records}: {:.0} a second, {took:.3} s",
        records as f64 / took
    );
}
