use super::{is_complete, parts, rate};

#[test]
fn an_answer_is_complete_with_its_last_byte() {
    let answer = b"HTTP/1.1 201 Created\r\nContent-length: 2\r\nETag: \"1\"\r\n\r\n{}";
    for end in 0..answer.len() {
        assert!(!is_complete(&answer[..end]).unwrap(), "{end}");
    }
    assert!(is_complete(answer).unwrap());
}

#[test]
fn any_other_answer_is_an_error() {
    let refused = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    assert!(is_complete(refused).unwrap_err().to_string().contains("503"));
}

#[test]
fn what_wrk_says() {
    assert_eq!(rate("x\nRequests/sec:  123.45\nTransfer/sec: 1MB\n").unwrap(), 123.45);
    assert!(rate("  Non-2xx or 3xx responses: 3\nRequests/sec:  1.0\n").is_err());
    assert!(rate("unable to connect").is_err());
}

#[test]
fn an_address_has_two_parts() {
    assert_eq!(parts("http://127.0.0.1:80/api/customer").unwrap(), ("127.0.0.1:80", "/api/customer"));
    assert!(parts("https://x/").is_err());
}
