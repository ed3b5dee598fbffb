//! A small HTTP client, enough for the admin API of one service.

use futures_util::stream::{self, BoxStream, StreamExt};
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::error::CliError;
use crate::ADMIN_TOKEN_ENV;

/// The most bytes of an error's body that are read.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// Talks to the admin API at one address.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// Host and port.
    authority: String,
    token: Option<String>,
    /// Whether the same may be asked of a stopped service's directory.
    or_a_directory: bool,
}

impl Client {
    /// For `http://HOST:PORT`; the scheme may be left out.
    pub(super) fn new(url: &str) -> Result<Self, CliError> {
        let text = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let wrong = |reason: &str| CliError::usage(format!("--url \"{url}\": {reason}"));
        let uri: Uri = text.parse().map_err(|_| wrong("not a URL, such as http://127.0.0.1:8080"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http is spoken here; for another machine, use a tunnel"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let port = authority.port_u16().unwrap_or(80);
        let token = std::env::var(ADMIN_TOKEN_ENV).ok().filter(|token| !token.is_empty());
        Ok(Self { authority: format!("{}:{port}", authority.host()), token, or_a_directory: false })
    }

    /// For commands that take a stopped service's directory instead, to say so where nothing answers.
    pub(super) fn or_a_directory(self) -> Self {
        Self { or_a_directory: true, ..self }
    }

    /// Asks for a list: one JSON text for each item.
    pub(super) async fn lines(
        &self,
        method: Method,
        path: &str,
    ) -> Result<BoxStream<'static, Result<String, CliError>>, CliError> {
        let body = self.call(method, path, None).await?.into_body();
        let lines = Lines { body, buffer: Vec::new(), searched: 0 };
        Ok(stream::try_unfold(
            lines,
            |mut lines| async move { Ok(lines.next().await?.map(|line| (line, lines))) },
        )
        .boxed())
    }

    /// Asks for one document.
    pub(super) async fn document(&self, method: Method, path: &str) -> Result<String, CliError> {
        self.exchange(method, path, None).await
    }

    /// Sends a document and takes one.
    pub(super) async fn send(&self, method: Method, path: &str, body: String) -> Result<String, CliError> {
        self.exchange(method, path, Some(body)).await
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<String>) -> Result<String, CliError> {
        let body = self.call(method, path, body).await?.into_body();
        let bytes = body.collect().await.map_err(|error| self.lost(&error))?.to_bytes();
        String::from_utf8(bytes.into()).map_err(|error| CliError::failed("invalid_answer", &error))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Response<Incoming>, CliError> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.lost(&error))?;
        // Its errors reach whoever waits for the answer.
        tokio::spawn(connection);
        let request = self.request(method, path, body)?;
        let response = sender.send_request(request).await.map_err(|error| self.lost(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Request<Full<Bytes>>, CliError> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.authority);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(|error| CliError::failed("invalid_request", &error))
    }

    fn unreachable(&self, error: &std::io::Error) -> CliError {
        let otherwise = match self.or_a_directory {
            true => ", name its address with --url, or look into a stopped one's directory with --data",
            false => " or name its address with --url",
        };
        CliError::Failed {
            code: "service_unreachable".to_owned(),
            message: format!(
                "nothing answers at http://{}: {error}; start the service{otherwise}",
                self.authority
            ),
        }
    }

    fn lost(&self, error: &hyper::Error) -> CliError {
        CliError::Failed {
            code: "service_unreachable".to_owned(),
            message: format!("the connection to http://{} broke: {error}", self.authority),
        }
    }
}

/// What the service said instead of the answer.
async fn refused(response: Response<Incoming>) -> CliError {
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), PROBLEM_BYTES_MAX).collect().await;
    let problem: Value =
        body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok()).unwrap_or_default();
    let text = |name: &str| problem[name].as_str().map(str::to_owned);
    let message = text("detail").unwrap_or_else(|| format!("the service answered {status}"));
    // What the command line let through and the service did not is still wrong usage.
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        let code = text("code").unwrap_or_else(|| "wrong_usage".to_owned());
        return CliError::Usage { code, message };
    }
    let reasons = problem["errors"].as_array().into_iter().flatten();
    let message = reasons.fold(message, |message, error| {
        let part = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        format!("{message}\n  {} {}", part("path"), part("reason"))
    });
    match text("code") {
        Some(code) => CliError::Failed { code, message },
        None => CliError::Failed { code: "unexpected_answer".to_owned(), message },
    }
}

/// A body, line by line.
struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<String>, CliError> {
        loop {
            if let Some(line) = self.take()? {
                return Ok(Some(line));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| CliError::Failed {
                code: "answer_incomplete".to_owned(),
                message: format!("the answer broke off ({error}); the service's log says why"),
            })?;
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }

    fn take(&mut self) -> Result<Option<String>, CliError> {
        let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return Ok(None);
        };
        let mut line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
        line.pop();
        self.searched = 0;
        let text = String::from_utf8(line).map_err(|error| CliError::failed("invalid_answer", &error))?;
        Ok(Some(text))
    }
}

/// Text as part of a path or a query.
pub(super) fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut all, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => all.push(char::from(byte)),
            _ => all.push_str(&format!("%{byte:02X}")),
        }
        all
    })
}
