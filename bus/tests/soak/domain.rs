//! The publisher counts up under every key; the subscriber writes down what it hears, as it hears it.

use annals_actors::{Aggregate, Context, Event, Shape};
use annals_bus::{IntegrationEvent, Outgoing, Publications};
use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error)]
#[error("never")]
pub(crate) struct No;

/// Counts.
#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
pub(crate) struct Counter {
    last: u64,
}

#[derive(Debug, Clone, Event)]
pub(crate) enum CounterEvent {
    #[event("counter-counted")]
    Counted { n: u64 },
}

impl Aggregate for Counter {
    const TYPE: &'static str = "counter";
    type Command = ();
    type Event = CounterEvent;
    type Rejection = No;

    fn handle(&self, (): (), _: &Context) -> Result<Vec<CounterEvent>, No> {
        Ok(vec![CounterEvent::Counted { n: self.last + 1 }])
    }

    fn apply(&mut self, event: CounterEvent) {
        let CounterEvent::Counted { n } = event;
        self.last = n;
    }
}

/// Keeps what was heard.
#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
pub(crate) struct Tally {
    last: u64,
}

#[derive(Debug, Clone, Event)]
pub(crate) enum TallyEvent {
    #[event("tally-heard")]
    Heard { n: u64 },
}

impl Aggregate for Tally {
    const TYPE: &'static str = "tally";
    type Command = u64;
    type Event = TallyEvent;
    type Rejection = No;

    fn handle(&self, n: u64, _: &Context) -> Result<Vec<TallyEvent>, No> {
        Ok(vec![TallyEvent::Heard { n }])
    }

    fn apply(&mut self, event: TallyEvent) {
        let TallyEvent::Heard { n } = event;
        self.last = n;
    }
}

/// What goes from one to the other.
#[derive(Debug, Clone, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "counted")]
pub(crate) struct Counted {
    pub(crate) key: String,
    pub(crate) n: u64,
}

pub(crate) fn publications() -> Publications {
    Publications::new("publisher").publishes::<Counted>().translate::<Counter>(|event, recorded| {
        let CounterEvent::Counted { n } = event;
        vec![Outgoing::event(&Counted { key: recorded.stream.instance().to_owned(), n: *n })]
    })
}
