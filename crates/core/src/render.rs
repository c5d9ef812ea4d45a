//! Writes a mapping as one list item, in the form that the authenticator reads best: lower-case keys,
//! strings quoted wherever a YAML 1.1 reader could take them for something else.

use std::fmt::Write as _;

use crate::mapping::{List, Mapping};

/// The item as a block list writes it, each line with `indent` in front and `line_break` behind.
#[must_use]
pub fn block_item(mapping: &Mapping, indent: &str, line_break: &str) -> String {
    let mut text = String::new();
    let mut line = |content: std::fmt::Arguments<'_>| {
        // Writing to a String does not fail.
        let _ = write!(text, "{indent}{content}{line_break}");
    };
    match mapping.list {
        List::Accounts => line(format_args!("- {}", quoted(&mapping.arn))),
        list => {
            let key = if list == List::Roles { "rolearn" } else { "userarn" };
            line(format_args!("- {key}: {}", scalar(&mapping.arn)));
            line(format_args!("  username: {}", scalar(&mapping.username)));
            if !mapping.groups.is_empty() {
                line(format_args!("  groups:"));
            }
            for group in &mapping.groups {
                line(format_args!("  - {}", scalar(group)));
            }
        }
    }
    text
}

/// The item as a flow list writes it: JSON, which is YAML as well, so that a JSON text stays JSON.
#[must_use]
pub fn flow_item(mapping: &Mapping) -> String {
    match mapping.list {
        List::Accounts => quoted(&mapping.arn),
        list => {
            let key = if list == List::Roles { "rolearn" } else { "userarn" };
            let mut text =
                format!("{{\"{key}\": {}, \"username\": {}", quoted(&mapping.arn), quoted(&mapping.username));
            if !mapping.groups.is_empty() {
                let groups: Vec<String> = mapping.groups.iter().map(|g| quoted(g)).collect();
                let _ = write!(text, ", \"groups\": [{}]", groups.join(", "));
            }
            text.push('}');
            text
        }
    }
}

/// Plain where every YAML reader agrees that it is a string, else in double quotes.
fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Words that YAML 1.1 readers take for booleans or nothing.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

fn is_plain(text: &str) -> bool {
    let starts_with_letter = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_./@:+=,-".contains(c);
    starts_with_letter
        && text.chars().all(harmless)
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// In double quotes, with JSON's escapes; what JSON leaves bare and YAML forbids or breaks lines on is escaped too.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~'
            | '\u{A0}'..='\u{2027}'
            | '\u{202A}'..='\u{D7FF}'
            | '\u{E000}'..='\u{FEFE}'
            | '\u{FF00}'..='\u{FFFD}'
            | '\u{10000}'.. => quoted.push(c),
            _ => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(list: List, username: &str, groups: &[&str]) -> Mapping {
        let arn = if list == List::Accounts { "012345678901" } else { "arn:aws:iam::111122223333:role/Dev" };
        let groups = groups.iter().map(|g| (*g).to_owned()).collect();
        Mapping { list, arn: arn.into(), username: username.into(), groups }
    }

    #[test]
    fn a_role_is_written_with_lower_case_keys_and_the_lists_indentation() {
        let text = block_item(
            &mapping(List::Roles, "admin:{{SessionName}}", &["system:masters", "on"]),
            "  ",
            "\r\n",
        );
        assert_eq!(
            text,
            "  - rolearn: arn:aws:iam::111122223333:role/Dev\r\n    username: \"admin:{{SessionName}}\"\r\n    groups:\r\n    - system:masters\r\n    - \"on\"\r\n"
        );
    }

    #[test]
    fn accounts_are_quoted_and_empty_groups_left_out() {
        assert_eq!(block_item(&mapping(List::Accounts, "", &[]), "", "\n"), "- \"012345678901\"\n");
        assert!(!block_item(&mapping(List::Users, "bob", &[]), "", "\n").contains("groups"));
    }

    #[test]
    fn a_flow_item_is_json() {
        let text = flow_item(&mapping(List::Users, "b\"o\u{2028}b\u{7f}", &["dev"]));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["username"], "b\"o\u{2028}b\u{7f}");
        assert!(text.is_ascii());
    }

    #[test]
    fn what_a_yaml_reader_could_mistake_is_quoted() {
        for text in
            ["", "yes", "Off", "1_000", "0x1", "~", "a b", "a:", "- a", "{a}", ".inf", "null", "a#b", "ü"]
        {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        for text in ["admin", "arn:aws:iam::1:user/a/b+c=d,e.f@g-h_i", "system:masters"] {
            assert_eq!(scalar(text), text);
        }
    }
}
