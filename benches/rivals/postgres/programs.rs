//! Where Postgres is.

use std::path::PathBuf;

use annals_benches::Failure;

const SERVER: &str = "postgres";
/// Where Debian keeps it, a directory for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The directory that has Postgres' own programs.
pub(super) struct Programs(PathBuf);

impl Programs {
    /// From the path, or from where Debian keeps them.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub(super) fn find() -> Result<Self, Failure> {
        let missing = "postgres is missing: apt-get install postgresql, or put the directory with postgres, initdb and pg_ctl on the PATH";
        let mut dirs = on_path(SERVER).into_iter().filter_map(|server| Some(server.parent()?.to_owned()));
        let whole = |dir: &PathBuf| [SERVER, "initdb", "pg_ctl"].iter().all(|name| dir.join(name).is_file());
        dirs.find(whole)
            .or_else(|| debian().into_iter().rev().find(whole))
            .map(Self)
            .ok_or_else(|| missing.into())
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.0.join(SERVER)
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.0.join("initdb")
    }

    pub(super) fn pg_ctl(&self) -> PathBuf {
        self.0.join("pg_ctl")
    }
}

/// The directories of Debian's versions, the newest last.
fn debian() -> Vec<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut dirs: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    dirs.sort();
    dirs
}

/// A program's file, from the path.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
