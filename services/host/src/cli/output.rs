//! Results on stdout: text for people, JSON for programs.

use std::io::{self, Write};

use serde_json::Value;

/// Writes results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A document: as JSON in one line, or as text.
    pub(super) fn document(self, json: &str, text: impl FnOnce() -> String) -> io::Result<()> {
        if self.json { self.line(json) } else { self.text(&text()) }
    }

    /// One item of a list.
    pub(super) fn item(self, json: &str, text: impl FnOnce(&Value) -> String) -> io::Result<()> {
        if self.json {
            return self.line(json);
        }
        self.line(&text(&serde_json::from_str(json)?))
    }

    /// An item that only programs get: people are told of it another way.
    pub(super) fn program_item(self, json: &str) -> io::Result<()> {
        if self.json { self.line(json) } else { Ok(()) }
    }

    /// A heading, which programs do not need.
    pub(super) fn heading(self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { self.line(text) }
    }

    /// A remark on stderr, for people: what is on stdout stays what was asked for.
    pub(super) fn remark(self, text: &str) {
        if !self.json {
            // Where stderr is closed there is nobody to tell.
            let _unheard = writeln!(io::stderr(), "{text}");
        }
    }

    /// A line, sent at once: whoever follows a tail sees it now.
    pub(super) fn line(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Text as it is.
    pub(super) fn text(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

/// A field of an item as text; strings without their quotes.
pub(super) fn field(item: &Value, name: &str) -> String {
    match &item[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// So many of something: the word in the singular is followed by an s but for one.
pub(super) fn count(number: u64, singular: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {singular}{ending}")
}

#[cfg(test)]
mod tests;
