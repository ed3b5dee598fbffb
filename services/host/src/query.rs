//! What can stand behind the question mark: a moment, a part of a history, a page of a list.

use std::collections::HashMap;

use annals_actors::Moment;
use annals_persistence::Version;
use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use uuid::Uuid;

use crate::{FieldError, Problem, parse_time};

#[cfg(test)]
mod tests;

/// The moment that a read asks for: `?version=N` or `?at=TIME`; `None` is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOf(pub Option<Moment>);

/// Which part of a history: `?from=VERSION&limit=COUNT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The first version wanted.
    pub from: Version,
    /// The most events wanted; `None` wants all.
    pub limit: Option<usize>,
}

/// Which part of a list: `?limit=COUNT&after=ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The most items wanted; `None` wants all.
    pub limit: Option<usize>,
    /// Only what comes after this one.
    pub after: Option<Uuid>,
}

/// The parameters of a query, and what is wrong with them.
struct Parameters {
    values: HashMap<String, String>,
    errors: Vec<FieldError>,
}

impl Parameters {
    fn of(parts: &Parts) -> Result<Self, Problem> {
        let query = Query::<HashMap<String, String>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::rejected("invalid_query", error.to_string()))?;
        Ok(Self { values: query.0, errors: Vec::new() })
    }

    fn read<T>(
        &mut self,
        name: &str,
        reason: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(self.values.get(name)?);
        if value.is_none() {
            self.wrong(name, reason);
        }
        value
    }

    fn wrong(&mut self, name: &str, reason: &'static str) {
        self.errors.push(FieldError {
            path: format!("?{name}"),
            code: "invalid_query",
            reason: reason.into(),
        });
    }

    fn finish<T>(self, value: T) -> Result<T, Problem> {
        if self.errors.is_empty() {
            return Ok(value);
        }
        let first = self.errors.iter().map(|e| format!("{}: {}", e.path, e.reason)).collect::<Vec<_>>();
        let problem = Problem::rejected("invalid_query", first.join("; "));
        Err(self.errors.into_iter().fold(problem, |p, e| p.with_error(e.path, e.code, e.reason)))
    }
}

const COUNT: &str = "must be a whole number, not negative";

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A moment in a query. A `+` that was not escaped arrives as a space, and no time has one there.
pub(crate) fn query_time(text: &str) -> Option<annals_persistence::Timestamp> {
    parse_time(&text.replace(' ', "+"))
}

impl<S: Sync> FromRequestParts<S> for AsOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_none() {
            return Ok(Self(None));
        }
        let mut query = Parameters::of(parts)?;
        let version = query.read("version", COUNT, number).map(|v| Moment::Version(Version(v)));
        let at = query.read("at", "must be a time as in RFC 3339", query_time).map(Moment::Time);
        if query.values.contains_key("version") && query.values.contains_key("at") {
            query.wrong("at", "cannot be given together with version");
        }
        query.finish(Self(version.or(at)))
    }
}

impl<S: Sync> FromRequestParts<S> for HistoryQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut query = Parameters::of(parts)?;
        let from = query.read("from", COUNT, number).map_or(Version(1), |v| Version(v).max(Version(1)));
        let limit = query.read("limit", COUNT, number);
        query.finish(Self { from, limit })
    }
}

impl<S: Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut query = Parameters::of(parts)?;
        let limit = query.read("limit", COUNT, number);
        let after = query.read("after", "must be a UUID", |text| Uuid::try_parse(text).ok());
        query.finish(Self { limit, after })
    }
}
