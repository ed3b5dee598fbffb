//! A record's bytes: one event with its metadata, inside a frame.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::input::{Input, put_bytes, put_signed, put_unsigned};
use crate::view::Located;
use crate::{
    CausationId, CodecId, CommandId, CommandMetadata, CorrelationId, EventId, EventView, NewEvent, Position,
    RecordedEvent, StreamId, Timestamp, TraceContext, TypeName, Version,
};

const STREAM_UUID: u8 = 1;
const OWN_CORRELATION: u8 = 1 << 1;
const OWN_CAUSATION: u8 = 1 << 2;
const ACTOR: u8 = 1 << 3;
const TRACE: u8 = 1 << 4;
const TAGS: u8 = 1 << 5;
const FLAGS_KNOWN: u8 = (1 << 6) - 1;

/// What the small numbers in a segment's records are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) position: Position,
    pub(super) time: Timestamp,
}

/// The most bytes that the numbers take which only the writer knows: position, version and time.
pub(super) const NUMBERS_BYTES_MAX: usize = 3 * 10;

/// A stream's name, taken apart once for all of its records: an id that is a UUID takes 16 bytes instead of 36.
pub(super) enum StreamForm<'a> {
    Name(&'a str),
    Uuid(&'a str, Uuid),
}

impl<'a> StreamForm<'a> {
    pub(super) fn of(stream: &'a StreamId) -> Self {
        match canonical_uuid(stream.instance()) {
            Some(id) if !stream.is_internal() => Self::Uuid(stream.category(), id),
            _ => Self::Name(stream.as_str()),
        }
    }
}

/// The UUID that this text spells, if it is spelled the way it would be spelled back.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    if text.len() != 36 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    Uuid::try_parse_ascii(text.as_bytes()).ok()
}

/// Writes the first part of what is known of a record before it has its place.
pub(super) fn encode_head(buffer: &mut Vec<u8>, stream: &StreamForm<'_>, event: &NewEvent) {
    buffer.push(flags(stream, event));
    buffer.push(event.codec as u8);
    put_stream(buffer, stream);
    buffer.extend_from_slice(event.id.as_bytes());
    put_bytes(buffer, event.type_name.as_bytes());
    put_unsigned(buffer, u64::from(event.schema_version));
}

/// Writes the rest of it.
pub(super) fn encode_tail(buffer: &mut Vec<u8>, event: &NewEvent) {
    put_command(buffer, &event.command);
    put_tags(buffer, &event.tags);
    buffer.extend_from_slice(&event.payload);
}

/// Where a record is, as its body says it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) version: Version,
    pub(super) time: Timestamp,
}

/// Writes a record's body from its two parts and its place.
pub(super) fn put(buffer: &mut Vec<u8>, base: Base, place: Place, (head, tail): (&[u8], &[u8])) {
    let (flags_and_codec, head) = head.split_at(2);
    buffer.extend_from_slice(flags_and_codec);
    put_unsigned(buffer, place.position.0 - base.position.0);
    put_unsigned(buffer, place.version.0);
    buffer.extend_from_slice(head);
    put_signed(buffer, place.time.0.wrapping_sub(base.time.0));
    buffer.extend_from_slice(tail);
}

fn flags(stream: &StreamForm<'_>, event: &NewEvent) -> u8 {
    let command = &event.command;
    let id = command.command_id.as_bytes();
    let mut flags = 0;
    for (flag, set) in [
        (STREAM_UUID, matches!(stream, StreamForm::Uuid(..))),
        (OWN_CORRELATION, command.correlation_id.as_bytes() == id),
        (OWN_CAUSATION, command.causation_id.as_bytes() == id),
        (ACTOR, command.actor.is_some()),
        (TRACE, command.trace.is_some()),
        (TAGS, !event.tags.is_empty()),
    ] {
        flags |= if set { flag } else { 0 };
    }
    flags
}

fn put_stream(buffer: &mut Vec<u8>, stream: &StreamForm<'_>) {
    match stream {
        StreamForm::Name(name) => put_bytes(buffer, name.as_bytes()),
        StreamForm::Uuid(category, id) => {
            put_bytes(buffer, category.as_bytes());
            buffer.extend_from_slice(id.as_bytes());
        }
    }
}

fn put_command(buffer: &mut Vec<u8>, command: &CommandMetadata) {
    let id = command.command_id.as_bytes();
    buffer.extend_from_slice(id);
    buffer.extend_from_slice(&command.command_hash.to_le_bytes());
    for other in [command.correlation_id.as_bytes(), command.causation_id.as_bytes()] {
        if other != id {
            buffer.extend_from_slice(other);
        }
    }
    if let Some(actor) = &command.actor {
        put_bytes(buffer, actor.as_bytes());
    }
    if let Some(trace) = &command.trace {
        buffer.extend_from_slice(&trace.trace_id.to_le_bytes());
        buffer.extend_from_slice(&trace.span_id.to_le_bytes());
        buffer.push(trace.flags);
    }
}

fn put_tags(buffer: &mut Vec<u8>, tags: &[Arc<str>]) {
    if tags.is_empty() {
        return;
    }
    put_unsigned(buffer, tags.len() as u64);
    for tag in tags {
        put_bytes(buffer, tag.as_bytes());
    }
}

/// A record as it lies in its bytes: checked, with nothing copied out yet.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) position: Position,
    pub(super) version: Version,
    /// What names the stream: all of it, or what is in front of the UUID. Names are text to whoever makes text of
    /// them, since most records have those of the record before.
    pub(super) category: &'a [u8],
    pub(super) stream_uuid: Option<Uuid>,
    id: EventId,
    pub(super) type_name: &'a [u8],
    schema_version: u16,
    codec: CodecId,
    command_id: CommandId,
    command_hash: u64,
    pub(super) time: Timestamp,
    correlation_id: CorrelationId,
    causation_id: CausationId,
    actor: Option<&'a str>,
    trace: Option<TraceContext>,
    /// The tags as they lie: a count, then each with its length.
    tags: Tags<'a>,
    /// Where in the body the payload is.
    payload: Range<usize>,
}

/// What a body that is no record is called.
const MALFORMED: &str = "the frame's body is no record";

impl<'a> Record<'a> {
    /// Reads a record's body.
    pub(super) fn decode(body: &'a [u8], base: Base) -> Result<Self, &'static str> {
        Self::read(&mut Input::new(body), base).ok_or(MALFORMED)
    }

    fn read(input: &mut Input<'a>, base: Base) -> Option<Self> {
        let flags = input.byte().filter(|flags| flags & !FLAGS_KNOWN == 0)?;
        let codec = CodecId::try_from(input.byte()?).ok()?;
        let position = Position(base.position.0.checked_add(input.unsigned()?)?);
        let version = Version(input.unsigned()?);
        let category = input.bytes()?;
        let stream_uuid = if flags & STREAM_UUID != 0 { Some(input.uuid()?) } else { None };
        let id = EventId::from(input.uuid()?);
        let type_name = input.bytes()?;
        let schema_version = u16::try_from(input.unsigned()?).ok()?;
        let time = Timestamp(base.time.0.wrapping_add(input.signed()?));
        let command_id = input.uuid()?;
        let command_hash = input.u64()?;
        let correlation_id = if flags & OWN_CORRELATION != 0 { command_id } else { input.uuid()? };
        let causation_id = if flags & OWN_CAUSATION != 0 { command_id } else { input.uuid()? };
        let actor = if flags & ACTOR != 0 { Some(input.text()?) } else { None };
        let trace = if flags & TRACE != 0 { Some(read_trace(input)?) } else { None };
        let tags = if flags & TAGS != 0 { Tags::read(input)? } else { Tags::default() };
        Some(Self {
            position,
            version,
            category,
            stream_uuid,
            id,
            type_name,
            schema_version,
            codec,
            command_id: command_id.into(),
            command_hash,
            time,
            correlation_id: correlation_id.into(),
            causation_id: causation_id.into(),
            actor,
            trace,
            tags,
            payload: input.rest(),
        })
    }

    /// The stream's name, where it is text; `scratch` holds it when it must be put together.
    pub(super) fn stream<'b>(&self, scratch: &'b mut String) -> Result<&'b str, &'static str>
    where
        'a: 'b,
    {
        let category = std::str::from_utf8(self.category).map_err(|_| MALFORMED)?;
        let Some(id) = self.stream_uuid else { return Ok(category) };
        scratch.clear();
        scratch.push_str(category);
        scratch.push('-');
        scratch.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        Ok(scratch)
    }

    /// The name of the event's type, where it is text.
    pub(super) fn type_text(&self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.type_name).map_err(|_| MALFORMED)
    }

    /// Whether the record is of this stream.
    pub(super) fn is_of(&self, form: &StreamForm<'_>) -> bool {
        match (form, self.stream_uuid) {
            (StreamForm::Name(name), None) => self.category == name.as_bytes(),
            (StreamForm::Uuid(category, id), Some(own)) => own == *id && self.category == category.as_bytes(),
            _ => false,
        }
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.tags.iter()
    }

    /// The event, for good. `bytes` are shared, and have the record's body at `body`: the payload stays in them.
    pub(super) fn to_event(
        &self,
        stream: StreamId,
        type_name: TypeName,
        (bytes, body): (&Bytes, usize),
    ) -> RecordedEvent {
        let event = NewEvent {
            id: self.id,
            type_name,
            schema_version: self.schema_version,
            codec: self.codec,
            payload: bytes.slice(body + self.payload.start..body + self.payload.end),
            command: self.command(),
            tags: self.tags().map(Arc::from).collect(),
        };
        RecordedEvent { position: self.position, stream, version: self.version, event }
    }

    /// Takes the event in where only a replay looks at it. `bytes` are shared, and have the record's body at `body`.
    pub(super) fn locate(
        &self,
        events: &mut Located,
        bytes: &Bytes,
        body: usize,
    ) -> Result<(), &'static str> {
        let payload = body + self.payload.start..body + self.payload.end;
        let view = EventView {
            position: self.position,
            version: self.version,
            id: self.id,
            type_name: self.type_text()?,
            schema_version: self.schema_version,
            codec: self.codec,
            payload: &bytes[payload.clone()],
            time: self.time,
            command_id: self.command_id,
            command_hash: self.command_hash,
        };
        events.push(&view, bytes, payload.start);
        Ok(())
    }

    fn command(&self) -> CommandMetadata {
        CommandMetadata {
            time: self.time,
            command_id: self.command_id,
            command_hash: self.command_hash,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            actor: self.actor.map(Arc::from),
            trace: self.trace,
        }
    }
}

fn read_trace(input: &mut Input<'_>) -> Option<TraceContext> {
    Some(TraceContext { trace_id: input.u128()?, span_id: input.u64()?, flags: input.byte()? })
}

/// Tags that have been looked through once, so that reading them again cannot fail.
#[derive(Debug, Default)]
struct Tags<'a> {
    count: u64,
    bytes: &'a [u8],
}

impl<'a> Tags<'a> {
    fn read(input: &mut Input<'a>) -> Option<Self> {
        let count = input.unsigned()?;
        let bytes = input.remaining();
        for _ in 0..count {
            input.text()?;
        }
        Some(Self { count, bytes })
    }

    fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut input = Input::new(self.bytes);
        (0..self.count).map_while(move |_| input.text())
    }
}
