//! A service's connection to its sidecar.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, OptionFuture, join};
use parking_lot::Mutex;

use super::DaprApp;
use super::app::AttachmentId;
use super::callback::CallbackServer;
use super::probe::Probe;
use crate::broker::{Attachment, BrokerHealth};
use crate::relay::{Relay, RelayStatus};
use crate::subscription::{Inlet, SubscriptionStatus};

/// What a connection consists of.
pub(super) struct Connected {
    pub(super) app: DaprApp,
    pub(super) id: AttachmentId,
    pub(super) inlets: Vec<Arc<Inlet>>,
    pub(super) relay: Option<Arc<Relay>>,
    pub(super) callback: Option<CallbackServer>,
    pub(super) probe: Probe,
}

/// A service's connection to its sidecar, until it is detached or dropped.
pub(super) struct Attached {
    service: Arc<str>,
    app: DaprApp,
    id: AttachmentId,
    inlets: Vec<Arc<Inlet>>,
    relay: Option<Arc<Relay>>,
    callback: Mutex<Option<CallbackServer>>,
    probe: Mutex<Option<Probe>>,
}

impl Attached {
    pub(super) fn new(service: Arc<str>, connected: Connected) -> Self {
        let Connected { app, id, inlets, relay, callback, probe } = connected;
        Self {
            service,
            app,
            id,
            inlets,
            relay,
            callback: Mutex::new(callback),
            probe: Mutex::new(Some(probe)),
        }
    }

    /// Ends its tasks as failures of their own would.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.callback.lock().iter().for_each(CallbackServer::fail);
        self.probe.lock().iter().for_each(Probe::fail);
    }

    async fn end(&self) {
        // First no more deliveries, which a sidecar sees by the app's health; then what is under way.
        self.app.drain();
        let relay: OptionFuture<_> = self.relay.as_ref().map(|relay| relay.stop()).into();
        let callback: OptionFuture<_> = self.callback.lock().take().map(CallbackServer::stop).into();
        join(relay, callback).await;
        drop(self.probe.lock().take());
        self.app.detach(self.id);
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Attachment for Attached {
    fn relays(&self) -> Vec<RelayStatus> {
        self.relay.iter().map(|relay| relay.status()).collect()
    }

    fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        self.inlets.iter().map(|inlet| inlet.unfed()).collect()
    }

    fn health(&self) -> BrokerHealth {
        let mut health = self.app.state().borrow().health();
        health.reasons.extend(self.callback.lock().iter().filter_map(CallbackServer::fault));
        health.reasons.extend(self.probe.lock().iter().filter_map(Probe::fault));
        health
    }

    fn detach(&self) -> BoxFuture<'_, ()> {
        self.end().boxed()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.app.detach(self.id);
    }
}
