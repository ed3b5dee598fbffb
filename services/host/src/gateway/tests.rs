use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::doc::{Account, AccountCommand};
use annals_actors::{Aggregate, Context, Event, Node, NodeOptions, Shape};
use annals_persistence::{
    EmbeddedJournal, EmbeddedOptions, Journal, MemoryJournal, ScavengeOptions, Version,
};
use axum::extract::FromRequestParts;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Accepted, Gateway, SendAs};
use crate::{BodyHash, DiskOptions, ETag, Problem, RequestContext};

struct Fixture {
    node: Node,
    gateway: Gateway,
}

async fn fixture(journal: Arc<dyn Journal>) -> Fixture {
    // A memory of one command: what is remembered of requests must not hang on it.
    let options = NodeOptions { command_ids_max: 1, ..NodeOptions::default() };
    let node = Node::builder().journal(Arc::clone(&journal)).options(options);
    let node = node.aggregate::<Account>().start().await.unwrap();
    Fixture { node, gateway: Gateway::new("bank", journal) }
}

async fn context(key: Option<&str>) -> RequestContext {
    let mut request = Request::builder().method("POST").uri("/api/account");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    RequestContext::from_request_parts(&mut parts, &()).await.unwrap()
}

impl Fixture {
    async fn send(
        &self,
        key: &str,
        body: &str,
        id: &str,
        command: AccountCommand,
    ) -> Result<Accepted, Problem> {
        let body = BodyHash::of(Bytes::copy_from_slice(body.as_bytes()));
        let account = self.node.aggregate::<Account>(id);
        let how = SendAs::status(StatusCode::CREATED);
        Ok(self.gateway.send(&context(Some(key)).await, &body, &account, command, how).await?)
    }

    async fn deposit(&self, key: &str, body: &str, id: &str) -> Result<Accepted, Problem> {
        self.send(key, body, id, AccountCommand::Deposit { amount: 1 }).await
    }

    async fn version(&self, id: &str) -> Version {
        self.node.aggregate::<Account>(id).state().await.unwrap().version
    }
}

fn code(result: Result<Accepted, Problem>) -> &'static str {
    result.map_or_else(|problem| problem.code(), |_| "accepted")
}

#[tokio::test]
async fn a_repeated_request_has_one_effect_and_one_answer() {
    let bank = fixture(Arc::new(MemoryJournal::new())).await;
    let first = bank.deposit("k", "b", "a").await.unwrap();
    assert_eq!((first.version, first.replayed, first.status), (Version(1), false, StatusCode::CREATED));
    for key in ["other", "more"] {
        bank.deposit(key, "b", "a").await.unwrap();
    }
    let again = bank.deposit("k", "b", "a").await.unwrap();
    assert_eq!((again.version, again.replayed, again.status), (Version(1), true, StatusCode::CREATED));
    assert_eq!(again.state(&bank.node.aggregate::<Account>("a")).await.unwrap().state.balance, 1);
    assert_eq!(bank.version("a").await, Version(3));
    let asked = bank.gateway.replay(&context(Some("k")).await, &BodyHash::of("b".into())).await.unwrap();
    assert_eq!(asked, Some(again));
}

#[tokio::test]
async fn fifty_at_once_have_one_effect() {
    let bank = fixture(Arc::new(MemoryJournal::new())).await;
    let answers = join_all((0..50).map(|_| bank.deposit("k", "b", "a"))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().version == Version(1)));
    assert_eq!(answers.iter().filter(|answer| !answer.as_ref().unwrap().replayed).count(), 1);
    assert_eq!(bank.version("a").await, Version(1));
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_also_for_another_instance() {
    let bank = fixture(Arc::new(MemoryJournal::new())).await;
    bank.deposit("k", "b", "a").await.unwrap();
    assert_eq!(code(bank.deposit("k", "c", "a").await), "idempotency_key_reused");
    assert_eq!(code(bank.deposit("k", "c", "z").await), "idempotency_key_reused");
    assert_eq!(bank.version("z").await, Version(0));
}

#[tokio::test]
async fn of_two_bodies_at_once_one_wins_whatever_they_name() {
    let bank = fixture(Arc::new(MemoryJournal::new())).await;
    for round in 0..20 {
        let key = round.to_string();
        let (one, two) = (format!("one{round}"), format!("two{round}"));
        let sends = (0..20).map(|n| {
            let (id, body) = if n % 2 == 0 { (&one, "1") } else { (&two, "2") };
            bank.deposit(&key, body, id)
        });
        let codes: Vec<_> = join_all(sends).await.into_iter().map(code).collect();
        assert_eq!(codes.iter().filter(|c| **c == "accepted").count(), 10, "{codes:?}");
        assert_eq!(codes.iter().filter(|c| **c == "idempotency_key_reused").count(), 10, "{codes:?}");
        let versions = (bank.version(&one).await.0, bank.version(&two).await.0);
        assert!(matches!(versions, (1, 0) | (0, 1)), "{versions:?}");
    }
}

/// Something that is switched on and off, where switching on twice changes nothing.
#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
struct Lamp {
    on: bool,
}

#[derive(Debug, Event)]
enum LampEvent {
    #[event("lamp-switched")]
    Switched { on: bool },
}

impl Aggregate for Lamp {
    const TYPE: &'static str = "lamp";
    type Command = bool;
    type Event = LampEvent;
    type Rejection = std::convert::Infallible;

    fn handle(&self, on: bool, _: &Context) -> Result<Vec<LampEvent>, Self::Rejection> {
        Ok(if on == self.on { vec![] } else { vec![LampEvent::Switched { on }] })
    }

    fn apply(&mut self, event: LampEvent) {
        let LampEvent::Switched { on } = event;
        self.on = on;
    }
}

#[tokio::test]
async fn a_command_without_events_is_remembered_too() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let node = Node::builder().journal(Arc::clone(&journal)).aggregate::<Lamp>().start().await.unwrap();
    let (gateway, lamp) = (Gateway::new("light", journal), node.aggregate::<Lamp>("1"));
    let how = SendAs::status(StatusCode::OK);
    let send = async |key: &str, body: &'static str, on: bool| {
        let body = BodyHash::of(Bytes::from_static(body.as_bytes()));
        gateway.send(&context(Some(key)).await, &body, &lamp, on, how).await.map_err(Problem::from)
    };
    send("1", "on", true).await.unwrap();
    let nothing = join_all((0..10).map(|_| send("2", "on", true))).await;
    assert!(nothing.iter().all(|done| done.as_ref().unwrap().version == Version(1)));
    send("3", "off", false).await.unwrap();
    // By now the same command would change something; the same request does not.
    let again = send("2", "on", true).await.unwrap();
    assert_eq!((again.version, again.replayed), (Version(1), true));
    assert!(!lamp.state().await.unwrap().state.on);
    assert_eq!(code(send("2", "other", true).await), "idempotency_key_reused");
}

#[tokio::test]
async fn a_rejection_is_not_remembered() {
    let bank = fixture(Arc::new(MemoryJournal::new())).await;
    let withdraw = || AccountCommand::Withdraw { amount: 1 };
    assert_eq!(code(bank.send("k", "b", "a", withdraw()).await), "rejected");
    bank.deposit("d", "b", "a").await.unwrap();
    assert_eq!(code(bank.send("k", "b", "a", withdraw()).await), "accepted");
}

#[tokio::test]
async fn the_answer_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn Journal> {
        Arc::new(EmbeddedJournal::open(dir.path(), EmbeddedOptions::default()).unwrap())
    };
    let journal = open();
    let bank = fixture(Arc::clone(&journal)).await;
    let first = bank.deposit("k", "b", "a").await.unwrap();
    bank.deposit("k2", "b", "a").await.unwrap();
    bank.node.shutdown().await;
    journal.close().await;
    drop((bank, journal));
    let bank = fixture(open()).await;
    let again = bank.deposit("k", "b", "a").await.unwrap();
    assert_eq!((again.version, again.replayed), (first.version, true));
    assert_eq!(code(bank.deposit("k", "c", "a").await), "idempotency_key_reused");
}

#[tokio::test]
async fn a_key_that_has_expired_is_new_and_what_it_made_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { segment_bytes: 8192, ..EmbeddedOptions::default() };
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), options).unwrap());
    let bank = fixture(Arc::clone(&journal) as Arc<dyn Journal>).await;
    for number in 0..60 {
        bank.deposit(&number.to_string(), "b", "a").await.unwrap();
    }
    let disk = DiskOptions { keys_kept: Duration::ZERO, ..DiskOptions::default() };
    let end = journal.durable().borrow().position.next();
    let all = ScavengeOptions { expiring: disk.expiring(), percent_min: 0, ..ScavengeOptions::below(end) };
    // Segments are settled beside the appends.
    let gone = (0..1000).map(|_| journal.scavenge(&all, |_| ControlFlow::Continue(())).unwrap().events);
    assert!(gone.take_while(|gone| *gone == 0).count() < 1000);
    let body = BodyHash::of("b".into());
    assert_eq!(bank.gateway.replay(&context(Some("1")).await, &body).await.unwrap(), None);
    // The command that made an instance is remembered with it for good.
    assert!(bank.deposit("0", "b", "a").await.unwrap().replayed);
    assert_eq!(bank.version("a").await, Version(60));
    let again = bank.deposit("1", "b", "a").await.unwrap();
    assert_eq!((again.version, again.replayed), (Version(61), false));
    assert!(bank.deposit("1", "b", "a").await.unwrap().replayed, "it is remembered anew");
    assert_eq!(code(bank.deposit("1", "c", "a").await), "idempotency_key_reused");
}

#[tokio::test]
async fn ids_follow_from_the_key() {
    let bank = fixture(Arc::new(MemoryJournal::new())).await;
    let (with, without) = (context(Some("k")).await, context(None).await);
    let given = Uuid::now_v7();
    assert_eq!(bank.gateway.new_id(&with, Some(given)).unwrap(), given);
    assert_eq!(bank.gateway.new_id(&with, None).unwrap(), bank.gateway.new_id(&with, None).unwrap());
    assert_ne!(bank.gateway.new_id(&without, None).unwrap(), bank.gateway.new_id(&without, None).unwrap());
}

#[tokio::test]
async fn a_stale_tag_is_a_conflict() {
    let bank = fixture(Arc::new(MemoryJournal::new())).await;
    let account = bank.node.aggregate::<Account>("a");
    let how = SendAs::status(StatusCode::OK).expecting(ETag::parse("nonsense"));
    let command = AccountCommand::Deposit { amount: 1 };
    let sent = bank.gateway.send_plain(&context(None).await, &account, command, how).await;
    assert_eq!(code(sent.map_err(Problem::from)), "version_conflict");
}
