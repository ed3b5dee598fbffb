//! What reading must hold.

use std::sync::Arc;

use bytes::Bytes;

use super::JournalFactory;
use super::kit::{
    append, event, everything, many, one, order, positions, rest, soon, versions, views_are_events, wanted,
};
use crate::{
    AllPage, Batch, CodecId, Direction, Expected, Filter, Journal, JournalExt, NewEvent, Position,
    STREAM_NAME_BYTES_MAX, StreamId, Timestamp, Version,
};

/// The versions of one page of a stream.
async fn page(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    from: u64,
    direction: Direction,
    limit: usize,
) -> Vec<u64> {
    let read = journal.stream_page(stream, Version(from), direction, limit);
    versions(&soon("a page", read).await.expect("the stream can be read").events)
}

/// A journal with five events in stream `order-1`, among events of others.
async fn five(factory: &impl JournalFactory) -> (Arc<dyn Journal>, StreamId) {
    let journal = factory.open().await;
    for _ in 0..5 {
        append(&journal, many(&order("0"), 2)).await;
        append(&journal, one(&order("1"), Expected::Any)).await;
        append(&journal, one(&order("10"), Expected::Any)).await;
    }
    (journal, order("1"))
}

/// A stream is read from old to new, from any version, in pages of any size.
pub async fn streams_read_forward(factory: &impl JournalFactory) {
    let (journal, stream) = five(factory).await;
    let forward = |from, limit| page(&journal, &stream, from, Direction::Forward, limit);
    assert_eq!(forward(1, 100).await, [1, 2, 3, 4, 5]);
    assert_eq!(forward(0, 100).await, [1, 2, 3, 4, 5], "before the first is the first");
    assert_eq!(forward(2, 2).await, [2, 3]);
    assert_eq!(forward(5, 1).await, [5]);
    assert_eq!(forward(6, 100).await, [0; 0], "above the end is nothing");
    assert_eq!(forward(u64::MAX, usize::MAX).await, [0; 0]);
    assert_eq!(forward(1, 0).await, [0; 0]);
    assert_eq!(forward(1, usize::MAX).await, [1, 2, 3, 4, 5]);
    assert_eq!(page(&journal, &order("absent"), 1, Direction::Forward, 9).await, [0; 0]);
    append(&journal, many(&order("long"), 1000)).await;
    let events = rest(journal.read_stream(&order("long"), Version(3), Direction::Forward)).await;
    assert_eq!(versions(&events), (3..=1000).collect::<Vec<_>>());
}

/// A stream is read from new to old, from any version, in pages of any size.
pub async fn streams_read_backward(factory: &impl JournalFactory) {
    let (journal, stream) = five(factory).await;
    let backward = |from, limit| page(&journal, &stream, from, Direction::Backward, limit);
    assert_eq!(backward(5, 100).await, [5, 4, 3, 2, 1]);
    assert_eq!(backward(u64::MAX, 2).await, [5, 4], "above the end is the end");
    assert_eq!(backward(6, 1).await, [5]);
    assert_eq!(backward(3, 2).await, [3, 2]);
    assert_eq!(backward(1, 100).await, [1]);
    assert_eq!(backward(0, 100).await, [0; 0], "before the first is nothing");
    assert_eq!(backward(5, 0).await, [0; 0]);
    assert_eq!(page(&journal, &order("absent"), 9, Direction::Backward, 9).await, [0; 0]);
    append(&journal, many(&order("long"), 1000)).await;
    let events = rest(journal.read_stream(&order("long"), Version(u64::MAX), Direction::Backward)).await;
    assert_eq!(versions(&events), (1..=1000).rev().collect::<Vec<_>>());
}

/// What a replay looks at is what is there, in pages of any size.
pub async fn views_show_what_events_are(factory: &impl JournalFactory) {
    let (journal, stream) = five(factory).await;
    let full = NewEvent {
        schema_version: 7,
        codec: CodecId::Bincode,
        payload: Bytes::new(),
        tags: vec!["a".into(), "b".into()],
        ..event("full")
    };
    append(&journal, Batch::of(stream.clone(), Expected::Any, [full, event("noted-1")])).await;
    for from in [0, 1, 3, 7, 8] {
        views_are_events(&journal, &stream, Version(from)).await;
    }
    for limit in [1, 2, 3, 100] {
        let page = soon("a page", journal.view_page(&stream, Version(2), limit)).await;
        let page = page.expect("the stream can be read");
        assert_eq!(page.len(), limit.min(6));
        assert_eq!(page.next, (limit < 6).then(|| Version(2 + limit as u64)));
    }
    append(&journal, many(&order("long"), 1000)).await;
    views_are_events(&journal, &order("long"), Version(3)).await;
    views_are_events(&journal, &order("absent"), Version(1)).await;
}

/// A stream whose events are large is read to its end, however early its pages end.
pub async fn large_events_are_read_to_the_end(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let large = || NewEvent { payload: vec![7; 3 << 20].into(), codec: CodecId::Bincode, ..event("large") };
    for _ in 0..7 {
        append(&journal, Batch::of(order("large"), Expected::Any, [large()])).await;
    }
    let stream = order("large");
    assert_eq!(by_pages(&journal, &stream, Version(1), Direction::Forward).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(by_pages(&journal, &stream, Version(7), Direction::Backward).await, [7, 6, 5, 4, 3, 2, 1]);
}

/// The versions of a stream, read by pages as they say where to go on.
async fn by_pages(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    from: Version,
    direction: Direction,
) -> Vec<u64> {
    let (mut read, mut next) = (Vec::new(), Some(from));
    while let Some(from) = next {
        let page = soon("a page", journal.stream_page(stream, from, direction, 256)).await;
        let page = page.expect("the stream can be read");
        assert!(!page.events.is_empty() || page.next.is_none(), "a page that goes on has events");
        read.extend(versions(&page.events));
        next = page.next;
    }
    read
}

/// The whole journal is read from any position, in pages of any size, and every page says where the next begins.
pub async fn the_journal_reads_in_pages(factory: &impl JournalFactory) {
    let (journal, _) = five(factory).await;
    let all = everything(&journal).await;
    assert_eq!(positions(&all), (1..=20).collect::<Vec<_>>());
    for limit in [1, 2, 7, 20, usize::MAX] {
        assert_eq!(paged(&journal, &Filter::everything(), limit).await, positions(&all), "pages of {limit}");
    }
    let only = Filter::default().event_type("noted-1");
    let expected = positions(&wanted(&journal, only.clone()).await);
    assert_eq!(expected.len(), 5);
    assert_eq!(paged(&journal, &only, 1).await, expected);
    let above = all_page(&journal, 21, &Filter::everything(), 10).await;
    assert_eq!((above.events.len(), above.next), (0, Position(21)));
    assert_eq!(all_page(&journal, u64::MAX, &Filter::everything(), 10).await.events, []);
    assert_eq!(all_page(&journal, 5, &Filter::everything(), 0).await.events, []);
    let tail = rest(journal.read_all(Position(18), Filter::everything())).await;
    assert_eq!(positions(&tail), [18, 19, 20]);
}

async fn all_page(journal: &Arc<dyn Journal>, from: u64, filter: &Filter, limit: usize) -> AllPage {
    let read = journal.all_page(Position(from), filter, limit);
    soon("a page", read).await.expect("the journal can be read")
}

/// The positions that pages of this size deliver, one after the other.
async fn paged(journal: &Arc<dyn Journal>, filter: &Filter, limit: usize) -> Vec<u64> {
    let mut read = Vec::new();
    let mut next = Position(1);
    while next <= journal.durable().borrow().position {
        let page = all_page(journal, next.0, filter, limit).await;
        assert!(page.events.len() <= limit, "more than {limit} events in a page");
        assert!(page.next > next, "a page leads on");
        assert!(page.events.iter().all(|event| (next..page.next).contains(&event.position)));
        read.extend(positions(&page.events));
        next = page.next;
    }
    read
}

/// Filters select by aggregate type, event type and tag, and leave the runtime's own streams out unless asked.
pub async fn filters_select(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    append_variety(&journal).await;
    let cases: [(Filter, &[u64]); 11] = [
        (Filter::default(), &[1, 2, 3, 4]),
        (Filter::everything(), &[1, 2, 3, 4, 5, 6]),
        (Filter::default().category("order"), &[1, 2]),
        (Filter::default().category("order").category("invoice"), &[1, 2, 3]),
        (Filter::default().category("$timers"), &[5]),
        (Filter::default().event_type("opened"), &[1, 3, 4]),
        (Filter::default().event_type("opened").event_type("closed"), &[1, 2, 3, 4]),
        (Filter::default().tag("eu"), &[1, 3]),
        (Filter::default().tag("eu").tag("us"), &[1, 3, 4]),
        (Filter::default().category("order").event_type("opened").tag("eu"), &[1]),
        (Filter::default().category("absent"), &[]),
    ];
    for (filter, expected) in cases {
        let events = wanted(&journal, filter.clone()).await;
        assert_eq!(positions(&events), expected, "{filter:?}");
        assert_eq!(paged(&journal, &filter, 1).await, expected, "{filter:?}, one by one");
    }
}

async fn append_variety(journal: &Arc<dyn Journal>) {
    let internal = |name| StreamId::internal(name).expect("a valid name");
    let id = |category| StreamId::aggregate(category, "1").expect("a valid id");
    let appends: [(StreamId, &'static str, &[&str]); 6] = [
        (id("order"), "opened", &["eu", "big"]),
        (id("order"), "closed", &[]),
        (id("invoice"), "opened", &["eu"]),
        (id("order_line"), "opened", &["us"]),
        (internal("timers-1"), "opened", &["eu"]),
        (internal("node"), "opened", &[]),
    ];
    for (stream, name, tags) in appends {
        let tags = tags.iter().map(|tag| Arc::from(*tag)).collect();
        append(journal, Batch::of(stream, Expected::Any, [NewEvent { tags, ..event(name) }])).await;
    }
}

/// A read of everything ends at what was durable when it began, though appends go on.
pub async fn read_all_ends_where_the_journal_did(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    append(&journal, many(&order("1"), 300)).await;
    let before = journal.read_all(Position(1), Filter::default());
    append(&journal, many(&order("1"), 300)).await;
    assert_eq!(positions(&rest(before).await), (1..=300).collect::<Vec<_>>());
    assert_eq!(rest(journal.read_all(Position(601), Filter::default())).await, []);
    assert_eq!(everything(&journal).await.len(), 600);
}

/// A stream's last version and time are known; of a stream without events nothing is.
pub async fn stream_info_tells_the_end(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let (a, b) = (order("a"), StreamId::internal("own").expect("a valid name"));
    assert_eq!(journal.stream_info(&a).await.expect("readable"), None);
    for (version, stream) in [(1, &a), (2, &a), (1, &b), (3, &a)] {
        let mut late = event("noted");
        late.command.time = Timestamp(1000 + i64::try_from(version).expect("small"));
        append(&journal, Batch::of(stream.clone(), Expected::Any, [late])).await;
        let info = journal.stream_info(stream).await.expect("readable").expect("the stream is there");
        assert_eq!((&info.stream, info.version), (stream, Version(version)));
        assert_eq!(info.last_time, Timestamp(1000 + i64::try_from(version).expect("small")));
    }
}

/// Streams are listed in the order of their names' bytes, by prefix, page after page.
pub async fn streams_are_listed_by_name(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let names = ["order-b", "order-a", "$own-1", "order_x-1", "order-ä", "invoice-9", "order-10", "order-1"];
    for name in names {
        append(&journal, one(&StreamId::parse(name).expect("a valid name"), Expected::NoStream)).await;
    }
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(listed(&journal, "", None, 100).await, sorted);
    let orders = ["order-1", "order-10", "order-a", "order-b", "order-ä"];
    assert_eq!(listed(&journal, "order-", None, 100).await, orders);
    assert_eq!(listed(&journal, "order-", None, 2).await, ["order-1", "order-10"]);
    assert_eq!(listed(&journal, "order-", Some("order-10"), 2).await, ["order-a", "order-b"]);
    assert_eq!(
        listed(&journal, "order-", Some("order-11"), 1).await,
        ["order-a"],
        "after one that is not there"
    );
    assert_eq!(
        listed(&journal, "order-", Some("invoice-9"), 1).await,
        ["order-1"],
        "after one before the prefix"
    );
    assert_eq!(listed(&journal, "order-", Some("order-ä"), 9).await, [""; 0]);
    assert_eq!(listed(&journal, "order-", Some("zebra-1"), 9).await, [""; 0]);
    assert_eq!(listed(&journal, "absent", None, 9).await, [""; 0]);
    assert_eq!(listed(&journal, "", None, 0).await, [""; 0]);
}

async fn listed(journal: &Arc<dyn Journal>, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(|name| StreamId::parse(name).expect("a valid name"));
    let page = soon("a page", journal.streams_page(prefix, after.as_ref(), limit)).await.expect("readable");
    assert!(page.iter().all(|info| info.version == Version(1)));
    page.into_iter().map(|info| info.stream.to_string()).collect()
}

/// Ids in any script, of any punctuation and of the greatest length keep streams apart.
pub async fn unusual_names_survive(factory: &impl JournalFactory) {
    let journal = factory.open().await;
    let longest = "x".repeat(STREAM_NAME_BYTES_MAX - "order-".len());
    let ids = ["日本語", "a-b-c", "$", "../..", "%2e", "a/b", "A", "a", "é", "e\u{301}", "🦀", &longest];
    for id in ids {
        append(&journal, one(&order(id), Expected::NoStream)).await;
    }
    for (n, id) in ids.into_iter().enumerate() {
        let events = rest(journal.read_stream(&order(id), Version(1), Direction::Forward)).await;
        assert_eq!(positions(&events), [n as u64 + 1], "{id}");
        assert_eq!(events[0].stream.instance(), id);
    }
}
