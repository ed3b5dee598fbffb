//! How long it takes from a commit in one service to its effect in another, at a steady rate: beside bare calls and a bare
//! app over the same sidecars, and beside the broker alone.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use annals::bus::dapr::{AppChannel, DaprBroker, DaprOptions, SidecarEndpoint};
use annals::bus::{Bus, Delivery, HandlerError, Reaction, Topic};
use annals::persistence::Filter;
use annals::prelude::*;
use annals_parts::{App, Redis, Sidecar, free_port};
use dapr::dapr::proto::runtime::v1::PublishEventRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use futures_util::StreamExt;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, AsyncConnectionConfig};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::bare::BareApp;
use super::sidecar::{ENVELOPE, PUBSUB, client, envelope, start};
use super::{ItemSold, node, publications};
use crate::percentile::percentile;
use crate::workload::{Order, OrderCommand, OrderEvent, command, instance_id};
use crate::{Failure, Measurement, System, Workshop, alternate, journals};

const SIDECARS: &str = "bare, over the same sidecars";
const REDIS: &str = "Redis Streams alone";
const BARE_TOPIC: &str = "bare";
/// At fewer than so many events there is no slowest of a hundred.
const EVENTS_MIN: usize = 200;

/// Half of the events, and 99 of a hundred, have their effect within this, at 100 and at 1,000 a second.
pub(super) fn delay(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let redis = Redis::start();
    let _inside = workshop.runtime.enter();
    let ours = Services::start(workshop, &redis)?;
    let bare = Bare::start(workshop, &redis, &ours.sales)?;
    let streams = workshop.runtime.block_on(Streams::start(&redis))?;
    let mut measurements = Vec::new();
    for per_second in [100, 1000] {
        for percent in [50, 99] {
            let of = |marks: &Marks, mut delays: Vec<f64>| {
                marks.clear();
                percentile(&mut delays, percent)
            };
            let systems = vec![
                System::new("annals", |window| Ok(of(&ours.marks, ours.run(workshop, per_second, window)?))),
                System::new(SIDECARS, |window| Ok(of(&bare.marks, bare.run(workshop, per_second, window)?))),
                System::new(REDIS, |window| {
                    Ok(of(&streams.marks, streams.run(workshop, per_second, window)?))
                }),
            ];
            let name = format!("p{percent} from commit to effect, {per_second} a second");
            measurements.push(alternate(name, "us", &workshop.plan, systems)?);
        }
    }
    ours.stop(workshop);
    Ok(measurements)
}

/// When each event was sent, by its number, and how long those that have arrived took, in microseconds.
#[derive(Default)]
struct Marks(Mutex<(Vec<Option<Instant>>, Vec<f64>)>, OnceLock<String>);

impl Marks {
    /// Forgets the delays; numbers are never used again, since a late delivery would be taken for another.
    fn clear(&self) {
        self.0.lock().1.clear();
    }

    /// Takes a number for an event that is sent now.
    fn next(&self) -> usize {
        let mut marks = self.0.lock();
        marks.0.push(Some(Instant::now()));
        marks.0.len() - 1
    }

    /// It begins to count now.
    fn begins(&self, number: usize) {
        if let Some(begin) = self.0.lock().0.get_mut(number).and_then(Option::as_mut) {
            *begin = Instant::now();
        }
    }

    fn arrived(&self, number: usize) {
        let marks = &mut *self.0.lock();
        // Another delivery of the same counts for nothing.
        if let Some(begin) = marks.0.get_mut(number).and_then(Option::take) {
            marks.1.push(begin.elapsed().as_secs_f64() * 1e6);
        }
    }

    /// Whoever should have noted the arrivals has ended.
    fn end(&self, reason: String) {
        // The first reason is the one that counts.
        let _: Result<(), String> = self.1.set(reason);
    }

    fn arrivals(&self) -> usize {
        self.0.lock().1.len()
    }

    /// Sends at a steady rate, whatever became of those before; ends when all have arrived.
    async fn pace<F>(
        &self,
        per_second: usize,
        window: Duration,
        send: impl Fn(usize) -> F,
    ) -> Result<Vec<f64>, Failure>
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let events = ((window.as_secs_f64() * per_second as f64) as usize).max(EVENTS_MIN);
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second as u32);
        let mut sent = Vec::with_capacity(events);
        for _ in 0..events {
            ticks.tick().await;
            sent.push(tokio::spawn(send(self.next())));
        }
        for one in sent {
            one.await??;
        }
        let all = async {
            while self.arrivals() < events && self.1.get().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), all).await;
        if let Some(reason) = self.1.get() {
            return Err(format!("whoever reads the events has ended: {reason}").into());
        }
        waited.map_err(|_| format!("{} of {events} events arrived", self.arrivals()))?;
        Ok(self.0.lock().1.clone())
    }
}

/// A service that sells, one that takes note of it, a sidecar for each.
struct Services {
    marks: Arc<Marks>,
    nodes: [Node; 2],
    journals: [Arc<dyn Journal>; 2],
    buses: [Bus; 2],
    sales: Sidecar,
    _stock: Sidecar,
    _dirs: [TempDir; 2],
}

impl Services {
    fn start(workshop: &Workshop, redis: &Redis) -> Result<Self, Failure> {
        let (dirs, port) = ([workshop.dir()?, workshop.dir()?], free_port());
        let (sales, stock) = (start(redis, "sales", App::None), start(redis, "stock", App::Grpc(port)));
        let options = |sidecar: &Sidecar| {
            let mut options = DaprOptions::new(PUBSUB);
            options.endpoint = SidecarEndpoint::local(sidecar.grpc_port());
            options
        };
        let (of_sales, mut of_stock) = (options(&sales), options(&stock));
        of_stock.app_channel = AppChannel::Grpc(([127, 0, 0, 1], port).into());
        workshop.runtime.block_on(async {
            let journals = [journals::open(dirs[0].path())?, journals::open(dirs[1].path())?];
            let nodes = [node(&journals[0]).await?, node(&journals[1]).await?];
            let builder = Bus::builder(nodes[1].clone(), "stock").subscribe("sold", take);
            let receiving = builder.broker(Arc::new(DaprBroker::new(of_stock))).start().await?;
            let builder = Bus::builder(nodes[0].clone(), "sales").publications(publications());
            let sending = builder.broker(Arc::new(DaprBroker::new(of_sales))).start().await?;
            let buses = [sending, receiving];
            while !buses.iter().all(|bus| bus.health().is_ready()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let marks = Arc::new(Marks::default());
            tokio::spawn(watch(Arc::clone(&journals[1]), Arc::clone(&marks)));
            Ok(Self { marks, nodes, journals, buses, sales, _stock: stock, _dirs: dirs })
        })
    }

    fn run(&self, workshop: &Workshop, per_second: usize, window: Duration) -> Result<Vec<f64>, Failure> {
        workshop.runtime.block_on(self.marks.pace(per_second, window, |number| {
            let order = self.nodes[0].aggregate::<Order>(instance_id(number % 100));
            let marks = Arc::clone(&self.marks);
            async move {
                order.send(sold(number.to_string())).await?;
                marks.begins(number);
                Ok(())
            }
        }))
    }

    fn stop(&self, workshop: &Workshop) {
        workshop.runtime.block_on(async {
            for bus in &self.buses {
                bus.shutdown().await;
            }
            for node in &self.nodes {
                node.shutdown().await;
            }
            for journal in &self.journals {
                journal.close().await;
            }
        });
    }
}

/// The usual command, for this product.
fn sold(product: String) -> OrderCommand {
    let OrderCommand::AddItem { product_name, price_cents, quantity, note, .. } = command();
    OrderCommand::AddItem { product_id: product, product_name, price_cents, quantity, note }
}

async fn take(event: ItemSold, _: Delivery) -> Result<Reaction, HandlerError> {
    Ok(Reaction::none().command::<Order>(event.order_id, sold(event.product_id)))
}

/// Notes every effect when it is durable.
async fn watch(journal: Arc<dyn Journal>, marks: Arc<Marks>) {
    let from = journal.durable().borrow().position.next();
    let mut effects = journal.subscribe(from, Filter::default().category(Order::TYPE));
    while let Some(Ok(recorded)) = effects.next().await {
        for OrderEvent::ItemAdded { product_id, .. } in recorded.decode().into_iter().flatten() {
            product_id.parse().into_iter().for_each(|number| marks.arrived(number));
        }
    }
}

/// Bare calls of a sidecar, and a bare app behind another.
struct Bare {
    marks: Arc<Marks>,
    client: DaprClient<Channel>,
    _app: BareApp,
    _sidecar: Sidecar,
}

impl Bare {
    fn start(workshop: &Workshop, redis: &Redis, sales: &Sidecar) -> Result<Self, Failure> {
        let (marks, port) = (Arc::new(Marks::default()), free_port());
        let seen = Arc::clone(&marks);
        let see = move |event: dapr::dapr::proto::runtime::v1::TopicEventRequest| {
            let number = uuid::Uuid::parse_str(&event.id).map(|id| id.as_u64_pair().1 as usize);
            number.into_iter().for_each(|number| seen.arrived(number));
        };
        let app = workshop.runtime.block_on(BareApp::serve(port, Topic::named(BARE_TOPIC), see))?;
        let sidecar = start(redis, "bare", App::Grpc(port));
        Ok(Self { marks, client: client(sales)?, _app: app, _sidecar: sidecar })
    }

    fn run(&self, workshop: &Workshop, per_second: usize, window: Duration) -> Result<Vec<f64>, Failure> {
        workshop.runtime.block_on(self.marks.pace(per_second, window, |number| {
            let mut client = self.client.clone();
            let event = PublishEventRequest {
                pubsub_name: PUBSUB.to_owned(),
                topic: BARE_TOPIC.to_owned(),
                data: envelope(number),
                data_content_type: ENVELOPE.to_owned(),
                ..PublishEventRequest::default()
            };
            async move {
                client.publish_event(event).await?;
                Ok(())
            }
        }))
    }
}

/// A stream of Redis, and a group that reads it.
struct Streams {
    marks: Arc<Marks>,
    connection: MultiplexedConnection,
}

impl Streams {
    async fn start(redis: &Redis) -> Result<Self, Failure> {
        const GROUP: &str = "group";
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", redis.port()))?;
        // Without a limit to how long an answer may take: on a busy machine one takes longer than half a second, which it is.
        let patient = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await?;
        // A connection of its own: whoever waits for an entry has everything behind it wait as well.
        let mut reading = client.get_multiplexed_async_connection_with_config(&patient).await?;
        let _: () = reading.xgroup_create_mkstream(BARE_TOPIC, GROUP, "$").await?;
        let marks = Arc::new(Marks::default());
        let seen = Arc::clone(&marks);
        tokio::spawn(async move {
            let options = StreamReadOptions::default().group(GROUP, "one").block(200).count(64);
            loop {
                let read: Result<Option<StreamReadReply>, _> =
                    reading.xread_options(&[BARE_TOPIC], &[">"], &options).await;
                let read = match read {
                    Ok(read) => read,
                    Err(error) => return seen.end(error.to_string()),
                };
                let entries: Vec<_> =
                    read.into_iter().flat_map(|read| read.keys).flat_map(|key| key.ids).collect();
                entries
                    .iter()
                    .filter_map(|entry| entry.get("number"))
                    .for_each(|number| seen.arrived(number));
                let ids: Vec<_> = entries.into_iter().map(|entry| entry.id).collect();
                if !ids.is_empty() {
                    // What is not acknowledged here is lost with the turn.
                    let _: Result<(), _> = reading.xack(BARE_TOPIC, GROUP, &ids).await;
                }
            }
        });
        Ok(Self { marks, connection })
    }

    fn run(&self, workshop: &Workshop, per_second: usize, window: Duration) -> Result<Vec<f64>, Failure> {
        workshop.runtime.block_on(self.marks.pace(per_second, window, |number| {
            let mut connection = self.connection.clone();
            async move {
                let fields = [("number", number.to_string().into_bytes()), ("event", envelope(number))];
                let _: String = connection.xadd(BARE_TOPIC, "*", &fields).await?;
                Ok(())
            }
        }))
    }
}
