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
/// How many pages are read with one call where many are wanted.
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

/// Puts a file of pages together. The first page is the header's.
pub(super) struct PagedWriter {
    bytes: Vec<u8>,
}

impl PagedWriter {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; PAGE_BYTES] }
    }

    pub(super) fn section<const N: usize>(&mut self, items: impl Iterator<Item = [u8; N]>) -> Section {
        let first_page = (self.bytes.len() / PAGE_BYTES) as u64;
        let mut count = 0;
        for item in items {
            if self.room() < N {
                self.end_page();
            }
            self.bytes.extend_from_slice(&item);
            count += 1;
        }
        self.end_page();
        Section { first_page, item_bytes: N as u32, count }
    }

    /// A section of single bytes.
    pub(super) fn text(&mut self, text: &[u8]) -> Section {
        let first_page = (self.bytes.len() / PAGE_BYTES) as u64;
        for page in text.chunks(DATA_BYTES) {
            self.bytes.extend_from_slice(page);
            self.end_page();
        }
        Section { first_page, item_bytes: 1, count: text.len() as u64 }
    }

    fn room(&self) -> usize {
        DATA_BYTES - self.bytes.len() % PAGE_BYTES
    }

    /// Fills up the page that was begun, if one was.
    fn end_page(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(PAGE_BYTES), 0);
    }

    /// The file's bytes, with this header.
    pub(super) fn finish(mut self, header: &[u8], seed: u32) -> Vec<u8> {
        self.bytes[..header.len()].copy_from_slice(header);
        for (page, number) in self.bytes.chunks_mut(PAGE_BYTES).zip(0..) {
            let crc = checksum(seed, number, page);
            page[DATA_BYTES..].copy_from_slice(&crc.to_le_bytes());
        }
        self.bytes
    }
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
