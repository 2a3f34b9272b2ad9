//! Where a message goes when it is due: a topic, with the options that are meant for it in front.

use std::fmt::Write as _;

use nexum_extension_api::{ErrorCode, Options, Refusal};
use nexum_types::TopicName;

/// The topic to publish to: the target, behind `$opt/<key>=<value>,…/` if something was asked of it.
/// The delay is over by then. An `id` is this extension's, and the target's too if it is served.
pub(crate) fn with_options(target: &str, options: &Options) -> Result<Box<str>, Refusal> {
    if target.is_empty() {
        return Err(bad_address("a topic is missing behind $delayed/at/"));
    }
    let asked = encode(options, target.starts_with('$'));
    let topic = if asked.is_empty() {
        Box::from(target)
    } else {
        format!("$opt/{asked}/{target}").into_boxed_str()
    };
    match TopicName::new(&topic) {
        Ok(_) => Ok(topic),
        Err(error) => Err(bad_address(error.to_string())),
    }
}

fn bad_address(reason: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadAddress, reason)
}

/// `key=value,…`, percent-encoded; empty if there is nothing.
fn encode(options: &Options, has_id: bool) -> String {
    let Options {
        delay: _,
        priority,
        time_to_live,
        id,
        key,
        revision,
        create_only,
        from,
        filter,
    } = options;
    let mut text = String::new();
    let mut add = |name: &str, value: &str| {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push('=');
        encode_percent(value, &mut text);
    };
    if let Some(priority) = priority {
        add("prio", &priority.to_string());
    }
    if let Some(time_to_live) = time_to_live {
        add("ttl", &format!("{}ms", time_to_live.as_millis()));
    }
    if let Some(id) = id.as_deref().filter(|_| has_id) {
        add("id", id);
    }
    if let Some(key) = key {
        add("key", key);
    }
    if let Some(revision) = revision {
        add("rev", &revision.to_string());
    }
    if let Some(create_only) = create_only {
        add("nx", if *create_only { "1" } else { "0" });
    }
    if let Some(from) = from {
        add("from", from);
    }
    if let Some(filter) = filter {
        add("filter", filter);
    }
    text
}

/// Everything but what RFC 3986 calls unreserved.
fn encode_percent(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a string takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn topic(target: &str, options: &Options) -> String {
        let topic = with_options(target, options).expect("a topic");
        String::from(topic)
    }

    #[test]
    fn options_are_put_back_in_front() {
        let mut options = Options {
            delay: Some(Duration::from_secs(60)),
            id: Some(Box::from("a/b,c=d%")),
            ..Options::default()
        };
        assert_eq!(topic("t/x", &options), "t/x", "an id of a plain topic");
        assert_eq!(
            topic("$queue/jobs", &options),
            "$opt/id=a%2Fb%2Cc%3Dd%25/$queue/jobs"
        );
        options = Options {
            priority: Some(7),
            time_to_live: Some(Duration::from_millis(1_500)),
            id: Some(Box::from("i")),
            key: Some(Box::from("grün +#")),
            revision: Some(17),
            create_only: Some(false),
            from: Some(Box::from("last:3")),
            filter: Some(Box::from("{}")),
            ..Options::default()
        };
        assert_eq!(
            topic("$kv/cfg/rate", &options),
            "$opt/prio=7,ttl=1500ms,id=i,key=gr%C3%BCn%20%2B%23,rev=17,nx=0,from=last%3A3,\
             filter=%7B%7D/$kv/cfg/rate"
        );
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        let long = "x".repeat(65_530);
        let options = Options {
            priority: Some(1),
            ..Options::default()
        };
        assert!(with_options(&long, &Options::default()).is_ok());
        for (target, options) in [
            ("", Options::default()),
            ("a/+", Options::default()),
            ("a\0", Options::default()),
            (&long, options),
        ] {
            let refusal = with_options(target, &options).expect_err("no topic");
            assert_eq!(refusal.code, ErrorCode::BadAddress);
        }
    }
}
