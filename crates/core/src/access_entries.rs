//! The grants of an `aws-auth` as EKS access entries, and which of them have no equal there. Pure.
//!
//! Source: "Create access entries" and "Set a custom username" of the Amazon EKS user guide. An entry of type STANDARD
//! takes the principal's ARN with its path, a username that must not start with `system:`, `eks:`, `aws:`, `amazon:`
//! or `iam:`, and groups that must not start with `system:` (the API's answer). Rights as those of `system:masters`
//! come from an access policy instead. Entries for nodes have a type, and username and groups by themselves.
//! `{{SessionName}}` and `{{SessionNameRaw}}` need a colon in front of them; roles alone have one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::arn;
use crate::effective::Effective;
use crate::mapping::{Entry, List};
use crate::privilege::MASTERS;
use crate::reader::{self, Unreadable};

/// The access policy that gives what `system:masters` gives; its ARN has the cluster's partition.
pub const CLUSTER_ADMIN: &str = "AmazonEKSClusterAdminPolicy";

/// Prefixes of usernames that EKS keeps for itself.
const RESERVED: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];

/// What an access entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Type {
    /// People and programs.
    #[serde(rename = "STANDARD")]
    Standard,
    /// Linux nodes on EC2.
    #[serde(rename = "EC2_LINUX")]
    Ec2Linux,
    /// Windows nodes on EC2.
    #[serde(rename = "EC2_WINDOWS")]
    Ec2Windows,
    /// Fargate pods.
    #[serde(rename = "FARGATE_LINUX")]
    FargateLinux,
    /// Hybrid nodes.
    #[serde(rename = "HYBRID_LINUX")]
    HybridLinux,
}

impl Type {
    /// As the API of EKS names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Type::Standard => "STANDARD",
            Type::Ec2Linux => "EC2_LINUX",
            Type::Ec2Windows => "EC2_WINDOWS",
            Type::FargateLinux => "FARGATE_LINUX",
            Type::HybridLinux => "HYBRID_LINUX",
        }
    }
}

/// One access entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// `principalArn`
    pub principal: String,
    /// `type`
    pub kind: Type,
    /// `username`; empty where the type gives one.
    pub username: String,
    /// `kubernetesGroups`; `system:masters` is not among them.
    pub groups: Vec<String>,
    /// Whether the access policy [`CLUSTER_ADMIN`] is to be associated, for the whole cluster.
    pub is_admin: bool,
    /// What to know before it is used.
    pub remarks: Vec<&'static str>,
}

impl AccessEntry {
    /// The partition in its principal's ARN.
    #[must_use]
    pub fn partition(&self) -> String {
        arn::partition_word(&self.principal).unwrap_or_else(|| "aws".to_owned())
    }
}

/// An entry without an equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutEqual {
    /// The list it stands in.
    pub list: List,
    /// Its line, from 1.
    pub line: usize,
    /// Its ARN or account id as written.
    pub arn: String,
    /// Why, and what to do.
    pub why: String,
}

/// What an export holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// What has an equal, in the order of the lists.
    pub entries: Vec<AccessEntry>,
    /// What has none.
    pub without_equal: Vec<WithoutEqual>,
    /// Data keys that can't be read.
    pub unreadable: Vec<Unreadable>,
}

/// STS leaves out a role's path, and so does `aws-auth`; an access entry needs it.
const PATH: &str = "aws-auth knows roles without their path; if this one has a path, write it into the ARN";
/// How nodes of EC2 and hybrid nodes are told apart.
const HYBRID: &str =
    "username and groups are those of hybrid nodes; if these nodes are others, change the type";

/// Translates the data of an `aws-auth`.
#[must_use]
pub fn export(data: &BTreeMap<String, String>) -> Export {
    let mut export = Export::default();
    let mut lists: BTreeMap<List, Vec<Entry>> = BTreeMap::new();
    let mut lines: BTreeMap<List, Vec<usize>> = BTreeMap::new();
    for list in List::ALL {
        let Some(text) = data.get(list.data_key()) else { continue };
        match reader::read(list, text) {
            Ok(block) => {
                lines.insert(list, block.entries.iter().map(|read| read.position.line).collect());
                lists.insert(list, block.entries.into_iter().map(|read| read.entry).collect());
            }
            Err(error) => export.unreadable.push(error),
        }
    }
    let effective = Effective::of(&lists);
    for (list, entries) in &lists {
        for (index, entry) in entries.iter().enumerate() {
            let counts = match effective.answers(&entry.arn).as_slice() {
                [one] => *one == (*list, index),
                several => several.is_empty(),
            };
            let equal = if counts || *list == List::Accounts {
                equal_of(*list, entry)
            } else {
                Err("another entry with this ARN counts instead of it, or chance decides between them"
                    .to_owned())
            };
            match equal {
                Ok(equal) => export.entries.push(equal),
                Err(why) => export.without_equal.push(WithoutEqual {
                    list: *list,
                    line: lines.get(list).and_then(|lines| lines.get(index)).copied().unwrap_or_default(),
                    arn: entry.arn.clone(),
                    why,
                }),
            }
        }
    }
    export
}

fn equal_of(list: List, entry: &Entry) -> Result<AccessEntry, String> {
    if list == List::Accounts {
        return Err("an access entry is for one role or user, not for all of an account; make one for each that logs in".to_owned());
    }
    if entry.sso.is_some() {
        return Err(
            "an access entry names no permission set; make one for the role AWSReservedSSO_… with its path"
                .to_owned(),
        );
    }
    if let Some(why) = arn::can_never_match(list, &entry.arn) {
        return Err(format!("nobody can log in by it: {why}"));
    }
    let is_role = arn::RoleArn::parse(&entry.arn).is_ok();
    let principal = match arn::UserArn::parse(&entry.arn) {
        Ok(user) if user.kind == arn::UserKind::Federated => {
            return Err("a federated user can have no access entry; let people assume a role".to_owned());
        }
        Ok(user) if user.kind == arn::UserKind::Root => {
            return Err(
                "an account's root user can have no access entry; let people assume a role".to_owned()
            );
        }
        _ => entry.arn.clone(),
    };
    let path: &[&'static str] = if is_role { &[PATH] } else { &[] };
    if entry.is_node() {
        let (kind, remarks) = node_type(entry)?;
        let remarks = [path, remarks].concat();
        return Ok(AccessEntry {
            principal,
            kind,
            username: String::new(),
            groups: Vec::new(),
            is_admin: false,
            remarks,
        });
    }
    // The account is the one in the ARN, whoever logs in.
    let account = entry.arn.split(':').nth(4).unwrap_or_default();
    let filled_in = |text: &str| text.replace("{{AccountID}}", account);
    let username = filled_in(&entry.username);
    username_fits(&username, is_role)?;
    let (masters, groups): (Vec<&String>, Vec<&String>) =
        entry.groups.iter().partition(|group| *group == MASTERS);
    let mut kept: Vec<String> = Vec::new();
    for group in groups.into_iter().map(|group| filled_in(group)) {
        if group.is_empty() || kept.contains(&group) {
            continue;
        }
        if group.starts_with("system:") {
            return Err(format!(
                "an access entry cannot name the group {group}; bind a group of your own to the same rights, or associate an access policy"
            ));
        }
        if group.contains("{{") {
            return Err(format!("an access entry fills in no placeholder in groups, and here is {group}"));
        }
        kept.push(group);
    }
    Ok(AccessEntry {
        principal,
        kind: Type::Standard,
        username,
        groups: kept,
        is_admin: !masters.is_empty(),
        remarks: path.to_vec(),
    })
}

/// The type of a node entry, by the usernames and groups that EKS documents for each.
fn node_type(entry: &Entry) -> Result<(Type, &'static [&'static str]), String> {
    let has = |group: &str| entry.groups.iter().any(|g| g == group);
    if has("system:node-proxier") {
        Ok((Type::FargateLinux, &[]))
    } else if has("eks:kube-proxy-windows") {
        Ok((Type::Ec2Windows, &[]))
    } else if entry.username == "system:node:{{EC2PrivateDNSName}}" {
        Ok((Type::Ec2Linux, &[]))
    } else if entry.username == "system:node:{{SessionName}}" {
        Ok((Type::HybridLinux, &[HYBRID]))
    } else {
        Err("it looks like an entry for nodes and is none of those that EKS documents, so its type is not clear; make the access entry with the type of these nodes".to_owned())
    }
}

fn username_fits(username: &str, is_role: bool) -> Result<(), String> {
    if username.is_empty() {
        return Err("it has no username; an access entry would give it one".to_owned());
    }
    if let Some(prefix) = RESERVED.iter().find(|prefix| username.starts_with(**prefix)) {
        return Err(format!("the username of an access entry cannot start with {prefix}"));
    }
    let mut rest = username.to_owned();
    for placeholder in ["{{SessionName}}", "{{SessionNameRaw}}"] {
        if let Some((before, _)) = username.split_once(placeholder)
            && (!is_role || !before.contains(':'))
        {
            return Err(format!(
                "an access entry takes {placeholder} for roles alone, after a prefix with a colon"
            ));
        }
        rest = rest.replace(placeholder, "");
    }
    if rest.contains("{{") {
        return Err(format!(
            "the username of an access entry takes no placeholder but {{{{SessionName}}}} and {{{{SessionNameRaw}}}}, and this one is {username}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "arn:aws:iam::111122223333";

    fn of(list: &str, text: &str) -> Export {
        export(&BTreeMap::from([(list.to_owned(), text.to_owned())]))
    }

    #[test]
    fn administrators_get_a_policy_and_the_other_groups_stay() {
        let export = of(
            "mapRoles",
            &format!("- rolearn: {A}:role/a\n  username: a\n  groups: [dev, system:masters]\n"),
        );
        let [entry] = export.entries.as_slice() else { panic!("{export:?}") };
        assert_eq!(
            (entry.kind, entry.is_admin, entry.groups.as_slice()),
            (Type::Standard, true, &["dev".to_owned()][..])
        );
    }

    #[test]
    fn nodes_get_their_type() {
        for (username, groups, kind) in [
            ("system:node:{{EC2PrivateDNSName}}", "[system:bootstrappers, system:nodes]", Type::Ec2Linux),
            ("system:node:{{EC2PrivateDNSName}}", "[system:nodes, eks:kube-proxy-windows]", Type::Ec2Windows),
            ("system:node:{{SessionName}}", "[system:nodes, system:node-proxier]", Type::FargateLinux),
            ("system:node:{{SessionName}}", "[system:bootstrappers, system:nodes]", Type::HybridLinux),
        ] {
            let export = of(
                "mapRoles",
                &format!("- rolearn: {A}:role/n\n  username: '{username}'\n  groups: {groups}\n"),
            );
            assert_eq!(export.entries.first().map(|entry| entry.kind), Some(kind), "{export:?}");
        }
    }

    #[test]
    fn what_has_no_equal_is_said_with_the_reason() {
        for (list, text, why) in [
            ("mapAccounts", "- '111122223333'\n".to_owned(), "for one role or user"),
            ("mapUsers", format!("- userarn: {A}:root\n  username: r\n"), "root user"),
            (
                "mapUsers",
                "- userarn: arn:aws:sts::111122223333:federated-user/f\n  username: f\n".to_owned(),
                "federated",
            ),
            (
                "mapRoles",
                format!("- rolearn: {A}:role/a\n  username: '{{{{SessionName}}}}'\n"),
                "after a prefix with a colon",
            ),
            (
                "mapRoles",
                format!("- rolearn: {A}:role/a\n  username: a\n  groups: [system:authenticated]\n"),
                "system:authenticated",
            ),
            ("mapRoles", format!("- rolearn: {A}:role/p/a\n  username: a\n"), "with a path"),
            ("mapRoles", format!("- rolearn: {A}:role/a\n"), "no username"),
            ("mapRoles", format!("- rolearn: {A}:role/a\n  username: system:node:me\n"), "type is not clear"),
        ] {
            let export = of(list, &text);
            let [one] = export.without_equal.as_slice() else { panic!("{export:?}") };
            assert!(one.why.contains(why), "{one:?}");
        }
        let twice = of(
            "mapRoles",
            &format!("- rolearn: {A}:role/a\n  username: a\n- rolearn: {A}:role/a\n  username: b\n"),
        );
        assert_eq!((twice.entries.len(), twice.without_equal.len()), (1, 1));
        assert_eq!(of("mapRoles", "- {").unreadable.len(), 1);
    }
}
