//! See `highwater::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater::fuzz::import(data));
