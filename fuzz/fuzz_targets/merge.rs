//! Whatever a text is and whatever is asked for: a plan after a plan changes nothing, what is foreign stays to the
//! byte, and without ours the text is the original one.
#![no_main]

#[path = "../../crates/core/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::checks::merges(bytes));
