//! A client with customers and orders of its own, which it alone changes, so that it knows what must be there.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::record::{OrderRecord, Record};
use crate::bodies::{CUSTOMER, ORDER, address, customer, id, item, new_id, order, with};
use crate::client::{Client, Request, Response};
use crate::process::eventually;

const HOUSEHOLDS: usize = 3;
const ORDERS: usize = 5;

/// A client.
#[derive(Debug)]
pub(super) struct Tenant {
    random: StdRng,
    households: Vec<Household>,
    /// Sent, and not answered before the service went away.
    in_flight: Option<Command>,
    pub(super) acknowledged: usize,
}

/// A customer and its orders.
#[derive(Debug)]
struct Household {
    customer: Record,
    orders: Vec<OrderRecord>,
}

/// A command that can be sent again: under its key, or because it may be repeated by itself.
#[derive(Debug, Clone)]
struct Command {
    request: Request,
    effect: Effect,
}

/// What an accepted command changes; the numbers say of which household and which of its orders.
#[derive(Debug, Clone, Copy)]
enum Effect {
    NewCustomer,
    NewOrder(usize),
    Moved(usize),
    Changed(usize, usize),
    Removed(usize, usize),
}

impl Tenant {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), households: Vec::new(), in_flight: None, acknowledged: 0 }
    }

    /// Sends command after command until the service goes away.
    pub(super) async fn work(&mut self, mut client: Client) {
        loop {
            let Some(command) = self.next(&mut client).await else { return };
            match client.try_send(&command.request).await {
                Ok(answer) => self.take(command.effect, &answer),
                Err(_) => {
                    self.in_flight = Some(command);
                    return;
                }
            }
        }
    }

    /// What was in flight is sent again and has one effect; then everything must be there.
    pub(super) async fn check(&mut self, mut client: Client, from_the_first: bool) {
        if let Some(command) = self.in_flight.take() {
            let answer = client.send(command.request).await;
            self.take(command.effect, &answer);
        }
        for household in &mut self.households {
            household.check(&mut client, from_the_first).await;
        }
    }

    /// The next command; nothing if the service went away over a question.
    async fn next(&mut self, client: &mut Client) -> Option<Command> {
        let household = self.random.random_range(0..HOUSEHOLDS);
        if household >= self.households.len() {
            let street = self.street();
            return Some(Command::keyed(Request::post(CUSTOMER, &customer(&street)), Effect::NewCustomer));
        }
        let number = self.random.random_range(0..ORDERS);
        let orders = &self.households[household].orders;
        match orders.get(number).map(|order| order.record.exists) {
            _ if self.random.random_ratio(1, 3) => Some(self.move_customer(household)),
            None => Some(self.new_order(household)),
            Some(false) => Some(self.move_customer(household)),
            Some(true) if self.random.random_ratio(1, 20) => Some(self.remove(household, number)),
            Some(true) => self.change(household, number, client).await,
        }
    }

    fn street(&mut self) -> String {
        format!("{} Elm", self.random.random::<u64>())
    }

    fn move_customer(&mut self, household: usize) -> Command {
        let body = json!({"shippingAddress": address(&self.street())});
        let body = with(&self.households[household].customer.body, &body);
        Command::keyed(Request::put(CUSTOMER, &body), Effect::Moved(household))
    }

    fn new_order(&mut self, household: usize) -> Command {
        let street = self.street();
        let body = order(id(&self.households[household].customer.body), &street);
        Command::keyed(Request::post(ORDER, &body), Effect::NewOrder(household))
    }

    fn remove(&self, household: usize, number: usize) -> Command {
        let request = Request::delete(self.households[household].orders[number].record.path());
        Command { request, effect: Effect::Removed(household, number) }
    }

    /// Changes an order as it is now; its customer's move may still come in between.
    async fn change(&mut self, household: usize, number: usize, client: &mut Client) -> Option<Command> {
        let price = f64::from(self.random.random_range(1..1000)) / 4.0;
        let record = &mut self.households[household].orders[number].record;
        let now = client.try_send(&Request::get(record.path())).await.ok()?.expect(200).json();
        record.read(now);
        let body = with(&record.body, &json!({"orderItems": [item(price)]}));
        Some(Command::keyed(Request::put(ORDER, &body), Effect::Changed(household, number)))
    }

    /// Takes an answer down.
    fn take(&mut self, effect: Effect, answer: &Response) {
        // The customer's move came first. No other command of the client's can meet anything unexpected.
        if matches!((effect, answer.status), (Effect::Changed(..), 409)) {
            return;
        }
        self.acknowledged += 1;
        let expect = |status: u16| answer.clone().expect(status).json();
        match effect {
            Effect::NewCustomer => {
                let customer = Record::new(CUSTOMER, expect(201));
                self.households.push(Household { customer, orders: Vec::new() });
            }
            Effect::NewOrder(household) => {
                let Household { customer, orders } = &mut self.households[household];
                orders.push(OrderRecord::new(expect(201), &customer.body));
            }
            Effect::Moved(household) => self.households[household].moved(expect(200)),
            Effect::Changed(household, number) => {
                self.households[household].orders[number].record.changed(expect(200), 1);
            }
            Effect::Removed(household, number) => {
                answer.clone().expect(204);
                self.households[household].orders[number].record.removed();
            }
        }
    }
}

impl Command {
    fn keyed(request: Request, effect: Effect) -> Self {
        Self { request: request.keyed(&new_id()), effect }
    }
}

impl Household {
    fn moved(&mut self, body: Value) {
        for order in &mut self.orders {
            order.destinations = vec![body["shippingAddress"].clone()];
        }
        self.customer.changed(body, 2);
    }

    async fn check(&mut self, client: &mut Client, from_the_first: bool) {
        for order in &self.orders {
            order.arrived(client).await;
        }
        let followed = self.customer.check(client, from_the_first).await;
        assert!(followed.is_empty(), "nobody else changes a customer: {followed:?}");
        for order in &mut self.orders {
            let followed = order.record.check(client, from_the_first).await;
            self.customer.said(client, &followed).await;
        }
    }
}

impl OrderRecord {
    /// Within seconds the order has its customer's last address.
    async fn arrived(&self, client: &mut Client) {
        if !self.record.exists {
            return;
        }
        let what = format!("{} goes where its customer is: {:?}", self.record.path(), self.destinations);
        eventually(&what, async || {
            let now = client.get(self.record.path()).await.expect(200).json();
            self.destinations.contains(&now["shippingAddress"]).then_some(())
        })
        .await;
    }
}

impl Record {
    /// Every address that an order has followed is one that its customer has had, under the number it had.
    async fn said(&self, client: &mut Client, followed: &[Value]) {
        let mut sequence = 0;
        for event in followed {
            let word = event["data"]["customer"]["sequence"].as_u64().expect("a sequence");
            assert!(word > sequence, "a customer's words are followed in their order");
            sequence = word;
            let path = format!("{}?version={word}", self.path());
            let customer = client.get(path).await.expect(200).json();
            assert_eq!(customer["shippingAddress"], event["data"]["shippingAddress"]);
        }
    }
}
