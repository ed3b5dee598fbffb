use axum::response::IntoResponse;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::Problem;

async fn sent(problem: Problem) -> (StatusCode, http::HeaderMap, Value) {
    let response = problem.into_response();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, headers, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_problem_has_its_members() {
    let problem = Problem::conflict("already_exists", "taken").at("/api/x");
    let (status, headers, body) = sent(problem).await;
    assert_eq!(status, 409);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(
        body,
        json!({
            "type": "urn:annals:error:already_exists", "title": "Conflict", "status": 409, "detail": "taken",
            "code": "already_exists", "instance": "/api/x",
        })
    );
}

#[tokio::test]
async fn what_can_be_tried_again_says_when() {
    let (status, headers, _) = sent(Problem::unavailable("mailbox_full", "full")).await;
    assert_eq!((status.as_u16(), headers["retry-after"].to_str().unwrap()), (503, "1"));
}

#[tokio::test]
async fn a_body_left_unread_ends_its_connection() {
    let too_large = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "too large");
    assert_eq!(sent(too_large).await.1["connection"], "close");
    assert!(!sent(Problem::not_found("nothing")).await.1.contains_key("connection"));
}

#[tokio::test]
async fn wrong_fields_are_listed() {
    let problem = Problem::rejected("invalid_body", "wrong").with_error("/a", "required", "must be given");
    let (_, _, body) = sent(problem).await;
    assert_eq!(body["errors"], json!([{ "path": "/a", "code": "required", "reason": "must be given" }]));
}

mod sending {
    use annals_actors::doc::{Account, AccountCommand};
    use annals_actors::{SendError, StateError};
    use annals_persistence::{AppendError, CommandId, Expected, StreamId, Version};

    use crate::Problem;

    fn of(error: SendError<Account>) -> (u16, &'static str) {
        let problem = Problem::from(error);
        (problem.status().as_u16(), problem.code())
    }

    fn command() -> AccountCommand {
        AccountCommand::Deposit { amount: 1 }
    }

    #[test]
    fn every_failed_command_has_its_status() {
        let stream = StreamId::aggregate("account", "1").unwrap();
        let source = std::sync::Arc::new(std::io::Error::other("full"));
        let conflict = AppendError::Conflict { stream, expected: Expected::NoStream, actual: Version(1) };
        let full = AppendError::DiskFull { path: "/x".into(), source };
        let cases: Vec<(SendError<Account>, (u16, &str))> = vec![
            (SendError::Conflict { expected: Version(1), actual: Version(2) }, (409, "version_conflict")),
            (
                SendError::CommandIdReused { command_id: CommandId::generate() },
                (422, "idempotency_key_reused"),
            ),
            (SendError::MailboxFull { command: command(), capacity: 1 }, (503, "mailbox_full")),
            (SendError::Stopping { command: command() }, (503, "stopping")),
            (SendError::NotCommitted(conflict), (409, "version_conflict")),
            (SendError::NotCommitted(full), (503, "disk_full")),
            (SendError::NotCommitted(AppendError::Closed), (503, "journal_closed")),
            (SendError::OutcomeUnknown { reason: "r".into() }, (503, "outcome_unknown")),
            (SendError::Panicked { message: "m".into() }, (500, "handler_panicked")),
            (SendError::Parked { reason: "r".into(), code: "undecodable_event" }, (503, "instance_parked")),
            (SendError::NotRegistered { type_name: "account" }, (500, "aggregate_not_registered")),
            (SendError::TimedOut, (504, "timed_out")),
        ];
        for (error, expected) in cases {
            assert_eq!(of(error), expected);
        }
        let state = Problem::from(StateError::Doubtful { reason: "r".into() });
        assert_eq!((state.status().as_u16(), state.code()), (503, "outcome_unknown"));
    }
}
