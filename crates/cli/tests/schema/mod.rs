//! Holds what programs get to the schemas in `docs/schema`. Knows the few keywords of JSON Schema that these use, and
//! refuses a schema with any other, so that none is passed over. Shared with the tests on a real API server.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "only tests call this")]

use std::path::Path;

use serde_json::Value;

/// Keywords that say something about a value, and those that only explain.
const KNOWN: [&str; 8] =
    ["type", "properties", "required", "additionalProperties", "items", "enum", "const", "minimum"];
const WORDS: [&str; 3] = ["$schema", "title", "description"];

/// A schema by its name.
pub(crate) fn of(name: &str) -> Value {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut files = folders.map(|folder| folder.join("docs/schema").join(format!("{name}.json")));
    let file = files.find(|file| file.exists()).unwrap_or_else(|| panic!("there is no schema {name}"));
    serde_json::from_str(&std::fs::read_to_string(file).expect("a schema")).expect("a schema is JSON")
}

/// Asserts that a document is as the schema says.
pub(crate) fn holds(name: &str, value: &Value) {
    let errors = misfits(&of(name), value);
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
}

/// Everything in which a value is not as a schema says, with its place.
pub(crate) fn misfits(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(schema, value, "", &mut found);
    found
}

fn look(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let rules = schema.as_object().unwrap_or_else(|| panic!("{at}: a schema is an object, not {schema}"));
    for (keyword, rule) in rules.iter().filter(|(keyword, _)| !WORDS.contains(&keyword.as_str())) {
        assert!(KNOWN.contains(&keyword.as_str()), "{at}: keyword {keyword} is not looked at here");
        let fits = match keyword.as_str() {
            "type" => is_of_type(value, rule.as_str().expect("one type")),
            "enum" => rule.as_array().expect("choices").contains(value),
            "const" => rule == value,
            "minimum" => value.as_f64() >= rule.as_f64(),
            "required" => {
                let mut names = rule.as_array().expect("names").iter().filter_map(Value::as_str);
                names.all(|name| value.get(name).is_some())
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false), "{at}: only false is looked at here");
                let known = &schema["properties"];
                value.as_object().is_none_or(|fields| fields.keys().all(|name| known.get(name).is_some()))
            }
            _ => true,
        };
        if !fits {
            found.push(format!("{at}: {keyword} {rule} does not hold for {value}"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        if let Some(schema) = schema.get("properties").and_then(|known| known.get(name)) {
            look(schema, field, &format!("{at}/{name}"), found);
        }
    }
    if let Some(schema) = schema.get("items") {
        let items = value.as_array().into_iter().flatten().enumerate();
        items.for_each(|(index, item)| look(schema, item, &format!("{at}/{index}"), found));
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("type {other} is not looked at here"),
    }
}
