//! The releases of one aggregate.

use annals_actors::{Aggregate, Context, Event, Shape, Upcast};
use serde::{Deserialize, Serialize};

/// The state, the same in every release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Shape)]
pub(crate) struct State {
    owner: String,
    currency: String,
    cents: i64,
    street: String,
    city: String,
}

/// What the first release is told to write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Happened {
    Opened(String),
    Deposited(String),
    Moved(String, String),
    Greeted,
}

/// An aggregate that is the first release's, with these events.
macro_rules! first {
    ($name:ident, $events:ident, $codec:ident) => {
        #[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
        pub(crate) struct $name(State);

        #[derive(Debug, Event)]
        pub(crate) enum $events {
            #[event("account-opened", codec = $codec)]
            Opened { owner: String },
            #[event("deposited", codec = $codec)]
            Deposited(String),
            #[event("moved", codec = $codec)]
            Moved { street: String, city: String },
            #[event("greeted", codec = $codec)]
            Greeted,
        }

        impl Aggregate for $name {
            const TYPE: &'static str = "account";
            type Command = Vec<Happened>;
            type Event = $events;
            type Rejection = std::convert::Infallible;

            fn handle(&self, happened: Vec<Happened>, _: &Context) -> Result<Vec<$events>, Self::Rejection> {
                let write = |happened| match happened {
                    Happened::Opened(owner) => $events::Opened { owner },
                    Happened::Deposited(euros) => $events::Deposited(euros),
                    Happened::Moved(street, city) => $events::Moved { street, city },
                    Happened::Greeted => $events::Greeted,
                };
                Ok(happened.into_iter().map(write).collect())
            }

            fn apply(&mut self, event: $events) {
                match event {
                    $events::Opened { owner } => self.0.owner = owner,
                    $events::Deposited(euros) => self.0.cents += 100 * euros.parse().unwrap_or(0),
                    $events::Moved { street, city } => (self.0.street, self.0.city) = (street, city),
                    $events::Greeted => {}
                }
            }
        }
    };
}

first!(First, FirstEvent, json);
first!(FirstInBincode, FirstBincodeEvent, bincode);

/// The second release: a field more, another type, an event split in two, one that means nothing any more.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
pub(crate) struct Second(State);

impl Second {
    pub(crate) fn told(&self) -> String {
        let State { owner, currency, cents, street, city } = &self.0;
        format!("{owner} {currency} {cents} {street} {city}")
    }
}

#[derive(Debug, Event)]
#[event(retired("moved", 1 = MovedV1), retired("greeted", 1 = GreetedV1))]
pub(crate) enum SecondEvent {
    #[event("account-opened", version = 2, upcast(1 = OpenedV1))]
    Opened { owner: String, currency: String },
    #[event("deposited", version = 2, codec = bincode, upcast(1 = DepositedV1))]
    Deposited { cents: i64 },
    #[event("street-changed")]
    StreetChanged(String),
    #[event("city-changed")]
    CityChanged(String),
}

#[derive(Serialize, Deserialize, Shape)]
pub(crate) struct OpenedV1 {
    owner: String,
}

impl Upcast for OpenedV1 {
    type Next = SecondEvent;

    fn upcast(self) -> SecondEvent {
        SecondEvent::Opened { owner: self.owner, currency: "EUR".into() }
    }
}

#[derive(Serialize, Deserialize, Shape)]
pub(crate) struct DepositedV1(String);

impl Upcast for DepositedV1 {
    type Next = SecondEvent;

    fn upcast(self) -> SecondEvent {
        SecondEvent::Deposited { cents: 100 * self.0.parse().unwrap_or(0) }
    }
}

#[derive(Serialize, Deserialize, Shape)]
pub(crate) struct MovedV1 {
    street: String,
    city: String,
}

impl Upcast for MovedV1 {
    type Next = [SecondEvent; 2];

    fn upcast(self) -> [SecondEvent; 2] {
        [SecondEvent::StreetChanged(self.street), SecondEvent::CityChanged(self.city)]
    }
}

#[derive(Serialize, Deserialize, Shape)]
pub(crate) struct GreetedV1;

impl Upcast for GreetedV1 {
    type Next = [SecondEvent; 0];

    fn upcast(self) -> [SecondEvent; 0] {
        []
    }
}

impl Aggregate for Second {
    const TYPE: &'static str = "account";
    type Command = i64;
    type Event = SecondEvent;
    type Rejection = std::convert::Infallible;

    fn handle(&self, cents: i64, _: &Context) -> Result<Vec<SecondEvent>, Self::Rejection> {
        Ok(vec![SecondEvent::Deposited { cents }])
    }

    fn apply(&mut self, event: SecondEvent) {
        match event {
            SecondEvent::Opened { owner, currency } => (self.0.owner, self.0.currency) = (owner, currency),
            SecondEvent::Deposited { cents } => self.0.cents += cents,
            SecondEvent::StreetChanged(street) => self.0.street = street,
            SecondEvent::CityChanged(city) => self.0.city = city,
        }
    }
}

/// A release that never gets to see an event.
macro_rules! refused {
    ($name:ident, $events:ident) => {
        #[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
        pub(crate) struct $name;

        impl Aggregate for $name {
            const TYPE: &'static str = "account";
            type Command = ();
            type Event = $events;
            type Rejection = std::convert::Infallible;

            fn handle(&self, (): (), _: &Context) -> Result<Vec<$events>, Self::Rejection> {
                Ok(vec![])
            }

            fn apply(&mut self, _: $events) {}
        }
    };
}

/// A field was added, and the version left as it was.
#[derive(Debug, Event)]
pub(crate) enum SilentEvent {
    #[event("account-opened")]
    Opened { owner: String, limit: u32 },
}
refused!(Silent, SilentEvent);

/// What bincode writes of it nobody can read.
#[derive(Debug, Event)]
pub(crate) enum UnreadableEvent {
    #[event("noted", codec = bincode)]
    Noted { note: Note },
}
refused!(Unreadable, UnreadableEvent);

#[derive(Debug, Serialize, Deserialize, Shape)]
pub(crate) struct Note {
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// The struct for the old version is not what the old version was.
#[derive(Debug, Event)]
pub(crate) enum ThirdEvent {
    #[event("deposited", version = 2, upcast(1 = NotDepositedV1))]
    Deposited { cents: i64 },
}
refused!(Third, ThirdEvent);

#[derive(Serialize, Deserialize, Shape)]
pub(crate) struct NotDepositedV1(u64);

impl Upcast for NotDepositedV1 {
    type Next = ThirdEvent;

    fn upcast(self) -> ThirdEvent {
        ThirdEvent::Deposited { cents: self.0.cast_signed() }
    }
}
