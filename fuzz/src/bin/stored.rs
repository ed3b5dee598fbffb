//! A snapshot's file: the first byte says whether the others are given a checksum that matches.
#![no_main]

use annals_fuzz::bounded;
use annals_fuzz::stored::Stored;

thread_local! {
    static STORED: Stored = Stored::new();
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((mode, content)) = bytes.split_first() else { return };
    STORED.with(|stored| bounded(bytes, || stored.load(content, mode & 1 == 1)));
});
