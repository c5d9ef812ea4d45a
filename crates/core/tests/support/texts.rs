//! Generated texts: realistic ones, put together from the pieces that people and tools write, and the same with
//! characters and lines knocked about.

use awsiam_core::mapping::List;
use proptest::prelude::*;
use proptest::sample::select;

/// The text of a data key; none: it is absent.
pub(crate) fn text(list: List) -> BoxedStrategy<Option<String>> {
    prop_oneof![
        1 => Just(None),
        2 => select(NOTHING).prop_map(|text| Some(text.to_owned())),
        6 => block_list(list).prop_map(Some),
        3 => flow_list(list).prop_map(Some),
    ]
    .boxed()
}

/// The same, damaged in a few places, or one of the stored texts, damaged.
pub(crate) fn damaged(list: List) -> BoxedStrategy<Option<String>> {
    let start = prop_oneof![3 => text(list), 2 => select(stored()).prop_map(Some)];
    (start, proptest::collection::vec(damage(), 1..4))
        .prop_map(|(text, damages)| {
            text.map(|text| damages.iter().fold(text, |text, damage| damage.to(&text)))
        })
        .boxed()
}

/// Ways to say that there is nothing.
const NOTHING: &[&str] = &[
    "",
    "\n",
    "''",
    "\"\"",
    "``",
    "[]",
    "[]\r\n",
    "[ ] # none\n",
    "[\n  # none\n]",
    "null",
    "~\n",
    "null # x\n",
    "# nobody yet\n",
    "# nobody yet",
    "---\n",
    "--- # x\n# y\n",
    "---\n---\n- x\n",
    "\u{feff}# x\n",
];

/// The texts of `tests/texts`, and some of our own for a checkout without them.
fn stored() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/texts");
    let mut texts: Vec<String> = files(std::path::Path::new(folder));
    texts.sort();
    texts.extend(NOTHING.iter().map(|text| (*text).to_owned()));
    texts.push(crate::support::NODES.to_owned());
    texts
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() { files(&path) } else { std::fs::read_to_string(path).into_iter().collect() }
        })
        .collect()
}

/// Names of people who log in: ours and theirs overlap a little.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => select(vec!["theirs1", "theirs2", "theirs3", "THEIRS1"]),
        1 => select(vec!["ours0", "OURS1", "ours4"]),
    ]
    .prop_map(str::to_owned)
}

fn arn(list: List) -> BoxedStrategy<String> {
    match list {
        List::Accounts => (1..4u8).prop_map(|n| format!("44445555666{n}")).boxed(),
        List::Roles => {
            prop_oneof![8 => name().prop_map(|n| crate::support::role_arn(&n)), 1 => name().prop_map(|n| crate::support::user_arn(&n))]
                .boxed()
        }
        List::Users => name().prop_map(|n| crate::support::user_arn(&n)).boxed(),
    }
}

/// An item of a block list: its lines after the dash.
fn item(list: List) -> BoxedStrategy<Vec<String>> {
    if list == List::Accounts {
        let quoted =
            (arn(list), select(vec!["\"", "'", ""])).prop_map(|(id, q)| vec![format!("{q}{id}{q} # acct")]);
        return quoted.boxed();
    }
    let key = match list {
        List::Roles => select(vec!["rolearn", "roleARN", "RoleArn"]),
        _ => select(vec!["userarn", "userARN", "UserArn"]),
    };
    let quote = select(vec!["", "", "\"", "'"]);
    let extra = proptest::collection::vec(select(EXTRA), 0..3);
    let mapping = (key, arn(list), quote, select(USERNAMES), select(GROUPS), extra).prop_map(
        |(key, arn, quote, username, groups, extra)| {
            let mut lines = vec![format!("{key}: {quote}{arn}{quote}")];
            lines.extend(username.lines().map(str::to_owned));
            lines.extend(groups.lines().map(str::to_owned));
            lines.extend(extra.iter().flat_map(|text| text.lines().map(str::to_owned)));
            lines
        },
    );
    let node =
        Just(crate::support::NODES.lines().map(|l| l.get(2..).unwrap().to_owned()).collect::<Vec<_>>());
    let sso = Just(vec![
        "sso:".to_owned(),
        "  permissionSetName: a".into(),
        "  accountID: \"111122223333\"".into(),
    ]);
    let odd =
        select(vec!["5", "username: nobody", "{}", "*u", "x: &u y", "[a]"]).prop_map(|t| vec![t.to_owned()]);
    prop_oneof![8 => mapping, 2 => node, 1 => sso, 1 => odd].boxed()
}

const USERNAMES: &[&str] = &[
    "username: x",
    "username: &u x",
    "username: *u",
    "username: \"a # b\"   # c",
    "username: 'it''s'",
    "username: |\n  x",
    "username: >-\n  x\n  y",
    "username:",
    "# between",
];

const GROUPS: &[&str] = &[
    "",
    "groups: []",
    "groups: [ops, 'dev']",
    "groups:\n- system:masters",
    "groups:\n  - ops\n  # why\n  - dev",
    "groups: &g\n- x",
    "groups: *g",
    "groups: ops",
    "groups: &g [x]\n",
];

const EXTRA: &[&str] = &[
    "userid: AROA",
    "owner: jane # x",
    "",
    "# a comment",
    "  # deeper",
    "x: |\n  text\n",
    "more: &m {owner: joe}",
    "<<: *m",
];

/// How a block list is written around its items.
#[derive(Clone, Debug)]
struct Frame {
    front: &'static str,
    indent: usize,
    behind: &'static str,
    windows: bool,
    final_break: bool,
}

fn frame() -> impl Strategy<Value = Frame> {
    let front = select(vec![
        "",
        "",
        "",
        "# head\n",
        "---\n",
        "# a\n--- # b\n",
        "\u{feff}",
        "%YAML 1.1\n---\n",
        "\n\n",
    ]);
    let behind = select(vec![
        "",
        "",
        "",
        "\n\n",
        "# tail\n",
        "---\n- not: read\n",
        "...\n",
        "# x\n--- {oops",
        "- stray\n",
    ]);
    (front, select(vec![0, 0, 2, 4]), behind, any::<bool>(), prop::bool::weighted(0.8)).prop_map(
        |(front, indent, behind, windows, final_break)| Frame { front, indent, behind, windows, final_break },
    )
}

fn block_list(list: List) -> impl Strategy<Value = String> {
    (frame(), proptest::collection::vec(item(list), 1..6)).prop_map(|(frame, items)| {
        let mut text = frame.front.to_owned();
        for item in items {
            for (number, line) in item.iter().enumerate() {
                let dash = if number == 0 { "- " } else { "  " };
                text.push_str(format!("{}{dash}{line}", " ".repeat(frame.indent)).trim_end());
                text.push('\n');
            }
        }
        text = with_anchors(text);
        text.push_str(frame.behind);
        if !frame.final_break {
            text.truncate(text.trim_end_matches('\n').len());
        }
        if frame.windows { text.replace('\n', "\r\n") } else { text }
    })
}

/// An alias that stands before its anchor becomes the anchor.
fn with_anchors(text: String) -> String {
    let definitions = [("*g", "&g", "&g [x]"), ("*u", "&u", "&u x"), ("*m", "&m", "&m {owner: jim}")];
    definitions.into_iter().fold(text, |text, (alias, anchor, definition)| {
        let used = text.find(alias).unwrap_or(text.len());
        if text.find(anchor).is_some_and(|at| at < used) { text } else { text.replacen(alias, definition, 1) }
    })
}

fn flow_list(list: List) -> impl Strategy<Value = String> {
    let comma = select(vec![", ", ",", " ,\n  ", ", # a, b\n  ", " # x\n, "]);
    let around = select(vec![
        ("[", "]"),
        ("[", "]\n"),
        ("[\n  ", "\n]\n"),
        ("--- [ ", " ]"),
        ("[", ",]"),
        ("[ # a\n", " # b, c\n]\n---\nx"),
    ]);
    (proptest::collection::vec(flow_item(list), 1..4), comma, around)
        .prop_map(|(items, comma, (open, close))| format!("{open}{}{close}", items.join(comma)))
}

fn flow_item(list: List) -> BoxedStrategy<String> {
    if list == List::Accounts {
        return arn(list).prop_map(|id| format!("'{id}'")).boxed();
    }
    let key = if list == List::Roles { "rolearn" } else { "userarn" };
    (arn(list), select(vec!["x", "system:node:n"]), any::<bool>())
        .prop_map(move |(arn, username, json)| {
            if json {
                format!("{{\"{key}\":\"{arn}\",\"username\":\"{username}\",\"groups\":[\"g\"]}}")
            } else {
                format!("{{{key}: '{arn}', username: {username}, more: [a, {{b: c}}]}}")
            }
        })
        .boxed()
}

/// One thing that happens to a text.
#[derive(Clone, Debug)]
enum Damage {
    Insert(usize, String),
    Delete(usize, usize),
    RepeatLine(usize),
    SwapLines(usize, usize),
    Cut(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0..400usize;
    let character = select(vec![
        "\n", " ", "  ", "\t", "- ", ":", ": ", "#", " # ", "'", "\"", "[", "]", "{", "}", ",", "&a ", "*a",
        "|", ">", "!", "---\n", "...\n", "\r", "\u{2028}", "\u{feff}", "\\", "x", "~", "? ", "%", "\0", "`",
        "@",
    ]);
    prop_oneof![
        4 => (at.clone(), character).prop_map(|(at, text)| Damage::Insert(at, text.to_owned())),
        3 => (at.clone(), 1..6usize).prop_map(|(at, count)| Damage::Delete(at, count)),
        1 => (0..30usize).prop_map(Damage::RepeatLine),
        1 => (0..30usize, 0..30usize).prop_map(|(a, b)| Damage::SwapLines(a, b)),
        1 => at.prop_map(Damage::Cut),
    ]
}

impl Damage {
    fn to(&self, text: &str) -> String {
        let characters: Vec<char> = text.chars().collect();
        let within = |at: usize| at % (characters.len() + 1);
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        match self {
            Damage::Insert(at, piece) => {
                let (before, after) = characters.split_at(within(*at));
                before.iter().collect::<String>() + piece + &after.iter().collect::<String>()
            }
            Damage::Delete(at, count) => {
                let (before, after) = characters.split_at(within(*at));
                before.iter().chain(after.iter().skip(*count)).collect()
            }
            Damage::Cut(at) => characters.iter().take(within(*at)).collect(),
            Damage::RepeatLine(_) | Damage::SwapLines(..) if lines.is_empty() => String::new(),
            Damage::RepeatLine(line) => {
                let line = line % lines.len();
                lines.insert(line, lines[line]);
                lines.concat()
            }
            Damage::SwapLines(a, b) => {
                let (a, b) = (a % lines.len(), b % lines.len());
                lines.swap(a, b);
                lines.concat()
            }
        }
    }
}
