//! The words everything else is said in: lists, mappings, entries and their keys.
//! No parsing here; texts become entries in [`crate::reader`], specs become mappings in `awsiam-api`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The three lists of `aws-auth`, each one data key of the ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum List {
    /// `mapRoles`
    #[serde(rename = "mapRoles")]
    Roles,
    /// `mapUsers`
    #[serde(rename = "mapUsers")]
    Users,
    /// `mapAccounts`
    #[serde(rename = "mapAccounts")]
    Accounts,
}

impl List {
    /// All lists, in the order in which the authenticator looks through them.
    pub const ALL: [List; 3] = [List::Roles, List::Users, List::Accounts];

    /// The data key in `aws-auth`, which is case-sensitive.
    #[must_use]
    pub const fn data_key(self) -> &'static str {
        match self {
            List::Roles => "mapRoles",
            List::Users => "mapUsers",
            List::Accounts => "mapAccounts",
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.data_key())
    }
}

/// What identifies an entry: its list and its ARN, [`fold`]ed (an account id for `mapAccounts`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The list it stands in.
    pub list: List,
    /// Lower-cased ARN, a role's without path; or the account id.
    pub arn: String,
}

/// One text for all ARNs that the authenticator holds to be equal (Go's `strings.EqualFold`): lower case, where
/// U+017F counts as `s` and U+212A as `k`.
#[must_use]
pub fn fold(arn: &str) -> String {
    if arn.is_ascii() {
        return arn.to_ascii_lowercase();
    }
    // Some characters have several lower cases, so the way leads over upper case.
    let fold = |c: char| {
        let mut upper = c.to_uppercase();
        let upper = upper.next().filter(|_| upper.next().is_none()).unwrap_or(c);
        upper.to_lowercase().next().unwrap_or(upper)
    };
    arn.chars().map(fold).collect()
}

impl Key {
    /// The key of `arn` in `list`.
    #[must_use]
    pub fn new(list: List, arn: &str) -> Self {
        Self { list, arn: fold(arn) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.list, self.arn)
    }
}

/// One desired grant, ready to be written: a role's ARN has lost its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mapping {
    /// The list it belongs to.
    pub list: List,
    /// The ARN as it is written (role ARNs without path), or the 12-digit account id.
    pub arn: String,
    /// The Kubernetes username; empty for accounts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The Kubernetes groups in order; empty for accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Mapping {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.list, &self.arn)
    }
}

/// An IAM Identity Center matcher of a role entry, which awsiam reads and never writes
/// (`pkg/config/types.go` of aws-iam-authenticator, `SSOARNMatcher`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sso {
    /// `permissionSetName`
    pub permission_set_name: String,
    /// `accountID`
    pub account_id: String,
    /// `partition`
    pub partition: String,
}

/// One entry of a list as the authenticator reads it. Accounts have an `arn` (the id) alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// `rolearn`, `userarn` or the account id, as written; empty when `sso` stands in its place.
    pub arn: String,
    /// `username`; may be empty (domain fact: the login then has an empty name).
    pub username: String,
    /// `groups` in order.
    pub groups: Vec<String>,
    /// `userid`, which the ConfigMap backend ignores.
    pub user_id: String,
    /// `sso` of a role entry, which hardly any has.
    pub sso: Option<Box<Sso>>,
}

/// Groups by which nodes join; an entry with one of them is a node entry.
pub const NODE_GROUPS: [&str; 4] =
    ["system:nodes", "system:bootstrappers", "system:node-proxier", "eks:kube-proxy-windows"];

/// The prefix of a node's username.
pub const NODE_USERNAME_PREFIX: &str = "system:node:";

/// Whether a username and groups are those by which nodes join.
#[must_use]
pub fn is_node(username: &str, groups: &[String]) -> bool {
    username.starts_with(NODE_USERNAME_PREFIX) || groups.iter().any(|g| NODE_GROUPS.contains(&g.as_str()))
}

impl Entry {
    /// Its key in `list`.
    #[must_use]
    pub fn key(&self, list: List) -> Key {
        Key::new(list, &self.arn)
    }

    /// Whether nodes join by this entry: nobody's to change.
    #[must_use]
    pub fn is_node(&self) -> bool {
        is_node(&self.username, &self.groups)
    }

    /// Whether it means what `mapping` asks for: key, username, and groups in order. `userid` does not
    /// count, as the authenticator ignores it here; an `sso` entry has no ARN and is never equal.
    #[must_use]
    pub fn means(&self, mapping: &Mapping) -> bool {
        self.sso.is_none()
            && (self.arn.eq_ignore_ascii_case(&mapping.arn) || fold(&self.arn) == fold(&mapping.arn))
            && self.username == mapping.username
            && self.groups == mapping.groups
    }
}

impl From<&Mapping> for Entry {
    fn from(mapping: &Mapping) -> Self {
        Self {
            arn: mapping.arn.clone(),
            username: mapping.username.clone(),
            groups: mapping.groups.clone(),
            ..Self::default()
        }
    }
}
