//! Topic aliases of one connection, in both directions (MQTT 5 section 3.3.2.3.4).

use std::num::NonZeroU16;

use hashbrown::HashMap;

/// What the client's aliases stand for. Grows with the aliases a client sets up, up to the Topic
/// Alias Maximum it was given.
#[derive(Default)]
pub(crate) struct InboundAliases {
    topics: Vec<Option<Box<str>>>,
}

impl InboundAliases {
    /// `alias` now stands for `topic`. The caller has checked the maximum.
    pub(crate) fn set(&mut self, alias: NonZeroU16, topic: &str) {
        let index = usize::from(alias.get()) - 1;
        if self.topics.len() <= index {
            self.topics.resize_with(index + 1, || None);
        }
        let slot = &mut self.topics[index];
        if slot.as_deref() != Some(topic) {
            *slot = Some(Box::from(topic));
        }
    }

    /// Takes the topic out for the time of one publish; [`put_back`](Self::put_back) returns it.
    pub(crate) fn take(&mut self, alias: NonZeroU16) -> Option<Box<str>> {
        self.topics.get_mut(usize::from(alias.get()) - 1)?.take()
    }

    pub(crate) fn put_back(&mut self, alias: NonZeroU16, topic: Box<str>) {
        if let Some(slot) = self.topics.get_mut(usize::from(alias.get()) - 1) {
            *slot = Some(topic);
        }
    }
}

/// The topics of the aliases towards one client have at most so many bytes together.
const OUTBOUND_BYTES: usize = 64 * 1024;

/// The aliases the broker has set up towards a client: the first topics that were sent to it.
pub(crate) struct OutboundAliases {
    maximum: u16,
    bytes: usize,
    aliases: HashMap<Box<str>, u16, foldhash::fast::FixedState>,
}

/// How to name a topic in the next PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutboundTopic {
    /// By its name alone.
    Name,
    /// By its name, and the alias stands for it from then on.
    NameAndAlias(u16),
    /// By its alias alone.
    Alias(u16),
}

impl OutboundAliases {
    pub(crate) fn new(maximum: NonZeroU16) -> OutboundAliases {
        OutboundAliases {
            maximum: maximum.get(),
            bytes: 0,
            aliases: HashMap::default(),
        }
    }

    /// `fits` says whether there is room to set up an alias with this message.
    pub(crate) fn name(&mut self, topic: &str, fits: impl FnOnce(u16) -> bool) -> OutboundTopic {
        if let Some(alias) = self.aliases.get(topic) {
            return OutboundTopic::Alias(*alias);
        }
        // [MQTT-3.1.2-26]: never above the client's Topic Alias Maximum. Topics shorter than the
        // property itself are not worth one.
        let used = self.aliases.len() as u16;
        let bytes = self.bytes + topic.len();
        if used == self.maximum || topic.len() < 4 || bytes > OUTBOUND_BYTES || !fits(used + 1) {
            return OutboundTopic::Name;
        }
        self.bytes = bytes;
        self.aliases.insert(Box::from(topic), used + 1);
        OutboundTopic::NameAndAlias(used + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_names_a_topic_once_and_keeps_to_the_maximum() {
        let mut aliases = OutboundAliases::new(NonZeroU16::MIN);
        assert_eq!(
            aliases.name("long/topic", |_| true),
            OutboundTopic::NameAndAlias(1)
        );
        assert_eq!(
            aliases.name("long/topic", |_| true),
            OutboundTopic::Alias(1)
        );
        assert_eq!(aliases.name("other/topic", |_| true), OutboundTopic::Name);
    }
}
