//! Whom the server runs as: Postgres refuses to run as root.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use annals_benches::Failure;

use super::programs::on_path;

/// Those that a machine has for it, the best first.
const NAMES: &[&str] = &["postgres", "nobody"];

/// An account: that of whoever runs the bench, or another where that is root.
pub(super) struct Account(Option<Ids>);

#[derive(Clone, Copy)]
struct Ids {
    user: u32,
    group: u32,
}

impl Account {
    /// The account for a server, given a directory that the bench has made.
    ///
    /// # Errors
    /// When root runs the bench, and there is no other account.
    pub(super) fn beside_root(made: &Path) -> Result<Self, Failure> {
        if made.metadata()?.uid() != 0 {
            return Ok(Self(None));
        }
        let accounts = std::fs::read_to_string("/etc/passwd")?;
        let ids = NAMES.iter().find_map(|name| Ids::of(name, &accounts));
        let missing =
            || format!("Postgres does not run as root, and there is no account {}", NAMES.join(" or "));
        Ok(Self(Some(ids.ok_or_else(missing)?)))
    }

    /// Makes a directory the account's.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn give(&self, dir: &Path) -> Result<(), Failure> {
        if let Some(Ids { user, group }) = self.0 {
            chown(dir, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// A program that the account runs in this directory.
    pub(super) fn command(&self, program: &Path, dir: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(Ids { user, group }) = self.0 {
            command.uid(user).gid(group);
        }
        command.current_dir(dir);
        command
    }

    /// The same, interrupted when the thread that starts it ends in whatever way, where the machine has `setpriv`.
    pub(super) fn command_that_ends_with_us(&self, program: &Path, dir: &Path) -> Command {
        let Some(setpriv) = on_path("setpriv") else {
            return self.command(program, dir);
        };
        let mut command = self.command(&setpriv, dir);
        command.args(["--pdeathsig", "INT", "--"]).arg(program);
        command
    }
}

impl Ids {
    /// What a list of accounts like `/etc/passwd` has for a name.
    fn of(name: &str, accounts: &str) -> Option<Self> {
        let account = accounts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut fields = account.split(':').skip(1);
        Some(Self { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    }
}
