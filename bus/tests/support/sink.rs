//! A broker that hands what it is given to the test.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_bus::{
    Attachment, Broker, BusStartError, Envelope, PublishError, Publisher, Relay, RelayOptions, RelayParts,
    RelayStatus, ServicePort, SubscriptionStatus,
};
use annals_persistence::StreamId;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Takes everything at once; what is parked is tried again soon.
#[derive(Clone)]
pub struct Sink(UnboundedSender<Arc<Envelope>>);

impl Sink {
    pub fn new() -> (Self, UnboundedReceiver<Arc<Envelope>>) {
        let (sender, taken) = unbounded_channel();
        (Self(sender), taken)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

impl Publisher for Sink {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        let sent = self.0.send(Arc::clone(envelope));
        ready(sent.map_err(|_| PublishError::unavailable("the test is over"))).boxed()
    }
}

impl Broker for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    fn attach(&self, port: ServicePort) -> BoxFuture<'_, Result<Arc<dyn Attachment>, BusStartError>> {
        let relay = Relay::start(RelayParts {
            name: "to the sink".into(),
            cursor: StreamId::internal("cursor-sink").unwrap(),
            journal: port.journal,
            readers: port.readers,
            publications: port.publications,
            topic: None,
            publisher: Arc::new(self.clone()),
            clock: port.clock,
            options: RelayOptions { parked_retry: Duration::from_millis(5), ..RelayOptions::default() },
        });
        ready(Ok(Arc::new(Attached(relay)) as Arc<dyn Attachment>)).boxed()
    }
}

#[derive(Debug)]
struct Attached(Relay);

impl Attachment for Attached {
    fn relays(&self) -> Vec<RelayStatus> {
        vec![self.0.status()]
    }

    fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        Vec::new()
    }

    fn detach(&self) -> BoxFuture<'_, ()> {
        self.0.stop().boxed()
    }
}
