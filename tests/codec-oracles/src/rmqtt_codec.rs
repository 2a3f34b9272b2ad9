use bytes::BytesMut;
use nexum_types::ProtocolVersion;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use crate::Opinion;

pub(crate) fn opinion(packet: &[u8], version: ProtocolVersion) -> Opinion {
    match version {
        ProtocolVersion::V3_1_1 => {
            let read = read(&mut v3::Codec::default(), packet);
            crate::opinion(read, |packet| write(&mut v3::Codec::default(), packet))
        }
        ProtocolVersion::V5 => {
            let read = read(&mut v5::Codec::default(), packet);
            crate::opinion(read, |packet| write(&mut v5::Codec::default(), packet))
        }
    }
}

fn read<P, C: Decoder<Item = (P, u32), Error = DecodeError>>(
    codec: &mut C,
    packet: &[u8],
) -> Result<P, String> {
    match codec.decode(&mut BytesMut::from(packet)) {
        Ok(Some((packet, _))) => Ok(packet),
        Ok(None) => Err("waits for more".to_owned()),
        Err(error) => Err(format!("{error:?}")),
    }
}

fn write<P, C: Encoder<P>>(codec: &mut C, packet: P) -> Result<Vec<u8>, C::Error> {
    let mut out = BytesMut::new();
    codec.encode(packet, &mut out)?;
    Ok(out.to_vec())
}
