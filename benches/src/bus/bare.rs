//! An app that says yes to every event, and nothing else.

use std::sync::Arc;

use annals::bus::Topic;
use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_health_check_server::{
    AppCallbackHealthCheck, AppCallbackHealthCheckServer,
};
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, HealthCheckResponse, JobEventRequest, JobEventResponse,
    ListInputBindingsResponse, ListTopicSubscriptionsResponse, TopicEventBulkRequest, TopicEventBulkResponse,
    TopicEventRequest, TopicEventResponse, TopicSubscription,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::sidecar::PUBSUB;
use crate::Failure;

/// The app; it ends with this.
pub(super) struct BareApp(JoinHandle<Result<(), tonic::transport::Error>>);

impl BareApp {
    /// Serves on a port of this machine, and shows each event of a topic to `see`.
    pub(super) async fn serve(
        port: u16,
        topic: Topic,
        see: impl Fn(TopicEventRequest) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let callback = Arc::new(Callback { topic, see: Box::new(see) });
        let server = Server::builder()
            .add_service(AppCallbackServer::from_arc(Arc::clone(&callback)))
            .add_service(AppCallbackHealthCheckServer::from_arc(callback))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Ok(Self(tokio::spawn(server)))
    }
}

impl Drop for BareApp {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Callback {
    topic: Topic,
    see: Box<dyn Fn(TopicEventRequest) + Send + Sync>,
}

fn nothing<T>() -> Result<T, Status> {
    Err(Status::not_found("nothing of the kind is here"))
}

#[tonic::async_trait]
impl AppCallback for Callback {
    async fn on_invoke(&self, _: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        nothing()
    }

    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        let topic = self.topic.to_string();
        let one = TopicSubscription { pubsub_name: PUBSUB.to_owned(), topic, ..TopicSubscription::default() };
        Ok(Response::new(ListTopicSubscriptionsResponse { subscriptions: vec![one] }))
    }

    async fn on_topic_event(
        &self,
        event: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        (self.see)(event.into_inner());
        Ok(Response::new(TopicEventResponse::default()))
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
        nothing()
    }

    async fn on_bulk_topic_event(
        &self,
        _: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        nothing()
    }

    async fn on_job_event(&self, _: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        nothing()
    }
}

#[tonic::async_trait]
impl AppCallbackHealthCheck for Callback {
    async fn health_check(&self, _: Request<()>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse::default()))
    }
}
