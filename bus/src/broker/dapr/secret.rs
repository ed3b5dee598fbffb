//! Tokens: compared in constant time, never printed.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

/// A token that only the sidecar and the service know.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// This token.
    #[must_use]
    pub fn new(token: impl Into<Arc<str>>) -> Self {
        Self(token.into())
    }

    /// The token of an environment variable, if that is set and not empty.
    #[must_use]
    pub fn from_env(name: &str) -> Option<Self> {
        std::env::var(name).ok().filter(|token| !token.is_empty()).map(Self::new)
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether this is the token, found out in a time that tells nothing but its length.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
