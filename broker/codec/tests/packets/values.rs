//! What packets are made of.
//!
//! A packet borrows its strings, so these are leaked: a test process ends.

use std::num::NonZeroU16;

use nexum_codec::{PacketType, UserProperties, is_allowed};
use nexum_types::{PacketIdentifier, QoS, ReasonCode, TopicName};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;

pub(super) fn leak<T: ?Sized>(value: Box<T>) -> &'static T {
    Box::leak(value)
}

pub(super) fn leaked<T: std::fmt::Debug + Clone + 'static>(
    values: impl Strategy<Value = Vec<T>>,
) -> impl Strategy<Value = &'static [T]> {
    values.prop_map(|values| leak(values.into_boxed_slice()))
}

pub(super) fn strings(regex: &str) -> impl Strategy<Value = &'static str> + use<> {
    string_regex(regex)
        .expect("a regular expression")
        .prop_map(|text| leak(text.into_boxed_str()))
}

/// Any string but for the null character.
pub(super) fn texts() -> BoxedStrategy<&'static str> {
    prop_oneof![
        4 => strings("[ -~]{0,12}"),
        1 => strings("[\u{1}-\u{d7ff}\u{e000}-\u{10ffff}]{0,6}"),
        1 => strings("[a-z]{120,300}"),
    ]
    .boxed()
}

/// Without control and non-characters.
pub(super) fn names() -> BoxedStrategy<&'static str> {
    prop_oneof![4 => strings("[ -~]{0,23}"), 1 => strings("[a-zéß日本🚀\u{feff}]{0,8}")].boxed()
}

pub(super) fn topic_names() -> BoxedStrategy<TopicName<'static>> {
    let text = prop_oneof![
        4 => strings("[ -\"$-*,-~]{1,30}"),
        2 => strings("[a-z]{1,5}(/[a-z]{0,5}){0,4}"),
        1 => strings("[a-zéß日本🚀/]{1,12}"),
    ];
    text.prop_map(|text| TopicName::new(text).expect("no wildcard, not empty"))
        .boxed()
}

pub(super) fn filters() -> BoxedStrategy<&'static str> {
    prop_oneof![
        4 => strings("(\\$share/[a-z]{1,3}/)?([a-z]{1,4}|\\+)(/([a-zé]{0,4}|\\+)){0,4}(/#)?"),
        1 => Just("#"),
        // The codec leaves it to the connection whether a filter uses its wildcards well.
        1 => strings("[a+#/]{1,8}"),
    ]
    .boxed()
}

pub(super) fn binaries() -> BoxedStrategy<&'static [u8]> {
    leaked(vec(any::<u8>(), 0..40)).boxed()
}

pub(super) fn user_properties() -> BoxedStrategy<UserProperties<'static>> {
    leaked(vec((texts(), texts()), 0..4))
        .prop_map(UserProperties::from_pairs)
        .boxed()
}

pub(super) fn packet_identifiers() -> BoxedStrategy<PacketIdentifier> {
    any::<NonZeroU16>()
        .prop_map(|id| PacketIdentifier::new(id.get()).expect("not zero"))
        .boxed()
}

pub(super) fn qos() -> BoxedStrategy<QoS> {
    select(&QoS::ALL[..]).boxed()
}

pub(super) fn variable_byte_integers() -> BoxedStrategy<u32> {
    prop_oneof![
        1..128_u32,
        128..16_384_u32,
        16_384..2_097_152_u32,
        2_097_152..=268_435_455_u32
    ]
    .boxed()
}

pub(super) fn reason_codes(packet_type: PacketType) -> BoxedStrategy<ReasonCode> {
    let allowed: Vec<ReasonCode> = (0..=u8::MAX)
        .filter_map(ReasonCode::from_value)
        .filter(|&reason_code| is_allowed(packet_type, reason_code))
        .collect();
    select(allowed).boxed()
}
