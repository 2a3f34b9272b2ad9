//! A CONNECT that was understood and not yet answered.

use std::num::NonZeroU16;
use std::sync::Arc;

use nexum_codec::{Connect, Will as WillInConnect};
use nexum_types::{ClientId, ProtocolVersion};

use crate::record::Will;

/// What CONNECT asked for, owned, because its answer may wait for the check of credentials.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) client_id: ClientId,
    /// The broker chose the Client Identifier, and has to say so.
    pub(crate) assigned: bool,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_seconds: u16,
    /// What the client asked for; 3.1.1 is translated by the limits.
    pub(crate) session_expiry_interval_seconds: Option<u32>,
    pub(crate) receive_maximum: NonZeroU16,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) request_response_information: bool,
    /// What the authentication method has for CONNACK.
    pub(crate) authentication_data: Option<Vec<u8>>,
    pub(crate) will: Option<Arc<Will>>,
    pub(crate) version: ProtocolVersion,
}

impl Admission {
    pub(crate) fn new(connect: &Connect<'_>, client_id: ClientId, assigned: bool) -> Admission {
        Admission {
            client_id,
            assigned,
            clean_start: connect.clean_start,
            keep_alive_seconds: connect.keep_alive_seconds,
            session_expiry_interval_seconds: connect.properties.session_expiry_interval_seconds,
            receive_maximum: connect.properties.receive_maximum,
            topic_alias_maximum: connect.properties.topic_alias_maximum,
            request_response_information: connect.properties.request_response_information,
            authentication_data: None,
            will: connect.will.as_ref().map(|will| Arc::new(owned_will(will))),
            version: connect.version,
        }
    }
}

fn owned_will(will: &WillInConnect<'_>) -> Will {
    let mut properties = Vec::new();
    will.properties.write_to(&mut properties);
    Will {
        topic: Box::from(will.topic.as_str()),
        properties: properties.into_boxed_slice(),
        payload: Box::from(will.payload),
        qos: will.qos,
        retain: will.retain,
        delay_interval_seconds: will.delay_interval_seconds,
        message_expiry_interval_seconds: will.message_expiry_interval_seconds,
    }
}
