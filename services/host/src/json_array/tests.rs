use axum::response::Response;
use futures_util::stream;
use http_body_util::BodyExt;

use super::{json_array, json_array_of};

async fn text(response: Response) -> Result<String, ()> {
    assert_eq!(response.headers()["content-type"], "application/json");
    let bytes = response.into_body().collect().await.map_err(drop)?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn lists_of_any_length_are_whole() {
    for count in [0_usize, 1, 2, 255, 256, 257, 50_000] {
        let expected = serde_json::to_string(&(0..count).collect::<Vec<_>>()).unwrap();
        assert_eq!(text(json_array(0..count)).await, Ok(expected.clone()), "{count}");
        let items = stream::iter((0..count).map(Ok::<_, std::io::Error>));
        assert_eq!(text(json_array_of(items)).await, Ok(expected), "{count}");
    }
}

#[tokio::test]
async fn a_stream_that_fails_breaks_off() {
    let items = stream::iter([Ok(1), Err(std::io::Error::other("gone")), Ok(2)]);
    assert_eq!(text(json_array_of(items)).await, Err(()));
}
