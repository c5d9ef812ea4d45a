//! Any text can be read or refused, without a panic and without taking long.
#![no_main]

#[path = "../../crates/core/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|text: &str| support::checks::reads(text));
