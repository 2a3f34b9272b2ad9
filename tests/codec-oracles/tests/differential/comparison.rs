use std::fmt;

use nexum_codec::{
    DecodeError, ForwardedProperties, Packet, Property, Publish, Split, Will, decode, split_frame,
};
use nexum_codec_oracles::{Opinion, Oracle};
use nexum_types::ProtocolVersion;

/// How an oracle's opinion of a packet differs from ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disagreement {
    /// It accepts what we refuse: the name of our finding.
    Lenient(String),
    /// It refuses what we accept: its words.
    Strict(String),
    /// What it writes after reading means something else to us: the parts that differ.
    Different(Vec<String>),
    /// It panics.
    Panic(String),
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disagreement::Lenient(finding) => write!(f, "accepts {finding}"),
            Disagreement::Strict(words) => write!(f, "refuses: {words}"),
            Disagreement::Different(parts) => write!(f, "differs in {}", parts.join(", ")),
            Disagreement::Panic(words) => write!(f, "panics: {words}"),
        }
    }
}

/// Decodes one whole packet.
pub(crate) fn decode_ours(
    bytes: &[u8],
    version: ProtocolVersion,
) -> Result<Packet<'_>, DecodeError> {
    match split_frame(bytes, u32::MAX)? {
        Split::Frame(frame) => decode(frame, version),
        Split::Incomplete { .. } => panic!("mutations keep the Remaining Length right"),
    }
}

pub(crate) fn compare(
    bytes: &[u8],
    version: ProtocolVersion,
    oracle: Oracle,
) -> Option<Disagreement> {
    match (decode_ours(bytes, version), oracle.opinion(bytes, version)) {
        (_, Opinion::Panics(words)) => Some(Disagreement::Panic(words)),
        (Err(_), Opinion::Refuses(_)) => None,
        (Err(finding), Opinion::Accepts(_) | Opinion::AcceptsButCannotWrite(_)) => {
            Some(Disagreement::Lenient(name(&finding)))
        }
        (Ok(_), Opinion::Refuses(words) | Opinion::AcceptsButCannotWrite(words)) => {
            Some(Disagreement::Strict(words))
        }
        (Ok(packet), Opinion::Accepts(written)) => {
            let parts = match decode_ours(&written, version) {
                Ok(theirs) => differing_parts(&packet, &theirs),
                Err(finding) => vec![format!("what it writes: {}", name(&finding))],
            };
            (!parts.is_empty()).then_some(Disagreement::Different(parts))
        }
    }
}

/// The variant.
fn name(finding: &DecodeError) -> String {
    let debug = format!("{finding:?}");
    debug
        .split([' ', '('])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The names of the fields that differ. Only user properties have an order that means something.
fn differing_parts(ours: &Packet<'_>, theirs: &Packet<'_>) -> Vec<String> {
    if ours == theirs {
        return Vec::new();
    }
    let ours = fields(ours);
    let theirs = fields(theirs);
    let mut parts: Vec<String> = Vec::new();
    for (name, value) in &ours {
        if !theirs.contains(&(name.clone(), value.clone())) {
            parts.push(name.clone());
        }
    }
    parts.extend(
        theirs
            .iter()
            .filter(|field| !ours.contains(field))
            .map(|(name, _)| name.clone()),
    );
    parts.sort();
    parts.dedup();
    parts
}

fn fields(packet: &Packet<'_>) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let rest = match *packet {
        Packet::Publish(publish) => {
            fields.extend(forwarded(publish.properties));
            // Which may be long.
            let payload = publish
                .payload
                .iter()
                .map(|byte| format!("{byte:02X}"))
                .collect();
            fields.push(("payload".to_owned(), payload));
            let properties = ForwardedProperties::default();
            format!(
                "{:#?}",
                Publish {
                    properties,
                    payload: &[],
                    ..publish
                }
            )
        }
        Packet::Connect(mut connect) => {
            if let Some(will) = connect.will {
                fields.extend(forwarded(will.properties));
                let properties = ForwardedProperties::default();
                connect.will = Some(Will { properties, ..will });
            }
            // Which their `Debug` hides.
            let secrets = (connect.password, connect.properties.authentication_data);
            fields.push(("secrets".to_owned(), format!("{secrets:?}")));
            format!("{connect:#?}")
        }
        Packet::Auth(auth) => {
            fields.push((
                "secrets".to_owned(),
                format!("{:?}", auth.authentication_data),
            ));
            format!("{auth:#?}")
        }
        ref other => format!("{other:#?}"),
    };
    // One line for each scalar field; the name stands before the colon.
    let mut name = String::new();
    for line in rest.lines() {
        if let Some((field, _)) = line.split_once(": ") {
            name = field.trim().to_owned();
        }
        fields.push((name.clone(), line.trim().to_owned()));
    }
    fields
}

fn forwarded(properties: ForwardedProperties<'_>) -> Vec<(String, String)> {
    let users: Vec<_> = properties.user_properties().iter().collect();
    let mut fields: Vec<_> = properties
        .iter()
        .filter(|property| !matches!(property, Property::UserProperty(_, _)))
        .map(|property| (property.identifier().to_string(), format!("{property:?}")))
        .collect();
    fields.push(("User Property".to_owned(), format!("{users:?}")));
    fields
}
