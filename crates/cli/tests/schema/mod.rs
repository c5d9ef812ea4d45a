//! The schemas of what programs get, in `docs/schema`.

#![allow(clippy::expect_used, clippy::panic, reason = "only tests call this")]

use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

/// A schema by its name.
pub(crate) fn of(name: &str) -> Validator {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
    jsonschema::draft202012::new(&schema).expect("a schema")
}

/// Asserts that a document is as the schema says.
pub(crate) fn holds(name: &str, value: &Value) {
    let errors: Vec<String> =
        of(name).iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
}
