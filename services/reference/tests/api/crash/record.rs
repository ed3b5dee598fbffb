//! What a client remembers of an instance, and how it is checked.

use serde_json::Value;

use crate::bodies::{ORDER, id};
use crate::client::Client;

/// An instance as its client knows it.
#[derive(Debug)]
pub(super) struct Record {
    collection: &'static str,
    /// The last state that was acknowledged.
    pub(super) body: Value,
    /// The states that were acknowledged or read since the last check.
    answered: Vec<Value>,
    /// How many events the client's own commands had.
    own_events: usize,
    /// How many of them the last check has seen.
    own_seen: usize,
    /// The last event that a check has seen.
    last_seen: Option<Value>,
    pub(super) exists: bool,
}

impl Record {
    /// Just created.
    pub(super) fn new(collection: &'static str, body: Value) -> Self {
        Self {
            collection,
            answered: vec![body.clone()],
            body,
            own_events: 1,
            own_seen: 0,
            last_seen: None,
            exists: true,
        }
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.collection, id(&self.body))
    }

    /// A command was acknowledged.
    pub(super) fn changed(&mut self, body: Value, events: usize) {
        self.own_events += events;
        self.read(body);
    }

    /// A state was read: it must be as durable as one that was acknowledged.
    pub(super) fn read(&mut self, body: Value) {
        self.answered.push(body.clone());
        self.body = body;
    }

    pub(super) fn removed(&mut self) {
        self.own_events += 1;
        self.exists = false;
    }

    /// Checks the events since the last check, or all; what the subscriptions made of it is given back.
    pub(super) async fn check(&mut self, client: &mut Client, from_the_first: bool) -> Vec<Value> {
        if from_the_first {
            (self.own_seen, self.last_seen) = (0, None);
        }
        let mut events = self.events(client).await;
        if let Some(last) = &self.last_seen {
            assert_eq!(&events.remove(0), last, "what was there before is still there");
        }
        let (followed, own): (Vec<_>, Vec<_>) = events.iter().cloned().partition(is_followed);
        assert_eq!(self.own_seen + own.len(), self.own_events, "{}: {own:#?}", self.path());
        self.own_seen = self.own_events;
        self.last_seen = events.pop().or(self.last_seen.take());
        self.check_answers(client).await;
        followed
    }

    /// The events from the last that was seen on, with versions that have no gap.
    async fn events(&self, client: &mut Client) -> Vec<Value> {
        let from = self.last_seen.as_ref().and_then(|event| event["version"].as_u64()).unwrap_or(1);
        let history = client.get(format!("{}/history?from={from}", self.path())).await.expect(200).json();
        let events = history.as_array().expect("an array").clone();
        for (event, version) in events.iter().zip(from..) {
            assert_eq!(event["version"].as_u64(), Some(version), "{}", self.path());
        }
        events
    }

    async fn check_answers(&mut self, client: &mut Client) {
        for body in self.answered.drain(..) {
            let version = body["eTag"].as_str().expect("an eTag");
            let path = format!("{}/{}?version={version}", self.collection, id(&body));
            assert_eq!(client.get(path).await.expect(200).json(), body);
        }
        let now = client.get(self.path()).await;
        if self.exists { drop(now.expect(200)) } else { drop(now.expect_problem(404, "not_found")) }
    }
}

fn is_followed(event: &Value) -> bool {
    event["actor"].as_str().is_some_and(|actor| actor.starts_with("subscription:"))
}

/// An order, and where it may go.
#[derive(Debug)]
pub(super) struct OrderRecord {
    pub(super) record: Record,
    /// Where it goes when everything has arrived. After its customer's move that is one place. Before, it is what the
    /// order's own request said, or where the customer was: that word may still have been on its way.
    pub(super) destinations: Vec<Value>,
}

impl OrderRecord {
    pub(super) fn new(body: Value, customer: &Value) -> Self {
        let mut destinations = vec![body["shippingAddress"].clone()];
        // A customer that never moved has never said anything.
        if customer["eTag"] != "1" {
            destinations.push(customer["shippingAddress"].clone());
        }
        Self { destinations, record: Record::new(ORDER, body) }
    }
}
