//! What it costs to hold every event against its topic's schema.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::bus::{
    Attachment, Broker, Bus, BusStartError, Envelope, PublishError, Publisher, Relay, RelayOptions,
    RelayParts, RelayStatus, SchemaOptions, ServicePort, SubscriptionStatus,
};
use annals::persistence::{MemoryJournal, StreamId};
use annals::prelude::*;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::in_process::handled;
use super::{filled, node, publications};
use crate::{Failure, Measurement, System, Workshop, alternate};

const WITHOUT: &str = "without";
/// What validation, on both sides, may leave of a bus that carries events to their effects.
const GOAL: f64 = 0.9;

/// Events carried through the process with and without schemas; and published to a broker that takes them at once, which
/// shows what validation costs by itself.
pub(super) fn schemas(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let source = filled(workshop, workshop.plan.stream_events * 10)?;
    let held = SchemaOptions::default();
    let free = SchemaOptions { on_publish: false, ..held };
    let systems = vec![
        System::new("with schemas", |window| published(workshop, &source, held, window)),
        System::new(WITHOUT, |window| published(workshop, &source, free, window)),
    ];
    let alone =
        alternate("relay to a broker that costs nothing, schemas", "events/s", &workshop.plan, systems)?;
    let source: Arc<dyn Journal> = Arc::new(source.reopened());
    let turn = std::cell::Cell::new(0);
    let carried = |options, window| {
        turn.set(turn.get() + 1);
        handled(workshop, &source, options, turn.get(), window)
    };
    let systems = vec![
        System::new("with schemas", |window| carried(Some(held), window)),
        System::new(WITHOUT, |window| carried(None, window)),
    ];
    let whole = alternate("in-process bus, schemas on both sides", "events/s", &workshop.plan, systems)?;
    Ok(vec![whole.with_goal(WITHOUT, GOAL), alone])
}

fn published(
    workshop: &Workshop,
    source: &Arc<MemoryJournal>,
    options: SchemaOptions,
    window: Duration,
) -> Result<f64, Failure> {
    // Without the cursor of the turn before.
    let journal: Arc<dyn Journal> = Arc::new(source.reopened());
    workshop.runtime.block_on(async {
        let sales = node(&journal).await?;
        let builder = Bus::builder(sales, "sales").publications(publications()).schemas(options);
        let begin = Instant::now();
        let bus = builder.broker(Arc::new(Sink)).start().await?;
        tokio::time::sleep(window).await;
        let published: u64 = bus.relays().iter().map(|relay| relay.published).sum();
        Ok(published as f64 / begin.elapsed().as_secs_f64())
    })
}

/// Takes everything at once.
#[derive(Debug)]
struct Sink;

#[derive(Debug)]
struct Attached(Relay);

impl Publisher for Sink {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        let written = envelope.to_json().map_err(|error| PublishError::configuration(error.to_string()));
        ready(written.map(|json| drop(std::hint::black_box(json)))).boxed()
    }
}

impl Broker for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    fn attach(&self, port: ServicePort) -> BoxFuture<'_, Result<Arc<dyn Attachment>, BusStartError>> {
        let attached = StreamId::internal("cursor-sink")
            .map_err(|source| BusStartError::InvalidName { name: "sink".into(), source })
            .map(|cursor| {
                let relay = Relay::start(RelayParts {
                    name: "to the sink".into(),
                    cursor,
                    journal: port.journal,
                    readers: port.readers,
                    publications: port.publications,
                    topic: None,
                    publisher: Arc::new(Self),
                    clock: port.clock,
                    options: RelayOptions::default(),
                });
                Arc::new(Attached(relay)) as Arc<dyn Attachment>
            });
        ready(attached).boxed()
    }
}

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
