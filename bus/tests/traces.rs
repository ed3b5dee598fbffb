//! One trace from a command in one service to its effects in another, found by its id.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use annals_bus::{Bus, InProcessBroker};
use annals_persistence::{Direction, Journal, JournalExt, MemoryJournal, StreamId, TraceContext, Version};
use futures_util::TryStreamExt;

use support::log::Log;
use support::{
    Customer, CustomerAddressUpdated, CustomerCommand, caught_up, customer_service, follow, node, quick,
};

#[tokio::test]
async fn a_trace_can_be_followed_from_a_command_to_its_effects() {
    let log = Log::default();
    let _logging = log.keep();
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
    for field in ["\"subject\":\"42\"", "\"sequence\":1", "\"position\":2", "\"source\":\"customer\""] {
        assert!(handled[0].contains(field), "{field}: {}", handled[0]);
    }
    let line: serde_json::Value = serde_json::from_str(&published[0]).unwrap();
    let event = line["span"]["event_id"].as_str().unwrap();
    assert!(handled[0].contains(event), "{}", handled[0]);

    let (journal, order) = (journal as Arc<dyn Journal>, StreamId::aggregate("order", "42").unwrap());
    let effect = journal.read_stream(&order, Version(1), Direction::Forward).try_next().await.unwrap();
    assert_eq!(effect.unwrap().command.trace.unwrap().trace_id, trace.trace_id);
}
