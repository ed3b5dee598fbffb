//! A customer's new address on its way to the orders: how long it takes, one by one and all at once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bodies::{
    CUSTOMER, ORDER, address, created_customer, created_order, customer, history, id, order, with,
};
use crate::client::{Client, Request, Response};
use crate::process::{PATIENCE, Services, count, eventually};

const ORDERS_EACH: usize = 10;

/// Microseconds since 1970, of an RFC 3339 text in UTC.
fn micros(event: &Value) -> i64 {
    let text = event["time"].as_str().expect("a time");
    annals::http::parse_time(text).unwrap_or_else(|| panic!("no time: {text}")).0
}

fn last_move<'h>(history: &'h [Value], kind: &str) -> &'h Value {
    history.iter().rfind(|event| event["type"] == kind).unwrap_or_else(|| panic!("never moved: {history:?}"))
}

/// Waits until the order has the address; how long its event came after the customer's.
async fn delay(client: &mut Client, order: &str, street: &str, moved: i64) -> i64 {
    let path = format!("{ORDER}/{order}");
    eventually("the order has its customer's address", async || {
        let now = client.get(path.clone()).await.expect(200).json();
        (now["shippingAddress"]["street"] == street).then_some(())
    })
    .await;
    micros(last_move(&history(client, ORDER, order).await, "order-address-changed")) - moved
}

fn print(what: &str, mut delays: Vec<i64>) {
    delays.sort_unstable();
    let at =
        |percent: usize| Duration::from_micros(delays[(delays.len() - 1) * percent / 100].unsigned_abs());
    println!("{what}: {} delays, p50 {:?}, p99 {:?}", delays.len(), at(50), at(99));
}

#[tokio::test]
async fn every_order_gets_its_customer_s_new_address() {
    let services = Services::start();
    let mut client = services.client();
    let mut body = created_customer(&mut client, "0 Elm").await;
    let mut orders = Vec::new();
    for _ in 0..ORDERS_EACH {
        orders.push(created_order(&mut client, id(&body), "0 Elm").await);
    }
    let mut delays = Vec::new();
    for round in 1..=count("ANNALS_MOVES", 10) {
        let street = format!("{round} Oak");
        body = with(&body, &json!({"shippingAddress": address(&street)}));
        body = client.put(CUSTOMER, &body).await.expect(200).json();
        let events = history(&mut client, CUSTOMER, id(&body)).await;
        let moved = micros(last_move(&events, "customer-address-changed"));
        for order in &orders {
            delays.push(delay(&mut client, id(order), &street, moved).await);
        }
    }
    print("address change, one customer at a time", delays);
}

/// Sends the requests over the connections, each taking the next when it is free.
async fn over(clients: &mut Vec<Client>, requests: Vec<Request>, status: u16) -> (Vec<Response>, Duration) {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let waiting = Arc::new(Mutex::new(requests.into_iter()));
    for mut client in clients.drain(..) {
        let waiting = Arc::clone(&waiting);
        let next = move || waiting.lock().expect("no test panicked over it").next();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            while let Some(request) = next() {
                answers.push(client.send(request).await.expect(status));
            }
            (client, answers)
        });
    }
    let mut answers = Vec::new();
    for (client, some) in tasks.join_all().await {
        clients.push(client);
        answers.extend(some);
    }
    (answers, started.elapsed())
}

fn bodies(answers: &[Response]) -> Vec<Value> {
    answers.iter().map(Response::json).collect()
}

/// Waits until every order of the list has its street; the times of the last order's and the first customer's move.
async fn moved_everywhere(client: &mut Client, street: &str) {
    let deadline = Instant::now() + PATIENCE * 4;
    loop {
        let orders = client.get(ORDER).await.expect(200).json();
        let orders = orders.as_array().expect("an array");
        if orders.iter().all(|order| order["shippingAddress"]["street"] == street) {
            return;
        }
        assert!(Instant::now() < deadline, "the orders did not get their customers' addresses");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_customers_move_at_once() {
    let customers = count("ANNALS_FANOUT", 40);
    let connections = count("ANNALS_CONNECTIONS", 256);
    let services = Services::start();
    let mut clients: Vec<Client> = (0..connections).map(|_| services.client()).collect();
    let create = (0..customers).map(|_| Request::post(CUSTOMER, &customer("1 Elm"))).collect();
    let created = bodies(&over(&mut clients, create, 201).await.0);
    let place = created
        .iter()
        .flat_map(|customer| (0..ORDERS_EACH).map(|_| Request::post(ORDER, &order(id(customer), "1 Elm"))));
    let placed = bodies(&over(&mut clients, place.collect(), 201).await.0);
    // What as many order commands take over the same connections.
    let change = placed.iter().map(|order| Request::put(ORDER, order)).collect();
    let (_, commands) = over(&mut clients, change, 200).await;
    let moves = created.iter().map(|customer| {
        Request::put(CUSTOMER, &with(customer, &json!({"shippingAddress": address("2 Oak")})))
    });
    let (moved, _) = over(&mut clients, moves.collect(), 200).await;
    let mut client = clients.pop().expect("a connection");
    moved_everywhere(&mut client, "2 Oak").await;
    let (mut first, mut last, mut delays) = (i64::MAX, 0, Vec::new());
    let mut moves = std::collections::HashMap::new();
    for customer in bodies(&moved) {
        let events = history(&mut client, CUSTOMER, id(&customer)).await;
        let time = micros(last_move(&events, "customer-address-changed"));
        first = first.min(time);
        moves.insert(id(&customer).to_owned(), time);
    }
    for order in &placed {
        let events = history(&mut client, ORDER, id(order)).await;
        let time = micros(last_move(&events, "order-address-changed"));
        last = last.max(time);
        delays.push(time - moves[order["customerId"].as_str().expect("a customer")]);
    }
    print("address change, all customers at once", delays);
    let took = Duration::from_micros((last - first).unsigned_abs());
    println!("{} orders moved in {took:?}; as many order commands took {commands:?}", placed.len());
    // The floor is for counts so small that one pause before another attempt, or one slow sync, is longer than all of
    // the commands; from the default count on, the commands take longer than it and the ratio decides.
    let limit = (commands * 3).max(Duration::from_millis(250));
    assert!(took <= limit, "{took:?} is more than {limit:?}");
}
