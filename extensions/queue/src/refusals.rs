//! What is said when something is not done.

use nexum_extension_api::{ErrorCode, Refusal};

pub(crate) fn no_queue(name: &str) -> Refusal {
    Refusal::new(
        ErrorCode::NotFound,
        format!(
            "there is no queue '{name}'; declare it by publishing to $queue/{name}/$ctl/create, \
             with its options as JSON or with nothing"
        ),
    )
}

pub(crate) fn full(is_long: bool) -> Refusal {
    let limit = if is_long { "max_len" } else { "max_bytes" };
    let reason = format!("the queue is full: its {limit} is reached");
    Refusal::new(ErrorCode::QuotaExceeded, reason).retry_after(Refusal::LATER)
}

pub(crate) fn too_many_queues(most: usize) -> Refusal {
    Refusal::new(
        ErrorCode::QuotaExceeded,
        format!("there are {most} queues already, which is the limit; delete one"),
    )
}

pub(crate) fn deleted() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "the queue was deleted meanwhile")
}

pub(crate) fn released() -> Refusal {
    Refusal::new(
        ErrorCode::NotFound,
        "the queue does not capture this topic any more",
    )
}

pub(crate) fn text_too_long() -> Refusal {
    Refusal::new(
        ErrorCode::BadOption,
        "the options 'id' and 'key' take 1 to 1024 bytes",
    )
}

pub(crate) fn topic_too_long() -> Refusal {
    Refusal::new(
        ErrorCode::BadAddress,
        "the topic is too long for a queue: behind $queue/<name>/ it would be no topic any more",
    )
}
