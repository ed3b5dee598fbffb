//! Entity tags: the stream's version as HTTP names it.

use annals_persistence::Version;
use http::{HeaderMap, HeaderValue, header};

use crate::Problem;

#[cfg(test)]
mod tests;

/// Which state a client means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ETag {
    /// Whatever is there (`*`).
    Any,
    /// The state at this version.
    Version(Version),
    /// A tag that no state of ours ever had, so it is always stale.
    Unknown,
}

impl ETag {
    /// Reads the tag of a body: the version as text. Quotes are allowed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        match inner {
            "*" => Self::Any,
            _ if is_number(inner) => inner.parse().map_or(Self::Unknown, |v| Self::Version(Version(v))),
            _ => Self::Unknown,
        }
    }

    /// Reads the header `If-Match`; `None` when there is none.
    ///
    /// # Errors
    /// 422 `invalid_if_match` when it names several tags.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(header::IF_MATCH).iter();
        let (Some(value), more) = (values.next(), values.next()) else { return Ok(None) };
        let text = value.to_str().unwrap_or("").trim();
        if more.is_some() || text.contains(',') {
            return Err(Problem::rejected("invalid_if_match", "If-Match may name one version only"));
        }
        // A weak tag never matches (RFC 9110, 13.1.1): it begins with W/ and so is unknown.
        Ok(Some(Self::parse(text)))
    }

    /// Whether a state at this version is meant.
    #[must_use]
    pub fn matches(self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::Version(wanted) => wanted == version,
            Self::Unknown => false,
        }
    }

    /// The version to expect of a stream; `None` expects nothing.
    #[must_use]
    pub fn expected(self) -> Option<Version> {
        match self {
            Self::Any => None,
            Self::Version(version) => Some(version),
            // No stream ever gets there, so the answer is a conflict.
            Self::Unknown => Some(Version(u64::MAX)),
        }
    }

    /// The tag as a body's `eTag`: the version alone.
    #[must_use]
    pub fn text(version: Version) -> String {
        version.to_string()
    }

    /// The tag as the `ETag` header: the version in quotes.
    #[must_use]
    pub fn header(version: Version) -> HeaderValue {
        let mut quoted = [b'"'; 22];
        let digits = version.to_string();
        quoted[1..=digits.len()].copy_from_slice(digits.as_bytes());
        // Digits and quotes are always a header's value.
        HeaderValue::from_bytes(&quoted[..digits.len() + 2]).unwrap_or(HeaderValue::from_static("\"0\""))
    }

    /// What a change must find: the header's tag or the body's.
    ///
    /// # Errors
    /// 428 `precondition_required` when there is neither, 422 `etag_mismatch` when they differ.
    pub fn agree(header: Option<Self>, body: Option<Self>) -> Result<Self, Problem> {
        match (header, body) {
            (Some(header), Some(body)) if header != body => Err(Problem::rejected(
                "etag_mismatch",
                "the header If-Match and the body's eTag name different versions",
            )),
            (Some(tag), _) | (None, Some(tag)) => Ok(tag),
            (None, None) => Err(Problem::new(
                http::StatusCode::PRECONDITION_REQUIRED,
                "precondition_required",
                "say which version you change: send the body's eTag, or the header If-Match",
            )),
        }
    }
}

impl From<Version> for ETag {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}

/// Plain digits: `+3` and the like are no tags of ours.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
