//! The records, byte by byte, as FORMAT.md draws them. Who changes one writes another version, and
//! keeps reading this.

use std::fmt::Write;

use nexum_extension_api::driver::Driver;
use nexum_queue::{QueueOptions, Queues, Settings};

use crate::common::*;

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

#[test]
fn records_are_as_they_are_drawn() {
    let mut broker: Driver<Queues> = broker_with(Settings::default());
    create(&mut broker, "jobs", r#"{"max_attempts": 1}"#);
    push(&mut broker, "$queue/jobs", "a");
    let pairs = [
        ("prio", "7"),
        ("delay", "1s"),
        ("ttl", "2s"),
        ("key", "k"),
        ("id", "i"),
    ];
    push_with(&mut broker, "$queue/jobs/eu", "b", &pairs);
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    let delivery = one(&mut broker, consumer);
    broker.settle(consumer, delivery.delivery, refused(0x80));
    let records: Vec<(String, String)> = broker
        .records()
        .iter()
        .map(|(key, value)| (hexadecimal(key), hexadecimal(value)))
        .collect();
    let options = QueueOptions {
        max_attempts: 1,
        ..QueueOptions::default()
    };
    let options = hexadecimal(options.to_json().to_string().as_bytes());
    let now = "0006651728988000";
    let in_1_s = "0006651728a7c240";
    let in_2_s = "0006651728b70480";
    let in_5_m = "000665173a7a2300";
    let expected = [
        ("00".to_owned(), "010000000000010001".to_owned()),
        (
            "010000000000000001".to_owned(),
            format!("010004{}{options}", hexadecimal(b"jobs")),
        ),
        (
            "0200000000000000010000000000000002".to_owned(),
            format!("010100{now}0000000061"),
        ),
        (
            "0200000000000000010000000000000003".to_owned(),
            format!("01f907{now}{in_2_s}{in_1_s}0002657500016b0001690000000062"),
        ),
        (
            "0300000000000000010000000000000002".to_owned(),
            format!("01010001{now}"),
        ),
        (
            "0400000000000000010000000000000003".to_owned(),
            format!("01{in_5_m}69"),
        ),
    ];
    assert_eq!(records, expected);
}
