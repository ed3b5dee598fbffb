//! What stands in a request's path.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::Problem;

#[cfg(test)]
mod tests;

/// What a path says in its variable parts: a text, or several in order. As an extractor it never fails, so that what
/// is wrong with a body is told before the path is asked.
///
/// ```
/// use annals_services::{PathText, Problem};
///
/// async fn show(id: PathText) -> Result<String, Problem> {
///     Ok(format!("the note {}", id.uuid()?))
/// }
///
/// async fn ship(path: PathText<(String, String)>) -> Result<String, Problem> {
///     let (id, etag) = path.get()?;
///     Ok(format!("the order {id} at {etag}"))
/// }
/// ```
#[derive(Debug)]
pub struct PathText<T = String>(Result<T, Problem>);

impl<T> PathText<T> {
    /// The text.
    ///
    /// # Errors
    /// 404 `not_found` when it is no Unicode text, or not of the kind wanted: nothing is there.
    pub fn get(self) -> Result<T, Problem> {
        self.0
    }
}

impl PathText {
    /// The id that the path has in its one variable part.
    ///
    /// # Errors
    /// 404 `not_found` when it is no UUID: nothing is there.
    pub fn uuid(self) -> Result<Uuid, Problem> {
        path_uuid(&self.get()?)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathText<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let found = Path::<T>::from_request_parts(parts, state).await;
        Ok(Self(found.map(|Path(found)| found).map_err(|rejection| {
            if rejection.status().is_client_error() {
                return Problem::not_found(format!("nothing is at {}", short(parts.uri.path())));
            }
            tracing::error!(error = rejection.body_text(), "a route asks its path for what it does not have");
            Problem::internal("internal_error", "the service failed over this request; the log says more")
        })))
    }
}

/// The id in a path.
///
/// # Errors
/// 404 `not_found` when it is no UUID: nothing is there.
pub fn path_uuid(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::not_found(format!("nothing has the id \"{}\"", short(text))))
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
