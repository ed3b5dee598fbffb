use std::sync::Arc;

use annals_actors::Node;
use annals_bus::dapr::{AppChannel, DaprBroker, DaprOptions, Secret};
use annals_bus::{Bus, Delivery, HandlerError, IntegrationEvent, Reaction};
use annals_persistence::MemoryJournal;
use axum::body::to_bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt;

use super::*;

/// The most bytes of an event that the service takes.
const MOST: usize = 1024;

#[derive(Debug, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "heard")]
struct Heard {
    text: String,
}

/// A service that gets its events over HTTP; no sidecar is there.
async fn service(token: Option<&str>) -> (Bus, Router) {
    let options = DaprOptions {
        app_channel: AppChannel::Http,
        app_token: token.map(Secret::new),
        body_bytes_max: MOST,
        endpoint: "http://127.0.0.1:1".parse().unwrap(),
        ..DaprOptions::new("bus")
    };
    let broker = DaprBroker::new(options);
    let node = Node::builder().journal(Arc::new(MemoryJournal::new())).start().await.unwrap();
    let builder = Bus::builder(node, "hearing").subscribe::<Heard>("hear", hear);
    let bus = builder.broker(Arc::new(broker.clone())).start().await.unwrap();
    (bus, router(broker.app().clone()))
}

async fn hear(_: Heard, _: Delivery) -> Result<Reaction, HandlerError> {
    Ok(Reaction::none())
}

fn event(text: &str) -> String {
    json!({ "specversion": "1.0", "id": "1", "source": "else", "type": "heard", "data": { "text": text } })
        .to_string()
}

async fn brought(
    router: &Router,
    peer: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (StatusCode, Value) {
    let mut request =
        Request::post("/dapr/events/v1.heard").header(header::CONTENT_TYPE, "application/cloudevents+json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body.into()).unwrap();
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    (status, serde_json::from_slice(&to_bytes(answer.into_body(), MOST).await.unwrap()).unwrap())
}

#[tokio::test]
async fn without_a_token_only_this_machine_brings_events() {
    let (bus, router) = service(None).await;
    for peer in ["127.0.0.1:5", "[::1]:5"] {
        let (status, answer) = brought(&router, peer, &[], event("here")).await;
        assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("SUCCESS")), "{peer}");
    }
    let (status, answer) = brought(&router, "10.0.0.7:5", &[], event("forged")).await;
    assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("sidecar_unauthorized")));
    for behind in ["origin", "forwarded", "x-forwarded-for"] {
        let (status, _) = brought(&router, "127.0.0.1:5", &[(behind, "x")], "garbage").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{behind}");
    }
    assert!(bus.dead_letters().list().await.unwrap().is_empty());
    bus.shutdown().await;
}

#[tokio::test]
async fn the_token_is_believed_from_everywhere() {
    let (bus, router) = service(Some("app")).await;
    let shown = [(TOKEN_HEADER, "app"), ("x-forwarded-for", "x")];
    assert_eq!(brought(&router, "10.0.0.7:5", &shown, event("there")).await.0, StatusCode::OK);
    for shown in [&[][..], &[(TOKEN_HEADER, "other")]] {
        assert_eq!(brought(&router, "127.0.0.1:5", shown, event("here")).await.0, StatusCode::UNAUTHORIZED);
    }
    bus.shutdown().await;
}

#[tokio::test]
async fn of_a_body_that_is_far_too_long_the_beginning_is_kept() {
    let (bus, router) = service(None).await;
    for text in ["x".repeat(MOST), "y".repeat(100 * MOST)] {
        let (status, answer) = brought(&router, "127.0.0.1:5", &[], event(&text)).await;
        assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("SUCCESS")));
    }
    let letters = bus.dead_letters().list().await.unwrap();
    let lengths: Vec<_> = letters.iter().map(|letter| serde_json::to_string(letter).unwrap().len()).collect();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert!(lengths.iter().all(|length| *length < 4 * MOST), "{lengths:?}");
    assert!(letters[0].reason.contains("more than the"), "{}", letters[0].reason);
    assert!(letters[1].reason.contains("its beginning"), "{}", letters[1].reason);
    bus.shutdown().await;
}

/// A service with a route that the sidecar's channel has too.
#[derive(Debug)]
struct Rival;

impl crate::Service for Rival {
    fn name(&self) -> &'static str {
        "rival"
    }

    fn inspectors(&self) -> Vec<Arc<dyn annals_actors::Inspector>> {
        Vec::new()
    }

    fn start(
        &self,
        setup: crate::Setup,
    ) -> futures_util::future::BoxFuture<'_, Result<crate::Running, crate::ServiceError>> {
        Box::pin(async move {
            let node = Node::builder().journal(setup.journal).start().await.unwrap();
            let router = Router::new().route("/healthz", get(async || "mine"));
            Ok(crate::Running::new(node).router(router))
        })
    }
}

#[tokio::test]
async fn a_route_that_is_there_twice_is_an_error_of_the_start() {
    let data = tempfile::tempdir().unwrap();
    let options = |channel| {
        let options = DaprOptions { app_channel: channel, ..DaprOptions::new("bus") };
        crate::HostOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: Some(data.path().to_owned()),
            carrier: crate::Carrier::Dapr([("rival".to_owned(), options)].into()),
            ..crate::HostOptions::default()
        }
    };
    let services: [Arc<dyn crate::Service>; 1] = [Arc::new(Rival)];
    let error = crate::Host::start(&services, options(AppChannel::Http)).await.unwrap_err();
    assert_eq!(error.code(), "route_taken");
    assert!(error.to_string().contains("/healthz"), "{error}");
    // The data is closed again.
    let over_grpc = options(AppChannel::Grpc("127.0.0.1:0".parse().unwrap()));
    crate::Host::start(&services, over_grpc).await.unwrap().shutdown().await;
}
