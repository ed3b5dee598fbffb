//! A sidecar of our own, for what a real one cannot be told to do: lose an answer, hang, be of any release.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dapr::dapr::proto::common::v1 as common;
use dapr::dapr::proto::runtime::v1::app_callback_client::AppCallbackClient;
use dapr::dapr::proto::runtime::v1::dapr_server::{Dapr, DaprServer};
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus;
use dapr::dapr::proto::runtime::v1::*;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use prost_types::Struct;
use prost_types::value::Kind;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};

use super::unserved::{sidecar_api, unserved};
use crate::broker::dapr::SidecarEndpoint;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Refused, with this code.
    Refuse(Code),
    /// Taken, and the answer is lost.
    LoseAnswer,
    /// Never answered, as over a connection whose other end is gone.
    Hang,
}

/// What the fake does and has seen.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What it says that it is.
    pub(super) version: String,
    /// What goes wrong with the next calls to publish, one each; then nothing does.
    pub(super) faults: VecDeque<Fault>,
    /// An event that has this in it is never taken.
    pub(super) poison: Option<&'static str>,
    /// The token that opens it.
    pub(super) token: Option<&'static str>,
    /// What was taken, in order.
    pub(super) published: Vec<Value>,
    /// The components that it was told to publish through.
    pub(super) pubsubs: BTreeSet<String>,
    /// The name of a second component that it has.
    pub(super) second: Option<&'static str>,
    /// By which names it was called.
    pub(super) calls: Vec<&'static str>,
    /// What it says that it subscribes to, instead of what the tests' service handles: topics and where it brings them.
    pub(super) subscriptions: Option<Vec<(&'static str, &'static str)>>,
}

/// A sidecar of our own.
#[derive(Clone, Default)]
pub(super) struct Fake {
    pub(super) script: Arc<Mutex<Script>>,
}

/// The fake as it is served.
pub(super) struct Served {
    pub(super) fake: Fake,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    pub(super) async fn start(version: &str) -> Self {
        Self::start_on(Server::builder(), version).await
    }

    /// Behind TLS, with the certificate of `tls/`, which is for localhost.
    pub(super) async fn start_behind_tls() -> Self {
        let identity = Identity::from_pem(include_str!("tls/sidecar.pem"), include_str!("tls/sidecar.key"));
        let tls = ServerTlsConfig::new().identity(identity);
        Self::start_on(Server::builder().tls_config(tls).unwrap(), "1.17.0").await
    }

    async fn start_on(mut server: Server, version: &str) -> Self {
        let fake = Fake::default();
        fake.script.lock().version = version.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = server.add_service(DaprServer::new(fake.clone()));
        let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { fake, address, task }
    }

    pub(super) fn endpoint(&self) -> SidecarEndpoint {
        SidecarEndpoint::local(self.address.port())
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn script(&self) -> parking_lot::MutexGuard<'_, Script> {
        self.fake.script.lock()
    }
}

impl Fake {
    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let given = request.metadata().get("dapr-api-token").and_then(|token| token.to_str().ok());
        let wanted = self.script.lock().token;
        if wanted.is_none() || wanted == given { Ok(()) } else { Err(Status::unauthenticated("no token")) }
    }

    async fn take(&self, name: &'static str, events: Vec<Vec<u8>>) -> Result<(), Status> {
        let fault = {
            let mut script = self.script.lock();
            script.calls.push(name);
            script.faults.pop_front()
        };
        match fault {
            Some(Fault::Refuse(code)) => return Err(Status::new(code, "as told")),
            Some(Fault::Hang) => std::future::pending::<()>().await,
            Some(Fault::LoseAnswer) | None => {}
        }
        let mut script = self.script.lock();
        let texts: Vec<_> = events.iter().map(|event| String::from_utf8_lossy(event)).collect();
        if script.poison.is_some_and(|poison| texts.iter().any(|text| text.contains(poison))) {
            return Err(Status::invalid_argument("poison"));
        }
        script.published.extend(texts.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()));
        match fault {
            Some(Fault::LoseAnswer) => Err(Status::unavailable("the connection broke")),
            _ => Ok(()),
        }
    }

    /// Whether the release has bulk publishing under its stable name.
    fn is_new(&self) -> bool {
        self.script.lock().version.as_str() >= "1.17"
    }
}

sidecar_api!(Fake {
    async fn publish_event(&self, request: Request<PublishEventRequest>) -> Result<Response<()>, Status> {
        self.check(&request)?;
        let event = request.into_inner();
        self.script.lock().pubsubs.insert(event.pubsub_name);
        self.take("publish", vec![event.data]).await.map(Response::new)
    }

    async fn bulk_publish_event(
        &self,
        request: Request<BulkPublishRequest>,
    ) -> Result<Response<BulkPublishResponse>, Status> {
        if !self.is_new() {
            return Err(Status::unknown("failed to proxy request: required metadata dapr-app-id not found"));
        }
        let request = request.into_inner();
        self.script.lock().pubsubs.insert(request.pubsub_name);
        let events = request.entries.into_iter().map(|entry| entry.event).collect();
        self.take("bulk", events).await?;
        Ok(Response::new(BulkPublishResponse::default()))
    }

    async fn bulk_publish_event_alpha1(
        &self,
        request: Request<BulkPublishRequest>,
    ) -> Result<Response<BulkPublishResponse>, Status> {
        let request = request.into_inner();
        self.script.lock().pubsubs.insert(request.pubsub_name);
        let events = request.entries.into_iter().map(|entry| entry.event).collect();
        self.take("bulk alpha", events).await?;
        Ok(Response::new(BulkPublishResponse::default()))
    }

    async fn get_metadata(
        &self,
        request: Request<GetMetadataRequest>,
    ) -> Result<Response<GetMetadataResponse>, Status> {
        self.check(&request)?;
        let names = ["bus"].into_iter().chain(self.script.lock().second);
        let told = self.script.lock().subscriptions.clone();
        let told = told.unwrap_or_else(|| vec![("v1.counted", "/dapr/events/v1.counted")]);
        Ok(Response::new(GetMetadataResponse {
            runtime_version: self.script.lock().version.clone(),
            registered_components: names.map(component).collect(),
            subscriptions: told.into_iter().map(subscription).collect(),
            ..Default::default()
        }))
    }
});

fn component(name: &str) -> RegisteredComponents {
    let kind = if name == "nats" { "pubsub.jetstream" } else { "pubsub.redis" };
    RegisteredComponents { name: name.into(), r#type: kind.into(), ..Default::default() }
}

fn subscription((topic, path): (&str, &str)) -> PubsubSubscription {
    let rule = PubsubSubscriptionRule { path: path.into(), ..Default::default() };
    PubsubSubscription {
        pubsub_name: "bus".into(),
        topic: topic.into(),
        rules: Some(PubsubSubscriptionRules { rules: vec![rule] }),
        ..Default::default()
    }
}

/// What delivers to a service.
#[derive(Clone)]
pub(super) struct Deliverer {
    client: AppCallbackClient<Channel>,
    token: Option<&'static str>,
}

impl Deliverer {
    pub(super) fn to(address: SocketAddr, token: Option<&'static str>) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { client: AppCallbackClient::new(channel), token }
    }

    /// The topics that the service says it subscribes to.
    pub(super) async fn subscriptions(&self) -> Vec<String> {
        let answer = self.client.clone().list_topic_subscriptions(()).await.unwrap().into_inner();
        answer.subscriptions.into_iter().map(|subscription| subscription.topic).collect()
    }

    /// Delivers an event as it was published.
    pub(super) async fn deliver(&self, event: &Value) -> Result<TopicEventResponseStatus, Status> {
        let mut request = Request::new(taken_apart(event.clone()));
        if let Some(token) = self.token {
            request.metadata_mut().insert("dapr-api-token", token.parse().unwrap());
        }
        let answer = self.client.clone().on_topic_event(request).await?.into_inner();
        Ok(TopicEventResponseStatus::try_from(answer.status).unwrap())
    }

    /// Delivers until the service is done with it.
    pub(super) async fn deliver_until_taken(&self, event: &Value) {
        while self.deliver(event).await.unwrap() != TopicEventResponseStatus::Success {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What a sidecar makes of an envelope for a gRPC app: attributes it knows in fields, the others as texts.
fn taken_apart(event: Value) -> TopicEventRequest {
    let Value::Object(mut all) = event else { panic!("an object") };
    let mut text =
        |name: &str| all.remove(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let (id, source, r#type, topic) = (text("id"), text("source"), text("type"), text("topic"));
    let (spec_version, data_content_type) = (text("specversion"), text("datacontenttype"));
    let data = all.remove("data").map(|data| data.to_string().into_bytes()).unwrap_or_default();
    let value = |value: Value| prost_types::Value {
        kind: Some(Kind::StringValue(value.as_str().unwrap_or_default().to_owned())),
    };
    let fields = all.into_iter().map(|(name, attribute)| (name, value(attribute))).collect();
    TopicEventRequest {
        id,
        source,
        r#type,
        spec_version,
        data_content_type,
        data,
        topic,
        pubsub_name: "bus".to_owned(),
        extensions: Some(Struct { fields }),
        path: String::new(),
    }
}
