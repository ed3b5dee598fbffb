//! The adapter over a sidecar of our own, which does what a real one cannot be told to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::{Aggregate, Context, Event, Node, Shape};
use annals_persistence::{Journal, MemoryJournal};
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tonic::Code;

use super::{AppChannel, DaprBroker, DaprOptions, PublishCalls, Secret};
use crate::broker::Attachment;
use crate::{
    Bus, Delivery, HandlerError, IntegrationEvent, Outgoing, Publications, Reaction, RetryPolicy,
    SubscriptionOptions,
};

mod components;
mod declared;
mod fake;
mod half_open;
mod health;
mod tls;
mod unserved;

use fake::{Deliverer, Fault, Served};

#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
struct Counter {
    seen: Vec<u64>,
}

#[derive(Debug, Clone, Event)]
enum CounterEvent {
    #[event("counter-counted")]
    Counted { n: u64 },
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct No;

impl Aggregate for Counter {
    const TYPE: &'static str = "counter";
    type Command = u64;
    type Event = CounterEvent;
    type Rejection = No;

    fn handle(&self, n: u64, _: &Context) -> Result<Vec<CounterEvent>, No> {
        Ok(vec![CounterEvent::Counted { n }])
    }

    fn apply(&mut self, event: CounterEvent) {
        let CounterEvent::Counted { n } = event;
        self.seen.push(n);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "counted")]
struct Counted {
    key: String,
    n: u64,
}

fn publications() -> Publications {
    Publications::new("counting").publishes::<Counted>().translate::<Counter>(|event, recorded| {
        let CounterEvent::Counted { n } = event;
        vec![Outgoing::event(&Counted { key: recorded.stream.instance().to_owned(), n: *n })]
    })
}

async fn hear(event: Counted, _: Delivery) -> Result<Reaction, HandlerError> {
    Ok(Reaction::none().command::<Counter>(event.key, event.n))
}

async fn node() -> Node {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    Node::builder().journal(journal).aggregate::<Counter>().start().await.unwrap()
}

fn options(sidecar: &Served) -> DaprOptions {
    let mut options = DaprOptions::new("bus");
    options.endpoint = sidecar.endpoint();
    options.probe_every = Duration::from_millis(10);
    options.call_timeout = Duration::from_millis(200);
    let retry = RetryPolicy {
        attempts: u32::MAX,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
    };
    options.relay.retry = retry;
    options.relay.parked_retry = Duration::from_millis(20);
    options
}

async fn publisher(node: &Node, options: DaprOptions) -> Bus {
    let builder = Bus::builder(node.clone(), "counting").publications(publications());
    builder.broker(Arc::new(DaprBroker::new(options))).start().await.unwrap()
}

/// A subscriber, and where it takes deliveries.
async fn subscriber(
    options: DaprOptions,
    subscription: SubscriptionOptions,
) -> (Node, Bus, std::net::SocketAddr) {
    let node = node().await;
    let broker = DaprBroker::new(options);
    let builder = Bus::builder(node.clone(), "hearing").subscribe_with::<Counted>("hear", subscription, hear);
    let bus = builder.broker(Arc::new(broker.clone())).start().await.unwrap();
    (node, bus, broker.app_address().unwrap())
}

async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !so().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn count_up(node: &Node, keys: u64, rounds: u64) {
    for n in 1..=rounds {
        let sends = (0..keys).map(|key| node.aggregate::<Counter>(key.to_string()).send(n).into_future());
        for sent in join_all(sends).await {
            sent.unwrap();
        }
    }
}

/// The numbers of each key as they were published: without repetitions, which must carry the same id.
fn published(sidecar: &Served) -> HashMap<String, Vec<u64>> {
    let mut ids: HashMap<(String, u64), String> = HashMap::new();
    let mut numbers: HashMap<String, Vec<u64>> = HashMap::new();
    for event in &sidecar.script().published {
        let key = event["data"]["key"].as_str().unwrap().to_owned();
        let n = event["data"]["n"].as_u64().unwrap();
        let id = event["id"].as_str().unwrap().to_owned();
        let of_key = numbers.entry(key.clone()).or_default();
        if *ids.entry((key.clone(), n)).or_insert_with(|| id.clone()) != id {
            panic!("{key} {n} was published under two ids");
        }
        match of_key.last() {
            Some(last) if *last == n => {}
            _ => of_key.push(n),
        }
    }
    numbers
}

fn seed() -> u64 {
    let seed =
        std::env::var("ANNALS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("ANNALS_SEED={seed}");
    seed
}

async fn all_published(sidecar: &Served, keys: u64, rounds: u64) {
    let expected: Vec<_> = (1..=rounds).collect();
    until("everything is published", async || {
        let numbers = published(sidecar);
        (0..keys).all(|key| numbers.get(&key.to_string()).is_some_and(|of_key| *of_key == expected))
    })
    .await;
}

#[tokio::test]
async fn w9_whatever_becomes_of_calls_everything_is_published_in_the_order_of_its_key() {
    let mut random = StdRng::seed_from_u64(seed());
    for calls in [PublishCalls::Single { calls: 8 }, PublishCalls::Bulk { calls: 4, events: 7 }] {
        let sidecar = Served::start("1.14.4").await;
        let faults = [
            Fault::Refuse(Code::Unavailable),
            Fault::Refuse(Code::Internal),
            Fault::Refuse(Code::DeadlineExceeded),
            Fault::Refuse(Code::PermissionDenied),
            Fault::Refuse(Code::ResourceExhausted),
            Fault::LoseAnswer,
            Fault::LoseAnswer,
        ];
        sidecar.script().faults.extend((0..200).map(|_| faults[random.random_range(0..faults.len())]));
        sidecar.script().faults.extend([Fault::Hang, Fault::Hang]);
        let node = node().await;
        let bus = publisher(&node, DaprOptions { publish: calls, ..options(&sidecar) }).await;
        count_up(&node, 20, 10).await;
        all_published(&sidecar, 20, 10).await;
        assert!(sidecar.script().faults.is_empty(), "every fault has happened");
        until("nothing is parked any more", async || bus.health().degraded.is_empty()).await;
        bus.shutdown().await;
    }
}

#[tokio::test]
async fn an_event_that_the_sidecar_never_takes_keeps_no_other_key_up() {
    let sidecar = Served::start("1.14.4").await;
    sidecar.script().poison = Some("\"key\":\"3\"");
    let node = node().await;
    let bus = publisher(&node, options(&sidecar)).await;
    count_up(&node, 6, 5).await;
    let expected: Vec<_> = (1..=5).collect();
    until("the others are published", async || {
        let numbers = published(&sidecar);
        [0, 1, 2, 4, 5]
            .iter()
            .all(|key| numbers.get(&key.to_string()).is_some_and(|of_key| *of_key == expected))
    })
    .await;
    assert!(bus.relays()[0].parked.as_ref().is_some_and(|reason| reason.contains("InvalidArgument")));
    sidecar.script().poison = None;
    all_published(&sidecar, 6, 5).await;
    bus.shutdown().await;
}

#[tokio::test]
async fn bulk_publishing_goes_by_the_name_that_the_sidecar_knows() {
    for (version, name) in [("1.14.4", "bulk alpha"), ("1.17.0", "bulk")] {
        let sidecar = Served::start(version).await;
        let node = node().await;
        count_up(&node, 50, 2).await;
        let bus = publisher(&node, options(&sidecar)).await;
        all_published(&sidecar, 50, 2).await;
        let calls = sidecar.script().calls.clone();
        assert!(calls.contains(&name), "{version}: {calls:?}");
        bus.shutdown().await;
    }
}

#[tokio::test]
async fn a_broken_release_is_refused_until_it_is_replaced() {
    let sidecar = Served::start("1.18.1").await;
    let node = node().await;
    let bus = publisher(&node, options(&sidecar)).await;
    until("it shows", async || bus.health().reasons.iter().any(|reason| reason.contains("1.18.1"))).await;
    count_up(&node, 2, 1).await;
    until("events wait", async || !bus.health().degraded.is_empty()).await;
    assert!(sidecar.script().published.is_empty());
    sidecar.script().version = "1.18.3".to_owned();
    all_published(&sidecar, 2, 1).await;
    let notes = bus.health().notes;
    assert!(notes.len() == 1 && notes[0].contains("deploy/dapr/redis-1.17"), "{notes:?}");
    bus.shutdown().await;
}

#[tokio::test]
async fn the_sidecar_is_shown_its_token_and_a_wrong_one_shows() {
    let sidecar = Served::start("1.14.4").await;
    sidecar.script().token = Some("open");
    let node = node().await;
    let wrong = DaprOptions { api_token: Some(Secret::new("shut")), ..options(&sidecar) };
    let bus = publisher(&node, wrong).await;
    until("it shows", async || bus.health().reasons.iter().any(|reason| reason.contains("Unauthenticated")))
        .await;
    bus.shutdown().await;
    let right = DaprOptions { api_token: Some(Secret::new("open")), ..options(&sidecar) };
    assert!(!format!("{right:?}").contains("open"), "a token is not printed");
    let bus = publisher(&node, right).await;
    count_up(&node, 1, 1).await;
    all_published(&sidecar, 1, 1).await;
    until("what this release costs shows", async || bus.health().notes.len() == 3).await;
    bus.shutdown().await;
}

#[tokio::test]
async fn deliveries_prove_themselves_where_the_sidecar_can() {
    for (version, without) in [("1.14.4", true), ("1.17.0", false)] {
        let sidecar = Served::start(version).await;
        let options = DaprOptions { app_token: Some(Secret::new("app")), ..options(&sidecar) };
        let (_node, bus, address) = subscriber(options, SubscriptionOptions::default()).await;
        until("the sidecar is ready", async || bus.health().is_ready()).await;
        let events = some_events(1, 1).await;
        let unproven = Deliverer::to(address, None).deliver(&events[0]).await;
        assert_eq!(unproven.is_ok(), without, "{version}: {unproven:?}");
        let forged = Deliverer::to(address, Some("other")).deliver(&events[0]).await.unwrap_err();
        assert_eq!(forged.code(), Code::Unauthenticated);
        Deliverer::to(address, Some("app")).deliver_until_taken(&events[0]).await;
        bus.shutdown().await;
    }
}

#[tokio::test]
async fn an_event_that_is_too_long_keeps_none_of_its_key_up() {
    let sidecar = Served::start("1.14.4").await;
    let events = some_events(1, 3).await;
    let longest = events.iter().map(|event| event["data"].to_string().len()).max().unwrap();
    let options = DaprOptions { body_bytes_max: longest + 20, ..options(&sidecar) };
    let (node, bus, address) = subscriber(options, SubscriptionOptions::default()).await;
    let deliverer = Deliverer::to(address, None);
    deliverer.deliver_until_taken(&events[0]).await;
    let mut long = events[1].clone();
    long["data"]["padding"] = "x".repeat(longest + 20).into();
    deliverer.deliver_until_taken(&long).await;
    deliverer.deliver_until_taken(&events[2]).await;
    let letters = bus.dead_letters().list().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].event_id, events[1]["id"].as_str().unwrap());
    assert!(letters[0].reason.contains("more than the"), "{}", letters[0].reason);
    // Whoever replays it wants it, however long it is.
    bus.dead_letters().replay(letters[0].id).await.unwrap();
    drop(node);
    bus.shutdown().await;
}

#[tokio::test]
async fn who_has_no_token_is_believed_on_this_machine_alone() {
    let sidecar = Served::start("1.14.4").await;
    let with_token = |channel| DaprOptions {
        app_token: Some(Secret::new("app")),
        app_channel: channel,
        ..options(&sidecar)
    };
    let over_grpc = DaprBroker::new(with_token(AppChannel::Grpc("127.0.0.1:0".parse().unwrap())));
    let over_http = DaprBroker::new(with_token(AppChannel::Http));
    for (peer, believed) in
        [("127.0.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.7", false)]
    {
        let peer = Some(peer.parse().unwrap());
        assert_eq!(over_grpc.app().is_from_sidecar(None, peer), believed, "{peer:?}");
        assert!(!over_http.app().is_from_sidecar(None, peer), "over HTTP every sidecar sends it");
        assert!(over_grpc.app().is_from_sidecar(Some(b"app"), peer));
        assert!(!over_grpc.app().is_from_sidecar(Some(b"other"), peer));
    }
    assert!(!over_grpc.app().is_from_sidecar(None, None));
}

#[tokio::test]
async fn without_a_token_this_machine_alone_is_believed_on_either_channel() {
    let sidecar = Served::start("1.18.3").await;
    for app_channel in [AppChannel::Http, AppChannel::Grpc("127.0.0.1:0".parse().unwrap())] {
        let broker = DaprBroker::new(DaprOptions { app_channel, ..options(&sidecar) });
        for token in [None, Some(&b"any"[..])] {
            for (peer, believed) in
                [("127.0.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.7", false)]
            {
                let from_there = broker.app().is_from_sidecar(token, Some(peer.parse().unwrap()));
                assert_eq!(from_there, believed, "{app_channel:?} {peer}");
            }
            assert!(!broker.app().is_from_sidecar(token, None));
        }
    }
}

#[tokio::test]
async fn a_service_that_is_gone_does_not_take_the_one_after_it_along() {
    let sidecar = Served::start("1.14.4").await;
    let broker = DaprBroker::new(options(&sidecar));
    let start = async || {
        let node = node().await;
        let builder = Bus::builder(node.clone(), "hearing").broker(Arc::new(broker.clone()));
        let options = SubscriptionOptions::default();
        (node, builder.subscribe_with::<Counted>("hear", options, hear).start().await.unwrap())
    };
    let (_first_node, first) = start().await;
    first.shutdown().await;
    let (_second_node, second) = start().await;
    drop(first);
    assert!(broker.app().is_healthy(), "the second is attached");
    second.shutdown().await;
    assert!(!broker.app().is_healthy());
}

/// Events as a relay publishes them.
async fn some_events(keys: u64, rounds: u64) -> Vec<Value> {
    let sidecar = Served::start("1.14.4").await;
    let node = node().await;
    let bus = publisher(&node, options(&sidecar)).await;
    count_up(&node, keys, rounds).await;
    all_published(&sidecar, keys, rounds).await;
    bus.shutdown().await;
    let mut script = sidecar.script();
    std::mem::take(&mut script.published)
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_duplicated_reordered_and_late_deliveries_have_one_effect_each_in_order() {
    let mut random = StdRng::seed_from_u64(seed());
    let (keys, rounds) = (10, 12);
    let sidecar = Served::start("1.14.4").await;
    let subscription =
        SubscriptionOptions { reorder_timeout: Duration::from_millis(20), ..SubscriptionOptions::default() };
    let (node, bus, address) = subscriber(options(&sidecar), subscription).await;
    let events = some_events(keys, rounds).await;
    let mut deliveries: Vec<_> = (0..3).flat_map(|_| events.clone()).collect();
    deliveries.shuffle(&mut random);
    let deliverer = Deliverer::to(address, None);
    let delivering = deliveries.into_iter().map(|event| {
        let (deliverer, late) = (deliverer.clone(), Duration::from_micros(random.random_range(0..50_000)));
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            deliverer.deliver_until_taken(&event).await;
        })
    });
    for delivered in join_all(delivering.collect::<Vec<_>>()).await {
        delivered.unwrap();
    }
    let expected: Vec<_> = (1..=rounds).collect();
    for key in 0..keys {
        // What came too early was taken before it was handled.
        let counter = node.aggregate::<Counter>(key.to_string());
        let seen = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let seen = counter.state().await.unwrap().state.seen;
                if seen.len() >= expected.len() {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(seen.await.expect("all is handled"), expected, "key {key}");
    }
    bus.shutdown().await;
}

#[tokio::test]
async fn one_sidecar_is_one_service() {
    let sidecar = Served::start("1.14.4").await;
    let broker = DaprBroker::new(DaprOptions { app_channel: AppChannel::Http, ..options(&sidecar) });
    let builder = || async { Bus::builder(node().await, "counting").broker(Arc::new(broker.clone())) };
    let bus = builder().await.start().await.unwrap();
    assert_eq!(builder().await.start().await.unwrap_err().code(), "service_taken");
    bus.shutdown().await;
    builder().await.start().await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_task_that_has_ended_by_itself_shows() {
    let sidecar = Served::start("1.18.3").await;
    let node = node().await;
    let port = crate::broker::ServicePort {
        service: "counting".into(),
        journal: Arc::clone(node.journal()),
        clock: Arc::clone(node.clock()),
        publications: Arc::new(publications()),
        readers: node.readers().clone(),
        subscriptions: Vec::new(),
    };
    let attached = DaprBroker::new(options(&sidecar)).connect(port).await.unwrap();
    until("the sidecar is ready", async || attached.health().is_ready()).await;
    attached.fail();
    until("both show", async || {
        let reasons = attached.health().reasons;
        ["the server that the sidecar calls", "what watches the sidecar"].iter().all(|what| {
            reasons.iter().any(|reason| reason.contains(what) && reason.contains("ended by itself"))
        })
    })
    .await;
    attached.detach().await;
}

#[tokio::test]
async fn a_subscription_that_has_ended_by_itself_shows() {
    let sidecar = Served::start("1.18.3").await;
    let (_node, bus, _) = subscriber(options(&sidecar), SubscriptionOptions::default()).await;
    bus.inlet("hear").unwrap().fail();
    until("it shows", async || {
        bus.health().reasons.iter().any(|reason| reason.contains("subscription \"hear\" has ended by itself"))
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_is_asked_what_it_is_when_it_asks_for_subscriptions() {
    let sidecar = Served::start("1.16.9").await;
    // So seldom that it does not find out in time.
    let options = DaprOptions { probe_every: Duration::from_secs(600), ..options(&sidecar) };
    let node = node().await;
    let broker = DaprBroker::new(options);
    let builder = Bus::builder(node.clone(), "hearing").subscribe::<Counted>("hear", hear);
    let bus = builder.broker(Arc::new(broker.clone())).start().await.unwrap();
    until("the first is known", async || bus.health().is_ready()).await;
    for (version, wanted) in [("1.16.9", None), ("1.18.3", Some("v1.counted.dapr-dead")), ("1.16.9", None)] {
        sidecar.script().version = version.to_owned();
        let subscriptions = broker.app().subscriptions().await;
        assert_eq!(subscriptions[0].dead_letter_topic.as_deref(), wanted, "{version}");
    }
    bus.shutdown().await;
    // Nobody knows what it is.
    drop(sidecar);
    let never = DaprBroker::new(DaprOptions { app_channel: AppChannel::Http, ..DaprOptions::new("bus") });
    let builder = Bus::builder(node.clone(), "hearing").subscribe::<Counted>("hear", hear);
    let bus = builder.broker(Arc::new(never.clone())).start().await.unwrap();
    assert!(never.app().subscriptions().await[0].dead_letter_topic.is_some());
    bus.shutdown().await;
}
