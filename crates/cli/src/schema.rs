//! Whether an object has the shape that its CRD asks for: types, required fields, allowed values, lengths,
//! and fields that nobody knows. The CRD's rules in CEL are not run here: `awsiam_api::validate` says the same.

use awsiam_api::{Severity, crds};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};

use crate::place::FieldPath;

/// What does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) severity: Severity,
    /// One word for programs.
    pub(crate) reason: &'static str,
    pub(crate) path: FieldPath,
    pub(crate) message: String,
    /// Whether the field's name is what is wrong, rather than its value.
    pub(crate) is_name: bool,
}

/// Fields of every object, which the API server checks itself.
const COMMON: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The shape of objects of one kind.
#[derive(Debug)]
pub(crate) struct Shape {
    schema: JSONSchemaProps,
}

impl Shape {
    /// The shape of a kind of ours; none of another.
    pub(crate) fn of(kind: &str) -> Option<Self> {
        let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind)?;
        let schema = crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema?;
        Some(Self { schema })
    }

    /// Everything that does not fit, in the schema's order.
    pub(crate) fn check(&self, object: &Value) -> Vec<Misfit> {
        let Value::Object(fields) = object else { return Vec::new() };
        let mut misfits = Vec::new();
        let fields: Map<_, _> =
            fields.iter().filter(|(name, _)| !COMMON.contains(&name.as_str())).map(pair).collect();
        check_fields(&self.schema, &fields, &FieldPath::default(), &mut misfits);
        misfits
    }
}

fn pair((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// Takes nulls out of maps: the API server treats such a field as absent.
pub(crate) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn check(schema: &JSONSchemaProps, value: &Value, path: &FieldPath, misfits: &mut Vec<Misfit>) {
    let mut refuse = |reason, message| {
        misfits.push(Misfit {
            severity: Severity::Refused,
            reason,
            path: path.clone(),
            message: format!("{path} {message}"),
            is_name: false,
        });
    };
    if let Some(message) = wrong_type(schema, value) {
        refuse("WrongType", message);
        return;
    }
    if let Some(allowed) = &schema.enum_
        && !allowed.iter().any(|choice| choice.0 == *value)
    {
        let choices: Vec<String> = allowed.iter().map(|choice| shown(&choice.0)).collect();
        refuse("NotAllowed", format!("cannot be {}: write one of {}", shown(value), choices.join(", ")));
    }
    match value {
        Value::String(text) => {
            if let Some(message) =
                length(text.chars().count(), schema.min_length, schema.max_length, "characters")
            {
                refuse("TooLong", message);
            }
        }
        Value::Array(items) => {
            if let Some(message) = length(items.len(), schema.min_items, schema.max_items, "items") {
                refuse("TooLong", message);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
                items.iter().enumerate().for_each(|(at, value)| check(item, value, &path.index(at), misfits));
            }
        }
        Value::Object(fields) => check_fields(schema, fields, path, misfits),
        _ => {}
    }
}

fn check_fields(
    schema: &JSONSchemaProps,
    fields: &Map<String, Value>,
    path: &FieldPath,
    misfits: &mut Vec<Misfit>,
) {
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        misfits.push(Misfit {
            severity: Severity::Refused,
            reason: "MissingField",
            path: path.field(name),
            message: format!("{name} is missing: write it"),
            is_name: false,
        });
    }
    let known = schema.properties.as_ref();
    for (name, value) in fields {
        let path = path.field(name);
        if let Some(property) = known.and_then(|known| known.get(name)) {
            check(property, value, &path, misfits);
        } else if let Some(JSONSchemaPropsOrBool::Schema(any)) = &schema.additional_properties {
            check(any, value, &path, misfits);
        } else if schema.x_kubernetes_preserve_unknown_fields != Some(true) && known.is_some() {
            let names = known.into_iter().flat_map(|known| known.keys());
            misfits.push(Misfit {
                severity: Severity::Warning,
                reason: "UnknownField",
                path,
                message: format!("unknown field {name:?} is dropped: {}", advice(name, names)),
                is_name: true,
            });
        }
    }
}

/// What to write in place of an unknown field: the known one that differs in case alone, else one of all.
fn advice<'n>(name: &str, known: impl Iterator<Item = &'n String>) -> String {
    let known: Vec<&String> = known.collect();
    if let Some(meant) = known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return format!("write {meant}");
    }
    let names: Vec<&str> = known.into_iter().map(String::as_str).collect();
    format!("take it out, or write one of {}", names.join(", "))
}

fn wrong_type(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        let fits = value.is_string() || value.is_i64() || value.is_u64();
        return (!fits).then(|| format!("is {}: write a number or a text", kind_of(value)));
    }
    let wanted = schema.type_.as_deref()?;
    let (fits, write) = match wanted {
        "string" => (value.is_string(), "a text"),
        "boolean" => (value.is_boolean(), "true or false"),
        "integer" => (value.is_i64() || value.is_u64(), "a whole number"),
        "number" => (value.is_number(), "a number"),
        "array" => (value.is_array(), "a list, each item after a dash"),
        "object" => (value.is_object(), "fields and their values"),
        _ => (true, ""),
    };
    let quoted =
        if wanted == "string" && (value.is_number() || value.is_boolean()) { ", in quotes" } else { "" };
    (!fits).then(|| format!("is {}: write {write}{quoted}", kind_of(value)))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(true) => "read as true",
        Value::Bool(false) => "read as false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map of fields",
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn length(count: usize, min: Option<i64>, max: Option<i64>, what: &str) -> Option<String> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    match (min, max) {
        (_, Some(max)) if count > max => Some(format!("has {count} {what} and may have {max}: shorten it")),
        (Some(min), _) if count < min => {
            Some(format!("has {count} {what} and must have {min}: write more, or leave it out"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn misfits(kind: &str, object: &Value) -> Vec<String> {
        let misfits = Shape::of(kind).expect("a kind of ours").check(object);
        misfits.into_iter().map(|m| format!("{} {} {}", m.reason, m.path, m.message)).collect()
    }

    fn config(spec: &Value) -> Value {
        let mut all = json!({ "awsRegion": "x", "backendMode": ["CRD"] });
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({ "apiVersion": "a", "kind": "k", "metadata": { "anything": 1 }, "spec": all })
    }

    #[test]
    fn what_fits_is_not_spoken_of() {
        let row = json!({ "roleARN": "a", "username": "u", "groups": ["g"] });
        assert!(misfits("AWSIamConfig", &config(&json!({ "mapRoles": [row] }))).is_empty());
    }

    #[test]
    fn an_unquoted_account_is_a_number_and_says_so() {
        let found = misfits("AWSIamConfig", &config(&json!({ "mapAccounts": [111_122_223_333_i64] })));
        assert_eq!(
            found,
            ["WrongType spec.mapAccounts[0] spec.mapAccounts[0] is a number: write a text, in quotes"]
        );
    }

    #[test]
    fn a_misspelt_field_is_unknown_and_the_right_one_missing() {
        let found =
            misfits("AWSIamConfig", &config(&json!({ "mapRoles": [{ "rolearn": "a", "username": "u" }] })));
        assert_eq!(
            found,
            [
                "MissingField spec.mapRoles[0].roleARN roleARN is missing: write it",
                "UnknownField spec.mapRoles[0].rolearn unknown field \"rolearn\" is dropped: write roleARN",
            ]
        );
    }

    #[test]
    fn an_object_without_spec_is_refused() {
        assert_eq!(misfits("AWSIamConfig", &json!({})), ["MissingField spec spec is missing: write it"]);
    }

    #[test]
    fn unknown_fields_of_a_cluster_are_kept_but_not_those_in_our_block() {
        let spec = json!({ "anything": { "x": [1] }, "iamAuthenticator": { "mode": "Pod", "supend": true } });
        assert_eq!(
            misfits("Cluster", &json!({ "spec": spec })),
            [
                "NotAllowed spec.iamAuthenticator.mode spec.iamAuthenticator.mode cannot be Pod: write one of DaemonSet, External",
                "UnknownField spec.iamAuthenticator.supend unknown field \"supend\" is dropped: take it out, or write one of apiServer, clusterID, conflictPolicy, deletionPolicy, env, image, mode, resources, suspend",
            ]
        );
    }

    #[test]
    fn nulls_count_as_absent_in_maps_and_stay_in_lists() {
        let mut value = json!({ "a": null, "b": [null, { "c": null }] });
        without_nulls(&mut value);
        assert_eq!(value, json!({ "b": [null, {}] }));
    }
}
