//! The sidecar's gRPC API, as far as it is used.

use std::sync::Arc;
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, BulkPublishResponse, GetMetadataRequest, GetMetadataResponse, PublishEventRequest,
};
use parking_lot::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{DaprOptions, EndpointError};

/// What a message to or from the sidecar may have, in bytes; the sidecar's own limit is usually lower.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much later than we the sidecar gives a call up.
const LONGER: Duration = Duration::from_secs(2);

/// Shows the sidecar its token.
#[derive(Clone)]
struct ApiToken(Option<MetadataValue<Ascii>>);

impl Interceptor for ApiToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("dapr-api-token", token.clone());
        }
        Ok(request)
    }
}

/// Why there can be no client for a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SidecarError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("an authority for TLS was given, and {endpoint} has none; give an address with https://")]
    NoTls { endpoint: String },
    #[error("the sidecar's API token has characters that no header can carry")]
    Token,
}

/// A connection to the sidecar, made when it is first needed and again whenever it was lost. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Sidecar {
    client: DaprClient<InterceptedService<Channel, ApiToken>>,
    timeout: Duration,
    bulk: Arc<Mutex<BulkName>>,
}

/// The name that bulk publishing goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum BulkName {
    #[default]
    Unknown,
    Stable,
    /// With sidecars before 1.17.
    Alpha,
}

impl Sidecar {
    /// For the current tokio runtime; nothing is connected yet.
    pub(super) fn new(options: &DaprOptions) -> Result<Self, SidecarError> {
        if options.ca.is_some() && !options.endpoint.has_tls() {
            return Err(SidecarError::NoTls { endpoint: options.endpoint.to_string() });
        }
        let token = options.api_token.as_ref().map(|token| token.reveal().parse());
        let token = ApiToken(token.transpose().map_err(|_| SidecarError::Token)?);
        let channel = options.endpoint.connector(options.ca.as_ref())?.connect_lazy();
        let client = DaprClient::with_interceptor(channel, token)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client, timeout: options.call_timeout, bulk: Arc::default() })
    }

    /// A request that the sidecar gives up a little after we have: a broker's client that takes a call given up for one
    /// that succeeded, as RabbitMQ's does while it connects again, then says so to nobody.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout + LONGER);
        request
    }

    /// An answer, if it comes in time.
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "the sidecar has not answered within {:?}",
                self.timeout
            ))),
        }
    }

    /// Publishes one event.
    pub(super) async fn publish(
        &self,
        event: PublishEventRequest,
        trace: Option<&str>,
    ) -> Result<(), Status> {
        let mut request = self.request(event);
        if let Some(trace) = trace.and_then(|trace| trace.parse().ok()) {
            request.metadata_mut().insert("traceparent", trace);
        }
        self.in_time(self.client.clone().publish_event(request)).await
    }

    /// Publishes several events, by the name under which the sidecar knows that.
    pub(super) async fn publish_bulk(
        &self,
        events: BulkPublishRequest,
    ) -> Result<BulkPublishResponse, Status> {
        let name = *self.bulk.lock();
        let answer = match name {
            BulkName::Stable => self.bulk_stable(events).await,
            BulkName::Alpha => self.bulk_alpha(events).await,
            BulkName::Unknown => return self.find_bulk_name(events).await,
        };
        if answer.as_ref().is_err_and(is_unknown_method) {
            // The sidecar was replaced by one of another release.
            *self.bulk.lock() = BulkName::Unknown;
            return Err(Status::unavailable("the sidecar was replaced by another release"));
        }
        answer
    }

    async fn find_bulk_name(&self, events: BulkPublishRequest) -> Result<BulkPublishResponse, Status> {
        let (name, answer) = match self.bulk_stable(events.clone()).await {
            Err(status) if is_unknown_method(&status) => (BulkName::Alpha, self.bulk_alpha(events).await),
            answer => (BulkName::Stable, answer),
        };
        if answer.is_ok() {
            *self.bulk.lock() = name;
        }
        answer
    }

    async fn bulk_stable(&self, events: BulkPublishRequest) -> Result<BulkPublishResponse, Status> {
        self.in_time(self.client.clone().bulk_publish_event(self.request(events))).await
    }

    async fn bulk_alpha(&self, events: BulkPublishRequest) -> Result<BulkPublishResponse, Status> {
        let mut client = self.client.clone();
        #[expect(deprecated, reason = "the only name that sidecars before 1.17 know")]
        let call = client.bulk_publish_event_alpha1(self.request(events));
        self.in_time(call).await
    }

    /// What the sidecar says of itself.
    pub(super) async fn metadata(&self) -> Result<GetMetadataResponse, Status> {
        self.in_time(self.client.clone().get_metadata(self.request(GetMetadataRequest {}))).await
    }
}

/// Sidecars before 1.17 take a method that they do not have for a call to another application.
fn is_unknown_method(status: &Status) -> bool {
    status.code() == Code::Unimplemented
        || (status.code() == Code::Unknown && status.message().contains("failed to proxy request"))
}
