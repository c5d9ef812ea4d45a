//! How the text of a data key is edited: each way to write a list, with our entry in it, and without it again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use awsiam_core::ledger::{KeyHash, MeaningHash, Owned};
use awsiam_core::mapping::{Entry, List, Mapping};
use awsiam_core::plan::State;
use support::{NODES, Target, account, config, find, role, role_arn, said};

fn ours() -> Mapping {
    role("O", "o", &["g"])
}

/// Our entry in a block list.
const OURS: &str = "- rolearn: arn:aws:iam::111122223333:role/O\n  username: o\n  groups:\n  - g\n";

/// Our entry in a flow list.
const FLOW: &str = r#"{"rolearn": "arn:aws:iam::111122223333:role/O", "username": "o", "groups": ["g"]}"#;

/// A text before our entry comes, and with it.
struct Case {
    name: &'static str,
    before: String,
    after: String,
}

fn case(name: &'static str, before: impl Into<String>, after: impl Into<String>) -> Case {
    Case { name, before: before.into(), after: after.into() }
}

fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

fn windows(text: &str) -> String {
    text.replace('\n', "\r\n")
}

fn without_break(text: &str) -> &str {
    text.strip_suffix('\n').unwrap()
}

/// An entry of somebody else in a block list and in a flow list.
const THEIRS: &str = "- rolearn: arn:aws:iam::111122223333:role/T\n  username: t\n";
const THEIR_FLOW: &str = "{rolearn: 'arn:aws:iam::111122223333:role/T', username: t}";

/// Our entry comes with exactly the text that is written here, and goes without a trace.
fn check(cases: impl IntoIterator<Item = Case>) {
    for Case { name, before, after } in cases {
        let mut target = Target::holding(List::Roles, &before).wanting([config("team", [ours()])]);
        let entries = target.entries(List::Roles);
        let plan = target.apply();
        assert_eq!(target.roles(), after, "{name}: coming, {:#?}", plan.outcomes);
        let expected: Vec<Entry> = entries.into_iter().chain([Entry::from(&ours())]).collect();
        assert_eq!(target.entries(List::Roles), expected, "{name}");
        target.want([config("team", [])]);
        target.apply();
        assert_eq!(target.roles(), before, "{name}: going");
    }
}

#[test]
fn into_a_block_list_it_goes_at_the_end_as_the_list_is_written() {
    check([
        case("plain", THEIRS, format!("{THEIRS}{OURS}")),
        case("indented", indented(THEIRS), indented(&format!("{THEIRS}{OURS}"))),
        case("windows line breaks", windows(THEIRS), windows(&format!("{THEIRS}{OURS}"))),
        case("no final break", without_break(THEIRS), without_break(&format!("{THEIRS}{OURS}"))),
        case(
            "no final break, windows",
            without_break(&windows(THEIRS)).trim_end_matches('\r'),
            windows(&format!("{THEIRS}{OURS}")).trim_end_matches("\r\n"),
        ),
        case("comment and blanks behind", format!("{THEIRS}# end\n\n"), format!("{THEIRS}# end\n\n{OURS}")),
        case(
            "comment behind, no final break",
            format!("{THEIRS}# end"),
            format!("{THEIRS}# end\n{}", without_break(OURS)),
        ),
        case(
            "comment in front and in line",
            format!("# a\n{}", THEIRS.replace("T\n", "T # b\n")),
            format!("# a\n{}{OURS}", THEIRS.replace("T\n", "T # b\n")),
        ),
        case(
            "a dash on a line of its own",
            THEIRS.replacen("- ", "-\n  ", 1),
            format!("{}{OURS}", THEIRS.replacen("- ", "-\n  ", 1)),
        ),
        case(
            "block scalars",
            format!("{THEIRS}  x: |\n    a\n\n"),
            format!("{THEIRS}  x: |\n    a\n\n{OURS}"),
        ),
        case(
            "malformed entries stay",
            format!("- 5\n- username: x\n{THEIRS}"),
            format!("- 5\n- username: x\n{THEIRS}{OURS}"),
        ),
        case("byte order mark", format!("\u{feff}{THEIRS}"), format!("\u{feff}{THEIRS}{OURS}")),
        case("a tag on the list", format!("!!seq\n{THEIRS}"), format!("!!seq\n{THEIRS}{OURS}")),
    ]);
}

#[test]
fn into_the_first_document_it_goes_and_the_rest_stays() {
    check([
        case("behind a marker", format!("---\n{THEIRS}"), format!("---\n{THEIRS}{OURS}")),
        case(
            "behind a comment and a marker",
            format!("# a\n--- # b\n{THEIRS}"),
            format!("# a\n--- # b\n{THEIRS}{OURS}"),
        ),
        case(
            "before the next document",
            format!("{THEIRS}---\n- not: read\n"),
            format!("{THEIRS}{OURS}---\n- not: read\n"),
        ),
        case("before the end marker", format!("{THEIRS}...\n"), format!("{THEIRS}{OURS}...\n")),
        case("end marker without break", format!("{THEIRS}..."), format!("{THEIRS}{OURS}...")),
        case(
            "comments before the next document",
            format!("{THEIRS}# x\n--- oops"),
            format!("{THEIRS}# x\n{OURS}--- oops"),
        ),
        case(
            "broken text behind the end",
            format!("{THEIRS}---\n\t}}{{"),
            format!("{THEIRS}{OURS}---\n\t}}{{"),
        ),
        case("a flow list before the next document", "[]\n---\n- x\n", format!("[{FLOW}]\n---\n- x\n")),
    ]);
}

#[test]
fn into_a_flow_list_it_goes_after_the_last_item_with_a_comma() {
    check([
        case("one line", format!("[{THEIR_FLOW}]\n"), format!("[{THEIR_FLOW}, {FLOW}]\n")),
        case("no final break", format!("[{THEIR_FLOW}]"), format!("[{THEIR_FLOW}, {FLOW}]")),
        case("a trailing comma", format!("[{THEIR_FLOW}, ]"), format!("[{THEIR_FLOW}, {FLOW}, ]")),
        case(
            "a comment behind",
            format!("[\n  {THEIR_FLOW} # a, b ]\n]"),
            format!("[\n  {THEIR_FLOW}, {FLOW} # a, b ]\n]"),
        ),
        case(
            "windows",
            format!("[\r\n  {THEIR_FLOW}\r\n]\r\n"),
            format!("[\r\n  {THEIR_FLOW}, {FLOW}\r\n]\r\n"),
        ),
        case("empty with a comment", "[\n  # nobody yet\n]\n", format!("[{FLOW}\n  # nobody yet\n]\n")),
        case("empty with a comment behind", "[] # nobody\n", format!("[{FLOW}] # nobody\n")),
        case("empty with blanks", "[ ]\n", format!("[{FLOW} ]\n")),
        case("empty behind a marker", "--- []\n", format!("--- [{FLOW}]\n")),
        case("byte order mark", "\u{feff}[]", format!("\u{feff}[{FLOW}]")),
        case(
            "JSON",
            r#"[{"rolearn":"arn:aws:iam::111122223333:role/T"}]"#,
            format!(r#"[{{"rolearn":"arn:aws:iam::111122223333:role/T"}}, {FLOW}]"#),
        ),
        case("anchored list", format!("&all [{THEIR_FLOW}]"), format!("&all [{THEIR_FLOW}, {FLOW}]")),
    ]);
}

#[test]
fn a_json_text_stays_json() {
    let text = r#"[{"rolearn": "arn:aws:iam::111122223333:role/T"}]"#;
    let mappings = [ours(), role("P", "p:\u{e9}\"", &[])];
    let target = Target::holding(List::Roles, text).wanting([config("team", mappings)]).applied();
    let value: serde_json::Value = serde_json::from_str(target.roles()).unwrap();
    assert_eq!(value.as_array().map(Vec::len), Some(3));
}

#[test]
fn what_holds_nothing_is_replaced_and_put_back() {
    let blanks = [
        "", " ", "\n", " \n\n", "''", "\"\"", "``", " '' \n", "[]", "[]\n", " []\n", "null", "~", "~\n",
        "NULL", "Null\n",
    ];
    check(blanks.into_iter().map(|text| case("blank", text, OURS)));
    check([case("windows", "[]\r\n", windows(OURS))]);
}

#[test]
fn what_held_nothing_is_put_back_only_if_nobody_wrote_beside_us() {
    let mut target = Target::holding(List::Roles, "''").wanting([config("team", [ours()])]).applied();
    target.edit(List::Roles, format!("# hello\n{}", target.roles()));
    target.want([config("team", [])]);
    target.apply();
    assert_eq!(target.roles(), "# hello\n");
    assert!(target.ledger().unwrap().blanks.is_empty());
}

#[test]
fn the_ledger_forgets_what_held_nothing_when_somebody_else_took_our_entry_out() {
    let mut target = Target::holding(List::Roles, "''").wanting([config("team", [ours()])]).applied();
    target.edit(List::Roles, THEIRS);
    target.want([config("team", [])]);
    target.apply();
    assert_eq!(target.roles(), THEIRS);
    assert!(target.ledger().unwrap().blanks.is_empty());
}

#[test]
fn after_comments_alone_our_list_is_appended() {
    check([
        case("comment", "# nobody yet\n", format!("# nobody yet\n{OURS}")),
        case("no final break", "# nobody yet", format!("# nobody yet\n{}", without_break(OURS))),
        case("windows", "# nobody yet\r\n", format!("# nobody yet\r\n{}", windows(OURS))),
        case("an empty document", "---\n", format!("---\n{OURS}")),
        case("an empty document, no final break", "---", format!("---\n{}", without_break(OURS))),
        case("an empty document with a comment", "--- # x\n# y\n", format!("--- # x\n# y\n{OURS}")),
        case("an empty document before another", "---\n---\n- x\n", format!("---\n{OURS}---\n- x\n")),
        case("byte order mark", "\u{feff}# x\n", format!("\u{feff}# x\n{OURS}")),
    ]);
}

#[test]
fn an_entry_goes_with_the_lines_from_its_dash_to_its_last_token() {
    let with = |between: &str| {
        format!("{THEIRS}# above\n{}# below\n{between}{NODES}", OURS.replace("- g\n", "- g # ours\n"))
    };
    let mut target = Target::holding(List::Roles, THEIRS).wanting([config("team", [ours()])]).applied();
    target.edit(List::Roles, with("\n\n"));
    target.want([config("team", [role("O", "changed", &[])])]);
    target.apply();
    assert_eq!(
        target.roles(),
        format!("{THEIRS}# above\n- rolearn: {}\n  username: changed\n# below\n\n\n{NODES}", role_arn("O"))
    );
    target.want([]);
    target.apply();
    assert_eq!(target.roles(), format!("{THEIRS}# above\n# below\n\n\n{NODES}"));
}

#[test]
fn a_replaced_entry_keeps_its_place_in_every_style() {
    let changed = role("O", "c", &[]);
    let block = OURS.replace("username: o\n  groups:\n  - g\n", "username: c\n");
    let flow = r#"{"rolearn": "arn:aws:iam::111122223333:role/O", "username": "c"}"#;
    let cases = [
        (format!("{OURS}{THEIRS}"), format!("{block}{THEIRS}")),
        (indented(&format!("{OURS}{THEIRS}")), indented(&format!("{block}{THEIRS}"))),
        (windows(&format!("{OURS}{THEIRS}")), windows(&format!("{block}{THEIRS}"))),
        (without_break(OURS).to_owned(), without_break(&block).to_owned()),
        (format!("{OURS}---\n"), format!("{block}---\n")),
        (format!("\u{feff}{OURS}"), format!("\u{feff}{block}")),
        (format!("[{FLOW} , {THEIR_FLOW}]"), format!("[{flow} , {THEIR_FLOW}]")),
        (format!("[ # a\n {FLOW}]"), format!("[ # a\n {flow}]")),
    ];
    for (before, after) in cases {
        let mut target = Target::new().wanting([config("team", [ours()])]).applied();
        target.edit(List::Roles, before.clone());
        target.want([config("team", [changed.clone()])]);
        assert_eq!(said(&target.apply(), "O").map(|s| s.0), Some(State::Changed), "{before}");
        assert_eq!(target.roles(), after);
    }
}

#[test]
fn in_a_flow_list_a_removal_takes_one_comma() {
    let cases = [
        (format!("[{FLOW}, {THEIR_FLOW}]"), format!("[{THEIR_FLOW}]")),
        (format!("[{FLOW}]"), "[]".to_owned()),
        (format!("[ {FLOW} , ]"), "[  ]".to_owned()),
        (format!("[{THEIR_FLOW}, # a, b\n {FLOW}\n]"), format!("[{THEIR_FLOW} # a, b\n \n]")),
        (
            format!("[{THEIR_FLOW} # x\n, {FLOW}, {THEIR_FLOW}]"),
            format!("[{THEIR_FLOW} # x\n, {THEIR_FLOW}]"),
        ),
        (format!("[{FLOW} # mine, all\n, {THEIR_FLOW}]"), format!("[ # mine, all\n {THEIR_FLOW}]")),
    ];
    for (before, after) in cases {
        let mut target = Target::new().wanting([config("team", [ours()])]).applied();
        target.edit(List::Roles, before.clone());
        target.want([]);
        target.apply();
        assert_eq!(target.roles(), after, "{before}");
    }
}

#[test]
fn many_changes_at_once_keep_everything_between() {
    for (text, mark) in [(NODES.to_owned(), "\n"), (format!("[{THEIR_FLOW}]"), ", ")] {
        let many = |skip: usize| {
            let names = (0..6).filter(move |i| i % 3 != skip);
            names.map(|i| role(&format!("m{i}"), &format!("m{i}-{skip}"), &["g"])).collect::<Vec<_>>()
        };
        let mut target = Target::holding(List::Roles, &text).wanting([config("team", many(9))]).applied();
        assert_eq!(target.entries(List::Roles).len(), 7);
        for skip in [0, 1, 2] {
            target.want([config("team", many(skip))]);
            target.apply();
            assert_eq!(target.entries(List::Roles).len(), 5, "{mark:?}");
        }
        target.want([]);
        target.apply();
        assert_eq!(target.roles(), text);
    }
}

#[test]
fn an_entry_whose_anchor_is_used_outside_it_is_held() {
    let ours_anchored = OURS.replace("groups:\n", "groups: &g\n");
    let text = format!("{ours_anchored}{THEIRS}  groups: *g\n");
    for (mapping, doing) in [(Some(role("O", "new", &[])), "changing"), (None, "removing")] {
        let mut target = Target::new().wanting([config("team", [ours()])]).applied();
        target.edit(List::Roles, text.clone());
        target.want([config("team", mapping.into_iter().chain([role("P", "p", &[])]))]);
        let plan = target.apply();
        assert_eq!(said(&plan, "O"), Some((State::Held, "Anchored")), "{doing}");
        assert_eq!(said(&plan, "P").map(|s| s.0), Some(State::Added), "the rest goes on");
        assert!(target.roles().starts_with(&text));
        assert_eq!(target.owned(), 2);
    }
}

#[test]
fn an_anchor_that_is_used_inside_its_entry_alone_does_not_hold_it() {
    let text = OURS.replace("username: o\n", "username: &u o\n  note: *u\n");
    let mut target = Target::new().wanting([config("team", [ours()])]).applied();
    target.edit(List::Roles, format!("{THEIRS}{text}"));
    target.want([]);
    target.apply();
    assert_eq!(target.roles(), THEIRS);
}

#[test]
fn texts_that_readers_differ_on_are_unreadable_and_stay() {
    let texts = [
        format!("# x\u{85}{THEIRS}"),
        format!("# x\u{2028}{THEIRS}"),
        format!("{THEIRS}# x\u{2029}y\n"),
        format!("# x\r{THEIRS}"),
        THEIRS.replace('\n', "\r"),
        "\u{85}".to_owned(),
        "\r".to_owned(),
        "''\u{2028}".to_owned(),
    ];
    stay_unreadable(texts);
}

#[test]
fn texts_that_the_authenticator_refuses_are_unreadable_and_stay() {
    let texts = [
        "- rolearn: a\n\tusername: b\n",
        "- rolearn: [a\n",
        "rolearn: a\n",
        "{}",
        "false",
        "some words",
        "- rolearn: a\n  username: {{SessionName}}\n",
        "- ? [a]\n  : b\n",
        "%YAML 1.2\n---\n- a\n",
        "- *nobody\n",
        "- \"\\q\"\n",
        "--- - a\n",
        "- a\u{1}\n",
        "\u{feff}\"\"",
        "- rolearn: .inf\n",
    ];
    stay_unreadable(texts.map(str::to_owned));
}

fn stay_unreadable(texts: impl IntoIterator<Item = String>) {
    for text in texts {
        let mut target =
            Target::holding(List::Roles, &text).wanting([config("team", [ours(), account("111122223333")])]);
        let plan = target.apply();
        assert_eq!(said(&plan, "O"), Some((State::Held, "Unreadable")), "{text:?}");
        assert_eq!(plan.unreadable.len(), 1, "{text:?}");
        assert_eq!(target.roles(), text);
        assert_eq!(target.entries(List::Accounts).len(), 1, "{text:?}");
    }
}

#[test]
fn a_text_that_can_be_read_but_not_edited_is_held() {
    for text in ["null # nobody\n", "# nobody\n~\n", "--- null\n"] {
        let mut target = Target::holding(List::Roles, text).wanting([config("team", [ours()])]);
        let plan = target.apply();
        assert_eq!(said(&plan, "O"), Some((State::Held, "TextNotEditable")), "{text:?}");
        assert!(find(&plan, &role_arn("O")).unwrap().message.contains("replace it by []"));
        assert_eq!(target.roles(), text);
    }
}

#[test]
fn what_the_authenticator_does_not_read_behind_a_list_stays_behind_it() {
    let text = format!("{}{THEIRS}", indented(THEIRS));
    let mut target = Target::holding(List::Roles, &text).wanting([config("team", [ours()])]);
    target.apply();
    assert_eq!(target.roles(), format!("{}{}{THEIRS}", indented(THEIRS), indented(OURS)));
    target.want([]);
    target.apply();
    assert_eq!(target.roles(), text);
}

#[test]
fn what_we_write_is_what_the_authenticator_reads_best() {
    let mut target = Target::new().wanting([config(
        "team",
        [
            role("O", "admin:{{SessionName}}", &["yes", "a b"]),
            support::user("bob", "bob", &[]),
            account("012345678901"),
        ],
    )]);
    target.apply();
    assert_eq!(
        target.roles(),
        "- rolearn: arn:aws:iam::111122223333:role/O\n  username: \"admin:{{SessionName}}\"\n  groups:\n  - \"yes\"\n  - \"a b\"\n"
    );
    assert_eq!(target.text(List::Users), "- userarn: arn:aws:iam::111122223333:user/bob\n  username: bob\n");
    assert_eq!(target.text(List::Accounts), "- \"012345678901\"\n");
    let ledger = target.ledger().unwrap();
    let bob = support::user("bob", "bob", &[]);
    let owned = Owned { config: "team".into(), meaning: MeaningHash::of(List::Users, &Entry::from(&bob)) };
    assert_eq!(ledger.owned.get(&KeyHash::of(&bob.key())), Some(&owned));
}

#[test]
fn accounts_come_and_go_like_the_others() {
    for (before, after) in [
        ("- \"444455556666\"\n", "- \"444455556666\"\n- \"111122223333\"\n"),
        ("- 444455556666", "- 444455556666\n- \"111122223333\""),
        ("[444455556666]\n", "[444455556666, \"111122223333\"]\n"),
        ("[\"444455556666\" ,]", "[\"444455556666\", \"111122223333\" ,]"),
        ("[]", "- \"111122223333\"\n"),
    ] {
        let mut target =
            Target::holding(List::Accounts, before).wanting([config("team", [account("111122223333")])]);
        target.apply();
        assert_eq!(target.text(List::Accounts), after);
        target.want([]);
        target.apply();
        assert_eq!(target.text(List::Accounts), before);
    }
}
