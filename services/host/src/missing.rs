//! Why an instance has no state at a moment, in words.

use std::sync::Arc;

use annals_actors::Moment;
use annals_persistence::{Journal, ReadError, StreamId, Version};

use crate::time_text;

/// What an instance that has no state at this moment has instead: `is at version 2 and has no version 99`. `None` where
/// it never had an event.
///
/// # Errors
/// When the journal cannot be read.
pub async fn missing_at(
    journal: &Arc<dyn Journal>,
    type_name: &str,
    id: &str,
    moment: Moment,
) -> Result<Option<String>, ReadError> {
    let Ok(stream) = StreamId::aggregate(type_name, id) else { return Ok(None) };
    let info = journal.stream_info(&stream).await?;
    Ok(info.map(|info| reason(moment, info.version)))
}

fn reason(moment: Moment, last: Version) -> String {
    match moment {
        Moment::Version(wanted) => format!("is at version {last} and has no version {wanted}"),
        Moment::Time(time) => format!("had no events yet at {}", time_text(time)),
    }
}
