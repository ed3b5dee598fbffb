//! Connections: accepted up to a bound, given up when no request comes over them, and ended in order.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tower::{Service, ServiceExt};

use timer::ConnectionTimer;

#[cfg(test)]
mod tests;
mod timer;

/// How many files are left to everything but connections, where the system allows the process that many.
const OTHER_FILES: usize = 256;

/// More are never open; a semaphore counts them.
const PLACES_MAX: u32 = 1 << 24;

/// What connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// How long a connection may be without a whole head of a request: a new one, one between two requests, and one
    /// whose client sends the head bit by bit. Then it is closed.
    pub head_timeout: Duration,
    /// The most connections at a time; further ones wait until one ends. Fewer where the system allows the process
    /// fewer open files: connections must not take those that the journals need.
    pub connections_max: usize,
}

impl Default for ConnectionOptions {
    /// 75 seconds, more than what load balancers keep an idle connection for; 10,000 connections.
    fn default() -> Self {
        Self { head_timeout: Duration::from_secs(75), connections_max: 10_000 }
    }
}

impl ConnectionOptions {
    fn places(&self) -> u32 {
        let files = open_files_max();
        let places = self.connections_max.min(files - OTHER_FILES.min(files / 2));
        u32::try_from(places).unwrap_or(u32::MAX).clamp(1, PLACES_MAX)
    }
}

/// How many files the process may have open.
fn open_files_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// Serves until it is told to stop; then no new connection is taken, and those that are there end: at once, or with the
/// request that is under way. How many requests are waited for is told as soon as it is known.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    options: ConnectionOptions,
    stopping: watch::Receiver<bool>,
    waited_for: watch::Sender<usize>,
) {
    let (places_max, places) = (options.places(), Arc::new(Semaphore::new(options.places() as usize)));
    let (undecided, mut decided) = mpsc::channel(1);
    let mut server = Server {
        listener,
        places: Arc::clone(&places),
        router: router.into_make_service_with_connect_info(),
        head_timeout: options.head_timeout,
        stopped: stopping.clone(),
        undecided,
    };
    let mut end = pin!(stopped(stopping));
    loop {
        let accepted = tokio::select! {
            accepted = server.accept() => accepted,
            () = end.as_mut() => break,
        };
        let Some((connection, peer, place)) = accepted else { break };
        server.start(connection, peer, place).await;
    }
    drop(server);
    // Nothing is sent: it ends when no connection is left that may be idle.
    let _all = decided.recv().await;
    waited_for.send_replace((places_max as usize).saturating_sub(places.available_permits()));
    // All places are free again when every connection has ended. It is closed by nobody.
    let _ended = places.acquire_many(places_max).await;
}

/// Waits until it is true, the end of the process.
pub(crate) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end too.
    let _gone = stopping.wait_for(|stopping| *stopping).await;
}

struct Server {
    listener: TcpListener,
    places: Arc<Semaphore>,
    router: IntoMakeServiceWithConnectInfo<Router, SocketAddr>,
    head_timeout: Duration,
    stopped: watch::Receiver<bool>,
    undecided: Undecided,
}

/// Kept by a connection until it has ended or, at the end, is known to have a request under way.
type Undecided = mpsc::Sender<Infallible>;

impl Server {
    /// The next connection, as soon as there is a place for it; what waits is the system's to keep.
    async fn accept(&mut self) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let places = Arc::clone(&self.places);
        if places.available_permits() == 0 {
            tracing::warn!("there are as many connections as may be; further ones wait");
        }
        // It is closed by nobody.
        let place = places.acquire_owned().await.ok()?;
        let (connection, peer) = Listener::accept(&mut self.listener).await;
        // Answers are written whole: waiting for more to send only delays them.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        Some((connection, peer, place))
    }

    async fn start(&mut self, connection: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let Ok(routes) = self.router.call(peer).await;
        let routes = routes.map_request(|request: Request<Incoming>| request.map(Body::new));
        let timer = ConnectionTimer::default();
        let serving = http1::Builder::new()
            .timer(timer.clone())
            .header_read_timeout(self.head_timeout)
            .serve_connection(TokioIo::new(connection), TowerToHyperService::new(routes))
            .with_upgrades();
        let (stopping, undecided) = (stopped(self.stopped.clone()), self.undecided.clone());
        tokio::spawn(async move {
            let mut serving = pin!(serving);
            let mut undecided = Some(undecided);
            let ended = tokio::select! {
                ended = serving.as_mut() => ended,
                () = stopping => {
                    serving.as_mut().graceful_shutdown();
                    finish(serving, &timer, &mut undecided).await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
            drop(place);
        });
    }
}

/// Serves the request that is under way to its end. A connection without a whole head has none: hyper would wait for the
/// rest of the head, but who sends one slowly must not keep the process.
async fn finish(
    mut serving: Pin<&mut impl Future<Output = hyper::Result<()>>>,
    timer: &ConnectionTimer,
    undecided: &mut Option<Undecided>,
) -> hyper::Result<()> {
    poll_fn(|context| match timer.observe(|| serving.as_mut().poll(context)) {
        (Poll::Pending, true) => Poll::Ready(Ok(())),
        (Poll::Pending, false) => {
            *undecided = None;
            Poll::Pending
        }
        (ended, _) => ended,
    })
    .await
}
