use std::fmt;
use std::sync::Arc;

/// The Client Identifier of a session; cheap to clone, so that a name is stored once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Any UTF-8 string; the empty one is only a request for an assigned identifier and names no
    /// session, so it is refused with `None`.
    #[must_use]
    pub fn new(id: &str) -> Option<ClientId> {
        (!id.is_empty()).then(|| ClientId(Arc::from(id)))
    }

    /// The identifier, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
