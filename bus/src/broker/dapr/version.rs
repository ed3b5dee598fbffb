//! The sidecar's version, and what follows from it.

use std::fmt;
use std::str::FromStr;

/// The first release that this adapter is tested with.
const OLDEST: SidecarVersion = SidecarVersion { major: 1, minor: 14, patch: 4 };
/// The first that sends the app's token with gRPC deliveries, calls bulk publishing by its stable name, and loses no
/// message on its way to a dead-letter topic.
const MENDED: SidecarVersion = SidecarVersion { major: 1, minor: 17, patch: 0 };
/// The first and the last of those that drop gRPC apps after an idle time.
const BROKEN: (SidecarVersion, SidecarVersion) =
    (SidecarVersion { major: 1, minor: 18, patch: 0 }, SidecarVersion { major: 1, minor: 18, patch: 2 });

/// A release of Dapr's sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SidecarVersion {
    /// 1 for all there are.
    pub major: u32,
    /// The release.
    pub minor: u32,
    /// Its patch.
    pub patch: u32,
}

impl SidecarVersion {
    /// Why events must not be trusted to it, if that is so.
    pub(super) fn fault(self) -> Option<String> {
        if self < OLDEST {
            return Some(format!(
                "sidecar {self} is older than {OLDEST}, the first that this adapter knows; update Dapr"
            ));
        }
        let (first, last) = BROKEN;
        (first..=last).contains(&self).then(|| {
            format!("sidecar {self} loses its connection to gRPC apps when idle; use another than {first} to {last}")
        })
    }

    /// Whether the app's token comes with gRPC deliveries.
    pub(super) fn sends_app_token_over_grpc(self) -> bool {
        self >= MENDED
    }

    /// Whether its dead-letter topics lose nothing.
    pub(super) fn has_safe_dead_letters(self) -> bool {
        self >= MENDED
    }

    /// What is worse than with newer ones, for the log and for health.
    pub(super) fn costs(self) -> Vec<&'static str> {
        if self >= MENDED {
            return Vec::new();
        }
        vec![
            "before 1.17 the sidecar sends no app token with gRPC deliveries: they are trusted for coming to a \
             loopback address",
            "before 1.17 bulk publishing goes by its alpha name",
            "before 1.17 the sidecar's own dead-letter topics lose messages on Redis: none is asked for, dead letters \
             are kept in the journal only",
        ]
    }
}

impl fmt::Display for SidecarVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What is no version of a release, as "edge" is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRelease;

impl FromStr for SidecarVersion {
    type Err = NoRelease;

    fn from_str(text: &str) -> Result<Self, NoRelease> {
        let release = text.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
        let mut numbers = release.split('.').map(u32::from_str);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Self { major, minor, patch }),
            _ => Err(NoRelease),
        }
    }
}

#[cfg(test)]
mod tests;
