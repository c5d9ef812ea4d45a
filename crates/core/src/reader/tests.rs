//! What the authenticator makes of odd input, case by case. That it does is shown by
//! `tests/tests/reader_equals_oracle.rs`.

use super::*;
use crate::mapping::{Mapping, Sso};
use crate::text::Layout;

fn entries(list: List, text: &str) -> (Vec<Entry>, usize) {
    let block = read(list, text).unwrap_or_else(|error| panic!("{error} in {text:?}"));
    (block.entries.into_iter().map(|read| read.entry).collect(), block.problems.len())
}

fn role(arn: &str, username: &str, groups: &[&str]) -> Entry {
    let groups = groups.iter().map(ToString::to_string).collect();
    Entry { arn: arn.into(), username: username.into(), groups, ..Entry::default() }
}

fn refusal(list: List, text: &str) -> String {
    read(list, text).unwrap_err().to_string()
}

fn problem(list: List, text: &str) -> (String, usize) {
    let block = read(list, text).unwrap();
    assert_eq!(block.problems.len(), 1, "{:?}", block.problems);
    (block.problems[0].message.clone(), block.problems[0].position.line)
}

#[test]
fn an_entry_knows_its_item_and_its_place() {
    let text = "- rolearn: a\n- oops\n- rolearn: b\n  username: u\n  groups: [g]\n";
    let block = read(List::Roles, text).unwrap();
    assert_eq!(block.entries[1].entry, role("b", "u", &["g"]));
    assert_eq!((block.entries[1].item, block.entries[1].position.line), (2, 3));
    assert_eq!(block.problems.len(), 2);
}

#[test]
fn empty_forms_are_readable_and_empty() {
    for text in ["", " \n\t", "''", " \"\"\n", "``", "[]", "null", "~", "---\n", "# nothing\n", "!!null '~'"]
    {
        for list in List::ALL {
            assert_eq!(entries(list, text), (Vec::new(), 0), "{list} {text:?}");
        }
    }
    assert!(read(List::Roles, "''").unwrap().tree == Tree::Nothing);
    assert!(matches!(read(List::Roles, "# nothing\n").unwrap().tree, Tree::Document(_)));
}

#[test]
fn what_is_no_list_is_unreadable() {
    for text in
        ["a: b", "text", "5", "false", "{}", " {\"a\": 1}", "\u{feff}\"\"", "--- - a", "mapRoles: |\n  - a\n"]
    {
        for list in List::ALL {
            assert!(read(list, text).is_err(), "{list} {text:?}");
        }
    }
    assert_eq!(
        refusal(List::Roles, "a: b"),
        "mapRoles, line 1, column 1: the text must be a list, each item starting with '- '"
    );
}

#[test]
fn an_unquoted_template_refuses_the_whole_block() {
    let text = "- rolearn: a\n  username: {{SessionName}}\n- rolearn: b\n";
    assert_eq!(
        refusal(List::Roles, text),
        "mapRoles, line 2, column 14: a list or a map may not be a key: quote a value that starts with '{' or '['"
    );
}

#[test]
fn what_json_cannot_hold_refuses_the_whole_block() {
    for text in
        ["- rolearn: a\n  x: .inf\n", "- rolearn: a\n  ~: x\n", "- rolearn: a\n  18446744073709551615: x\n"]
    {
        assert!(read(List::Roles, text).is_err(), "{text:?}");
    }
    // A value that a later duplicate replaces is never converted.
    assert_eq!(entries(List::Roles, "- rolearn: a\n  x: .inf\n  x: 1\n"), (vec![role("a", "", &[])], 0));
}

#[test]
fn a_wrong_type_is_a_problem_and_the_entry_stays() {
    assert_eq!(
        problem(List::Roles, "- rolearn: a\n  username: 5\n"),
        ("username must be a text, but is a number; quote it".into(), 2)
    );
    assert_eq!(
        problem(List::Roles, "- rolearn: a\n  groups: system:masters\n"),
        ("groups must be a list, but is a text".into(), 2)
    );
    let mixed = "- rolearn: a\n  groups: [a, 5, null, b]\n";
    assert_eq!(entries(List::Roles, mixed), (vec![role("a", "", &["a", "", "", "b"])], 1));
}

#[test]
fn an_entry_without_its_arn_is_dropped() {
    assert_eq!(
        problem(List::Roles, "- rolearn: b\n- username: x\n"),
        ("the entry is ignored: it has neither rolearn nor sso".into(), 2)
    );
    assert_eq!(problem(List::Users, "- rolearn: b\n"), ("the entry is ignored: it has no userarn".into(), 1));
}

#[test]
fn of_keys_equal_but_for_case_the_greatest_wins() {
    for text in [
        "- rolearn: low\n  roleARN: up\n",
        "- roleARN: up\n  rolearn: low\n",
        "- ROLEARN: x\n  rolearn: low\n",
    ] {
        assert_eq!(entries(List::Roles, text), (vec![role("low", "", &[])], 0), "{text:?}");
    }
    // U+017F is an s to Go.
    assert_eq!(entries(List::Roles, "- rolearn: a\n  u\u{17f}ername: u\n"), (vec![role("a", "u", &[])], 0));
}

#[test]
fn a_null_leaves_what_another_spelling_of_the_key_set() {
    let text = "- rolearn: a\n  GROUPS: [a, b, c]\n  Groups: [d]\n  groups: [~, ~, ~, e]\n";
    assert_eq!(entries(List::Roles, text), (vec![role("a", "", &["d", "b", "c", "e"])], 0));
    assert_eq!(entries(List::Roles, "- roleARN: a\n  rolearn: ~\n"), (vec![role("a", "", &[])], 0));
    let emptied = "- rolearn: a\n  GROUPS: [a, b]\n  Groups: []\n  groups: [~]\n";
    assert_eq!(entries(List::Roles, emptied), (vec![role("a", "", &[""])], 0));
}

#[test]
fn sso_stands_in_place_of_an_arn_under_rules() {
    let sso = |text: &str| entries(List::Roles, &format!("- sso: {text}\n"));
    let read =
        Sso { permission_set_name: "P".into(), account_id: "123456789012".into(), partition: String::new() };
    let kept = Entry { sso: Some(Box::new(read)), ..Entry::default() };
    assert_eq!(sso("{permissionSetName: P, accountID: '123456789012'}"), (vec![kept], 0));
    for (text, problems) in [
        ("{permissionSetName: P, accountID: 123456789012}", 2),
        ("{permissionSetName: P, accountID: '12345678901'}", 1),
        ("{permissionSetName: a b, accountID: '123456789012'}", 1),
        ("{permissionSetName: P, accountID: '123456789012', partition: aws-us-govt}", 1),
        ("hello", 2),
        ("null", 1),
    ] {
        assert_eq!(sso(text), (Vec::new(), problems), "{text}");
    }
    assert_eq!(entries(List::Roles, "- rolearn: a\n  sso: {}\n"), (Vec::new(), 1));
}

#[test]
fn account_ids_are_taken_as_written() {
    let text = "- '123456789012'\n- 012345678901\n- 1_0\n- 0o17\n- true\n- ~\n-\n- .inf\n- [a]\n- {a: b}\n";
    let (entries, problems) = entries(List::Accounts, text);
    let ids: Vec<_> = entries.iter().map(|entry| entry.arn.as_str()).collect();
    assert_eq!(ids, ["123456789012", "012345678901", "1_0", "0o17", "true", "", "", ".inf"]);
    assert_eq!(problems, 2);
    assert!(read(List::Accounts, "- !!int b\n").is_err());
}

#[test]
fn what_follows_the_first_document_does_not_count() {
    let one = (vec![role("a", "", &[])], 0);
    for text in
        ["- rolearn: a\n---\n- rolearn: b\n", "- rolearn: a\n...\n[ wrong", "  - rolearn: a\n- rolearn: b\n"]
    {
        assert_eq!(entries(List::Roles, text), one, "{text:?}");
    }
    assert_eq!(entries(List::Roles, "[]\n- rolearn: b\n"), (Vec::new(), 0));
    assert_eq!(entries(List::Roles, "[]: x\n"), (Vec::new(), 0));
}

#[test]
fn texts_on_which_readers_differ_are_unreadable_even_when_skipped() {
    for text in ["''\u{85}", "- rolearn: a # x\u{2028}", "\r", "- rolearn: a\r- rolearn: b", "- \u{feff}a"] {
        assert!(read(List::Roles, text).is_err(), "{text:?}");
    }
    assert_eq!(
        refusal(List::Users, "- userarn: a # \u{85}- userarn: b"),
        "mapUsers, line 1, column 16: the character U+0085 ends a line for some readers only; \
         replace it by a plain line break"
    );
}

#[test]
fn the_last_of_equal_roles_answers_and_users_that_differ_in_case_alone_are_left_to_chance() {
    let all = [role("arn:X", "", &[]), role("arn:y", "", &[]), role("arn:x", "", &[])];
    let roles = Answers::new(List::Roles, &all);
    assert_eq!((roles.of("ARN:x"), roles.of("arn:Y"), roles.of("arn:z")), (&[2][..], &[1][..], &[][..]));
    assert_eq!(Answers::new(List::Users, &all).of("arn:x"), [0, 2]);
    assert_eq!(Answers::new(List::Accounts, &all).of("arn:X"), [0]);
}

#[test]
fn an_sso_entry_answers_nobody_but_takes_the_place_of_its_pattern() {
    let sso =
        Sso { permission_set_name: "P".into(), account_id: "123456789012".into(), partition: String::new() };
    let pattern = role("arn:aws:iam::123456789012:role/AWSReservedSSO_P_*", "", &[]);
    let all = [pattern, Entry { sso: Some(Box::new(sso)), ..Entry::default() }];
    assert_eq!(Answers::new(List::Roles, &all).of(&all[0].arn), [0_usize; 0]);
}

/// Lines of the plain shape, and lines that nearly are.
const LINES: [&str; 34] = [
    "- rolearn: arn:aws:iam::111122223333:role/dev",
    "  rolearn: arn:aws:iam::111122223333:role/dev",
    "- userarn: arn:aws:iam::111122223333:user/dev",
    "- groups:",
    "  groups:",
    "  - system:nodes",
    "  - viewers",
    "    - viewers",
    "   - viewers",
    "  username: system:node:{{EC2PrivateDNSName}}",
    "- username: dev",
    "  username: \"a: #b {c}\"",
    "  username: \"\"",
    "  username: \"a\\n\"",
    "  username: yes",
    "  username: Null",
    "  username: 'dev'",
    "  username: dev # no",
    "  username: dev:",
    "  username:",
    "  username: &a dev",
    "  username: *a",
    "  userid: x",
    "  Username: dev",
    "  rolearn: ",
    "    more",
    "# a comment",
    "    # another",
    "",
    "  ",
    "---",
    "- ",
    "-",
    "- [a]",
];

#[test]
fn plain_lines_are_read_as_yaml_reads_them() {
    let mut plain = 0;
    let mut compare = |list: List, text: &str| {
        let (fast, slow) = (read(list, text), read_yaml(list, text));
        plain += usize::from(matches!(&fast, Ok(Block { tree: Tree::Lines(_), .. })));
        let layout = |block: &Block<'_>| Layout::of(text, block);
        assert_eq!(fast.as_ref().map(layout), slow.as_ref().map(layout), "{text}");
        let said = |block: Block<'_>| (block.entries, block.problems);
        assert_eq!(fast.map(said), slow.map(said), "{text}");
    };
    let whole = "- rolearn: arn:aws:iam::111122223333:role/a\n  groups:\n  - g\n  username: u\n";
    for first in LINES {
        for second in LINES {
            compare(List::Users, &format!("{first}\n{second}\n"));
            compare(List::Roles, &format!("{whole}{first}\n{second}\n{whole}"));
            for third in LINES {
                compare(List::Roles, &format!("{first}\n{second}\n{third}"));
            }
        }
    }
    assert!(plain > 100, "only {plain} texts are of the plain shape");
}

#[test]
fn what_eks_and_awsiam_write_is_of_the_plain_shape() {
    let eks = "- groups:\n  - system:bootstrappers\n  - system:nodes\n  rolearn: arn:aws:iam::111122223333:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n";
    let mapping = Mapping {
        list: List::Roles,
        arn: "arn:aws:iam::111122223333:role/dev".into(),
        username: "dev:{{SessionName}}".into(),
        groups: vec!["system:masters".into(), "yes".into()],
    };
    let text = format!("{eks}{}", crate::render::block_item(&mapping, "", "\n"));
    let block = read(List::Roles, &text).unwrap();
    assert!(matches!(block.tree, Tree::Lines(_)));
    assert_eq!(block.entries[1].entry, Entry::from(&mapping));
}
