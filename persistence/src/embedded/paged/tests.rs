use std::cell::Cell;
use std::path::Path;

use super::*;
use crate::{SimVfs, Vfs};

const SEED: u32 = 7;

fn item(number: u32) -> [u8; 24] {
    let mut item = [0; 24];
    item[..4].copy_from_slice(&number.to_le_bytes());
    item
}

/// A file with a section of so many items, and a text of as many characters; answers where they are.
fn write(items: u32, put: &mut PutPages<'_>) -> io::Result<(Section, Section)> {
    let mut writer = PagedWriter::new(SEED, put);
    let section = writer.section((0..items).map(item))?;
    let text = writer.text((0..items).map(|number| if number % 2 == 0 { "a" } else { "b" }))?;
    writer.finish(b"header")?;
    Ok((section, text))
}

#[test]
fn a_file_is_read_as_it_was_written_however_many_pages_it_has() {
    for items in [0, 1, 169, 170, 171, 170 * PAGES_AT_ONCE as u32, 100_000] {
        let path = Path::new("/pages");
        let file = SimVfs::new().create(path).unwrap();
        let (section, text) = write(items, &mut |pages, at| file.write_all_at(pages, at)).unwrap();
        let file = PagedFile::new(path.to_owned(), file, SEED);
        assert!(file.header().unwrap().starts_with(b"header"));
        assert_eq!(file.pages().unwrap(), text.end(), "{items} items");
        let read = file.items::<24>(section, 0..section.count).unwrap();
        assert_eq!(read, (0..items).map(item).collect::<Vec<_>>());
        let expected: Vec<u8> = b"ab".iter().copied().cycle().take(items as usize).collect();
        assert_eq!(file.text(text, 0..text.count).unwrap(), expected);
    }
}

/// A table of a million streams would otherwise be in memory once more while it is written.
#[test]
fn a_writer_holds_no_more_than_a_few_pages() {
    let (made, handed_on, held) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut put = |pages: &[u8], _: u64| {
        handed_on.set(handed_on.get() + pages.len());
        Ok(())
    };
    let mut writer = PagedWriter::new(SEED, &mut put);
    let items = (0..100_000).map(|number| {
        made.set(made.get() + item(number).len());
        held.set(held.get().max(made.get().saturating_sub(handed_on.get())));
        item(number)
    });
    writer.section(items).unwrap();
    assert!(writer.buffer.capacity() <= PAGES_AT_ONCE * PAGE_BYTES, "{}", writer.buffer.capacity());
    writer.finish(b"header").unwrap();
    assert!(held.get() <= PAGES_AT_ONCE * PAGE_BYTES, "{}", held.get());
    assert!(handed_on.get() > 8 * PAGES_AT_ONCE * PAGE_BYTES);
}
