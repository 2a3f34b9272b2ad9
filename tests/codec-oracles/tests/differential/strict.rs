use nexum_codec_oracles::Oracle;
pub(crate) fn is_explained(_: &str, _: Oracle) -> bool { false }
