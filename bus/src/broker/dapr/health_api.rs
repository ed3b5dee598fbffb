//! What the sidecar says of itself over its HTTP API. It asks for no token there.
//!
//! <https://docs.dapr.io/reference/api/health_api/>

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Authorities, HttpEndpoint};
use crate::with_causes;

/// What is asked, and what another answer than 2xx means.
const QUESTIONS: [(&str, &str); 2] = [
    ("/v1.0/healthz/outbound", "its components are not up"),
    ("/v1.0/healthz", "it does not bring events: it waits for this service, starts, or stops"),
];

type Failure = Box<dyn Error + Send + Sync>;

/// The sidecar's health API.
pub(super) struct HealthApi {
    endpoint: HttpEndpoint,
    tls: Option<TlsConnector>,
    timeout: Duration,
}

impl HealthApi {
    pub(super) fn new(
        endpoint: HttpEndpoint,
        ca: Option<&Authorities>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let tls = endpoint.tls.then(|| connector(ca)).transpose()?;
        Ok(Self { endpoint, tls, timeout })
    }

    /// What keeps it from working, by its own word.
    pub(super) async fn fault(&self) -> Option<String> {
        for (path, meaning) in QUESTIONS {
            let Self { endpoint, timeout, .. } = self;
            let reason = match tokio::time::timeout(*timeout, self.ask(path)).await {
                Ok(Ok(status)) if (200..300).contains(&status) => continue,
                Ok(Ok(status)) => format!("the sidecar answers {status} to {path}: {meaning}"),
                Ok(Err(error)) => {
                    format!("the sidecar's HTTP API at {endpoint} does not answer: {}", with_causes(&*error))
                }
                Err(_) => {
                    format!("the sidecar's HTTP API at {endpoint} has not answered within {timeout:?}")
                }
            };
            return Some(reason);
        }
        None
    }

    async fn ask(&self, path: &str) -> Result<u16, Failure> {
        let name = self.endpoint.name();
        let stream = TcpStream::connect((name, self.endpoint.port)).await?;
        match &self.tls {
            None => self.ask_over(stream, path).await,
            Some(tls) => {
                let stream = tls.connect(ServerName::try_from(name.to_owned())?, stream).await?;
                self.ask_over(stream, path).await
            }
        }
    }

    async fn ask_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        path: &str,
    ) -> Result<u16, Failure> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request =
            Request::get(path).header("host", self.endpoint.authority()).body(Empty::<Bytes>::new())?;
        // The connection ends when its sender is gone, and with it whatever of the answer nobody wants.
        let asking = async move {
            let answer = sender.send_request(request).await.map(|answer| answer.status().as_u16());
            drop(sender);
            answer
        };
        let (answer, _ended) = join(asking, connection).await;
        Ok(answer?)
    }
}

fn connector(ca: Option<&Authorities>) -> Result<TlsConnector, String> {
    let roots = ca.map_or_else(of_this_machine, Authorities::roots);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What this machine trusts; what of it cannot be read is not trusted.
fn of_this_machine() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
