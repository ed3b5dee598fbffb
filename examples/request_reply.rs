//! Request and reply over the bus: a front desk asks for a forecast, a weather office makes it, and whoever asked gets the
//! answer, or hears in time that there is none. No thread waits meanwhile, and nothing is polled.
//!
//! Run it with `cargo run --example request_reply`. The question and its answer are events: an answer that comes after the
//! asker has given up is still there, and a second one changes nothing. (Here both keep theirs in memory; with an
//! `EmbeddedJournal` each, as in `bank_account_subscriber`, this holds after a crash of either side too.)
//!
//! As two processes, each beside a sidecar of its own, with the same handlers (Redis on this machine):
//!
//!     dapr run --app-id office --app-port 6001 --app-protocol grpc --resources-path examples/sidecar -- \
//!         cargo run --features dapr --example request_reply -- office
//!     dapr run --app-id desk --app-port 6002 --app-protocol grpc --resources-path examples/sidecar -- \
//!         cargo run --features dapr --example request_reply -- desk
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use annals::bus::{Broker, Bus, Delivery, HandlerError, InProcessBroker, Outgoing, Publications, Reaction};
use annals::persistence::{Filter, MemoryJournal};
use annals::prelude::*;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

mod sidecar;

// ---- what the two tell each other ----

/// Somebody wants a forecast. Topic `v1.forecast-wanted`.
#[derive(Debug, Clone, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "forecast-wanted")]
struct ForecastWanted {
    question: String,
    city: String,
}

/// Here it is. Topic `v1.forecast-made`.
#[derive(Debug, Clone, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "forecast-made")]
struct ForecastMade {
    question: String,
    text: String,
}

// ---- the front desk: a question, and its answer once it is there ----

#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
struct Question {
    answer: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum QuestionCommand {
    Ask { city: String },
    Answer { text: String },
}

#[derive(Debug, Clone, Event)]
enum QuestionEvent {
    #[event("question-asked")]
    Asked { city: String },
    #[event("question-answered")]
    Answered { text: String },
}

impl Aggregate for Question {
    const TYPE: &'static str = "question";
    type Command = QuestionCommand;
    type Event = QuestionEvent;
    type Rejection = std::convert::Infallible;

    fn handle(
        &self,
        command: QuestionCommand,
        _: &Context,
    ) -> Result<Vec<QuestionEvent>, std::convert::Infallible> {
        Ok(match command {
            QuestionCommand::Ask { city } => vec![QuestionEvent::Asked { city }],
            QuestionCommand::Answer { text } if self.answer.is_none() => {
                vec![QuestionEvent::Answered { text }]
            }
            // One answer is enough.
            QuestionCommand::Answer { .. } => Vec::new(),
        })
    }

    fn apply(&mut self, event: QuestionEvent) {
        match event {
            QuestionEvent::Asked { .. } => {}
            QuestionEvent::Answered { text } => self.answer = Some(text),
        }
    }
}

fn questions() -> Publications {
    Publications::new("desk").publishes::<ForecastWanted>().translate::<Question>(|event, recorded| {
        match event {
            QuestionEvent::Asked { city } => {
                let question = recorded.stream.instance().to_owned();
                vec![Outgoing::event(&ForecastWanted { question, city: city.clone() })]
            }
            QuestionEvent::Answered { .. } => Vec::new(),
        }
    })
}

async fn take_answer(made: ForecastMade, _: Delivery) -> Result<Reaction, HandlerError> {
    Ok(Reaction::none().command::<Question>(&made.question, QuestionCommand::Answer { text: made.text }))
}

/// Asks, and waits for the answer; `None` when it does not come in time. The question stays, and may be answered later.
async fn ask(node: &Node, city: &str, patience: Duration) -> Result<Option<String>, Box<dyn Error>> {
    let question = node.aggregate::<Question>(uuid::Uuid::now_v7().to_string());
    let asked = question.send(QuestionCommand::Ask { city: city.to_owned() }).await?;
    let stream = question.stream()?;
    let from = asked.position.unwrap_or_default().next();
    let answers = node.journal().subscribe(from, Filter::default().event_type("question-answered"));
    let mut ours = answers.filter(|event| {
        let is_ours = event.as_ref().is_ok_and(|event| event.stream == *stream);
        std::future::ready(is_ours)
    });
    match tokio::time::timeout(patience, ours.next()).await {
        Ok(_) => Ok(question.state().await?.state.answer),
        Err(_) => Ok(None),
    }
}

// ---- the weather office ----

#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
struct Forecast {
    made: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Make {
    city: String,
}

#[derive(Debug, Clone, Event)]
enum ForecastEvent {
    #[event("forecast-made")]
    Made { text: String },
}

impl Aggregate for Forecast {
    const TYPE: &'static str = "forecast";
    type Command = Make;
    type Event = ForecastEvent;
    type Rejection = std::convert::Infallible;

    fn handle(
        &self,
        Make { city }: Make,
        _: &Context,
    ) -> Result<Vec<ForecastEvent>, std::convert::Infallible> {
        Ok(vec![ForecastEvent::Made { text: format!("{city}: sunny, with an append now and then") }])
    }

    fn apply(&mut self, _: ForecastEvent) {
        self.made = true;
    }
}

fn forecasts() -> Publications {
    Publications::new("office").publishes::<ForecastMade>().translate::<Forecast>(|event, recorded| {
        let ForecastEvent::Made { text } = event;
        vec![Outgoing::event(&ForecastMade {
            question: recorded.stream.instance().to_owned(),
            text: text.clone(),
        })]
    })
}

/// The office knows no weather on the moon: nobody answers such a question.
async fn take_question(wanted: ForecastWanted, _: Delivery) -> Result<Reaction, HandlerError> {
    if wanted.city == "Moon" {
        return Ok(Reaction::none());
    }
    Ok(Reaction::none().command::<Forecast>(&wanted.question, Make { city: wanted.city }))
}

// ---- both in one process, or each in its own ----

/// A service: its instances, and what connects them with others.
struct Service {
    node: Node,
    bus: Bus,
}

impl Service {
    async fn stop(self) {
        self.bus.shutdown().await;
        self.node.shutdown().await;
    }
}

async fn desk(broker: Arc<dyn Broker>) -> Result<Service, Box<dyn Error>> {
    let journal = Arc::new(MemoryJournal::new());
    let node = Node::builder().journal(journal).aggregate::<Question>().start().await?;
    let bus = Bus::builder(node.clone(), "desk").publications(questions()).subscribe("answers", take_answer);
    Ok(Service { node, bus: bus.broker(broker).start().await? })
}

async fn office(broker: Arc<dyn Broker>) -> Result<Service, Box<dyn Error>> {
    let journal = Arc::new(MemoryJournal::new());
    let node = Node::builder().journal(journal).aggregate::<Forecast>().start().await?;
    let bus =
        Bus::builder(node.clone(), "office").publications(forecasts()).subscribe("questions", take_question);
    Ok(Service { node, bus: bus.broker(broker).start().await? })
}

async fn ask_two(desk: &Service, patience: Duration) -> Result<(), Box<dyn Error>> {
    let answer = ask(&desk.node, "Dallas", patience).await?;
    println!("Dallas: {answer:?}");
    assert_eq!(answer.as_deref(), Some("Dallas: sunny, with an append now and then"));
    let none = ask(&desk.node, "Moon", Duration::from_millis(50)).await?;
    println!("the Moon: {none:?}");
    assert_eq!(none, None);
    Ok(())
}

async fn in_one_process() -> Result<(), Box<dyn Error>> {
    let broker = Arc::new(InProcessBroker::new());
    let (desk, office) = (desk(broker.clone()).await?, office(broker).await?);
    ask_two(&desk, Duration::from_secs(5)).await?;
    desk.stop().await;
    office.stop().await;
    Ok(())
}

/// By Ctrl-C, or by SIGTERM, as an orchestrator does it.
async fn told_to_end() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => return in_one_process().await,
        Some("desk") => {
            let desk = desk(sidecar::broker()?).await?;
            // Time enough for the office to be started too: the question waits for it.
            ask_two(&desk, Duration::from_secs(60)).await?;
            desk.stop().await;
        }
        Some("office") => {
            let office = office(sidecar::broker()?).await?;
            told_to_end().await?;
            office.stop().await;
        }
        Some(other) => return Err(format!("\"{other}\" is neither `desk` nor `office`").into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_runs() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(super::in_one_process()).unwrap();
    }
}
