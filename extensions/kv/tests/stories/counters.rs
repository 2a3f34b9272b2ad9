//! `$incr` and `$decr`.

use nexum_extension_api::ErrorCode;
use nexum_extension_api::driver::Store;

use crate::common::*;

#[test]
fn a_counter_counts_from_nothing() {
    let mut broker = bucket("");
    let mut count = |verb: &str, step: &str| {
        let reply = put(&mut broker, &format!("hits/{verb}"), step, &[]);
        text(&reply.expect("it counts"))
    };
    assert_eq!(count("$incr", ""), "1");
    assert_eq!(count("$incr", "41"), "42");
    assert_eq!(count("$decr", ""), "41");
    assert_eq!(count("$decr", "-9"), "50");
    assert_eq!(count("$incr", "-60"), "-10");
    assert_eq!(get(&mut broker, "hits").as_deref(), Some("-10"));
}

#[test]
fn what_is_no_number_or_too_large_is_left_alone() {
    let mut broker = bucket("");
    set(&mut broker, "a", "ten");
    let refused = put(&mut broker, "a/$incr", "", &[]);
    assert_eq!(code(refused), ErrorCode::BadPayload);
    assert_eq!(get(&mut broker, "a").as_deref(), Some("ten"));
    set(&mut broker, "b", "9223372036854775807");
    let refused = put(&mut broker, "b/$incr", "", &[]);
    assert_eq!(code(refused), ErrorCode::BadPayload);
    let reply = put(&mut broker, "b/$decr", "9223372036854775807", &[]);
    assert_eq!(text(&reply.expect("it counts")), "0");
    let refused = put(&mut broker, "c/$decr", "-9223372036854775808", &[]);
    assert_eq!(
        code(refused),
        ErrorCode::BadPayload,
        "there is no such number"
    );
    let reply = put(&mut broker, "c/$incr", "-9223372036854775808", &[]);
    assert_eq!(text(&reply.expect("it counts")), "-9223372036854775808");
}

#[test]
fn steps_that_come_before_the_first_is_stored_all_count() {
    let mut broker = bucket("");
    broker.set_store(Store::Slow);
    let commands: Vec<_> = (0..10)
        .map(|_| broker.command("$kv/b/hits/$incr", b"2", options(&[])))
        .collect();
    let get = broker.command("$kv/b/hits/$get", b"", options(&[]));
    assert!(broker.take_reply(get).is_none(), "it is not stored");
    broker.commit();
    let sums: Vec<String> = commands
        .into_iter()
        .map(|command| {
            text(
                &broker
                    .take_reply(command)
                    .expect("an answer")
                    .expect("done"),
            )
        })
        .collect();
    let expected: Vec<String> = (1..=10).map(|step| (step * 2).to_string()).collect();
    assert_eq!(sums, expected);
    let value = broker.take_reply(get).expect("an answer").expect("there");
    assert_eq!(text(&value), "20");
}

#[test]
fn a_counter_keeps_the_time_it_began_with() {
    let mut broker = bucket("");
    put(&mut broker, "hits/$incr", "", &[("ttl", "10s")]).expect("it counts");
    broker.wait(seconds(6));
    put(&mut broker, "hits/$incr", "", &[("ttl", "10s")]).expect("it counts");
    assert_eq!(get(&mut broker, "hits").as_deref(), Some("2"));
    broker.wait(seconds(4));
    assert_eq!(get(&mut broker, "hits"), None);
}
