use annals_persistence::Version;
use http::{HeaderMap, HeaderValue, header::IF_MATCH};

use super::ETag;

fn if_match(values: &[&'static str]) -> Result<Option<ETag>, &'static str> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(IF_MATCH, HeaderValue::from_static(value));
    }
    ETag::from_headers(&headers).map_err(|problem| problem.code())
}

#[test]
fn if_match_takes_quoted_plain_and_star() {
    assert_eq!(if_match(&[]), Ok(None));
    assert_eq!(if_match(&["\"3\""]), Ok(Some(ETag::Version(Version(3)))));
    assert_eq!(if_match(&[" 3 "]), Ok(Some(ETag::Version(Version(3)))));
    assert_eq!(if_match(&["*"]), Ok(Some(ETag::Any)));
    assert_eq!(if_match(&["\"3\", \"4\""]), Err("invalid_if_match"));
    assert_eq!(if_match(&["3", "4"]), Err("invalid_if_match"));
}

#[test]
fn a_tag_that_is_not_ours_is_stale() {
    for text in ["W/\"3\"", "abc", "-1", "+3", "", "99999999999999999999999"] {
        let tag = ETag::parse(text);
        assert_eq!(tag, ETag::Unknown, "{text}");
        assert!(!tag.matches(Version(3)));
        assert_eq!(tag.expected(), Some(Version(u64::MAX)));
    }
}

#[test]
fn header_and_body_must_agree() {
    let tag = |n| Some(ETag::Version(Version(n)));
    assert_eq!(ETag::agree(tag(1), None).unwrap(), ETag::Version(Version(1)));
    assert_eq!(ETag::agree(None, tag(1)).unwrap(), ETag::Version(Version(1)));
    assert_eq!(ETag::agree(tag(1), tag(1)).unwrap(), ETag::Version(Version(1)));
    assert_eq!(ETag::agree(tag(1), tag(2)).unwrap_err().code(), "etag_mismatch");
    assert_eq!(ETag::agree(None, None).unwrap_err().status(), 428);
}

#[test]
fn the_header_is_the_version_in_quotes() {
    assert_eq!(ETag::header(Version(3)), "\"3\"");
    assert_eq!(ETag::header(Version(u64::MAX)), "\"18446744073709551615\"");
}
