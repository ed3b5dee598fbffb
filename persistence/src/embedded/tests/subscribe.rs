use futures_util::StreamExt;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_sees_every_event_once_from_the_past_to_the_present() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), EmbeddedOptions { segment_bytes: 32 * 1024, ..small() });
    append_groups(&journal, "0", 100).await;
    let total = 100 + WRITERS * EACH;
    let readers: Vec<_> = [1, 50, 101, 400]
        .map(|from| {
            let mut events = journal.subscribe(Position(from), Filter::default());
            tokio::spawn(async move {
                for position in from..=total {
                    let event = events.next().await.unwrap().unwrap();
                    assert_eq!(event.position, Position(position));
                }
            })
        })
        .into();
    let writers: Vec<_> = (1..=WRITERS)
        .map(|writer| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                for _ in 0..EACH / 3 {
                    let tickets: Vec<_> = (0..3)
                        .map(|_| append(&journal, &writer.to_string(), Expected::Any, &[b'x'; 100]))
                        .collect();
                    for ticket in tickets {
                        ticket.await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in writers.into_iter().chain(readers) {
        tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_subscription_passes_over_what_it_does_not_want() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    append_groups(&journal, "1", 200).await;
    let wanted = StreamId::aggregate("customer", "1").unwrap();
    let mut events = journal.subscribe(Position(1), Filter::default().category("customer"));
    journal.append(Batch::of(wanted.clone(), Expected::NoStream, [event(b"1")])).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().stream, wanted);
}
