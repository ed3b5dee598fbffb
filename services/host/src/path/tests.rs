use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::Request;
use tower::ServiceExt;

use super::{PathText, path_uuid};

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

async fn status(path: &str) -> u16 {
    let one =
        async |id: PathText| id.uuid().map_or_else(IntoResponse::into_response, |_| Response::default());
    let two = async |path: PathText<(String, String)>| path.get().map(|(id, tag)| format!("{id} {tag}"));
    let wrong = async |path: PathText<(String, String)>| path.get().map(|_| ());
    let router = Router::new()
        .route("/one/{id}", get(one))
        .route("/two/{id}/{tag}", get(two))
        .route("/wrong/{id}", get(wrong));
    let request = Request::get(path).body(Body::empty()).unwrap();
    router.oneshot(request).await.unwrap().status().as_u16()
}

#[test]
fn an_id_is_a_uuid() {
    assert!(path_uuid(ID).is_ok());
    assert_eq!(path_uuid("7").unwrap_err().status(), 404);
}

#[tokio::test]
async fn what_is_no_id_is_nowhere() {
    assert_eq!(status(&format!("/one/{ID}")).await, 200);
    for path in ["/one/7", "/one/%FF", "/one/%00", &format!("/two/{ID}/%FF"), "/two/%C3%28/1"] {
        assert_eq!(status(path).await, 404, "{path}");
    }
    assert_eq!(status("/two/%C3%A4/1").await, 200);
}

#[tokio::test]
async fn a_route_that_asks_for_more_than_its_path_has_is_at_fault_itself() {
    assert_eq!(status(&format!("/wrong/{ID}")).await, 500);
}
