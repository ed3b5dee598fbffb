use annals_actors::Moment;
use annals_persistence::{Timestamp, Version};
use axum::extract::FromRequestParts;
use http::Request;

use super::{AsOf, HistoryQuery, Page};
use crate::Problem;

async fn extract<T: FromRequestParts<(), Rejection = Problem>>(query: &str) -> Result<T, String> {
    let (mut parts, ()) = Request::builder().uri(format!("/x{query}")).body(()).unwrap().into_parts();
    T::from_request_parts(&mut parts, &()).await.map_err(|p| format!("{} {}", p.status().as_u16(), p.code()))
}

#[tokio::test]
async fn a_moment_is_a_version_or_a_time() {
    assert_eq!(extract("").await, Ok(AsOf(None)));
    assert_eq!(extract("?other=1").await, Ok(AsOf(None)));
    assert_eq!(extract("?version=3").await, Ok(AsOf(Some(Moment::Version(Version(3))))));
    let time = Ok(AsOf(Some(Moment::Time(Timestamp(0)))));
    assert_eq!(extract("?at=1970-01-01T00:00:00Z").await, time);
    assert_eq!(extract("?at=1970-01-01T01:00:00%2B01:00").await, time);
    assert_eq!(extract("?at=1970-01-01T01:00:00+01:00").await, time);
    for query in ["?version=", "?version=x", "?version=-1", "?version=+1", "?at=", "?at=yesterday", "?at=3"] {
        assert_eq!(extract::<AsOf>(query).await, Err("422 invalid_query".into()), "{query}");
    }
    let both = "?version=1&at=1970-01-01T00:00:00Z";
    assert_eq!(extract::<AsOf>(both).await, Err("422 invalid_query".into()));
}

#[tokio::test]
async fn parts_and_pages_are_read() {
    let all = HistoryQuery { from: Version(1), limit: None };
    assert_eq!(extract("").await, Ok(all));
    assert_eq!(extract("?from=0").await, Ok(all));
    assert_eq!(extract("?from=4&limit=2").await, Ok(HistoryQuery { from: Version(4), limit: Some(2) }));
    assert_eq!(extract("?limit=0").await, Ok(Page { limit: Some(0), after: None }));
    assert_eq!(extract::<Page>("?after=x&limit=y").await, Err("422 invalid_query".into()));
}
