//! Files made of pages with a checksum each: what indexes are kept in, so that a part of one can be read and trusted
//! without reading all of it.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::format::{u32_at, u64_at};
use super::segment::read_up_to;
use crate::VfsFile;
use crate::planted::{Fault, planted};

pub(super) const PAGE_BYTES: usize = 4096;
/// What a page holds beside its checksum.
pub(super) const DATA_BYTES: usize = PAGE_BYTES - 4;
/// How many pages are read, or written, with one call where there are many.
const PAGES_AT_ONCE: usize = 64;

/// A run of pages with items of one size, none of which lies in two pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Section {
    first_page: u64,
    item_bytes: u32,
    pub(super) count: u64,
}

impl Section {
    pub(super) const BYTES: usize = 20;

    /// What an item has that fills a page.
    pub(super) const PAGE_ITEM_BYTES: usize = DATA_BYTES;

    /// Whole pages as items.
    pub(super) const fn of_pages(first_page: u64, count: u64) -> Self {
        Self { first_page, item_bytes: DATA_BYTES as u32, count }
    }

    const fn per_page(self) -> u64 {
        (DATA_BYTES / self.item_bytes as usize) as u64
    }

    pub(super) const fn pages(self) -> u64 {
        self.count.div_ceil(self.per_page())
    }

    /// The first page behind it.
    pub(super) const fn end(self) -> u64 {
        self.first_page + self.pages()
    }

    pub(super) fn put(self, header: &mut Vec<u8>) {
        header.extend_from_slice(&self.first_page.to_le_bytes());
        header.extend_from_slice(&self.item_bytes.to_le_bytes());
        header.extend_from_slice(&self.count.to_le_bytes());
    }

    /// Reads what [`Section::put`] wrote; `None` where it cannot be a section of such items.
    pub(super) fn take(header: &[u8], at: &mut usize, item_bytes: usize) -> Option<Self> {
        let bytes = header.get(*at..*at + Self::BYTES)?;
        *at += Self::BYTES;
        let section =
            Self { first_page: u64_at(bytes, 0), item_bytes: u32_at(bytes, 8), count: u64_at(bytes, 12) };
        let sound = section.item_bytes as usize == item_bytes && section.count <= u64::from(u32::MAX) << 4;
        sound.then_some(section)
    }
}

/// Takes pages as they are ready, with the offset where they belong.
pub(super) type PutPages<'a> = dyn FnMut(&[u8], u64) -> io::Result<()> + 'a;

/// Puts a file of pages together. It holds few of them however long the file is: they are handed on as they fill up. The
/// first page is the header's, and comes last.
pub(super) struct PagedWriter<'a> {
    put: &'a mut PutPages<'a>,
    seed: u32,
    /// Pages that are not handed on yet. All but the last are whole, with their checksums.
    buffer: Vec<u8>,
    /// The number of the first of them.
    first: u64,
}

impl<'a> PagedWriter<'a> {
    pub(super) fn new(seed: u32, put: &'a mut PutPages<'a>) -> Self {
        Self { put, seed, buffer: Vec::with_capacity(PAGES_AT_ONCE * PAGE_BYTES), first: 1 }
    }

    pub(super) fn section<const N: usize>(
        &mut self,
        items: impl Iterator<Item = [u8; N]>,
    ) -> io::Result<Section> {
        let mut section = self.begin(N)?;
        self.add(&mut section, items)?;
        Ok(section)
    }

    /// A section of single bytes.
    pub(super) fn text<'t>(&mut self, parts: impl Iterator<Item = &'t str>) -> io::Result<Section> {
        let mut section = self.begin(1)?;
        for mut rest in parts.map(str::as_bytes) {
            section.count += rest.len() as u64;
            while !rest.is_empty() {
                let room = self.room_for(1)?;
                let (now, later) = rest.split_at(rest.len().min(room));
                self.buffer.extend_from_slice(now);
                rest = later;
            }
        }
        Ok(section)
    }

    /// A section that is yet empty.
    pub(super) fn begin(&mut self, item_bytes: usize) -> io::Result<Section> {
        self.end_page()?;
        let first_page = self.first + (self.buffer.len() / PAGE_BYTES) as u64;
        Ok(Section { first_page, item_bytes: item_bytes as u32, count: 0 })
    }

    /// Adds items to the section that was begun last.
    pub(super) fn add<const N: usize>(
        &mut self,
        section: &mut Section,
        items: impl Iterator<Item = [u8; N]>,
    ) -> io::Result<()> {
        for item in items {
            self.room_for(N)?;
            self.buffer.extend_from_slice(&item);
            section.count += 1;
        }
        Ok(())
    }

    /// Has room for so many bytes in one page; answers how many there is room for.
    fn room_for(&mut self, bytes: usize) -> io::Result<usize> {
        let room = DATA_BYTES - self.buffer.len() % PAGE_BYTES;
        if room >= bytes {
            return Ok(room);
        }
        self.end_page()?;
        Ok(DATA_BYTES)
    }

    /// Fills up the page that was begun, if one was.
    fn end_page(&mut self) -> io::Result<()> {
        let start = self.buffer.len() / PAGE_BYTES * PAGE_BYTES;
        if start == self.buffer.len() {
            return Ok(());
        }
        self.buffer.resize(start + PAGE_BYTES, 0);
        finish_page(self.seed, self.first + (start / PAGE_BYTES) as u64, &mut self.buffer[start..]);
        if self.buffer.len() >= PAGES_AT_ONCE * PAGE_BYTES { self.hand_on() } else { Ok(()) }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            (self.put)(&self.buffer, self.first * PAGE_BYTES as u64)?;
        }
        self.first += (self.buffer.len() / PAGE_BYTES) as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the file, with this header.
    pub(super) fn finish(mut self, header: &[u8]) -> io::Result<()> {
        self.end_page()?;
        self.hand_on()?;
        let mut page = header.to_vec();
        page.resize(PAGE_BYTES, 0);
        finish_page(self.seed, 0, &mut page);
        (self.put)(&page, 0)
    }
}

/// A file of pages as bytes, for those who need all of them at once.
pub(super) fn bytes_of(write: impl FnOnce(&mut PutPages<'_>) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(&mut |pages, at| {
        let range = at as usize..at as usize + pages.len();
        bytes.resize(bytes.len().max(range.end), 0);
        bytes[range].copy_from_slice(pages);
        Ok(())
    })?;
    Ok(bytes)
}

/// Puts a page's checksum in its place.
fn finish_page(seed: u32, number: u64, page: &mut [u8]) {
    let crc = checksum(seed, number, page);
    page[DATA_BYTES..].copy_from_slice(&crc.to_le_bytes());
}

/// With the file's seed and the page's number in it, a page from elsewhere never passes.
fn checksum(seed: u32, number: u64, page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &number.to_le_bytes()), &page[..DATA_BYTES])
}

/// Why pages cannot be read.
#[derive(Debug)]
pub(super) enum PageFault {
    Io(io::Error),
    /// The page at this offset is not what was written.
    Damaged(u64),
}

/// A file of pages.
#[derive(Debug)]
pub(super) struct PagedFile {
    pub(super) path: PathBuf,
    file: Box<dyn VfsFile>,
    seed: u32,
}

impl PagedFile {
    pub(super) const fn new(path: PathBuf, file: Box<dyn VfsFile>, seed: u32) -> Self {
        Self { path, file, seed }
    }

    pub(super) fn pages(&self) -> io::Result<u64> {
        Ok(self.file.len()? / PAGE_BYTES as u64)
    }

    /// This many pages, each checked.
    fn read(&self, first: u64, count: usize) -> Result<Vec<u8>, PageFault> {
        let offset = first * PAGE_BYTES as u64;
        let bytes = read_up_to(&*self.file, offset, count * PAGE_BYTES).map_err(PageFault::Io)?;
        if bytes.len() < count * PAGE_BYTES {
            return Err(PageFault::Damaged(offset + bytes.len() as u64));
        }
        for (page, number) in bytes.chunks(PAGE_BYTES).zip(first..) {
            let matches = checksum(self.seed, number, page) == u32_at(page, DATA_BYTES);
            if !matches && !planted(Fault::PagesUnchecked) {
                return Err(PageFault::Damaged(number * PAGE_BYTES as u64));
            }
        }
        Ok(bytes)
    }

    /// The header's page.
    pub(super) fn header(&self) -> Result<Vec<u8>, PageFault> {
        self.read(0, 1)
    }

    /// Hands out items one after the other.
    pub(super) fn each<const N: usize>(
        &self,
        section: Section,
        range: Range<u64>,
        mut item: impl FnMut([u8; N]),
    ) -> Result<(), PageFault> {
        let per_page = section.per_page();
        let mut at = range.start;
        while at < range.end {
            let (first, last) = (at / per_page, (range.end - 1) / per_page);
            let count = ((last - first + 1) as usize).min(PAGES_AT_ONCE);
            let bytes = self.read(section.first_page + first, count)?;
            for page in bytes.chunks(PAGE_BYTES) {
                let within = (at % per_page) as usize;
                let until = (range.end - at + within as u64).min(per_page) as usize;
                page.chunks(N).take(until).skip(within).for_each(|bytes| {
                    let mut array = [0; N];
                    array.copy_from_slice(bytes);
                    item(array);
                });
                at += (until - within) as u64;
            }
        }
        Ok(())
    }

    pub(super) fn items<const N: usize>(
        &self,
        section: Section,
        range: Range<u64>,
    ) -> Result<Vec<[u8; N]>, PageFault> {
        let mut items = Vec::new();
        self.each(section, range, |item| items.push(item))?;
        Ok(items)
    }

    pub(super) fn item<const N: usize>(&self, section: Section, at: u64) -> Result<[u8; N], PageFault> {
        let mut found = [0; N];
        self.each(section, at..at + 1, |item| found = item)?;
        Ok(found)
    }

    /// All items of one page of a section.
    pub(super) fn page_items<const N: usize>(
        &self,
        section: Section,
        page: u64,
    ) -> Result<Vec<[u8; N]>, PageFault> {
        let first = page * section.per_page();
        self.items(section, first..(first + section.per_page()).min(section.count))
    }

    pub(super) fn text(&self, section: Section, range: Range<u64>) -> Result<Vec<u8>, PageFault> {
        let items = self.items::<1>(section, range)?;
        Ok(items.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests;
