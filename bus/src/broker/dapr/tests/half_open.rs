//! A connection whose other end is gone without a word, as when a machine or a firewall on the way is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::fake::Served;
use super::{Counter, all_published, count_up, node, options, publisher, until};
use crate::broker::dapr::{DaprOptions, SidecarEndpoint};

/// Stands between a service and its sidecar, and can become a hole: what goes into a connection that was made before that
/// comes out nowhere, and the connection stays open.
struct Way {
    address: SocketAddr,
    cut: watch::Sender<usize>,
    connections: Arc<AtomicUsize>,
}

impl Way {
    async fn to(sidecar: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, cut) = (listener.local_addr().unwrap(), watch::Sender::new(0));
        let (connections, cuts) = (Arc::new(AtomicUsize::new(0)), cut.clone());
        let made = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let nth = made.fetch_add(1, Ordering::SeqCst) + 1;
                let far = TcpStream::connect(("127.0.0.1", sidecar)).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_in, far_out, nth, cuts.subscribe()));
                tokio::spawn(carry(far_in, near_out, nth, cuts.subscribe()));
            }
        });
        Self { address, cut, connections }
    }

    /// From now on nothing comes out of the connections that there are.
    fn cut(&self) -> usize {
        let made = self.connections.load(Ordering::SeqCst);
        self.cut.send_replace(made);
        made
    }
}

/// Carries bytes until the connection, the nth, is cut; then it swallows them.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    nth: usize,
    cut: watch::Receiver<usize>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes).await {
        let is_cut = *cut.borrow() >= nth;
        if !is_cut && (count == 0 || to.write_all(&bytes[..count]).await.is_err()) {
            return;
        }
        if is_cut && count == 0 {
            // Whoever gives up on its end hears nothing of the other.
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_given_up_and_nothing_is_lost() {
    let sidecar = Served::start("1.14.4").await;
    let way = Way::to(sidecar.port()).await;
    let endpoint = SidecarEndpoint::local(way.address.port());
    let node = node().await;
    let bus = publisher(&node, DaprOptions { endpoint, ..options(&sidecar) }).await;
    count_up(&node, 5, 2).await;
    all_published(&sidecar, 5, 2).await;
    until("it is ready", async || bus.health().is_ready()).await;

    let made = way.cut();
    for (key, n) in (0..5).flat_map(|key| [(key, 3), (key, 4)]) {
        node.aggregate::<Counter>(key.to_string()).send(n).await.unwrap();
    }
    until("it shows that nobody answers", async || !bus.health().is_ready()).await;
    until("another connection is made", async || way.connections.load(Ordering::SeqCst) > made).await;
    all_published(&sidecar, 5, 4).await;
    until("it is ready again", async || bus.health().is_ready()).await;
    bus.shutdown().await;
}
