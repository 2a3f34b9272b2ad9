//! What is said when something is not done.

use nexum_extension_api::{ErrorCode, Refusal};

pub(crate) fn no_bucket(name: &str) -> Refusal {
    Refusal::new(
        ErrorCode::NotFound,
        format!(
            "there is no bucket '{name}'; declare it by publishing to $kv/{name}/$ctl/create, \
             with its options as JSON or with nothing"
        ),
    )
}

pub(crate) fn no_key(key: &str) -> Refusal {
    Refusal::new(
        ErrorCode::NotFound,
        format!("there is no key '{key}' in the bucket"),
    )
}

/// `present` is 0 if there is nothing.
pub(crate) fn other_revision(present: u64, wanted: u64) -> Refusal {
    let is = match present {
        0 => "there is no such key".to_owned(),
        present => format!("the present revision is {present}"),
    };
    let reason = format!("{is}, and rev={wanted} was asked for");
    Refusal::new(ErrorCode::Conflict, reason).revision(present)
}

pub(crate) fn exists(present: u64) -> Refusal {
    let reason = format!("the key is there; the present revision is {present}");
    Refusal::new(ErrorCode::Conflict, reason).revision(present)
}

pub(crate) fn full(limit: &str) -> Refusal {
    let reason = format!("the bucket is full: its {limit} is reached");
    Refusal::new(ErrorCode::QuotaExceeded, reason).retry_after(Refusal::LATER)
}

pub(crate) fn too_large(limit: &str) -> Refusal {
    let reason = format!("the value alone is larger than {limit} of the bucket");
    Refusal::new(ErrorCode::QuotaExceeded, reason)
}

pub(crate) fn too_many_buckets(most: usize) -> Refusal {
    Refusal::new(
        ErrorCode::QuotaExceeded,
        format!("there are {most} buckets already, which is the limit; delete one"),
    )
}

pub(crate) fn deleted() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "the bucket was deleted meanwhile")
}
