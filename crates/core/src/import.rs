//! What of an `aws-auth` can be declared by an AWSIamConfig so that declaring it changes nothing, and what can't and
//! why. Pure; the rules of admission, which know the resource, are asked by the caller.

use std::collections::{BTreeMap, BTreeSet};

use crate::arn::{self, Partition};
use crate::effective::Effective;
use crate::ledger::{KeyHash, Ledger};
use crate::mapping::{Entry, List, Mapping, fold};
use crate::privilege::Policy;
use crate::reader::{self, Unreadable};

/// What is known besides the text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// `data` of `aws-auth`.
    pub data: &'a BTreeMap<String, String>,
    /// What is declared already.
    pub ledger: Option<&'a Ledger>,
    /// The partition that is wanted; none: that of the first entry.
    pub partition: Option<Partition>,
    /// The namespace that the AWSIamConfig is for.
    pub namespace: &'a str,
    /// The operator's privilege flags.
    pub policy: &'a Policy,
}

/// An entry that can be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The mapping that means what the entry says.
    pub mapping: Mapping,
    /// The entry's line, from 1.
    pub line: usize,
}

/// An entry that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The list it stands in.
    pub list: List,
    /// Its line, from 1.
    pub line: usize,
    /// Its ARN or account id as written.
    pub arn: String,
    /// Why, and what to do.
    pub why: Why,
}

/// Why an entry is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Nodes join by it.
    #[error("nodes join by it; awsiam never touches such entries")]
    Node,
    /// It is owned already.
    #[error("AWSIamConfig {0} declares it already")]
    Declared(String),
    /// It matches by permission set.
    #[error(
        "it matches by permission set (sso), which awsiam does not write; map the role AWSReservedSSO_… itself"
    )]
    Sso,
    /// It matches nobody.
    #[error("nobody can log in by it: {0}")]
    NeverMatches(String),
    /// Another entry counts instead.
    #[error("line {0} of {1} has the same ARN and counts instead; remove this one")]
    Overruled(usize, List),
    /// Chance decides.
    #[error(
        "line {0} has the same ARN in other case, and chance decides at every login which of them counts; remove one, then import again"
    )]
    Chance(usize),
    /// The ARN stands under the other list as well.
    #[error(
        "its ARN stands under {0} as well, and the operator does not write a mapping beside such an entry; remove one of them, then import again"
    )]
    BothLists(List),
    /// A user under `mapRoles` or the reverse.
    #[error(
        "{what} under {list} works, and an AWSIamConfig does not take it there; move the entry to {other}, then import again"
    )]
    WrongList {
        /// What it is.
        what: &'static str,
        /// Where it stands.
        list: List,
        /// Where it belongs.
        other: List,
    },
    /// A nameless login.
    #[error("it has no username, so that its login has an empty name; give it one, then import again")]
    NoUsername,
    /// Another partition than the others.
    #[error(
        "its partition is {found}, and an AWSIamConfig is for one partition, here {wanted}; import it with --partition {found}"
    )]
    OtherPartition {
        /// Its own.
        found: String,
        /// Of the others.
        wanted: Partition,
    },
    /// The account stands there already.
    #[error("the account stands there twice")]
    Repeated,
    /// The operator would refuse it.
    #[error("the operator would refuse it: {0}")]
    Refused(String),
}

/// What an import declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The partition of all of it; none where nothing tells.
    pub partition: Option<Partition>,
    /// What is declared, in the order of the lists and lines.
    pub declared: Vec<Declared>,
    /// What is not.
    pub left_out: Vec<LeftOut>,
    /// Data keys that can't be read.
    pub unreadable: Vec<Unreadable>,
}

/// Looks through an `aws-auth`.
#[must_use]
pub fn import(context: &Context<'_>) -> Import {
    let mut unreadable = Vec::new();
    let mut lists: BTreeMap<List, Vec<Entry>> = BTreeMap::new();
    let mut lines: BTreeMap<List, Vec<usize>> = BTreeMap::new();
    for list in List::ALL {
        let Some(text) = context.data.get(list.data_key()) else { continue };
        match reader::read(list, text) {
            Ok(block) => {
                lines.insert(list, block.entries.iter().map(|read| read.position.line).collect());
                lists.insert(list, block.entries.into_iter().map(|read| read.entry).collect());
            }
            Err(error) => unreadable.push(error),
        }
    }
    let mut import =
        Import { partition: context.partition, declared: Vec::new(), left_out: Vec::new(), unreadable };
    let judge = Judge { context, lists: &lists, lines: &lines, effective: Effective::of(&lists) };
    let mut accounts = BTreeSet::new();
    for (list, entries) in &lists {
        for (index, entry) in entries.iter().enumerate() {
            let line = judge.line(*list, index);
            match judge.entry(*list, index, entry, &mut import.partition, &mut accounts) {
                Ok(mapping) => import.declared.push(Declared { mapping, line }),
                Err(why) => {
                    import.left_out.push(LeftOut { list: *list, line, arn: entry.arn.clone(), why });
                }
            }
        }
    }
    import
}

struct Judge<'a> {
    context: &'a Context<'a>,
    lists: &'a BTreeMap<List, Vec<Entry>>,
    lines: &'a BTreeMap<List, Vec<usize>>,
    effective: Effective<'a, Entry>,
}

impl Judge<'_> {
    fn line(&self, list: List, index: usize) -> usize {
        self.lines.get(&list).and_then(|lines| lines.get(index)).copied().unwrap_or_default()
    }

    fn entry(
        &self,
        list: List,
        index: usize,
        entry: &Entry,
        partition: &mut Option<Partition>,
        accounts: &mut BTreeSet<String>,
    ) -> Result<Mapping, Why> {
        if entry.is_node() {
            return Err(Why::Node);
        }
        if entry.sso.is_some() {
            return Err(Why::Sso);
        }
        if let Some(owned) = self.context.ledger.and_then(|l| l.owned.get(&KeyHash::of(&entry.key(list)))) {
            return Err(Why::Declared(owned.config.to_string()));
        }
        if let Some(why) = arn::can_never_match(list, &entry.arn) {
            return Err(Why::NeverMatches(why.to_string()));
        }
        if list == List::Accounts {
            return if accounts.insert(entry.arn.clone()) {
                Ok(Mapping { list, arn: entry.arn.clone(), username: String::new(), groups: Vec::new() })
            } else {
                Err(Why::Repeated)
            };
        }
        self.alone(list, index, entry)?;
        belongs(list, &entry.arn)?;
        if entry.username.is_empty() {
            return Err(Why::NoUsername);
        }
        in_partition(&entry.arn, partition)?;
        let mapping = Mapping {
            list,
            arn: entry.arn.clone(),
            username: entry.username.clone(),
            groups: entry.groups.clone(),
        };
        let allowed = self.context.policy.check(self.context.namespace, &mapping);
        allowed.map(|()| mapping).map_err(|refusal| Why::Refused(refusal.to_string()))
    }

    /// Whether this entry alone answers for its ARN, and its ARN stands in this list alone.
    fn alone(&self, list: List, index: usize, entry: &Entry) -> Result<(), Why> {
        let other = if list == List::Roles { List::Users } else { List::Roles };
        let arn = fold(&entry.arn);
        let mut elsewhere = self.lists.get(&other).into_iter().flatten();
        if elsewhere.any(|other| other.sso.is_none() && fold(&other.arn) == arn) {
            return Err(Why::BothLists(other));
        }
        let answers = self.effective.answers(&entry.arn);
        let place = (list, index);
        match answers.iter().find(|answer| **answer != place) {
            None => Ok(()),
            Some((_, other)) if answers.contains(&place) => Err(Why::Chance(self.line(list, *other))),
            Some((by, other)) => Err(Why::Overruled(self.line(*by, *other), *by)),
        }
    }
}

/// The first entry decides, where nobody has said.
fn in_partition(arn: &str, partition: &mut Option<Partition>) -> Result<(), Why> {
    let found = arn::partition_word(arn).unwrap_or_default();
    match (found.parse::<Partition>().ok(), *partition) {
        (Some(found), None) => *partition = Some(found),
        (Some(found), Some(wanted)) if found == wanted => {}
        (_, Some(wanted)) => return Err(Why::OtherPartition { found, wanted }),
        (None, None) => return Err(Why::NeverMatches("its partition is unknown".to_owned())),
    }
    Ok(())
}

fn belongs(list: List, text: &str) -> Result<(), Why> {
    let is_role = arn::RoleArn::parse(text).is_ok();
    match (list, is_role) {
        (List::Roles, false) => Err(Why::WrongList { what: "a user", list, other: List::Users }),
        (List::Users, true) => Err(Why::WrongList { what: "a role", list, other: List::Roles }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(data: &[(&str, &str)]) -> (Vec<String>, Vec<(usize, String)>) {
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let policy = Policy::default();
        let context =
            Context { data: &data, ledger: None, partition: None, namespace: "default", policy: &policy };
        let import = import(&context);
        let declared = import.declared.into_iter().map(|declared| declared.mapping.arn).collect();
        (declared, import.left_out.into_iter().map(|left| (left.line, left.why.to_string())).collect())
    }

    fn reason(data: &[(&str, &str)]) -> String {
        let (_, left_out) = imported(data);
        left_out.into_iter().map(|(line, why)| format!("{line}: {why}")).collect::<Vec<_>>().join("\n")
    }

    const A: &str = "arn:aws:iam::111122223333";

    #[test]
    fn what_works_as_an_aws_iam_config_is_declared_as_it_is_written() {
        let roles =
            format!("- rolearn: {A}:role/Dev\n  username: Dev:{{{{SessionName}}}}\n  groups: [b, a]\n");
        let users = format!("- userarn: {A}:user/team/Ann\n  username: ann\n");
        let (declared, left_out) =
            imported(&[("mapRoles", &roles), ("mapUsers", &users), ("mapAccounts", "- '012345678901'\n")]);
        assert_eq!(declared, [format!("{A}:role/Dev"), format!("{A}:user/team/Ann"), "012345678901".into()]);
        assert_eq!(left_out, []);
    }

    #[test]
    fn whatever_would_change_something_is_left_out_with_the_reason() {
        let cases = [
            (format!("- rolearn: {A}:role/n\n  username: system:node:x\n"), "nodes join"),
            (
                format!("- rolearn: {A}:role/p/q\n  username: x\n"),
                "nobody can log in by it: it is a role with a path",
            ),
            (format!("- rolearn: {A}:role/q\n"), "no username"),
            (format!("- rolearn: {A}:role/q\n  username: system:x\n"), "would refuse it"),
            (format!("- rolearn: {A}:user/q\n  username: x\n"), "a user under mapRoles"),
            (
                "- sso: {permissionSetName: P, accountID: '111122223333'}\n  username: x\n".to_owned(),
                "permission set",
            ),
        ];
        for (roles, why) in cases {
            let found = reason(&[("mapRoles", &roles)]);
            assert!(found.starts_with("1: ") && found.contains(why), "{roles}{found}");
        }
    }

    #[test]
    fn of_two_entries_with_one_arn_the_one_that_counts_is_declared() {
        let roles = format!("- rolearn: {A}:role/a\n  username: x\n- rolearn: {A}:role/A\n  username: z\n");
        let (declared, left_out) = imported(&[("mapRoles", &roles)]);
        assert_eq!(declared, [format!("{A}:role/A")]);
        assert!(
            matches!(left_out.as_slice(), [(1, why)] if why.contains("line 3 of mapRoles")),
            "{left_out:?}"
        );
        let users = roles.replace("rolearn", "userarn").replace("role/", "user/");
        assert_eq!(imported(&[("mapUsers", &users)]).0, [""; 0]);
        let users = format!("- userarn: {A}:role/a\n  username: x\n");
        assert!(imported(&[("mapRoles", &roles), ("mapUsers", &users)]).0.is_empty());
    }

    #[test]
    fn an_import_is_of_one_partition_and_what_is_declared_already_stays_out() {
        let roles = format!(
            "- rolearn: {A}:role/a\n  username: x\n- rolearn: arn:aws-cn:iam::111122223333:role/b\n  username: z\n"
        );
        assert!(reason(&[("mapRoles", &roles)]).contains("--partition aws-cn"));
    }
}
