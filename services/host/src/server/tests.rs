use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::get;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::{ConnectionOptions, serve};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(30);
/// More than the system keeps of an answer that the client does not take.
const LARGE: usize = 32 << 20;

/// A server, what its streaming route sends, and for how many requests its end waits.
struct World {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    lines: broadcast::Sender<&'static str>,
    waited_for: watch::Receiver<usize>,
}

async fn world(options: ConnectionOptions) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let (waiting, waited_for) = watch::channel(0);
    let (lines, _) = broadcast::channel::<&'static str>(8);
    let sender = lines.clone();
    let streamed = async move || {
        let lines =
            stream::unfold(sender.subscribe(), async |mut lines| Some((lines.recv().await.ok()?, lines)));
        Response::new(Body::from_stream(
            lines.map(|line| Ok::<_, io::Error>(Bytes::from_static(line.as_bytes()))),
        ))
    };
    let router = Router::new()
        .route("/", get(async || "hello").post(async |body: String| body))
        .route("/stream", get(streamed))
        .route("/large", get(async || vec![b'x'; LARGE]));
    let server = tokio::spawn(serve(listener, router, options, stopped, waiting));
    World { address, stop, server, lines, waited_for }
}

/// For how many requests it says that it waits.
async fn told(waited_for: &mut watch::Receiver<usize>) -> usize {
    let told = waited_for.wait_for(|requests| *requests > 0);
    *tokio::time::timeout(PATIENCE, told).await.expect("nothing is told").unwrap()
}

async fn ends(server: JoinHandle<()>) {
    tokio::time::timeout(PATIENCE, server).await.expect("it does not end").unwrap();
}

struct Client(TcpStream);

impl Client {
    async fn connect(world: &World) -> Self {
        Self(TcpStream::connect(world.address).await.unwrap())
    }

    async fn send(&self, text: &str) {
        self.0.writable().await.unwrap();
        assert_eq!(self.0.try_write(text.as_bytes()).unwrap(), text.len());
    }

    /// What comes next; nothing when the connection was closed.
    async fn next(&self) -> String {
        let mut buffer = [0; 4096];
        loop {
            self.0.readable().await.unwrap();
            match self.0.try_read(&mut buffer) {
                Ok(count) => return String::from_utf8_lossy(&buffer[..count]).into_owned(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return String::new(),
            }
        }
    }

    async fn is_answered(&self) {
        self.send(REQUEST).await;
        assert!(self.next().await.ends_with("hello"));
    }

    async fn is_closed(&self) {
        assert_eq!(tokio::time::timeout(PATIENCE, self.next()).await.expect("it lives for ever"), "");
    }
}

fn short() -> ConnectionOptions {
    ConnectionOptions { head_timeout: Duration::from_millis(100), ..ConnectionOptions::default() }
}

#[tokio::test]
async fn without_a_whole_head_a_connection_ends() {
    let world = world(short()).await;
    let [silent, slow, second] =
        [Client::connect(&world).await, Client::connect(&world).await, Client::connect(&world).await];
    slow.send("GET / HTTP/1.1\r\nHos").await;
    // The first request says nothing of the second.
    second.is_answered().await;
    second.send("GET /").await;
    for client in [silent, slow, second] {
        client.is_closed().await;
    }
}

#[tokio::test]
async fn every_request_begins_the_time_anew() {
    let world = world(ConnectionOptions { head_timeout: Duration::from_millis(500), ..short() }).await;
    let client = Client::connect(&world).await;
    let started = tokio::time::Instant::now();
    // Over a time in which several alarms ring.
    while started.elapsed() < Duration::from_millis(1500) {
        client.is_answered().await;
        tokio::task::yield_now().await;
    }
    client.is_closed().await;
}

#[tokio::test]
async fn an_answer_that_goes_on_is_no_silence() {
    let world = world(short()).await;
    let streaming = Client::connect(&world).await;
    streaming.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(streaming.next().await.starts_with("HTTP/1.1 200"));
    for line in ["one", "two", "three"] {
        // As long as it takes to give a silent connection up.
        Client::connect(&world).await.is_closed().await;
        world.lines.send(line).unwrap();
        assert!(streaming.next().await.contains(line));
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let options = ConnectionOptions { connections_max: 2, ..ConnectionOptions::default() };
    let world = world(options).await;
    let (one, two) = (Client::connect(&world).await, Client::connect(&world).await);
    one.is_answered().await;
    two.is_answered().await;
    let three = Client::connect(&world).await;
    three.send(REQUEST).await;
    let early = tokio::time::timeout(Duration::from_millis(200), three.next()).await;
    assert!(early.is_err(), "it had no place: {early:?}");
    drop(one);
    assert!(tokio::time::timeout(PATIENCE, three.next()).await.unwrap().ends_with("hello"));
    two.is_answered().await;
}

#[tokio::test]
async fn the_end_closes_what_is_idle_and_waits_for_what_is_under_way() {
    let world = world(ConnectionOptions::default()).await;
    let (idle, streaming) = (Client::connect(&world).await, Client::connect(&world).await);
    idle.is_answered().await;
    streaming.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(streaming.next().await.starts_with("HTTP/1.1 200"));
    world.stop.send_replace(true);
    idle.is_closed().await;
    assert!(TcpStream::connect(world.address).await.is_err(), "no new connections");
    world.lines.send("last").unwrap();
    assert!(streaming.next().await.contains("last"));
    assert!(!world.server.is_finished());
    drop(world.lines);
    drop(streaming);
    ends(world.server).await;
}

#[tokio::test]
async fn the_end_waits_for_no_rest_of_a_head() {
    let world = world(ConnectionOptions::default()).await;
    let (first, second) = (Client::connect(&world).await, Client::connect(&world).await);
    second.is_answered().await;
    for client in [&first, &second] {
        client.send("GET / HTTP/1.1\r\nHos").await;
    }
    // By now the halves have been read too.
    Client::connect(&world).await.is_answered().await;
    world.stop.send_replace(true);
    ends(world.server).await;
    assert_eq!(*world.waited_for.borrow(), 0);
    first.is_closed().await;
    second.is_closed().await;
}

#[tokio::test]
async fn the_end_waits_for_a_body_that_is_still_sent() {
    let mut world = world(ConnectionOptions::default()).await;
    let (sending, half) = (Client::connect(&world).await, Client::connect(&world).await);
    sending.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await;
    assert!(sending.next().await.starts_with("HTTP/1.1 100"));
    half.send("GET /").await;
    world.stop.send_replace(true);
    half.is_closed().await;
    assert_eq!(told(&mut world.waited_for).await, 1);
    sending.send("bo").await;
    sending.send("dy").await;
    let answer = sending.next().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("body"), "{answer}");
    sending.is_closed().await;
    ends(world.server).await;
}

#[tokio::test]
async fn the_end_waits_for_a_client_that_takes_its_answer_slowly() {
    for more in ["", "Connection: close\r\n"] {
        let mut world = world(ConnectionOptions::default()).await;
        let client = Client::connect(&world).await;
        client.send(&format!("GET /large HTTP/1.1\r\nHost: x\r\n{more}\r\n")).await;
        let mut taken = client.next().await.len();
        world.stop.send_replace(true);
        assert_eq!(told(&mut world.waited_for).await, 1);
        loop {
            match client.next().await.len() {
                0 => break,
                count => taken += count,
            }
        }
        assert!(taken > LARGE, "{taken} bytes came");
        ends(world.server).await;
    }
}

#[test]
fn connections_leave_files_to_the_journals() {
    let most = ConnectionOptions { connections_max: usize::MAX, ..ConnectionOptions::default() };
    assert!(most.places() as usize <= super::open_files_max().saturating_sub(1).max(1));
    assert_eq!(ConnectionOptions { connections_max: 0, ..most }.places(), 1);
}
