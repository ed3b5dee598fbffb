//! The pages behind the codes of errors.

#[cfg(test)]
mod tests;

/// A code and its page, for each.
macro_rules! pages {
    ($($code:literal),+ $(,)?) => {
        &[$(($code, include_str!(concat!("../../../docs/errors/", $code, ".md")))),+]
    };
}

/// Every code that has a page, in alphabetical order.
const PAGES: &[(&str, &str)] = pages! {
    "admin_forbidden",
    "admin_host_not_local",
    "admin_unauthorized",
    "aggregate_not_registered",
    "already_exists",
    "answer_incomplete",
    "answer_not_encodable",
    "append_superseded",
    "apply_panicked",
    "bad_request",
    "body_incomplete",
    "body_too_large",
    "broker_refused",
    "code_not_found",
    "command_id_reused",
    "command_not_encodable",
    "control_characters",
    "dead_letter_not_found",
    "delivery_postponed",
    "disk_full",
    "duplicate_aggregate_type",
    "envelope_without_data",
    "etag_mismatch",
    "event_poisonous",
    "event_schema_changed",
    "handler_failed",
    "handler_panicked",
    "handler_stuck",
    "idempotency_key_invalid",
    "idempotency_key_reused",
    "instance_parked",
    "integration_event_not_encodable",
    "internal_error",
    "invalid_answer",
    "invalid_batch",
    "invalid_body",
    "invalid_bus_name",
    "invalid_if_match",
    "invalid_query",
    "invalid_request",
    "invalid_stream_name",
    "invalid_subscription_limit",
    "invalid_topic",
    "journal_busy",
    "journal_closed",
    "journal_damaged",
    "journal_format",
    "journal_in_use",
    "journal_not_writable",
    "journal_unreadable",
    "journal_unwritable",
    "listen_failed",
    "mailbox_full",
    "mailbox_stuck",
    "malformed_envelope",
    "malformed_json",
    "method_not_allowed",
    "negative",
    "newer_event_version",
    "no_data",
    "no_journal",
    "no_temporary_directory",
    "not_a_boolean",
    "not_a_list",
    "not_a_number",
    "not_a_string",
    "not_a_time",
    "not_a_uuid",
    "not_an_integer",
    "not_an_object",
    "not_available",
    "not_found",
    "not_unicode",
    "older_event_version",
    "order_cancelled",
    "order_shipped",
    "out_of_range",
    "outcome_unknown",
    "output_failed",
    "precondition_required",
    "publish_refused",
    "publish_unavailable",
    "read_model_behind",
    "read_model_failed",
    "read_panicked",
    "rejected",
    "replay_failed",
    "replay_not_recorded",
    "required",
    "route_not_found",
    "scavenging_under_way",
    "service_not_found",
    "service_start_failed",
    "service_taken",
    "service_unreachable",
    "sidecar_failed",
    "sidecar_unauthorized",
    "snapshots_given_up",
    "snapshots_in_use",
    "state_not_encodable",
    "state_not_found",
    "stopped_early",
    "stopping",
    "stream_gone",
    "subscription_busy",
    "subscription_not_found",
    "subscription_stopping",
    "subscription_twice",
    "supervisor_failed",
    "timed_out",
    "too_few",
    "too_long",
    "too_many",
    "too_many_decimal_places",
    "too_short",
    "topic_not_declared",
    "topic_published_twice",
    "translation_panicked",
    "undecodable_command",
    "undecodable_event",
    "undecodable_integration_event",
    "unexpected_answer",
    "unknown_event_type",
    "unsupported_content_type",
    "unsupported_media_type",
    "version_conflict",
};

/// The page of a code, in Markdown.
///
/// ```
/// assert!(annals_services::explain("version_conflict").is_some_and(|page| page.contains("409")));
/// assert_eq!(annals_services::explain("no_such_code"), None);
/// ```
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| *known == code).map(|(_, page)| *page)
}

/// Every code that has a page.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(code, _)| *code)
}
