use axum::body::Body;
use axum::extract::{FromRequest, Request};
use futures_util::stream;

use super::{BODY_BYTES_MAX, JsonBody};
use crate::fields::{Fields, FromFields, text};

#[derive(Debug)]
struct Named(String);

impl FromFields for Named {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        fields.required("name", text()).map(Self)
    }
}

async fn read(content_type: Option<&str>, body: impl Into<Body>) -> Result<String, (u16, &'static str)> {
    let mut request = Request::builder().method("POST");
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    JsonBody::<Named>::from_request(request.body(body.into()).unwrap(), &())
        .await
        .map(|body| body.value.0)
        .map_err(|problem| (problem.status().as_u16(), problem.code()))
}

#[tokio::test]
async fn json_is_taken_under_its_names() {
    let body = r#"{"name":"n"}"#;
    for name in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
        assert_eq!(read(Some(name), body).await, Ok("n".into()), "{name}");
    }
    for name in ["text/json", "application/jsonx", "application/+json", "text/plain", "", "application/"] {
        assert_eq!(read(Some(name), body).await, Err((415, "unsupported_media_type")), "{name}");
    }
    assert_eq!(read(None, body).await, Err((415, "unsupported_media_type")));
}

#[tokio::test]
async fn errors_come_in_order() {
    let large = "x".repeat(BODY_BYTES_MAX + 1);
    assert_eq!(read(Some("text/plain"), large.clone()).await, Err((413, "body_too_large")));
    let chunks = stream::iter([Ok::<_, std::io::Error>(large)]);
    assert_eq!(read(Some("text/plain"), Body::from_stream(chunks)).await, Err((413, "body_too_large")));
    assert_eq!(read(Some("text/plain"), "{").await, Err((415, "unsupported_media_type")));
    assert_eq!(read(Some("application/json"), "{").await, Err((400, "malformed_json")));
    assert_eq!(read(Some("application/json"), "{}").await, Err((422, "invalid_body")));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_incomplete() {
    let chunks = stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]);
    assert_eq!(
        read(Some("application/json"), Body::from_stream(chunks)).await,
        Err((400, "body_incomplete"))
    );
}
