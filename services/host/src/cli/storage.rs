//! What may be said of a service's disk.

use std::time::Duration;

use clap::Args;

use crate::DiskOptions;

/// How services look after their disks.
#[derive(Debug, Clone, Args)]
pub(super) struct StorageArgs {
    /// How often a journal is looked through for space to give back, such as 15m, 1h or 7d; `off` for never.
    #[arg(
        long, env = "ANNALS_SCAVENGE_EVERY", value_name = "DURATION", default_value = "1h", value_parser = pause
    )]
    pub(super) scavenge_every: Pause,
    /// How long a request is remembered under its Idempotency-Key.
    #[arg(long, env = "ANNALS_KEYS_KEPT", value_name = "DURATION", default_value = "1d", value_parser = duration)]
    pub(super) keys_kept: Duration,
}

/// A duration, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause(Option<Duration>);

impl StorageArgs {
    pub(super) fn options(&self) -> DiskOptions {
        DiskOptions { scavenge_every: self.scavenge_every.0, keys_kept: self.keys_kept }
    }
}

fn pause(text: &str) -> Result<Pause, String> {
    if text == "off" {
        Ok(Pause(None))
    } else {
        duration(text).map_err(|wrong| format!("{wrong}, nor \"off\"")).map(|every| Pause(Some(every)))
    }
}

/// Reads a whole number of seconds, minutes, hours or days.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no time above zero, such as 90s, 15m, 24h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(seconds).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
