//! Puts a directory aside for whoever wants to look at it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Timestamp;

/// Renames a directory to `<dir>.quarantine-<microseconds since 1970>`, and removes those put aside before it: their
/// number must not grow with every start.
pub(super) fn put_aside(dir: &Path) -> io::Result<PathBuf> {
    let prefix = prefix(dir)?;
    let earlier = earlier(dir, &prefix)?;
    let mut name = prefix;
    name.push(Timestamp::now().0.to_string());
    let aside = dir.with_file_name(name);
    fs::rename(dir, &aside)?;
    earlier.iter().for_each(|path| remove(path));
    Ok(aside)
}

/// What the names of all that were put aside begin with.
fn prefix(dir: &Path) -> io::Result<OsString> {
    let name = dir.file_name().ok_or_else(|| io::Error::other("the directory has no name"))?;
    let mut prefix = name.to_owned();
    prefix.push(".quarantine-");
    Ok(prefix)
}

fn earlier(dir: &Path, prefix: &OsString) -> io::Result<Vec<PathBuf>> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(parent)?.collect::<io::Result<Vec<_>>>()?;
    let is_earlier = |name: &OsString| name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
    Ok(entries.iter().filter(|entry| is_earlier(&entry.file_name())).map(fs::DirEntry::path).collect())
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), %error, "an old directory of snapshots was not removed");
    }
}
