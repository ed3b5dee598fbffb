//! Any bytes at all as a segment's file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| annals_fuzz::bounded(bytes, || annals_fuzz::open(bytes)));
