//! The records, byte by byte, as FORMAT.md draws them. Who changes one writes another version, and
//! keeps reading this.

use std::fmt::Write;

use nexum_kv::BucketOptions;

use crate::common::*;

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

#[test]
fn records_are_as_they_are_drawn() {
    let mut broker = bucket(r#"{"history": 2}"#);
    set(&mut broker, "a", "1");
    put(&mut broker, "a", "2", &[("ttl", "1s")]).expect("it is set");
    set(&mut broker, "b/c", "3");
    let records: Vec<(String, String)> = broker
        .records()
        .iter()
        .map(|(key, value)| (hexadecimal(key), hexadecimal(value)))
        .collect();
    let options = BucketOptions {
        history: 2,
        ..BucketOptions::default()
    };
    let options = hexadecimal(options.to_json().to_string().as_bytes());
    let now = "0006651728988000";
    let in_1_s = "0006651728a7c240";
    let expected = [
        ("00".to_owned(), "010000000000010001".to_owned()),
        ("010000000000000001".to_owned(), format!("010162{options}")),
        (
            "02000000000000000161".to_owned(),
            format!(
                "0101{}{}{now}{in_1_s}01{}0000000032",
                "0000000000000003", "0000000000000002", "0000000000000002"
            ),
        ),
        (
            "020000000000000001622f63".to_owned(),
            format!(
                "0100{}{}{now}000000000033",
                "0000000000000004", "0000000000000004"
            ),
        ),
        (format!("03{in_1_s}000000000000000161"), "01".to_owned()),
        (
            "04000000000000000161000000000000000002".to_owned(),
            format!(
                "0100{}{}{now}000000000031",
                "0000000000000002", "0000000000000002"
            ),
        ),
    ];
    assert_eq!(records, expected);
}
