//! Where `nexum-codec` and another codec disagree about a packet, a sentence of the specification
//! says why; a disagreement without one fails.
//!
//! Valid packets of both versions and spoiled ones are given to all. An oracle may accept what we
//! refuse ([`lenient`]), refuse what we accept ([`strict`]), or read something else than what
//! stands there ([`different`]). Each class is listed with witnesses, packets that still show it.
//!
//! `NEXUM_ORACLE_CASES` sets how many packets of each version are tried.

mod comparison;
mod different;
mod lenient;
#[path = "../../../../broker/codec/tests/packets/notation.rs"]
#[allow(dead_code, reason = "every test target uses its part")]
mod notation;
#[path = "../../../../broker/codec/tests/packets/mod.rs"]
#[allow(dead_code, unused_imports, reason = "every test target uses its part")]
mod packets;
mod strict;

use std::collections::BTreeMap;

use nexum_codec::{Packet, Split, encode, refusal_version, split_frame};
use nexum_codec_oracles::Oracle;
use nexum_types::ProtocolVersion;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::comparison::{Disagreement, compare, decode_ours};
use crate::packets::{Mutation, mutations, packets};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V3_1_1, ProtocolVersion::V5];

#[test]
fn every_disagreement_is_explained() {
    let cases = std::env::var("NEXUM_ORACLE_CASES").map_or(1000, |cases| {
        cases.parse().expect("NEXUM_ORACLE_CASES is a number")
    });
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut unexplained = BTreeMap::new();
    for version in VERSIONS {
        let strategy = (packets(version), mutations());
        for _ in 0..cases {
            let (packet, mutations) = strategy
                .new_tree(&mut runner)
                .expect("no strategy rejects")
                .current();
            let mut bytes = Vec::new();
            encode(&packet, version, &mut bytes).expect("generated packets are small");
            look_for_unexplained(&bytes, version, &mut unexplained);
            for mutation in mutations {
                Mutation::apply(mutation, &mut bytes);
            }
            look_for_unexplained(&bytes, version, &mut unexplained);
        }
    }
    let list: String = unexplained
        .values()
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(
        unexplained.is_empty(),
        "{} classes without a sentence:\n{list}",
        unexplained.len()
    );
}

/// Keeps the shortest example of each class.
fn look_for_unexplained(
    bytes: &[u8],
    version: ProtocolVersion,
    unexplained: &mut BTreeMap<String, String>,
) {
    let ours = decode_ours(bytes, version);
    if is_of_another_version(bytes, version) {
        return;
    }
    for oracle in Oracle::ALL
        .into_iter()
        .filter(|oracle| oracle.speaks(version))
    {
        let Some(disagreement) = compare(bytes, version, oracle) else {
            continue;
        };
        if is_explained(&disagreement, oracle, ours.as_ref().ok()) {
            continue;
        }
        let class = format!("{oracle:?} {version:?} {:X} {disagreement}", bytes[0] >> 4);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let example = format!("{class}: {hex}");
        let kept = unexplained.entry(class).or_insert_with(|| example.clone());
        if example.len() < kept.len() {
            *kept = example;
        }
    }
}

/// An oracle's codec of one version is not asked about a CONNECT of the other.
fn is_of_another_version(bytes: &[u8], version: ProtocolVersion) -> bool {
    let Ok(Split::Frame(frame)) = split_frame(bytes, u32::MAX) else {
        return false;
    };
    refusal_version(frame).is_some_and(|connect| connect != version)
}

fn is_explained(disagreement: &Disagreement, oracle: Oracle, packet: Option<&Packet<'_>>) -> bool {
    match disagreement {
        Disagreement::Lenient(finding) => lenient::is_explained(finding, oracle),
        Disagreement::Strict(words) => {
            packet.is_some_and(|packet| strict::is_explained(words, oracle, packet))
        }
        Disagreement::Different(parts) => different::is_explained(parts, oracle),
        Disagreement::Panic(_) => false,
    }
}
