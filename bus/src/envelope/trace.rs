//! W3C trace context as text.

use annals_persistence::TraceContext;

/// `00-<trace>-<span>-<flags>`.
pub(crate) fn trace_text(trace: &TraceContext) -> String {
    format!("00-{}-{:016x}-{:02x}", trace_id_text(trace), trace.span_id, trace.flags)
}

/// The trace's id as it stands in a `traceparent`, so that one search finds it everywhere.
pub(crate) fn trace_id_text(trace: &TraceContext) -> String {
    format!("{:032x}", trace.trace_id)
}

/// Reads what [`trace_text`] writes; a trace that cannot be read is no trace, never an error.
pub(crate) fn parse_trace(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let (_version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(TraceContext {
        trace_id: u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?,
        span_id: u64::from_str_radix(span, 16).ok()?,
        flags: u8::from_str_radix(flags, 16).ok()?,
    })
}
