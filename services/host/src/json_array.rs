//! Answers as JSON: single documents, and lists that are sent while they are written.

use std::io;
use std::pin::Pin;

use annals_persistence::Version;
use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::{ETag, Problem};

#[cfg(test)]
mod tests;

/// How many bytes are written before they are sent.
const CHUNK_BYTES: usize = 16 * 1024;
/// How many items of a stream are written at a time, if so many are ready.
const STREAM_ITEMS: usize = 256;

/// An answer of one JSON document, with the `ETag` of a version if there is one.
pub fn json_response<T: Serialize + ?Sized>(status: StatusCode, etag: Option<Version>, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let mut response = with_type(Body::from(bytes));
            *response.status_mut() = status;
            if let Some(version) = etag {
                response.headers_mut().insert(header::ETAG, ETag::header(version));
            }
            response
        }
        Err(error) => axum::response::IntoResponse::into_response(not_encodable(&error)),
    }
}

fn not_encodable(error: &serde_json::Error) -> Problem {
    Problem::internal("answer_not_encodable", format!("the answer cannot be written as JSON: {error}"))
}

fn with_type(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON array of these items, written and sent piece by piece.
pub fn json_array<T, I>(items: I) -> Response
where
    T: Serialize,
    I: IntoIterator<Item = T>,
    I::IntoIter: Send + 'static,
{
    let mut items = items.into_iter();
    let (mut first, mut begun, mut open) = (true, false, true);
    let chunks = std::iter::from_fn(move || {
        let mut chunk = if begun { Vec::new() } else { vec![b'['] };
        begun = true;
        while open && chunk.len() < CHUNK_BYTES {
            let written = match items.next() {
                Some(item) => write_item(&mut chunk, &mut first, &item),
                None => {
                    chunk.push(b']');
                    open = false;
                    Ok(())
                }
            };
            if let Err(error) = written {
                open = false;
                return Some(Err(error));
            }
        }
        (!chunk.is_empty()).then(|| Ok(Bytes::from(chunk)))
    });
    with_type(Body::from_stream(stream::iter(chunks)))
}

/// A JSON array of what a stream yields. A stream that fails breaks the answer off: the client sees that it is
/// incomplete, since the array is never closed.
pub fn json_array_of<T, E, S>(items: S) -> Response
where
    T: Serialize,
    E: std::error::Error + Send + Sync + 'static,
    S: Stream<Item = Result<T, E>> + Send + 'static,
{
    let writing = Writing { batches: Box::pin(items.ready_chunks(STREAM_ITEMS)), first: true, open: true };
    with_type(Body::from_stream(stream::unfold(writing, |mut writing| async move {
        let chunk = writing.next().await?;
        Some((chunk.inspect_err(|error| tracing::error!(%error, "an answer broke off")), writing))
    })))
}

/// An array that is being written from a stream.
struct Writing<S> {
    batches: Pin<Box<S>>,
    first: bool,
    open: bool,
}

impl<T, E, S> Writing<S>
where
    T: Serialize,
    E: std::error::Error + Send + Sync + 'static,
    S: Stream<Item = Vec<Result<T, E>>>,
{
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if !self.open {
            return None;
        }
        let mut chunk = if self.first { vec![b'['] } else { Vec::new() };
        let Some(batch) = self.batches.next().await else {
            self.open = false;
            chunk.push(b']');
            return Some(Ok(chunk.into()));
        };
        for item in batch {
            let written = item
                .map_err(io::Error::other)
                .and_then(|item| write_item(&mut chunk, &mut self.first, &item));
            if let Err(error) = written {
                self.open = false;
                return Some(Err(error));
            }
        }
        Some(Ok(chunk.into()))
    }
}

fn write_item<T: Serialize>(chunk: &mut Vec<u8>, first: &mut bool, item: &T) -> io::Result<()> {
    if !std::mem::take(first) {
        chunk.push(b',');
    }
    serde_json::to_writer(chunk, item).map_err(io::Error::other)
}
