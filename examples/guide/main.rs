//! The library of the guide (`docs/guide.md`): two services in one binary, connected by the bus.
//!
//! Run it with `cargo run --example guide -- dev`.

#![allow(unreachable_pub, reason = "a service of several crates would export these")]

mod book;
mod library;
mod readers;

use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    annals::http::cli::main(vec![Arc::new(library::Library), Arc::new(readers::Readers)])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use annals::http::{Host, HostOptions};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn ask(host: &Host, method: &str, path: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(host.address()).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_loan_reaches_the_readers_desk() {
        let options = HostOptions { listen: ([127, 0, 0, 1], 0).into(), ..HostOptions::default() };
        let services: [Arc<dyn annals::http::Service>; 2] =
            [Arc::new(super::library::Library), Arc::new(super::readers::Readers)];
        let host = Host::start(&services, options).await.unwrap();
        host.ready().await.unwrap();

        let lent = ask(&host, "PUT", "/api/book/moby-dick/loan", r#"{"reader": "anna"}"#).await;
        assert!(lent.starts_with("HTTP/1.1 200") && lent.contains("anna"), "{lent}");
        let away = ask(&host, "PUT", "/api/book/moby-dick/loan", r#"{"reader": "ben"}"#).await;
        assert!(away.starts_with("HTTP/1.1 409") && away.contains(r#""code":"away""#), "{away}");

        let asked = Instant::now();
        while !ask(&host, "GET", "/admin/v1/aggregates/reader/anna", "").await.contains("moby-dick") {
            assert!(asked.elapsed() < Duration::from_secs(10), "the readers' desk has not heard of the loan");
        }
        host.shutdown().await;
    }
}
