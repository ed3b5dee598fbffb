//! A small HTTP/1.1 client: one kept-alive connection, nothing hidden.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A request to send.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", path).json(body)
    }

    pub(crate) fn put(path: impl Into<String>, body: &Value) -> Self {
        Self::new("PUT", path).json(body)
    }

    /// A PUT whose path says everything.
    pub(crate) fn put_empty(path: impl Into<String>) -> Self {
        Self::new("PUT", path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new("DELETE", path)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Under an idempotency key.
    pub(crate) fn keyed(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string().into_bytes())
    }

    /// With these very bytes as its body.
    pub(crate) fn raw(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", content_type)
    }

    /// With these bytes as its body, and no other headers.
    pub(crate) fn with_only(mut self, content_type: &str, body: &[u8]) -> Self {
        self.headers.clear();
        self.raw(content_type, body)
    }

    fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let body = self.body.as_deref().unwrap_or_default();
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.body.is_some() || self.method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The answer, which must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Checks that it is a problem with this status and code.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:#?}");
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem:#}");
        assert_eq!(problem["status"], status, "{problem:#}");
        self
    }

    /// The paths that a problem names, in order.
    pub(crate) fn error_paths(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let mut paths: Vec<_> =
            errors.iter().filter_map(|error| error["path"].as_str().map(str::to_owned)).collect();
        paths.sort();
        paths
    }

    /// The eTag, which header and body must agree on.
    #[track_caller]
    pub(crate) fn etag(&self) -> String {
        let body = self.json()["eTag"].as_str().map(str::to_owned);
        let header = self.header("etag").map(|tag| tag.trim_matches('"').to_owned());
        assert_eq!(header, body, "{self:#?}");
        body.unwrap_or_else(|| panic!("no eTag: {self:#?}"))
    }
}

/// Connections, opened when they are needed and kept.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where paths that begin so lead.
    hosts: Vec<(String, SocketAddr)>,
    connections: HashMap<SocketAddr, BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(host: SocketAddr) -> Self {
        Self::routed(vec![(String::new(), host)])
    }

    /// A client of several services, by how the paths of each begin.
    pub(crate) fn routed(hosts: Vec<(String, SocketAddr)>) -> Self {
        Self { hosts, connections: HashMap::new() }
    }

    fn host_of(&self, path: &str) -> SocketAddr {
        let found = self.hosts.iter().find(|(prefix, _)| path.starts_with(prefix));
        found.unwrap_or_else(|| panic!("no service has {path}")).1
    }

    /// Sends a request to a service that must be there.
    pub(crate) async fn send(&mut self, request: Request) -> Response {
        match self.try_send(&request).await {
            Ok(response) => response,
            Err(error) => panic!("{} {}: {error}", request.method, request.path),
        }
    }

    /// Sends a request to a service that may go away. After an error, whether it was carried out is not known.
    pub(crate) async fn try_send(&mut self, request: &Request) -> io::Result<Response> {
        let host = self.host_of(&request.path);
        let mut connection = match self.connections.remove(&host) {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(host).await?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        // A service that refuses a large body may answer, and close, before all of it is written.
        let written = connection.get_mut().write_all(&request.bytes(host)).await;
        let response = match read_response(&mut connection).await {
            Ok(response) => response,
            Err(error) => return Err(written.err().unwrap_or(error)),
        };
        if response.header("connection") != Some("close") {
            self.connections.insert(host, connection);
        }
        Ok(response)
    }

    pub(crate) async fn get(&mut self, path: impl Into<String>) -> Response {
        self.send(Request::get(path)).await
    }

    pub(crate) async fn post(&mut self, path: impl Into<String>, body: &Value) -> Response {
        self.send(Request::post(path, body)).await
    }

    pub(crate) async fn put(&mut self, path: impl Into<String>, body: &Value) -> Response {
        self.send(Request::put(path, body)).await
    }

    pub(crate) async fn put_empty(&mut self, path: impl Into<String>) -> Response {
        self.send(Request::put_empty(path)).await
    }

    pub(crate) async fn delete(&mut self, path: impl Into<String>) -> Response {
        self.send(Request::delete(path)).await
    }
}

async fn read_response(connection: &mut BufReader<TcpStream>) -> io::Result<Response> {
    let first = line(connection).await?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| malformed(&first))?;
    let mut headers = HashMap::new();
    loop {
        let header = line(connection).await?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let body = body(connection, &headers).await?;
    let body = String::from_utf8(body).map_err(|_| malformed("the body is no UTF-8"))?;
    Ok(Response { status, headers, body })
}

async fn body(
    connection: &mut BufReader<TcpStream>,
    headers: &HashMap<String, String>,
) -> io::Result<Vec<u8>> {
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        return chunks(connection).await;
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    Ok(body)
}

async fn chunks(connection: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(connection).await?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| malformed(&size))?;
        let start = body.len();
        body.resize(start + size, 0);
        connection.read_exact(&mut body[start..]).await?;
        line(connection).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed answer: {what}"))
}
