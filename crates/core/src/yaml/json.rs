//! What sigs.k8s.io/yaml makes of a document: the JSON that kubectl sends.

use serde_json::{Map, Number, Value as Json};

use super::data::{Data, Datum, Key, data};
use super::resolve::Meaning;
use super::{Document, YamlError};

/// What `sigs.k8s.io/yaml` makes of a document: YAML 1.1 scalars resolved, merge keys followed, of duplicate keys
/// the last, keys as texts. A document without root is null.
///
/// # Errors
/// When Go refuses to convert it: an alias that contains itself, a list as a key, infinity, a tag that does not fit.
pub fn to_json(document: &Document<'_>) -> Result<Json, YamlError> {
    Ok(data(document)?.map_or(Json::Null, json))
}

fn json(datum: Datum<'_>) -> Json {
    match datum.data {
        Data::Scalar(Meaning::Null) => Json::Null,
        Data::Scalar(Meaning::Bool(value)) => Json::Bool(value),
        Data::Scalar(Meaning::Int(value)) => Json::from(value),
        Data::Scalar(Meaning::Uint(value)) => Json::from(value),
        Data::Scalar(Meaning::Float(value)) => float(value),
        Data::Scalar(Meaning::Text(text)) => Json::String(text.into_owned()),
        Data::List(items) => Json::Array(items.into_iter().map(json).collect()),
        Data::Map(pairs) => Json::Object(
            pairs.into_iter().map(|(key, value)| (name(key), json(value))).collect::<Map<_, _>>(),
        ),
    }
}

/// Go writes a float without fraction as an integer: its shortest digits, filled up with zeros. So does Rust.
fn float(value: f64) -> Json {
    let digits = value.to_string();
    match (digits.parse::<i64>(), digits.parse::<u64>()) {
        // A negative zero stays one.
        (Ok(0), _) if value.is_sign_negative() => Json::from(value),
        (Ok(whole), _) => Json::from(whole),
        (_, Ok(whole)) => Json::from(whole),
        _ => Number::from_f64(value).map_or(Json::Null, Json::Number),
    }
}

fn name(key: Key<'_>) -> String {
    match key {
        Key::Null => String::new(),
        Key::Bool(value) => value.to_string(),
        Key::Int(value) => value.to_string(),
        Key::Uint(value) => value.to_string(),
        Key::Nan => ".nan".into(),
        Key::Float(bits) => float_name(f64::from_bits(bits)),
        Key::Text(text) => text.into_owned(),
    }
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 32)`, with YAML's names of the infinities.
fn float_name(value: f64) -> String {
    #[allow(clippy::cast_possible_truncation)]
    let value = value as f32;
    if value.is_infinite() {
        return if value > 0.0 { ".inf".into() } else { "-.inf".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
