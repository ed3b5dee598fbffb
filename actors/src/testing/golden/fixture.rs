//! The files of golden bytes.

use std::fs;
use std::path::Path;

use annals_persistence::CodecId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::testing::lock::CodecName;

/// One event type at one version.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fixture {
    aggregate: String,
    pub(super) event: String,
    pub(super) version: u16,
    pub(super) examples: Vec<Example>,
}

/// A payload as it was recorded, and what it is read as.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Example {
    codec: String,
    /// JSON as it stands, other bytes in hexadecimal digits.
    payload: String,
    pub(super) today: Vec<Today>,
}

/// An event as it is today.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Today {
    pub(super) event: String,
    pub(super) version: u16,
    pub(super) payload: Value,
}

impl Fixture {
    pub(super) fn new(aggregate: &str, event: &str, version: u16) -> Self {
        Self { aggregate: aggregate.to_owned(), event: event.to_owned(), version, examples: Vec::new() }
    }

    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn text(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| error.to_string())
    }

    pub(super) fn has(&self, codec: CodecId, payload: &[u8]) -> bool {
        let (codec, payload) = (CodecName::from(codec).to_string(), spell(codec, payload));
        self.examples.iter().any(|example| example.codec == codec && example.payload == payload)
    }

    pub(super) fn has_codec(&self, codec: CodecName) -> bool {
        let codec = codec.to_string();
        self.examples.iter().any(|example| example.codec == codec)
    }
}

impl Example {
    pub(super) fn new(codec: CodecId, payload: &[u8], today: Vec<Today>) -> Self {
        Self { codec: CodecName::from(codec).to_string(), payload: spell(codec, payload), today }
    }

    pub(super) fn codec(&self) -> Result<CodecId, String> {
        Ok(match self.codec.parse()? {
            CodecName::Json => CodecId::Json,
            CodecName::Bincode => CodecId::Bincode,
        })
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        match self.codec()? {
            CodecId::Json => Ok(self.payload.clone().into_bytes()),
            CodecId::Bincode => from_hex(&self.payload),
        }
    }
}

fn spell(codec: CodecId, payload: &[u8]) -> String {
    match codec {
        CodecId::Json => String::from_utf8_lossy(payload).into_owned(),
        CodecId::Bincode => payload.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let pair = |at: usize| {
        let digits = text.get(at..at + 2).ok_or("an odd number of digits")?;
        u8::from_str_radix(digits, 16).map_err(|error| format!("\"{digits}\": {error}"))
    };
    (0..text.len()).step_by(2).map(pair).collect()
}

/// Events as text, a line for each thing in them.
pub(super) fn pretty(events: &[Today]) -> String {
    let texts = events.iter().map(|event| serde_json::to_string_pretty(event).unwrap_or_default() + "\n");
    texts.collect()
}
