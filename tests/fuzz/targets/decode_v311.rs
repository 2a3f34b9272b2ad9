//! Any bytes, read as packets of MQTT 3.1.1: no panic, and every refusal has a reason code.

#![no_main]

mod stream;

use libfuzzer_sys::fuzz_target;
use nexum_types::ProtocolVersion;

fuzz_target!(|bytes: &[u8]| stream::read(bytes, ProtocolVersion::V3_1_1));
