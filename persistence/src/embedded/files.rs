//! The files of a journal beside its segments: all derived from these, and to be had again from them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::index::{
    Index, IndexFault, IndexFile, MemoryPart, TableFile, index_path, table_number, table_path, write_index,
    write_table,
};
use super::paged::{PageFault, PutPages};
use super::recover::unreadable;
use super::segment::Segment;
use super::writer::is_no_space;
use crate::{OpenError, Vfs, VfsFile};

/// How many tables of all streams are kept: the one before the last serves where the last cannot be trusted.
const TABLES_KEPT: usize = 2;

/// A journal's directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) dir: PathBuf,
}

impl Files {
    pub(super) fn list(&self) -> Result<Vec<PathBuf>, OpenError> {
        self.vfs.list(&self.dir).map_err(|source| unreadable(&self.dir, source))
    }

    /// After which segments there is a table of all streams, in order.
    pub(super) fn tables(&self) -> Result<Vec<u64>, OpenError> {
        let mut numbers: Vec<u64> = self.list()?.iter().filter_map(|name| table_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The table that was written after this segment, if there is one with a header that can be trusted.
    pub(super) fn table(&self, segment: &Segment) -> Result<Option<TableFile>, OpenError> {
        let path = table_path(&self.dir, segment.header.number);
        Ok(self.open_table(segment)?.and_then(|opened| trusted(&path, opened)))
    }

    /// The table that was written after this segment, or why it is none; `None` where there is no such file.
    pub(super) fn open_table(
        &self,
        segment: &Segment,
    ) -> Result<Option<Result<TableFile, &'static str>>, OpenError> {
        let path = table_path(&self.dir, segment.header.number);
        let Some(file) = self.open(&path)? else { return Ok(None) };
        let opened = TableFile::open(path.clone(), file, segment);
        opened.map(Some).map_err(|source| unreadable(&path, source))
    }

    /// Has the index begin with the table that was written after this segment; `false` where it is not what was written,
    /// and the index begins with nothing.
    pub(super) fn begin_with(
        &self,
        index: &mut Index,
        table: TableFile,
        segment: &Segment,
    ) -> Result<bool, OpenError> {
        let path = table_path(&self.dir, segment.header.number);
        let read = table.into_index(index).map_err(|source| unreadable(&path, source))?;
        Ok(trusted(&path, read).is_some())
    }

    /// A segment's index file, if there is one with a header that can be trusted.
    pub(super) fn index(&self, segment: &Segment) -> Result<Option<IndexFile>, OpenError> {
        let path = index_path(&self.dir, segment.header.number);
        Ok(self.open_index(segment)?.and_then(|opened| trusted(&path, opened)))
    }

    /// A segment's index file, or why it is none; `None` where there is no such file.
    pub(super) fn open_index(
        &self,
        segment: &Segment,
    ) -> Result<Option<Result<IndexFile, &'static str>>, OpenError> {
        let path = index_path(&self.dir, segment.header.number);
        let Some(file) = self.open(&path)? else { return Ok(None) };
        let opened = IndexFile::open(path.clone(), file, segment);
        opened.map(Some).map_err(|source| unreadable(&path, source))
    }

    fn open(&self, path: &Path) -> Result<Option<Box<dyn VfsFile>>, OpenError> {
        match self.vfs.open(path, false) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(unreadable(path, source)),
        }
    }

    /// Says that an index file is made anew; a disk that does not answer is an error instead.
    pub(super) fn distrust(&self, fault: &IndexFault) -> Result<(), OpenError> {
        match &fault.fault {
            PageFault::Io(source) => Err(unreadable(&fault.path, clone_of(source))),
            PageFault::Damaged(offset) => {
                let file = fault.path.display();
                tracing::warn!(%file, offset, "a page does not match its checksum; the file is made anew");
                Ok(())
            }
        }
    }

    /// Writes a segment's index file, durably; `None` where there is no space for it.
    pub(super) fn write_index(&self, segment: &Segment, part: &MemoryPart) -> io::Result<Option<IndexFile>> {
        let path = index_path(&self.dir, segment.header.number);
        if !self.replace(&path, |put| write_index(segment, part, put).map(|()| true))? {
            return Ok(None);
        }
        let opened = IndexFile::open(path.clone(), self.vfs.open(&path, false)?, segment)?;
        opened.map(Some).map_err(io::Error::other)
    }

    /// Writes the table of all streams as it was when a segment was sealed, durably, and removes those that are no longer
    /// needed; `false` where there is no space for it, or it cannot be told any more.
    pub(super) fn write_table(&self, segment: &Segment, index: &RwLock<Index>) -> io::Result<bool> {
        let path = table_path(&self.dir, segment.header.number);
        let written = self.replace(&path, |put| write_table(index, segment, put))?;
        self.remove_old_tables()?;
        Ok(written)
    }

    fn remove_old_tables(&self) -> io::Result<()> {
        let names = self.vfs.list(&self.dir)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| table_number(name)).collect();
        numbers.sort_unstable();
        let old = numbers.len().saturating_sub(TABLES_KEPT);
        numbers[..old].iter().try_for_each(|number| self.vfs.remove(&table_path(&self.dir, *number)))
    }

    /// Puts a file in its place whole: another one, made durable, takes its name. `false` where there is no space, or it
    /// was given up.
    fn replace(
        &self,
        path: &Path,
        write: impl FnOnce(&mut PutPages<'_>) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let new = new_path(path);
        match self.put(&new, write) {
            Ok(true) => {}
            Ok(false) => return remove_if_there(&*self.vfs, &new).map(|()| false),
            Err(error) if is_no_space(&error) => {
                tracing::warn!(file = %path.display(), "no space for a file that makes opening and reading fast");
                remove_if_there(&*self.vfs, &new)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        self.vfs.rename(&new, path)?;
        self.vfs.sync_dir(&self.dir)?;
        Ok(true)
    }

    fn put(
        &self,
        path: &Path,
        write: impl FnOnce(&mut PutPages<'_>) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let file = self.vfs.create(path)?;
        let whole = write(&mut |pages, at| file.write_all_at(pages, at))?;
        if whole {
            file.sync_data()?;
        }
        Ok(whole)
    }

    /// Removes what was being written when the journal was last left.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        let names = self.vfs.list(&self.dir)?;
        let left = |name: &&PathBuf| name.extension().is_some_and(|extension| extension == NEW);
        names.iter().filter(left).try_for_each(|name| self.vfs.remove(&self.dir.join(name)))
    }
}

/// What ends the names of files that are not whole yet.
const NEW: &str = "new";

/// What a file is called until it is whole.
pub(super) fn new_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(NEW);
    name.into()
}

pub(super) fn remove_if_there(vfs: &dyn Vfs, path: &Path) -> io::Result<()> {
    match vfs.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn trusted<T>(path: &Path, read: Result<T, &'static str>) -> Option<T> {
    read.inspect_err(|reason| tracing::warn!(file = %path.display(), reason, "the file is made anew")).ok()
}

fn clone_of(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}
