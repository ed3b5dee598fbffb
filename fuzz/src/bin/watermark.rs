//! The watermark file: the first byte says whether the others are given checksums that match.
#![no_main]

use annals_fuzz::bounded;
use annals_fuzz::derived::{Closed, Derived};

thread_local! {
    static CLOSED: Closed = Closed::new();
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((mode, content)) = bytes.split_first() else { return };
    CLOSED.with(|closed| bounded(bytes, || closed.open_with(Derived::Watermark, content, mode & 1 == 1)));
});
