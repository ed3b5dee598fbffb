//! The second release of an account, which reads everything that the first has written.

use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Account;

#[derive(Debug, Clone, PartialEq, Event)]
#[event(retired("moved", 1 = MovedV1))]
#[event(retired("greeted", 1 = GreetedV1))]
pub enum AccountEvent {
    #[event("account-opened", version = 2, upcast(1 = OpenedV1))]
    Opened { owner: String, currency: String },
    #[event("deposited", version = 2, upcast(1 = DepositedV1))]
    Deposited { cents: i64 },
    #[event("owner-renamed")]
    OwnerRenamed {
        #[serde(rename = "name")]
        owner: String,
    },
    #[event("money-withdrawn", was = "withdrawal")]
    Withdrawn { cents: i64 },
    #[event("street-changed")]
    StreetChanged { street: String },
    #[event("city-changed")]
    CityChanged { city: String },
    #[event("noted", codec = bincode)]
    Noted { text: String },
}

#[derive(Serialize, Deserialize, Shape)]
struct OpenedV1 {
    owner: String,
}

impl Upcast for OpenedV1 {
    type Next = AccountEvent;

    fn upcast(self) -> AccountEvent {
        AccountEvent::Opened { owner: self.owner, currency: "EUR".to_owned() }
    }
}

#[derive(Serialize, Deserialize, Shape)]
struct DepositedV1 {
    euros: String,
}

impl Upcast for DepositedV1 {
    type Next = AccountEvent;

    fn upcast(self) -> AccountEvent {
        // What the first release made of a text that is no number.
        AccountEvent::Deposited { cents: 100 * self.euros.parse().unwrap_or(0) }
    }
}

#[derive(Serialize, Deserialize, Shape)]
struct MovedV1 {
    street: String,
    city: String,
}

impl Upcast for MovedV1 {
    type Next = [AccountEvent; 2];

    fn upcast(self) -> [AccountEvent; 2] {
        let Self { street, city } = self;
        [AccountEvent::StreetChanged { street }, AccountEvent::CityChanged { city }]
    }
}

#[derive(Serialize, Deserialize, Shape)]
struct GreetedV1;

impl Upcast for GreetedV1 {
    type Next = [AccountEvent; 0];

    fn upcast(self) -> [AccountEvent; 0] {
        []
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = i64;
    type Event = AccountEvent;
    type Rejection = std::convert::Infallible;

    fn handle(&self, cents: i64, _: &Context) -> Result<Vec<AccountEvent>, Self::Rejection> {
        Ok(vec![AccountEvent::Deposited { cents }])
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { owner, currency } => (self.owner, self.currency) = (owner, currency),
            AccountEvent::OwnerRenamed { owner } => self.owner = owner,
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
            AccountEvent::StreetChanged { street } => self.street = street,
            AccountEvent::CityChanged { city } => self.city = city,
            AccountEvent::Noted { text } => self.notes.push(text),
        }
    }
}
