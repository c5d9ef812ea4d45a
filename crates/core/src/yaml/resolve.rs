//! What a scalar means in YAML 1.1 as Go's yaml.v2 reads it: number, boolean, null or text.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Node, ScalarStyle, Value, YamlError, timestamp};

const NULL_TAG: &str = "tag:yaml.org,2002:null";
const BOOL_TAG: &str = "tag:yaml.org,2002:bool";
const INT_TAG: &str = "tag:yaml.org,2002:int";
const FLOAT_TAG: &str = "tag:yaml.org,2002:float";
const TIMESTAMP_TAG: &str = "tag:yaml.org,2002:timestamp";
const BINARY_TAG: &str = "tag:yaml.org,2002:binary";
const MERGE_TAG: &str = "tag:yaml.org,2002:merge";

/// The value of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning<'d> {
    Null,
    Bool(bool),
    Int(i64),
    /// Above the reach of `Int`.
    Uint(u64),
    Float(f64),
    Text(Cow<'d, str>),
}

/// What `node`, a scalar, means; a collection means null here.
///
/// # Errors
/// When its tag does not fit its text.
pub(crate) fn meaning<'d>(node: &'d Node<'_>) -> Result<Meaning<'d>, YamlError> {
    let Value::Scalar { text, style } = &node.value else { return Ok(Meaning::Null) };
    let Some(tag) = node.tag.as_deref() else {
        return Ok(if *style == ScalarStyle::Plain { untagged(text) } else { as_text(text) });
    };
    let refused = |what: &str| YamlError {
        message: format!("this value is no {what}, as its tag says"),
        position: node.start,
    };
    match (tag, untagged(text)) {
        (NULL_TAG, value @ Meaning::Null)
        | (BOOL_TAG, value @ Meaning::Bool(_))
        | (INT_TAG, value @ (Meaning::Int(_) | Meaning::Uint(_)))
        | (FLOAT_TAG, value @ Meaning::Float(_)) => Ok(value),
        #[allow(clippy::cast_precision_loss)]
        (FLOAT_TAG, Meaning::Int(value)) => Ok(Meaning::Float(value as f64)),
        (TIMESTAMP_TAG, _) if timestamp::is_timestamp(text) => Ok(as_text(text)),
        (BINARY_TAG, _) => decode_base64(text).ok_or_else(|| refused("base64 text")),
        (NULL_TAG | BOOL_TAG | INT_TAG | FLOAT_TAG | TIMESTAMP_TAG, _) => {
            Err(refused(tag.rsplit(':').next().unwrap_or(tag)))
        }
        // `!!str`, and tags that nobody knows.
        _ => Ok(as_text(text)),
    }
}

/// Whether `node` is the key `<<` that merges another mapping in.
pub(crate) fn is_merge_key(node: &Node<'_>) -> bool {
    let Value::Scalar { text, style } = &node.value else { return false };
    text == "<<"
        && match node.tag.as_deref() {
            None => *style == ScalarStyle::Plain,
            Some(tag) => tag == "!" || tag == MERGE_TAG,
        }
}

fn as_text(text: &str) -> Meaning<'_> {
    Meaning::Text(Cow::Borrowed(text))
}

/// A plain scalar.
fn untagged(text: &str) -> Meaning<'_> {
    let special = match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Meaning::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(Meaning::Bool(true))
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Meaning::Bool(false))
        }
        ".nan" | ".NaN" | ".NAN" => Some(Meaning::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(Meaning::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => Some(Meaning::Float(f64::NEG_INFINITY)),
        _ => None,
    };
    special.or_else(|| number(text)).unwrap_or_else(|| as_text(text))
}

fn number(text: &str) -> Option<Meaning<'static>> {
    match text.as_bytes().first()? {
        b'.' => decimal(text).map(Meaning::Float),
        b'0'..=b'9' | b'+' | b'-' => {
            let plain = Cow::Borrowed(text);
            let plain = if plain.contains('_') { Cow::Owned(plain.replace('_', "")) } else { plain };
            integer(&plain).or_else(|| decimal(&plain).map(Meaning::Float))
        }
        _ => None,
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`, then `ParseUint`: prefixes 0x, 0o, 0b, and 0 for octal.
fn integer(text: &str) -> Option<Meaning<'static>> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (Some("-"), text.get(1..)?),
        b'+' => (Some(""), text.get(1..)?),
        _ => (None, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return nested_sign(text);
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match (sign, i64::try_from(magnitude)) {
        (Some("-"), Ok(value)) => Some(Meaning::Int(-value)),
        (Some("-"), Err(_)) => (magnitude == i64::MIN.unsigned_abs()).then_some(Meaning::Int(i64::MIN)),
        (_, Ok(value)) => Some(Meaning::Int(value)),
        (Some(_), Err(_)) => None,
        (None, Err(_)) => Some(Meaning::Uint(magnitude)),
    }
}

/// Go also tries what follows `0b` alone, which may then have a sign of its own: `0b-1` is -1.
fn nested_sign(text: &str) -> Option<Meaning<'static>> {
    let digits = text.strip_prefix("0b")?;
    let value = i64::from_str_radix(digits, 2).ok()?;
    Some(Meaning::Int(value))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, as long as it fits.
fn decimal(text: &str) -> Option<f64> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits(unsigned);
    let mut rest = unsigned.get(whole..)?;
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix('.') {
        fraction = digits(after);
        rest = after.get(fraction..)?;
    }
    if whole + fraction == 0 {
        return None;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if exponent.is_empty() || digits(exponent) != exponent.len() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Go's decoder passes over line breaks and asks for padding.
fn decode_base64(text: &str) -> Option<Meaning<'static>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let packed = text.replace(['\n', '\r'], "");
    let bytes = GeneralPurpose::new(&ALPHABET, config).decode(packed).ok()?;
    Some(Meaning::Text(Cow::Owned(as_json_text(&bytes))))
}

/// Each byte that is no part of a character becomes U+FFFD, as in Go's `encoding/json`.
fn as_json_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
