//! `$keys`.

use serde_json::{Value, json};

use crate::common::*;

fn keys(broker: &mut Broker, payload: &str) -> Value {
    json(&put(broker, "$keys", payload, &[]).expect("a list"))
}

#[test]
fn keys_come_in_order_and_in_parts() {
    let mut broker = bucket("");
    for key in ["b/2", "a", "b/1", "b", "c"] {
        set(&mut broker, key, "1");
    }
    put(&mut broker, "d", "1", &[("ttl", "1s")]).expect("it is set");
    let all = json!({"keys": ["a", "b", "b/1", "b/2", "c", "d"]});
    assert_eq!(keys(&mut broker, ""), all);
    broker.set_store(nexum_extension_api::driver::Store::Full);
    broker.wait(seconds(1));
    let all = json!({"keys": ["a", "b", "b/1", "b/2", "c"]});
    assert_eq!(keys(&mut broker, "{}"), all, "what is due is not there");
    assert_eq!(
        keys(&mut broker, r#"{"limit": 2}"#),
        json!({"keys": ["a", "b"], "next": "b"})
    );
    assert_eq!(
        keys(&mut broker, r#"{"limit": 3, "after": "b"}"#),
        json!({"keys": ["b/1", "b/2", "c"]})
    );
    assert_eq!(
        keys(&mut broker, r#"{"prefix": "b/", "limit": 1}"#),
        json!({"keys": ["b/1"], "next": "b/1"})
    );
    assert_eq!(
        keys(&mut broker, r#"{"prefix": "b/", "after": "b/1"}"#),
        json!({"keys": ["b/2"]})
    );
    assert_eq!(
        keys(&mut broker, r#"{"prefix": "b", "after": "a"}"#),
        json!({"keys": ["b", "b/1", "b/2"]})
    );
    assert_eq!(
        keys(&mut broker, r#"{"prefix": "b", "after": "x"}"#),
        json!({"keys": []})
    );
}

#[test]
fn a_long_list_is_complete() {
    let mut broker = bucket("");
    let expected: Vec<String> = (0..2500).map(|number| format!("{number:04}")).collect();
    for key in &expected {
        set(&mut broker, key, "1");
    }
    let mut found: Vec<String> = Vec::new();
    let mut wish = json!({"limit": 999});
    loop {
        let part = keys(&mut broker, &wish.to_string());
        let part_keys = part["keys"].as_array().expect("keys");
        found.extend(
            part_keys
                .iter()
                .map(|key| key.as_str().expect("text").to_owned()),
        );
        match part.get("next") {
            Some(next) => wish["after"] = next.clone(),
            None => break,
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn a_list_of_large_values_ends_early_and_goes_on() {
    let mut broker = bucket("");
    let value = "v".repeat(1 << 20);
    for number in 0..20 {
        set(&mut broker, &format!("{number:02}"), &value);
    }
    let first = keys(&mut broker, "");
    let count = first["keys"].as_array().expect("keys").len();
    assert!((1..20).contains(&count), "{count}");
    let wish = json!({"after": first["next"]});
    let rest = keys(&mut broker, &wish.to_string());
    assert_eq!(rest["keys"].as_array().expect("keys").len(), 20 - count);
}
