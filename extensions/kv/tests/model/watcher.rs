//! Somebody who watches, and believes what it is told.

use std::collections::BTreeMap;

use nexum_extension_api::{ConsumerId, Deliver, DeliveryId, Label};
use nexum_types::{TopicFilter, TopicName};

pub(crate) struct Watcher {
    pub(crate) id: ConsumerId,
    pub(crate) bucket: usize,
    pub(crate) filter: String,
    pub(crate) unsettled: Vec<DeliveryId>,
    /// Keys of which it was told, with the last revision, and the value if it is there.
    told: BTreeMap<String, (u64, Option<String>)>,
    /// It was told all that there is: it wanted that, or had to begin anew.
    pub(crate) knows_all: bool,
}

impl Watcher {
    pub(crate) fn new(id: ConsumerId, bucket: usize, filter: String, knows_all: bool) -> Watcher {
        Watcher {
            id,
            bucket,
            filter,
            unsettled: Vec::new(),
            told: BTreeMap::new(),
            knows_all,
        }
    }

    /// Returns the revision.
    pub(crate) fn hear(&mut self, deliver: &Deliver, prefix: &str) -> u64 {
        self.unsettled.push(deliver.delivery);
        let property = |name: &str| {
            let found = deliver.properties.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone())
        };
        if property("resync").is_some() {
            self.told.clear();
            self.knows_all = true;
        }
        let Some(Label::Number(revision)) = property("rev") else {
            panic!("a revision");
        };
        let op = property("op").expect("what happened").to_string();
        let key = deliver.topic.strip_prefix(prefix).expect("of the bucket");
        let value = std::str::from_utf8(deliver.message.payload()).expect("text");
        let is_gone = op == "del" || op == "expire";
        assert_eq!(is_gone, value.is_empty(), "{op}");
        let value = (!is_gone).then(|| value.to_owned());
        let before = self.told.insert(key.to_owned(), (revision, value));
        if let Some((before, _)) = before {
            assert!(revision > before, "{key}: {before}, then {revision}");
        }
        revision
    }

    pub(crate) fn matches(&self, key: &str) -> bool {
        let filter = TopicFilter::new(&self.filter).expect("a filter");
        filter.matches(TopicName::new(key).expect("a key"))
    }

    /// What it believes that there is.
    pub(crate) fn believes(&self) -> BTreeMap<String, String> {
        let told = self.told.iter();
        told.filter_map(|(key, (_, value))| Some((key.clone(), value.clone()?)))
            .collect()
    }
}
