//! The gRPC server that the sidecar calls: what is subscribed to, events, health.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_alpha_server::{AppCallbackAlpha, AppCallbackAlphaServer};
use dapr::dapr::proto::runtime::v1::app_callback_health_check_server::{
    AppCallbackHealthCheck, AppCallbackHealthCheckServer,
};
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event;
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus;
use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, HealthCheckResponse, JobEventRequest, JobEventResponse,
    ListInputBindingsResponse, ListTopicSubscriptionsResponse, TopicEventBulkRequest,
    TopicEventBulkRequestEntry, TopicEventBulkResponse, TopicEventBulkResponseEntry, TopicEventCeRequest,
    TopicEventRequest, TopicEventResponse, TopicRoutes, TopicSubscription,
};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};

use super::app::{AppAnswer, AppSubscription, DaprApp};
use super::sidecar::MESSAGE_BYTES_MAX;
use super::wire;
use crate::{Topic, ended};

/// What it is called when it has ended.
const WHAT: &str = "the server that the sidecar calls";

/// How long stopping waits for deliveries under way; each is answered within the app's own time, eight seconds unless it
/// is set otherwise.
const DRAIN: Duration = Duration::from_millis(8500);

/// The server, for as long as it is not stopped or dropped.
pub(super) struct CallbackServer {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl CallbackServer {
    pub(super) async fn start(address: SocketAddr, app: DaprApp) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        app.warn_of_network(address);
        let stopping = watch::Sender::new(false);
        let mut stopped = stopping.subscribe();
        let callback = Arc::new(Callback { app });
        let router = Server::builder()
            .add_service(
                AppCallbackServer::from_arc(Arc::clone(&callback))
                    .max_decoding_message_size(MESSAGE_BYTES_MAX),
            )
            .add_service(
                AppCallbackAlphaServer::from_arc(Arc::clone(&callback))
                    .max_decoding_message_size(MESSAGE_BYTES_MAX),
            )
            .add_service(AppCallbackHealthCheckServer::from_arc(callback));
        let told = stopping.clone();
        let serving = async move {
            // An error means that the sender is gone, which is an end too.
            let end = async move { drop(stopped.wait_for(|stopping| *stopping).await) };
            let served = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), end).await;
            if let Err(error) = served {
                tracing::error!(%error, "the server for the sidecar failed");
            }
        };
        let task = tokio::spawn(async move {
            ended::by_itself(WHAT, serving, || *told.borrow()).await;
        });
        Ok(Self { address, stopping, task: Some(task) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why no deliveries come, when it has ended by itself.
    pub(super) fn fault(&self) -> Option<String> {
        self.task.as_ref().is_some_and(JoinHandle::is_finished).then(|| ended::reason(WHAT))
    }

    /// Ends as a failure of its own would.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.task.iter().for_each(JoinHandle::abort);
    }

    /// Takes nothing new, and waits a bounded time for what is under way.
    pub(super) async fn stop(mut self) {
        self.stopping.send_replace(true);
        if let Some(task) = &mut self.task
            && tokio::time::timeout(DRAIN, task).await.is_err()
        {
            tracing::warn!("deliveries under way did not end in time; the sidecar will bring them again");
        }
    }
}

impl Drop for CallbackServer {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

struct Callback {
    app: DaprApp,
}

impl Callback {
    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let token = request.metadata().get("dapr-api-token").map(|token| token.as_bytes());
        if self.app.is_from_sidecar(token, request.remote_addr().map(|peer| peer.ip())) {
            return Ok(());
        }
        tracing::error!("a delivery without the app token, or with a wrong one, was refused");
        Err(Status::unauthenticated("the app token is wrong or missing"))
    }

    async fn take(&self, event: TopicEventRequest) -> AppAnswer {
        let topic = Topic::named(event.topic.as_str());
        let taken = async {
            let bytes = event.data.len();
            match wire::envelope(event, &topic) {
                Ok(envelope) => self.app.hand_over(&topic, envelope, bytes).await,
                Err(unreadable) => self.app.bury_unreadable(&topic, unreadable).await,
            }
        };
        // A sidecar takes a broken call for a broken app; a handler's panics are caught where they happen.
        AssertUnwindSafe(taken).catch_unwind().await.unwrap_or(AppAnswer::Retry)
    }

    async fn take_entry(
        &self,
        request: &TopicEventBulkRequest,
        entry: TopicEventBulkRequestEntry,
    ) -> AppAnswer {
        let topic = Topic::named(request.topic.as_str());
        match entry.event {
            Some(Event::CloudEvent(event)) => self.take(whole(event, request)).await,
            Some(Event::Bytes(bytes)) => self.app.deliver(topic.as_str(), &entry.content_type, &bytes).await,
            None => self.app.deliver(topic.as_str(), &entry.content_type, &[]).await,
        }
    }

    async fn take_bulk(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.check(&request)?;
        let mut request = request.into_inner();
        let entries = std::mem::take(&mut request.entries);
        let request = &request;
        let statuses = join_all(entries.into_iter().map(async |entry| {
            let entry_id = entry.entry_id.clone();
            let answer = self.take_entry(request, entry).await;
            TopicEventBulkResponseEntry { entry_id, status: status_of(answer) }
        }));
        Ok(Response::new(TopicEventBulkResponse { statuses: statuses.await }))
    }
}

fn whole(event: TopicEventCeRequest, request: &TopicEventBulkRequest) -> TopicEventRequest {
    let TopicEventCeRequest { id, source, r#type, spec_version, data_content_type, data, extensions } = event;
    TopicEventRequest {
        id,
        source,
        r#type,
        spec_version,
        data_content_type,
        data,
        extensions,
        topic: request.topic.clone(),
        pubsub_name: request.pubsub_name.clone(),
        path: request.path.clone(),
    }
}

fn status_of(answer: AppAnswer) -> i32 {
    match answer {
        AppAnswer::Success => TopicEventResponseStatus::Success.into(),
        AppAnswer::Retry => TopicEventResponseStatus::Retry.into(),
    }
}

fn subscription(described: AppSubscription) -> TopicSubscription {
    let AppSubscription { pubsubname, topic, route, dead_letter_topic } = described;
    TopicSubscription {
        pubsub_name: pubsubname.to_string(),
        topic: topic.to_string(),
        routes: Some(TopicRoutes { rules: Vec::new(), default: route }),
        dead_letter_topic: dead_letter_topic.unwrap_or_default(),
        ..TopicSubscription::default()
    }
}

fn not_ours(what: &str) -> Status {
    Status::not_found(format!("this service has no {what}"))
}

#[async_trait]
impl AppCallback for Callback {
    async fn on_invoke(&self, _: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        Err(not_ours("methods to invoke"))
    }

    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        // No sidecar sends its token with this question.
        let subscriptions = self.app.subscriptions().await.into_iter().map(subscription).collect();
        Ok(Response::new(ListTopicSubscriptionsResponse { subscriptions }))
    }

    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        self.check(&request)?;
        let status = status_of(self.take(request.into_inner()).await);
        Ok(Response::new(TopicEventResponse { status }))
    }

    async fn list_input_bindings(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListInputBindingsResponse>, Status> {
        Ok(Response::new(ListInputBindingsResponse::default()))
    }

    async fn on_binding_event(
        &self,
        _: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        Err(not_ours("input bindings"))
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.take_bulk(request).await
    }

    async fn on_job_event(&self, _: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        Err(not_ours("jobs"))
    }
}

#[async_trait]
impl AppCallbackAlpha for Callback {
    async fn on_bulk_topic_event_alpha1(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.take_bulk(request).await
    }

    async fn on_job_event_alpha1(
        &self,
        _: Request<JobEventRequest>,
    ) -> Result<Response<JobEventResponse>, Status> {
        Err(not_ours("jobs"))
    }
}

#[async_trait]
impl AppCallbackHealthCheck for Callback {
    async fn health_check(&self, _: Request<()>) -> Result<Response<HealthCheckResponse>, Status> {
        if self.app.is_healthy() {
            Ok(Response::new(HealthCheckResponse::default()))
        } else {
            Err(Status::unavailable("the service is stopping"))
        }
    }
}
