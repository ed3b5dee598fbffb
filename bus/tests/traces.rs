//! One trace from a command in one service to its effects in another, found by its id.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io;
use std::sync::Arc;

use annals_bus::{Bus, InProcessBroker};
use annals_persistence::{Direction, Journal, JournalExt, MemoryJournal, StreamId, TraceContext, Version};
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use support::{
    Customer, CustomerAddressUpdated, CustomerCommand, caught_up, customer_service, follow, node, quick,
};

/// Keeps the log as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines_with(&self, parts: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
        text.lines().filter(has_all).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_trace_can_be_followed_from_a_command_to_its_effects() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::DEBUG);
    let _logging = tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish());
    let broker = InProcessBroker::new();
    let journal = Arc::new(MemoryJournal::new());
    let (customers, _customer_bus) = customer_service(&Arc::new(MemoryJournal::new()), &broker).await;
    let builder = Bus::builder(node(&journal).await, "order").in_process(&broker);
    let bus =
        builder.subscribe_with::<CustomerAddressUpdated>("address", quick(), follow).start().await.unwrap();
    let trace = TraceContext { trace_id: 0x4bf9_2f35, span_id: 7, flags: 1 };
    let command = CustomerCommand::Move { street: "Elm Street".into() };
    customers.aggregate::<Customer>("42").send(command).trace(trace).await.unwrap();
    caught_up(&bus).await;

    let id = "0000000000000000000000004bf92f35";
    let topic = "v1.CustomerAddressUpdated";
    let published = log.lines_with(&["\"name\":\"publish_event\"", "was published", id, topic]);
    assert_eq!(published.len(), 1, "{published:?}");
    let handled = log.lines_with(&["\"name\":\"handle_event\"", "\"outcome\":\"handled\"", id, topic]);
    assert_eq!(handled.len(), 1, "{handled:?}");
    for field in ["\"subject\":\"42\"", "\"sequence\":1", "\"position\":1", "\"source\":\"customer\""] {
        assert!(handled[0].contains(field), "{field}: {}", handled[0]);
    }
    let line: serde_json::Value = serde_json::from_str(&published[0]).unwrap();
    let event = line["span"]["event_id"].as_str().unwrap();
    assert!(handled[0].contains(event), "{}", handled[0]);

    let (journal, order) = (journal as Arc<dyn Journal>, StreamId::aggregate("order", "42").unwrap());
    let effect = journal.read_stream(&order, Version(1), Direction::Forward).try_next().await.unwrap();
    assert_eq!(effect.unwrap().command.trace.unwrap().trace_id, trace.trace_id);
}
