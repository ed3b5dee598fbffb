//! Frames with any content: records, commit markers, seals.
#![no_main]

use annals_fuzz::{bounded, open, segment::mended};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bounded(bytes, || open(&mended(bytes))));
