//! The relay's publishing through a sidecar, beside a bare loop of the same calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::bus::Bus;
use annals::bus::dapr::{DaprBroker, DaprOptions, PublishCalls, SidecarEndpoint};
use annals::persistence::MemoryJournal;
use annals::prelude::*;
use annals_parts::{App, Redis, Sidecar};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, BulkPublishRequestEntry, PublishEventRequest};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::sidecar::{ENVELOPE, PUBSUB, client, envelope, start};
use super::{filled, node, publications};
use crate::{Failure, Measurement, System, Workshop, alternate};

const BARE: &str = "bare calls";
/// What publishing is to reach of the same calls in a loop.
const GOAL: f64 = 0.8;
/// How many events share a bulk call.
const EVENTS: usize = 100;

/// Events published a second: one in a call, and many.
pub(super) fn publish(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let redis = Redis::start();
    // The client needs a runtime around it already.
    let _inside = workshop.runtime.enter();
    let sidecar = start(&redis, "sales", App::None);
    let source = filled(workshop, workshop.plan.stream_events * 10)?;
    let mut measurements = Vec::new();
    for calls in [16, 64] {
        let how = PublishCalls::Single { calls };
        let systems = vec![
            System::new("annals", |window| ours(workshop, &source, &sidecar, how, window)),
            System::new(BARE, |window| bare(workshop, &sidecar, calls, 1, window)),
        ];
        let name = format!("publish through a sidecar, {calls} calls at once");
        measurements.push(alternate(name, "events/s", &workshop.plan, systems)?.with_goal(BARE, GOAL));
    }
    let how = PublishCalls::Bulk { calls: 4, events: EVENTS };
    let systems = vec![
        System::new("annals", |window| ours(workshop, &source, &sidecar, how, window)),
        System::new(BARE, |window| bare(workshop, &sidecar, 4, EVENTS, window)),
    ];
    let name = format!("publish through a sidecar, 4 calls of {EVENTS} events");
    measurements.push(alternate(name, "events/s", &workshop.plan, systems)?.with_goal(BARE, GOAL));
    Ok(measurements)
}

fn ours(
    workshop: &Workshop,
    source: &Arc<MemoryJournal>,
    sidecar: &Sidecar,
    how: PublishCalls,
    window: Duration,
) -> Result<f64, Failure> {
    // Without the cursor of the turn before.
    let journal: Arc<dyn Journal> = Arc::new(source.reopened());
    workshop.runtime.block_on(async {
        let sales = node(&journal).await?;
        let mut options = DaprOptions::new(PUBSUB);
        options.endpoint = SidecarEndpoint::local(sidecar.grpc_port());
        options.publish = how;
        let builder = Bus::builder(sales, "sales").publications(publications());
        let begin = Instant::now();
        let bus = builder.broker(Arc::new(DaprBroker::new(options))).start().await?;
        tokio::time::sleep(window).await;
        let published: u64 = bus.relays().iter().map(|relay| relay.published).sum();
        Ok(published as f64 / begin.elapsed().as_secs_f64())
    })
}

fn bare(
    workshop: &Workshop,
    sidecar: &Sidecar,
    calls: usize,
    events: usize,
    window: Duration,
) -> Result<f64, Failure> {
    let client = client(sidecar)?;
    workshop.runtime.block_on(async {
        let (begin, mut callers) = (Instant::now(), JoinSet::new());
        for caller in 0..calls {
            callers.spawn(call_until(client.clone(), caller, events, begin + window));
        }
        let mut published = 0;
        while let Some(caller) = callers.join_next().await {
            published += caller??;
        }
        Ok(published as f64 / begin.elapsed().as_secs_f64())
    })
}

async fn call_until(
    mut client: DaprClient<Channel>,
    caller: usize,
    events: usize,
    end: Instant,
) -> Result<usize, Failure> {
    let mut published = 0;
    while Instant::now() < end {
        let number = caller * 1_000_000 + published;
        if events == 1 {
            client.publish_event(single(number)).await?;
        } else {
            #[expect(deprecated, reason = "the only name that sidecars before 1.17 know")]
            client.bulk_publish_event_alpha1(many(number, events)).await?;
        }
        published += events;
    }
    Ok(published)
}

fn single(number: usize) -> PublishEventRequest {
    PublishEventRequest {
        pubsub_name: PUBSUB.to_owned(),
        topic: "bare".to_owned(),
        data: envelope(number),
        data_content_type: ENVELOPE.to_owned(),
        ..PublishEventRequest::default()
    }
}

fn many(number: usize, events: usize) -> BulkPublishRequest {
    let entry = |index: usize| BulkPublishRequestEntry {
        entry_id: index.to_string(),
        event: envelope(number + index),
        content_type: ENVELOPE.to_owned(),
        ..BulkPublishRequestEntry::default()
    };
    BulkPublishRequest {
        pubsub_name: PUBSUB.to_owned(),
        topic: "bare".to_owned(),
        entries: (0..events).map(entry).collect(),
        ..BulkPublishRequest::default()
    }
}
