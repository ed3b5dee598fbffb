//! What appending must hold.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::smallvec;
use tokio::sync::oneshot;

use super::JournalFactory;
use super::kit::{
    append, event, everything, many, one, only_version, order, positions, refuse, rest, soon, versions,
};
use crate::{
    ACTOR_BYTES_MAX, AppendError, AppendResult, Appended, BATCH_BYTES_MAX, Batch, CausationId, CodecId,
    CommandId, CommandMetadata, Completion, CorrelationId, Direction, EVENT_TYPE_BYTES_MAX, EventId,
    Expected, Journal, JournalExt, Lineage, NewEvent, Outcome, Position, StreamAppend, StreamId,
    TAG_BYTES_MAX, TAGS_MAX, Timestamp, TraceContext, Version, batch_bytes,
};

/// Each of the four forms of [`Expected`] takes what it should, of a stream that is there and one that is not.
pub async fn expectations_decide(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    for (n, wrong) in [Expected::Exists, Expected::Version(Version(1))].into_iter().enumerate() {
        refuse(&journal, one(&order(&format!("none-{n}")), wrong)).await;
    }
    let right = [Expected::NoStream, Expected::Any, Expected::Version(Version::NONE)];
    for (n, right) in right.into_iter().enumerate() {
        let stream = order(&format!("some-{n}"));
        append(&journal, one(&stream, right)).await;
        expectations_of_an_existing_stream(&journal, &stream).await;
    }
}

async fn expectations_of_an_existing_stream(journal: &Arc<dyn Journal>, stream: &StreamId) {
    let wrong = [Version::NONE, Version(2), Version(u64::MAX)].map(Expected::Version);
    for wrong in wrong.into_iter().chain([Expected::NoStream]) {
        refuse(journal, one(stream, wrong)).await;
    }
    for (n, right) in [Expected::Any, Expected::Exists, Expected::Version(Version(3))].into_iter().enumerate()
    {
        let appended = append(journal, one(stream, right)).await;
        assert_eq!(only_version(&appended), Version(n as u64 + 2));
    }
}

/// A conflict names the stream, what was expected and what is there, and is safe to retry.
pub async fn conflicts_say_what_is_there(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let stream = order("1");
    append(&journal, many(&stream, 3)).await;
    let error = refuse(&journal, one(&stream, Expected::Version(Version(2)))).await;
    assert_eq!(error.outcome(), Outcome::NotCommitted);
    let AppendError::Conflict { stream: of, expected, actual } = error else { panic!("{error}") };
    assert_eq!((of, expected, actual), (stream, Expected::Version(Version(2)), Version(3)));
    let error = refuse(&journal, one(&order("2"), Expected::Exists)).await;
    assert!(matches!(error, AppendError::Conflict { actual: Version::NONE, .. }), "{error}");
    assert_eq!(everything(&journal).await.len(), 3);
}

/// Where another writer's event takes the place of a refused batch, the batch that was decided on the refused one
/// meets the version that it names, and is refused all the same.
pub async fn lineages_end_with_their_first_refusal(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let (stream, lineage) = (order("1"), Lineage::default());
    let of_lineage = |version| one(&stream, Expected::Version(version)).in_lineage(lineage.clone());
    let tickets =
        [of_lineage(Version(0)), one(&stream, Expected::Any), of_lineage(Version(1)), of_lineage(Version(3))]
            .map(|batch| journal.append(batch));
    let [first, other, refused, after] = tickets;
    assert_eq!(only_version(&soon("an answer", first).await.expect("the first is taken")), Version(1));
    assert_eq!(
        only_version(&soon("an answer", other).await.expect("the other writer's is taken")),
        Version(2)
    );
    assert!(matches!(
        soon("an answer", refused).await,
        Err(AppendError::Conflict { actual: Version(2), .. })
    ));
    assert!(matches!(soon("an answer", after).await, Err(AppendError::Superseded)));
    append(&journal, one(&stream, Expected::Any)).await;
    let late = refuse(&journal, of_lineage(Version(3))).await;
    assert!(matches!(late, AppendError::Superseded) && late.outcome() == Outcome::NotCommitted, "{late}");
    assert_eq!(everything(&journal).await.len(), 3);
}

/// A batch for several streams is taken whole, in its own order, or leaves nothing behind.
pub async fn batches_are_whole_or_nothing(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let (a, b, c) = (order("a"), order("b"), order("c"));
    append(&journal, one(&b, Expected::NoStream)).await;
    let three = |of_b| {
        many(&a, 2).and(b.clone(), of_b, [event("noted")]).and(
            c.clone(),
            Expected::NoStream,
            [event("noted")],
        )
    };
    refuse(&journal, three(Expected::NoStream)).await;
    assert_eq!(everything(&journal).await.len(), 1);
    let appended = append(&journal, three(Expected::Version(Version(1)))).await;
    let versions = smallvec![Version(2), Version(2), Version(1)];
    assert_eq!(appended, Appended { first: Position(2), last: Position(5), versions });
    let streams: Vec<_> = everything(&journal).await.into_iter().map(|event| event.stream).collect();
    assert_eq!(streams, [b.clone(), a.clone(), a.clone(), b.clone(), c.clone()]);
}

/// Batches submitted without waiting are decided in the order in which they were submitted: each sees those before it.
pub async fn batches_of_one_caller_are_decided_in_order(factory: &impl JournalFactory) {
    const BATCHES: u64 = 500;
    let journal = factory.open().await;
    let stream = order("1");
    let mut tickets = Vec::new();
    for version in 0..BATCHES {
        tickets.push((true, journal.append(one(&stream, Expected::Version(Version(version))))));
        tickets.push((false, journal.append(one(&stream, Expected::Version(Version(version))))));
    }
    for (n, (taken, ticket)) in tickets.into_iter().enumerate() {
        let answer = soon("an append's answer", ticket).await;
        assert_eq!(answer.is_ok(), taken, "append {n}: {answer:?}");
    }
    let events = rest(journal.read_stream(&stream, Version(1), Direction::Forward)).await;
    assert_eq!(versions(&events), (1..=BATCHES).collect::<Vec<_>>());
}

/// Of writers that race for a version one wins, and everyone's positions are one sequence.
pub async fn concurrent_writers_share_one_history(factory: &impl JournalFactory) {
    const WRITERS: u64 = 8;
    const WINS: u64 = 25;
    let journal = factory.open().await;
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(win(Arc::clone(&journal), WINS))).collect();
    let mut won = Vec::new();
    for writer in writers {
        won.extend(soon("a writer's end", writer).await.expect("the writer does not panic"));
    }
    won.sort_unstable();
    assert_eq!(won, (1..=WRITERS * WINS).collect::<Vec<_>>());
    assert_eq!(positions(&everything(&journal).await), won);
}

/// Appends to one stream until it has won this often; the positions won.
async fn win(journal: Arc<dyn Journal>, wins: u64) -> Vec<u64> {
    let stream = order("contested");
    let mut won = Vec::new();
    let mut seen = Version::NONE;
    while (won.len() as u64) < wins {
        match journal.append(one(&stream, Expected::Version(seen))).await {
            Ok(appended) => {
                seen = only_version(&appended);
                won.push(appended.last.0);
            }
            Err(AppendError::Conflict { actual, .. }) => seen = actual,
            Err(error) => panic!("{error}"),
        }
    }
    won
}

/// Versions and positions are 1, 2, 3 ... whatever was refused in between, and are what the answer said.
pub async fn versions_and_positions_are_dense(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let mut end = 0;
    for round in 1..=20_u64 {
        let stream = order(&(round % 3).to_string());
        let count = usize::try_from(round % 4 + 1).expect("small");
        let appended = append(&journal, many(&stream, count)).await;
        refuse(&journal, one(&stream, Expected::NoStream)).await;
        assert_eq!((appended.first.0, appended.last.0), (end + 1, end + count as u64));
        assert!(journal.durable().borrow().position >= appended.last, "answered before it was durable");
        end = appended.last.0;
    }
    assert_eq!(positions(&everything(&journal).await), (1..=end).collect::<Vec<_>>());
    for id in 0..3 {
        let events = rest(journal.read_stream(&order(&id.to_string()), Version(1), Direction::Forward)).await;
        assert_eq!(versions(&events), (1..=events.len() as u64).collect::<Vec<_>>());
    }
}

/// Every field of an event comes back as it went in.
pub async fn every_field_survives(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let events = [full_event(), bare_event(), event("noted")];
    for (n, event) in events.iter().enumerate() {
        let batch = Batch::of(order(&n.to_string()), Expected::NoStream, [event.clone()]);
        append(&journal, batch).await;
    }
    let read = everything(&journal).await;
    assert_eq!(read.iter().map(|recorded| recorded.event.clone()).collect::<Vec<_>>(), events);
    for (n, recorded) in read.iter().enumerate() {
        let alone = rest(journal.read_stream(&order(&n.to_string()), Version(1), Direction::Forward)).await;
        assert_eq!(alone, std::slice::from_ref(recorded), "both ways to read say the same");
    }
}

/// Every field as large, or as odd, as it can be.
fn full_event() -> NewEvent {
    NewEvent {
        id: EventId::from_u128(u128::MAX),
        type_name: "größer geändert ✓".into(),
        schema_version: u16::MAX,
        codec: CodecId::Bincode,
        payload: (0..=255).collect::<Vec<u8>>().into(),
        command: CommandMetadata {
            time: Timestamp(i64::MAX),
            command_id: CommandId::from_u128(1 << 127),
            command_hash: u64::MAX,
            correlation_id: CorrelationId::from_u128(2),
            causation_id: CausationId::from_u128(3),
            actor: Some("Ünal <unal@example.org>".into()),
            trace: Some(TraceContext { trace_id: u128::MAX - 1, span_id: u64::MAX, flags: 0xff }),
        },
        tags: vec!["eu".into(), "日本".into()],
    }
}

/// Every field as small as it can be.
fn bare_event() -> NewEvent {
    NewEvent {
        id: EventId::from_u128(0),
        type_name: "x".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: Bytes::new(),
        command: CommandMetadata {
            time: Timestamp(i64::MIN),
            command_id: CommandId::from_u128(0),
            command_hash: 0,
            correlation_id: CorrelationId::from_u128(0),
            causation_id: CausationId::from_u128(0),
            actor: None,
            trace: None,
        },
        tags: Vec::new(),
    }
}

/// An event whose payload is this many bytes, not all alike.
fn payload_of(bytes: usize) -> NewEvent {
    let payload: Vec<u8> = (0..bytes).map(|n| (n / 251 + n) as u8).collect();
    NewEvent { payload: payload.into(), codec: CodecId::Bincode, ..event("grown") }
}

/// Payloads around the sizes at which engines change their ways come back whole.
pub async fn big_payloads_survive(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let sizes = [511, 512, 513, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1 << 20, (4 << 20) + 1];
    let events: Vec<_> = sizes.into_iter().map(payload_of).collect();
    for event in &events {
        append(&journal, Batch::of(order("big"), Expected::Any, [event.clone()])).await;
    }
    let together = Batch::of(order("together"), Expected::NoStream, events.clone());
    append(&journal, together).await;
    for id in ["big", "together"] {
        let read = rest(journal.read_stream(&order(id), Version(1), Direction::Forward)).await;
        let read: Vec<_> = read.into_iter().map(|recorded| recorded.event).collect();
        assert!(read == events, "the payloads of stream {id} differ");
    }
}

/// A batch exactly at the limits is taken; one byte more is not.
pub async fn limits_are_inclusive(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let mut longest = event("t".repeat(EVENT_TYPE_BYTES_MAX));
    longest.tags = vec![Arc::from("g".repeat(TAG_BYTES_MAX)); TAGS_MAX];
    longest.command.actor = Some("a".repeat(ACTOR_BYTES_MAX).into());
    append(&journal, Batch::of(order("longest"), Expected::NoStream, [longest.clone()])).await;
    assert_eq!(everything(&journal).await[0].event, longest);

    let around = batch_bytes(&Batch::of(order("full"), Expected::Any, [payload_of(0)]));
    let full =
        |more: usize| Batch::of(order("full"), Expected::Any, [payload_of(BATCH_BYTES_MAX - around + more)]);
    let error = refuse(&journal, full(1)).await;
    assert!(matches!(error, AppendError::Invalid { .. }), "{error}");
    let appended = append(&journal, full(0)).await;
    assert_eq!(appended.last, Position(2));
    let read = rest(journal.read_stream(&order("full"), Version(1), Direction::Forward)).await;
    assert!(read[0].payload == full(0).streams[0].events[0].payload, "the payload differs");
}

/// A batch that no engine can take is refused as [`AppendError::Invalid`], and leaves nothing behind.
pub async fn invalid_batches_are_refused(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    for batch in invalid_batches() {
        let error = refuse(&journal, batch).await;
        assert!(matches!(error, AppendError::Invalid { .. }), "{error}");
        assert_eq!(error.outcome(), Outcome::NotCommitted);
    }
    assert_eq!(everything(&journal).await, []);
    let appended = append(&journal, one(&order("1"), Expected::NoStream)).await;
    assert_eq!(appended.first, Position(1));
}

fn invalid_batches() -> Vec<Batch> {
    let of = |event: NewEvent| many(&order("1"), 1).and(order("2"), Expected::Any, [event]);
    let mut tagged = event("noted");
    tagged.tags = vec![Arc::from("tag"); TAGS_MAX + 1];
    let mut long_tag = event("noted");
    long_tag.tags = vec![Arc::from("g".repeat(TAG_BYTES_MAX + 1))];
    let mut long_actor = event("noted");
    long_actor.command.actor = Some("a".repeat(ACTOR_BYTES_MAX + 1).into());
    let empty = StreamAppend { stream: order("2"), expected: Expected::Any, events: smallvec![] };
    vec![
        Batch::default(),
        Batch { streams: smallvec![empty], ..Batch::default() },
        many(&order("1"), 1).and(order("1"), Expected::Any, [event("noted")]),
        of(event("")),
        of(event("t".repeat(EVENT_TYPE_BYTES_MAX + 1))),
        of(NewEvent { schema_version: 0, ..event("noted") }),
        of(tagged),
        of(long_tag),
        of(long_actor),
        of(payload_of(BATCH_BYTES_MAX)),
    ]
}

/// A completion may submit the next batch, and every one of a long chain is answered.
pub async fn completions_may_append_again(factory: &impl JournalFactory) {
    const LINKS: u64 = 1000;
    let journal = factory.open().await;
    let (end, ended) = oneshot::channel();
    submit_chain(&journal, 0, LINKS, end);
    let last = soon("the end of the chain", ended).await.expect("it is called").expect("it is taken");
    assert_eq!(only_version(&last), Version(LINKS));
}

fn submit_chain(journal: &Arc<dyn Journal>, version: u64, links: u64, end: oneshot::Sender<AppendResult>) {
    let next = Arc::clone(journal);
    let done = Completion::new(move |result| match result {
        Ok(_) if version + 1 < links => submit_chain(&next, version + 1, links, end),
        result => drop(end.send(result)),
    });
    journal.submit(one(&order("chain"), Expected::Version(Version(version))), done);
}

/// Dropping a ticket takes nothing back.
pub async fn dropped_tickets_append_all_the_same(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    for _ in 0..10 {
        drop(journal.append(one(&order("1"), Expected::Any)));
    }
    let appended = append(&journal, one(&order("1"), Expected::Any)).await;
    assert_eq!(only_version(&appended), Version(11));
}
