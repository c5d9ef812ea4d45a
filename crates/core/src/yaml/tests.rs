//! Places and limits; that the grammar is Go's is shown by `tests/tests/reader_equals_oracle.rs`.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Document<'_> {
    first_document(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

fn refusal(text: &str) -> String {
    first_document(text).map(|_| ()).unwrap_err().to_string()
}

fn root<'d, 't>(document: &'d Document<'t>) -> &'d Node<'t> {
    document.node(document.root.expect("a root"))
}

/// The text of each item, from its dash to the end of its node.
fn items<'t>(text: &'t str, document: &Document<'t>) -> Vec<&'t str> {
    let Value::Sequence { items, .. } = &root(document).value else { panic!("no list: {text:?}") };
    items.iter().map(|item| &text[item.dash..document.node(item.node).end]).collect()
}

fn as_json(text: &str) -> serde_json::Value {
    to_json(&read(text)).unwrap()
}

#[test]
fn an_item_runs_from_its_dash_to_its_last_token() {
    let text = "# c\n- a: 1 # one\n  b: 'x'   \n# between\n-   c:\n    - d\n\n-\n- |\n  text\n\n- e";
    assert_eq!(
        items(text, &read(text)),
        ["- a: 1 # one\n  b: 'x'", "-   c:\n    - d", "-", "- |\n  text\n", "- e"]
    );
}

#[test]
fn an_item_of_a_flow_list_starts_without_a_dash() {
    let text = "[ {a: b}, 'c' ,\n  d: e, &x f, g: ]";
    assert_eq!(items(text, &read(text)), ["{a: b}", "'c'", "d: e", "&x f", "g:"]);
}

#[test]
fn what_is_missing_ends_where_the_token_before_it_ends() {
    let text = "- a:\n\n# c\n- ? b\n\n- &x\n\n- [c]";
    assert_eq!(items(text, &read(text)), ["- a:", "- ? b", "- &x", "- [c]"]);
}

#[test]
fn a_kept_block_text_ends_with_its_last_empty_line() {
    let text = "- |+\n  a\n\n\n- >-\n  b\n\n\n# c\n";
    assert_eq!(items(text, &read(text)), ["- |+\n  a\n\n\n", "- >-\n  b\n"]);
}

#[test]
fn positions_count_lines_and_characters_from_1() {
    let document = read("- é: ü\r\n  ö: [ä,\n  ß]\n");
    let Value::Sequence { items, .. } = &root(&document).value else { panic!() };
    let Value::Mapping { pairs, .. } = &document.node(items[0].node).value else { panic!() };
    let place = |id| document.node(id).start;
    assert_eq!(place(pairs[0].1), Position { offset: 6, line: 1, column: 6 });
    assert_eq!(place(pairs[1].0), Position { offset: 12, line: 2, column: 3 });
    assert_eq!(document.node(pairs[1].1).end, 26);
}

#[test]
fn a_document_starts_behind_its_marker_and_ends_at_the_next_one() {
    let bounds = |text| {
        let document = read(text);
        (document.start, document.end)
    };
    assert_eq!(bounds("- a\n"), (0, 4));
    assert_eq!(bounds("\u{feff}- a\n"), (3, 7));
    assert_eq!(bounds("%YAML 1.1\n--- # c\n- a\n"), (13, 22));
    assert_eq!(bounds("- a\n---\n- b\n"), (0, 4));
    assert_eq!(bounds("- a\n# c\n...\nrest: ["), (0, 8));
    assert_eq!(bounds("[]\n- b\n"), (0, 3));
    assert_eq!(bounds("[]: b\n"), (0, 2));
    assert_eq!(bounds("  - a\n- b\n"), (0, 6));
    assert_eq!(read("# c\n").root, None);
}

#[test]
fn refusals_say_where_and_what() {
    let told = [
        ("- a\n\t- b\n", "line 2, column 1: a tab stands where only spaces may indent"),
        ("- a: 'b\n", "line 1, column 6: this quote is never closed"),
        (
            "- a: b: c\n",
            "line 1, column 7: a ':' may not stand here: quote the text if it belongs to it, or mind the indentation",
        ),
        ("- a: @b\n", "line 1, column 6: a value may not start with '@': quote it"),
        (
            "- a: b\n  c\n",
            "line 2, column 3: a key was expected here, but no ':' with a blank follows it on its line",
        ),
        ("- *a\n", "line 1, column 3: no anchor '&a' stands before this '*a'"),
        ("[a, b\n", "line 2, column 1: a ',' or ']' was expected here"),
        ("- a\u{7}\n", "line 1, column 4: the control character U+0007 is not allowed in YAML; remove it"),
        ("%YAML 1.2\n---\n- a\n", "line 1, column 1: only %YAML 1.1 is understood: remove the line"),
    ];
    for (text, message) in told {
        assert_eq!(refusal(text), message, "{text:?}");
    }
}

#[test]
fn characters_on_which_readers_differ_are_refused_wherever_they_stand() {
    for character in ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}', '\r'] {
        for text in [format!("- a{character}b\n"), format!("- a\n---\n# {character} x\n")] {
            assert!(first_document(&text).is_err(), "{text:?}");
        }
    }
    assert!(first_document("- a\r\n").is_ok());
}

#[test]
fn nesting_is_followed_for_500_levels_and_then_refused() {
    for (open, close) in [("[", "]"), ("- ", "")] {
        let nested = |depth: usize| format!("{}x{}", open.repeat(depth), close.repeat(depth));
        assert!(to_json(&read(&nested(499))).is_ok());
        assert!(refusal(&nested(501)).contains("too deep"));
        assert!(refusal(&nested(100_000)).contains("too deep"));
    }
}

#[test]
fn a_chain_of_aliases_nests_as_deep_as_what_it_names() {
    let nested = |name| format!("{}*{name}{}", "[".repeat(200), "]".repeat(200));
    let text = format!("- &a x\n- &b {}\n- &c {}\n- &d {}\n", nested("a"), nested("b"), nested("c"));
    assert!(to_json(&read(&text)).unwrap_err().message.contains("too deep"));
}

#[test]
fn aliases_that_multiply_are_refused() {
    let list = |level: usize| match level {
        0 => "- &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(),
        _ => format!("- &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(",")),
    };
    let text = (0..30).map(list).collect::<Vec<_>>().concat();
    assert!(to_json(&read(&text)).unwrap_err().message.contains("aliases"));
    assert!(to_json(&read("- &a [*a]\n")).unwrap_err().message.contains("contains the alias itself"));
}

#[test]
fn scalars_mean_what_they_mean_in_yaml_1_1() {
    let text =
        "[y, 'y', On, ~, null, 012, 0o17, 08, 1_000, 0x1F, 1e3, .5, 190:20, 2001-12-14, '', <<, -0b11]";
    assert_eq!(
        as_json(text),
        json!([
            true,
            "y",
            true,
            null,
            null,
            10,
            15,
            8,
            1000,
            31,
            1000,
            0.5,
            "190:20",
            "2001-12-14",
            "",
            "<<",
            -3
        ])
    );
}

#[test]
fn maps_become_json_with_texts_as_keys_merged_and_the_last_of_duplicates() {
    let text = "a: &a {x: 1, z: 2}\nb: {x: 0, <<: *a, z: 3}\nc: 1\nc: 2\n1: i\n1.5: f\ntrue: b\n1e7: g\n";
    assert_eq!(
        as_json(text),
        json!({"a": {"x": 1, "z": 2}, "b": {"x": 1, "z": 3}, "c": 2, "1": "i", "1.5": "f", "true": "b", "1e+07": "g"})
    );
}

#[test]
fn a_long_map_keeps_the_last_of_duplicates_too() {
    let text = (0..100).map(|n| format!("k{}: {n}\n", n % 40)).collect::<Vec<_>>().concat();
    let json = as_json(&text);
    assert_eq!(json.as_object().unwrap().len(), 40);
    assert_eq!((&json["k19"], &json["k20"]), (&json!(99), &json!(60)));
}

#[test]
fn manifests_are_split_at_markers_with_places_in_the_whole_text() {
    let text = "# first\n---\na: 1\n--- # second\n\nb: |\n  x";
    let documents = documents(text).unwrap();
    let json: Vec<_> = documents.iter().map(|document| to_json(document).unwrap()).collect();
    assert_eq!(json, [json!(null), json!({"a": 1}), json!({"b": "x\n"})]);
    let last = root(&documents[2]);
    assert_eq!((last.start, last.end), (Position { offset: 31, line: 6, column: 1 }, text.len()));
    let error = super::documents("a: 1\n---\nb: [\n---\nc: 1\n").unwrap_err();
    assert_eq!(error.position.line, 4);
}

/// Each node lies in the text, and in the node around it.
fn check_places(text: &str, document: &Document<'_>, id: NodeId, around: (usize, usize)) {
    let node = document.node(id);
    let (start, end) = (node.start.offset, node.end);
    assert!(start <= end && around.0 <= start && end <= around.1, "{node:?} in {around:?} of {text:?}");
    assert!(text.is_char_boundary(start) && text.is_char_boundary(end));
    let before = &text[..start];
    assert_eq!(node.start.line, before.matches('\n').count() + 1, "{node:?} of {text:?}");
    let column = before.rsplit('\n').next().unwrap().chars().filter(|c| *c != '\u{feff}').count() + 1;
    assert_eq!(node.start.column, column, "{node:?} of {text:?}");
    match &node.value {
        Value::Sequence { items, .. } => {
            let mut last = start;
            for item in items {
                assert!(last <= item.dash && item.dash <= document.node(item.node).start.offset);
                last = document.node(item.node).end;
                check_places(text, document, item.node, (start, end));
            }
        }
        Value::Mapping { pairs, .. } => {
            for &(key, value) in pairs {
                check_places(text, document, key, (start, end));
                check_places(text, document, value, (start, end));
            }
        }
        Value::Scalar { text: value, style: ScalarStyle::Plain }
            if !value.is_empty() && node.tag.is_none() =>
        {
            let written = &text[start..end];
            assert!(written.ends_with(value.as_ref()) || written.contains('\n'), "{node:?} of {text:?}");
        }
        Value::Scalar { .. } | Value::Alias { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_read_or_refused_and_nodes_lie_within_each_other(
        text in "([-:?,#&*!|>'\"%@\\[\\]{}]|- |: |a|é|\\ta|  |\n|\n  |\r\n|&x |[*]x|'b'|\"c\"|[|]\n  d|---\n|!!str ){0,40}"
    ) {
        let Ok(document) = first_document(&text) else { return Ok(()) };
        if let Some(root) = document.root {
            check_places(&text, &document, root, (0, text.len()));
        }
        let _ = to_json(&document);
        prop_assert!(document.start <= document.end && document.end <= text.len());
        prop_assert!(documents(&text).is_ok() || documents(&text).is_err());
    }
}
