//! What there is to publish: streams of numbered messages, known to everybody beforehand.

use std::collections::HashMap;
use std::fmt;

/// Messages of one publisher to one topic at one QoS, numbered from 0. Order is promised within a
/// stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) publisher: String,
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// Published with RETAIN. No other stream has its topic.
    Retained,
    /// Wills, one for each connection. They are due when the broker has restarted, so their order
    /// is not promised.
    Will,
}

/// Which of the streams of a [`Catalogue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) usize);

/// One message of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) stream: StreamId,
    pub(crate) number: usize,
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    streams: Vec<Stream>,
    by_name: HashMap<String, StreamId>,
}

impl Catalogue {
    pub(crate) fn add(&mut self, stream: Stream) -> StreamId {
        let id = StreamId(self.streams.len());
        let former = self.by_name.insert(stream.to_string(), id);
        assert_eq!(former, None, "two streams are named {stream}");
        self.streams.push(stream);
        id
    }

    pub(crate) fn stream(&self, id: StreamId) -> &Stream {
        &self.streams[id.0]
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = StreamId> + use<> {
        (0..self.streams.len()).map(StreamId)
    }

    /// `<publisher>/<topic>/<QoS>/<number>`.
    pub(crate) fn payload(&self, message: Message) -> String {
        format!("{}/{}", self.stream(message.stream), message.number)
    }

    /// Which message this is. `None`: nobody publishes such a one.
    pub(crate) fn read(&self, topic: &str, payload: &[u8]) -> Option<Message> {
        let (name, number) = str::from_utf8(payload).ok()?.rsplit_once('/')?;
        let stream = *self.by_name.get(name)?;
        let number = number.parse().ok()?;
        (self.stream(stream).topic == topic).then_some(Message { stream, number })
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.publisher, self.topic, self.qos)
    }
}

/// Section 4.7. No topic here begins with `$`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            (_, _) => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_specification_says() {
        for (filter, topic) in [
            ("#", "data/a"),
            ("data/#", "data/a/b"),
            ("data/#", "data"),
            ("data/+", "data/a"),
            ("+/a", "data/a"),
            ("data/a", "data/a"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("data/+", "data/a/b"),
            ("data/+", "data"),
            ("data/a", "data/b"),
            ("data/a", "data/a/b"),
            ("will/#", "data/a"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn a_payload_names_its_message() {
        let mut catalogue = Catalogue::default();
        for qos in [1, 2] {
            catalogue.add(Stream {
                publisher: "p".to_owned(),
                topic: "data/a".to_owned(),
                qos,
                kind: Kind::Plain,
            });
        }
        let message = Message {
            stream: StreamId(1),
            number: 7,
        };
        assert_eq!(catalogue.payload(message), "p/data/a/2/7");
        assert_eq!(catalogue.read("data/a", b"p/data/a/2/7"), Some(message));
        assert_eq!(catalogue.read("data/b", b"p/data/a/2/7"), None);
        assert_eq!(catalogue.read("data/a", b"p/data/a/0/7"), None);
    }
}
