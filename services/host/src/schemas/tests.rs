use annals_actors::Node;
use annals_bus::SchemaOptions;
use annals_persistence::{Journal, MemoryJournal};
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

const PLACE: &str = "/api/schema/v1.moved";

async fn member(service: &'static str, journal: &Arc<MemoryJournal>) -> (&'static str, Bus) {
    let journal = Arc::clone(journal) as Arc<dyn Journal>;
    let node = Node::builder().journal(journal).start().await.unwrap();
    let bus = Bus::builder(node, service).schemas(SchemaOptions::default()).start().await.unwrap();
    (service, bus)
}

fn over(members: Vec<(&'static str, Bus)>) -> Router {
    router(members, Access { loopback_listener: false, token: Some("token".into()) })
}

async fn answer(router: &Router, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", "Bearer token").body(Body::from(body.to_string())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_schema_that_is_refused_leaves_the_mode_as_it_was() {
    let router = over(vec![member("customer", &Arc::default()).await]);
    let of = |kind: &str| json!({"type": "object", "properties": {"a": {"type": kind}}});
    let register = async |mode: &str, schema: &Value| {
        answer(&router, Method::POST, &format!("{PLACE}{mode}"), schema).await.0
    };
    let mode = async || answer(&router, Method::GET, PLACE, &json!({})).await.1["compatibility"].clone();
    assert_eq!(register("", &of("string")).await, 201);
    assert_eq!(register("?compatibility=full", &of("integer")).await, 409);
    assert_eq!(register("?compatibility=none", &json!({"type": "nonsense"})).await, 422);
    assert_eq!(mode().await, "backward");
    assert_eq!(register("?compatibility=none", &of("integer")).await, 201);
    assert_eq!(mode().await, "none");
}

#[tokio::test]
async fn a_registry_that_cannot_be_read_is_not_taken_for_one_without_the_topic() {
    let unreadable = Arc::new(MemoryJournal::new());
    let members = vec![member("customer", &unreadable).await, member("order", &Arc::default()).await];
    let router = over(members);
    let other = format!("{PLACE}?service=order");
    assert_eq!(answer(&router, Method::POST, &other, &json!({})).await.0, 201);
    assert_eq!(answer(&router, Method::GET, PLACE, &json!({})).await.0, 200);
    let (status, problem) = answer(&router, Method::GET, "/api/schema/v1.nothing", &json!({})).await;
    assert_eq!((status, &problem["code"]), (404, &json!("schema_not_found")));

    unreadable.close().await;
    for path in [PLACE, "/api/schema/v1.nothing"] {
        let (status, problem) = answer(&router, Method::GET, path, &json!({})).await;
        assert_eq!((status, &problem["code"]), (503, &json!("journal_closed")), "{path}");
    }
    assert_eq!(answer(&router, Method::GET, &other, &json!({})).await.0, 200);
}

#[tokio::test]
async fn what_takes_too_long_to_compare_is_refused() {
    let router = over(vec![member("customer", &Arc::default()).await]);
    let many = |kind: &str, required: &[&str]| {
        let one = |number| json!({"properties": {format!("{kind}{number}"): false}, "required": required});
        json!({"anyOf": (0..1000).map(one).collect::<Vec<_>>()})
    };
    assert_eq!(answer(&router, Method::POST, PLACE, &many("old", &[])).await.0, 201);
    let check = format!("{PLACE}/check");
    let (status, problem) = answer(&router, Method::POST, &check, &many("new", &["never"])).await;
    assert_eq!((status, &problem["code"]), (422, &json!("schema_too_complex")));
    let twice = json!({"allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]});
    let round = json!({"$ref": "#/$defs/A", "$defs": {"A": twice}});
    let (status, problem) = answer(&router, Method::POST, &check, &round).await;
    assert_eq!((status, &problem["code"]), (422, &json!("not_a_schema")));
}
