//! What the sidecar's HTTP API says of its health, over a server that says what it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::fake::Served;
use super::tls::AUTHORITY;
use super::{node, options, publisher, until};
use crate::broker::dapr::{Authorities, DaprOptions, HttpEndpoint};

/// What is answered to `/v1.0/healthz/outbound` and to `/v1.0/healthz`.
type Answers = Arc<Mutex<(u16, u16)>>;

struct HealthApi {
    address: SocketAddr,
    answers: Answers,
    task: JoinHandle<()>,
}

impl Drop for HealthApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HealthApi {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let answers = Answers::new(Mutex::new((204, 204)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::clone(&answers);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, told) = (tls.clone(), Arc::clone(&told));
                tokio::spawn(async move {
                    let Some(tls) = tls else { return answer(stream, told).await };
                    // A client that trusts somebody else goes away.
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, told).await;
                    }
                });
            }
        });
        Self { address, answers, task }
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, told: Answers) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let (outbound, whole) = *told.lock();
    let status = match head.split(' ').nth(1).unwrap() {
        "/v1.0/healthz/outbound" => outbound,
        "/v1.0/healthz" => whole,
        other => panic!("{other} is asked for"),
    };
    let answer = format!("HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/sidecar.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/sidecar.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_sidecar_is_ready_when_its_health_api_agrees() {
    let (sidecar, api) = (Served::start("1.17.0").await, HealthApi::start(None).await);
    let endpoint = HttpEndpoint::local(api.address.port());
    let node = node().await;
    let bus = publisher(&node, DaprOptions { http_endpoint: Some(endpoint), ..options(&sidecar) }).await;
    let says = async |part: &str| bus.health().reasons.iter().any(|reason| reason.contains(part));
    until("it is ready", async || bus.health().is_ready()).await;
    *api.answers.lock() = (204, 500);
    until("it does not bring events", async || says("500 to /v1.0/healthz: it does not bring").await).await;
    assert_eq!(bus.health().version.as_deref(), Some("1.17.0"));
    *api.answers.lock() = (500, 500);
    until("it has no components", async || says("500 to /v1.0/healthz/outbound: its components").await).await;
    *api.answers.lock() = (204, 204);
    until("it is ready again", async || bus.health().is_ready()).await;
    drop(api);
    until("nobody answers", async || says("does not answer").await).await;
    bus.shutdown().await;
}

#[tokio::test]
async fn the_health_api_may_stand_behind_tls() {
    let (sidecar, api) = (Served::start_behind_tls().await, HealthApi::start(Some(acceptor())).await);
    let node = node().await;
    let over_tls = |ca: &[u8]| DaprOptions {
        endpoint: format!("https://localhost:{}", sidecar.port()).parse().unwrap(),
        http_endpoint: Some(format!("https://localhost:{}", api.address.port()).parse().unwrap()),
        ca: Some(Authorities::from_pem(ca).unwrap()),
        ..options(&sidecar)
    };
    let bus = publisher(&node, over_tls(AUTHORITY)).await;
    until("it is ready", async || bus.health().is_ready()).await;
    *api.answers.lock() = (204, 503);
    until("what it says is heard", async || !bus.health().is_ready()).await;
    bus.shutdown().await;
}
