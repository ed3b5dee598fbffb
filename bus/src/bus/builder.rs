//! Describing and starting a bus.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use annals_actors::{Node, Reader};
use annals_persistence::ReaderPlace;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Bus, Inner};
use crate::broker::{Broker, InProcessBroker, ServicePort};
use crate::caretaker::Caretaker;
use crate::dead_letter::{DeadLetters, LetterBox};
use crate::handler::{AnyHandler, Handler, TypedHandler};
use crate::inbox::{EarlyBox, Inbox};
use crate::publication::Published;
use crate::schema::Schemas;
use crate::subscription::{Core, Counted, Inlet, SubscriptionOptions};
use crate::{BusStartError, IntegrationEvent, Publications, SchemaOptions, SchemaRegistry, Topic};

/// The most events that a subscription may have in flight.
const IN_FLIGHT_MAX: usize = 1 << 20;

/// Describes a bus; [`BusBuilder::start`] starts it.
#[must_use = "a bus starts only with `start`"]
pub struct BusBuilder {
    node: Node,
    service: Arc<str>,
    publications: Option<Publications>,
    subscriptions: Vec<Described>,
    broker: Option<Arc<dyn Broker>>,
    schemas: Option<SchemaOptions>,
}

/// A subscription before it runs.
struct Described {
    name: Arc<str>,
    topic: Topic,
    options: SubscriptionOptions,
    handler: Box<dyn AnyHandler>,
}

impl fmt::Debug for BusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.subscriptions.iter().map(|described| &described.name).collect();
        f.debug_struct("BusBuilder")
            .field("service", &self.service)
            .field("subscriptions", &names)
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// Begins to describe the bus of a service over its node. The name is kept: cursors are found by it.
    pub fn builder(node: Node, service: impl Into<Arc<str>>) -> BusBuilder {
        BusBuilder {
            node,
            service: service.into(),
            publications: None,
            subscriptions: Vec::new(),
            broker: None,
            schemas: None,
        }
    }
}

impl BusBuilder {
    /// What the service publishes.
    pub fn publications(mut self, publications: Publications) -> Self {
        self.publications = Some(publications);
        self
    }

    /// Handles an event. The name is kept: what was handled is found by it.
    pub fn subscribe<E: IntegrationEvent>(self, name: impl Into<Arc<str>>, handler: impl Handler<E>) -> Self {
        self.subscribe_with::<E>(name, SubscriptionOptions::default(), handler)
    }

    /// As [`BusBuilder::subscribe`], with other limits and habits.
    pub fn subscribe_with<E: IntegrationEvent>(
        mut self,
        name: impl Into<Arc<str>>,
        options: SubscriptionOptions,
        handler: impl Handler<E>,
    ) -> Self {
        self.subscriptions.push(Described {
            name: name.into(),
            topic: Topic::with::<E>(&options.topic),
            options,
            handler: Box::new(TypedHandler::<E, _>::new(handler)),
        });
        self
    }

    /// Events go to and come from the services on this broker.
    pub fn in_process(self, broker: &InProcessBroker) -> Self {
        self.broker(Arc::new(broker.clone()))
    }

    /// Events go through this broker. Without one nothing leaves the journal.
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Keeps schemas of what is published, and holds events against them. Without this, nothing is held against anything.
    pub fn schemas(mut self, options: SchemaOptions) -> Self {
        self.schemas = Some(options);
        self
    }

    /// Reads the inboxes back, starts the subscriptions, attaches to the broker.
    ///
    /// # Errors
    /// [`BusStartError`]; nothing runs then.
    pub async fn start(self) -> Result<Bus, BusStartError> {
        self.check()?;
        let Self { node, service, publications, subscriptions, broker, schemas } = self;
        let publications = publications.unwrap_or_else(|| Publications::new(Arc::clone(&service)));
        let publications = match schemas {
            Some(options) => registered(&node, publications, options).await?,
            None => publications,
        };
        let on_receive = schemas.is_some_and(|options| options.on_receive);
        // Whatever fails from here on drops what was started, which stops it.
        let mut opening = Opening { inlets: Vec::new() };
        for mut described in subscriptions {
            if on_receive {
                described.handler.validate();
            }
            opening.inlets.push(Arc::new(open(&node, &service, described).await?));
        }
        let registry = publications.schemas().map(|schemas| schemas.registry.clone());
        let publications = Arc::new(publications);
        let port = ServicePort {
            service: Arc::clone(&service),
            journal: Arc::clone(node.journal()),
            clock: Arc::clone(node.clock()),
            publications: Arc::clone(&publications),
            readers: node.readers().clone(),
            subscriptions: opening.inlets.clone(),
        };
        let unpublished = broker.is_none().then(|| held_back(&node, &publications)).flatten();
        let attachment = match &broker {
            Some(broker) => Some(broker.attach(port).await?),
            None => None,
        };
        let published =
            Arc::new(Published::new(&publications, node.journal(), broker.is_some())) as Arc<dyn Reader>;
        node.readers().add(&published);
        let inlets: Arc<[Arc<Inlet>]> = opening.done().into();
        let (journal, clock) = (Arc::clone(node.journal()), Arc::clone(node.clock()));
        let dead_letters = DeadLetters::new(Arc::clone(&inlets), journal, clock);
        let caretaker = Caretaker::start(Arc::clone(&inlets), dead_letters.clone(), Arc::clone(node.clock()));
        let broker = broker.map_or("none", |broker| broker.name());
        let inner = Inner {
            service,
            broker,
            inlets,
            attachment,
            dead_letters,
            registry,
            publications,
            _published: published,
            caretaker,
            _unpublished: unpublished,
            _node: node,
        };
        Ok(Bus(Arc::new(inner)))
    }

    fn check(&self) -> Result<(), BusStartError> {
        let mut names = HashSet::new();
        for Described { name, topic, options, .. } in &self.subscriptions {
            if !names.insert(name) {
                return Err(BusStartError::SubscriptionTwice { name: Arc::clone(name) });
            }
            let subscription = Arc::clone(name);
            if let Some(reason) = topic.fault() {
                return Err(BusStartError::InvalidTopic { subscription, topic: topic.clone(), reason });
            }
            if !(1..=IN_FLIGHT_MAX).contains(&options.in_flight) {
                return Err(BusStartError::InvalidLimit { subscription, most: IN_FLIGHT_MAX });
            }
        }
        Ok(())
    }
}

/// Keeps in the journal what waits for a broker: a relay that has one will begin where the last left off, or with the
/// first event there is.
fn held_back(node: &Node, publications: &Publications) -> Option<ReaderPlace> {
    let readers = node.journal().readers();
    (!publications.is_empty()).then(|| {
        readers.register("events that wait for a broker", false, annals_persistence::Position::START)
    })
}

/// Publications with a registry, in which every declared topic has its type's schema.
async fn registered(
    node: &Node,
    publications: Publications,
    options: SchemaOptions,
) -> Result<Publications, BusStartError> {
    let (journal, clock) = (Arc::clone(node.journal()), Arc::clone(node.clock()));
    let registry = SchemaRegistry::new(journal, clock, options.compatibility);
    if options.register {
        for (topic, schema) in publications.declared_schemas() {
            let registered = async { registry.register_own(topic, &schema?).await }.await;
            registered.map_err(|source| BusStartError::Schema { topic: topic.clone(), source })?;
        }
    }
    Ok(publications.with_schemas(Arc::new(Schemas { registry, options })))
}

/// Subscriptions opened so far; stopped again if they do not all come up.
struct Opening {
    inlets: Vec<Arc<Inlet>>,
}

impl Opening {
    fn done(mut self) -> Vec<Arc<Inlet>> {
        std::mem::take(&mut self.inlets)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.inlets.iter().for_each(|inlet| inlet.close());
    }
}

async fn open(node: &Node, service: &Arc<str>, described: Described) -> Result<Inlet, BusStartError> {
    let Described { name, topic, options, handler } = described;
    let invalid = |source| BusStartError::InvalidName { name: Arc::clone(&name), source };
    let (journal, clock) = (Arc::clone(node.journal()), Arc::clone(node.clock()));
    let inbox = Inbox::new(&name, &topic, Arc::clone(&journal), Arc::clone(&clock)).map_err(invalid)?;
    let early = EarlyBox::new(&name, &topic, Arc::clone(&journal), Arc::clone(&clock)).map_err(invalid)?;
    let letters = LetterBox::new(&name, journal, Arc::clone(&clock)).map_err(invalid)?;
    let unread = |source| BusStartError::Inbox { subscription: Arc::clone(&name), source };
    let index = inbox.load(options.remember, options.remember_max).await.map_err(unread)?;
    let restored = early.load(&index).await.map_err(unread)?;
    // Sequences and cursors of one topic say nothing of another's events.
    let before = index.topic().or(restored.topic.as_ref());
    if let Some(before) = before.filter(|before| **before != topic)
        && options.continues.as_ref() != Some(before)
    {
        return Err(BusStartError::TopicChanged { subscription: name, before: before.clone(), now: topic });
    }
    let core = Core {
        kinds: node.kinds().into_iter().map(|kind| (kind.type_name(), kind)).collect(),
        service: Arc::clone(service),
        stopping: watch::Sender::new(false),
        last_error: Mutex::new(None),
        stalled: AtomicUsize::new(0),
        kept: AtomicUsize::new(0),
        dead_letters: AtomicUsize::new(0),
        actor: format!("subscription:{name}").into(),
        counted: Counted::new(&name),
        ended: AtomicBool::new(false),
        name,
        topic,
        options,
        handler,
        inbox,
        early,
        letters,
        clock,
    };
    Inlet::open(core, index, restored)
        .await
        .map_err(|error| BusStartError::Broker { reason: error.to_string() })
}
