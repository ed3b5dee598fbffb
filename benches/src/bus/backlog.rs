//! A backlog in the broker: handled with all that belongs to it, beside an app that only says yes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use annals::bus::dapr::{AppChannel, DaprBroker, DaprOptions, SidecarEndpoint};
use annals::bus::{Bus, Delivery, HandlerError, Reaction, Topic};
use annals::prelude::*;
use annals_parts::{App, Redis, free_port};

use super::bare::BareApp;
use super::sidecar::{PUBSUB, start};
use super::{ItemSold, filled, node, publications};
use crate::workload::{Order, command};
use crate::{Failure, Measurement, System, Workshop, alternate, journals};

const YES: &str = "an app that says yes";
/// What handling is to reach of saying yes.
const GOAL: f64 = 0.7;

/// Events handled a second, of a backlog that every turn's own consumer group finds.
pub(super) fn backlog(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let events = workshop.plan.stream_events / 4;
    let redis = Redis::start();
    let _inside = workshop.runtime.enter();
    let published = fill(workshop, &redis, events)?;
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        format!("stock{turn}")
    };
    let mut names: Vec<_> = (0..=workshop.plan.rounds * 2 + 1).map(|_| next()).collect();
    let mut others = names.split_off(names.len() / 2);
    let systems = vec![
        System::new("annals", |_| ours(workshop, &redis, &name(&mut names)?, published)),
        System::new(YES, |_| yes(workshop, &redis, &name(&mut others)?, published)),
    ];
    let measured = alternate("handle a backlog through a sidecar", "events/s", &workshop.plan, systems)?;
    Ok(vec![measured.with_goal(YES, GOAL)])
}

fn name(names: &mut Vec<String>) -> Result<String, Failure> {
    names.pop().ok_or_else(|| "no name is left for another turn".into())
}

/// Publishes the backlog; how many events it has.
fn fill(workshop: &Workshop, redis: &Redis, events: usize) -> Result<usize, Failure> {
    let source: Arc<dyn Journal> = filled(workshop, events)?;
    let sidecar = start(redis, "sales", App::None);
    workshop.runtime.block_on(async {
        let mut options = DaprOptions::new(PUBSUB);
        options.endpoint = SidecarEndpoint::local(sidecar.grpc_port());
        let builder = Bus::builder(node(&source).await?, "sales").publications(publications());
        let bus = builder.broker(Arc::new(DaprBroker::new(options))).start().await?;
        while bus.relays().iter().any(|relay| relay.lag() > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let published = bus.relays().iter().map(|relay| relay.published).sum::<u64>();
        bus.shutdown().await;
        Ok(usize::try_from(published)?)
    })
}

/// Takes the time from the first delivery to the last.
#[derive(Default)]
struct Stopwatch {
    seen: AtomicUsize,
    begin: std::sync::OnceLock<Instant>,
}

impl Stopwatch {
    fn see(&self) {
        self.begin.get_or_init(Instant::now);
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    async fn rate(&self, events: usize) -> f64 {
        while self.seen.load(Ordering::Relaxed) < events {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let spent = self.begin.get().map_or(Duration::MAX, Instant::elapsed);
        events as f64 / spent.as_secs_f64()
    }
}

fn ours(workshop: &Workshop, redis: &Redis, group: &str, events: usize) -> Result<f64, Failure> {
    let (dir, port) = (workshop.dir()?, free_port());
    let sidecar = start(redis, group, App::Grpc(port));
    workshop.runtime.block_on(async {
        let journal = journals::open(dir.path())?;
        let stock = node(&journal).await?;
        let mut options = DaprOptions::new(PUBSUB);
        options.endpoint = SidecarEndpoint::local(sidecar.grpc_port());
        options.app_channel = AppChannel::Grpc(([127, 0, 0, 1], port).into());
        let watch = Arc::new(Stopwatch::default());
        let seen = Arc::clone(&watch);
        let handler = move |event: ItemSold, _: Delivery| {
            seen.see();
            async move { Ok::<_, HandlerError>(Reaction::none().command::<Order>(event.order_id, command())) }
        };
        let builder = Bus::builder(stock.clone(), "stock").subscribe("sold", handler);
        let bus = builder.broker(Arc::new(DaprBroker::new(options))).start().await?;
        let rate = watch.rate(events).await;
        drop(bus);
        stock.shutdown().await;
        journal.close().await;
        Ok(rate)
    })
}

fn yes(workshop: &Workshop, redis: &Redis, group: &str, events: usize) -> Result<f64, Failure> {
    let port = free_port();
    workshop.runtime.block_on(async {
        let watch = Arc::new(Stopwatch::default());
        let seen = Arc::clone(&watch);
        let _app = BareApp::serve(port, Topic::of::<ItemSold>(), move |_| seen.see()).await?;
        let _sidecar = start(redis, group, App::Grpc(port));
        Ok(watch.rate(events).await)
    })
}
