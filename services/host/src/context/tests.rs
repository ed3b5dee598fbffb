use annals_persistence::CorrelationId;
use axum::extract::FromRequestParts;
use http::Request;

use super::RequestContext;

async fn context(headers: &[(&str, &str)]) -> RequestContext {
    let mut request = Request::builder().method("POST").uri("/api/x?y=1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    RequestContext::from_request_parts(&mut parts, &()).await.unwrap()
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn the_correlation_is_given_or_the_trace_or_new() {
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let given = context(&[("x-correlation-id", id), ("traceparent", TRACE)]).await;
    assert_eq!(given.correlation().to_string(), id);
    assert_eq!(given.trace().map(|t| (t.span_id, t.flags)), Some((0xb7ad_6b71_6920_3331, 1)));
    let traced = context(&[("traceparent", TRACE)]).await;
    assert_eq!(traced.correlation(), CorrelationId::from_u128(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c));
    let text = context(&[("x-correlation-id", "order 66")]).await.correlation();
    assert_eq!(text, context(&[("x-correlation-id", "order 66")]).await.correlation());
    assert_ne!(context(&[]).await.correlation(), context(&[]).await.correlation());
}

#[tokio::test]
async fn a_traceparent_that_is_none_is_ignored() {
    for text in [
        "",
        "00-0-0-0",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
    ] {
        assert_eq!(context(&[("traceparent", text)]).await.trace(), None, "{text}");
    }
}

#[tokio::test]
async fn a_key_is_printable_and_not_too_long() {
    assert_eq!(context(&[]).await.idempotency_key().unwrap(), None);
    assert_eq!(context(&[("idempotency-key", "a b~")]).await.idempotency_key().unwrap(), Some("a b~"));
    for key in ["", &"x".repeat(256), "a\tb", "é"] {
        let problem = context(&[("idempotency-key", key)]).await.idempotency_key().unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (422, "idempotency_key_invalid"), "{key}");
    }
}

#[tokio::test]
async fn method_path_and_actor_are_kept() {
    let context = context(&[("x-actor", "anna"), ("if-match", "\"3\"")]).await;
    assert_eq!((context.method().as_str(), context.path()), ("POST", "/api/x"));
    assert_eq!(context.actor().map(|a| &**a), Some("anna"));
    assert!(context.if_match().unwrap().is_some());
}
