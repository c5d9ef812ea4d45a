//! Which identities a mapping may hand out. Pure rules over usernames and groups; whoever may write
//! an AWSIamConfig is an administrator of the target as far as these rules let him.

use serde::Serialize;
use thiserror::Error;

use crate::mapping::{List, Mapping, is_node};

/// The group that bypasses RBAC.
pub const MASTERS: &str = "system:masters";

/// Group prefixes that belong to Kubernetes, EKS and kubeadm.
const RESERVED_GROUP_PREFIXES: [&str; 3] = ["system:", "eks:", "kubeadm:"];

/// Username prefixes that EKS reserves for itself (EKS user guide, access entries) and Kubernetes' own.
const RESERVED_USERNAME_PREFIXES: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];

/// Who may map the group `system:masters`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MastersRule {
    /// Every AWSIamConfig.
    #[default]
    Allow,
    /// None.
    Deny,
    /// Those in the namespaces named.
    Namespaces(Vec<String>),
}

/// The value is neither `allow`, `deny` nor `namespaces:a,b`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is none of allow, deny, namespaces:NAMESPACE[,NAMESPACE…]")]
pub struct MastersRuleError(String);

impl std::str::FromStr for MastersRule {
    type Err = MastersRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => match text.strip_prefix("namespaces:") {
                Some(names) if !names.is_empty() => {
                    Ok(Self::Namespaces(names.split(',').map(|n| n.trim().to_owned()).collect()))
                }
                _ => Err(MastersRuleError(text.to_owned())),
            },
        }
    }
}

/// The operator's privilege flags. The default is what the flags' absence means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `--system-masters`
    pub system_masters: MastersRule,
    /// `--allow-system-identities`
    pub allow_system_identities: bool,
    /// `--allow-bare-session-name`
    pub allow_bare_session_name: bool,
    /// `--denied-groups`; a `*` at the end matches any rest.
    pub denied_groups: Vec<String>,
    /// `--allowed-groups`; empty allows all. `system:masters` has its own rule and need not be listed.
    pub allowed_groups: Vec<String>,
    /// The Cluster names an image of the authenticator in which whoever is mapped can make up his access key id
    /// (CVE-2022-2385, before v0.5.9): then no username may be made of it.
    pub forgeable_access_key: bool,
}

/// Why a mapping is refused. The text says what to do next.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize)]
pub enum Refusal {
    /// `system:masters` where `--system-masters` forbids it.
    #[error(
        "group system:masters is not allowed here; use another group, or start the operator with --system-masters=allow or namespaces:…"
    )]
    Masters,
    /// A reserved group.
    #[error(
        "group {0:?} belongs to Kubernetes or EKS; use a group of your own, or start the operator with --allow-system-identities"
    )]
    SystemGroup(String),
    /// A reserved username.
    #[error(
        "username {0:?} starts with a reserved prefix; use a name of your own, or start the operator with --allow-system-identities"
    )]
    SystemUsername(String),
    /// It would let somebody join as a node.
    #[error(
        "this username or one of these groups lets nodes join; node entries are written by EKS or by hand, never from an AWSIamConfig; remove the row"
    )]
    Node,
    /// A session name in a group, or for an IAM user.
    #[error(
        "{{{{{placeholder}}}}} stands in {place}; it is allowed in usernames of mapRoles only, because whoever assumes the role chooses it"
    )]
    SessionNamePlace {
        /// Which placeholder.
        placeholder: String,
        /// Where it stands, such as `a group`.
        place: &'static str,
    },
    /// A session name without a literal prefix.
    #[error(
        "username {0:?} has a session name without a literal prefix that contains ':' in front of it, so whoever assumes the role could take another user's name; write for example \"team:{{{{SessionName}}}}\", or start the operator with --allow-bare-session-name"
    )]
    BareSessionName(String),
    /// An access key id that can be made up.
    #[error(
        "{{{{AccessKeyID}}}} can be forged with the image in spec.iamAuthenticator.image (CVE-2022-2385); use v0.5.9 or newer, or take the placeholder out"
    )]
    ForgeableAccessKey,
    /// An access key id in a group.
    #[error("{{{{AccessKeyID}}}} stands in a group; it is allowed in usernames only")]
    AccessKeyIdInGroup,
    /// A placeholder that is refused or that the authenticator does not know.
    #[error(
        "placeholder {0:?} is not allowed; known ones are {{{{AccountID}}}}, {{{{SessionName}}}}, {{{{SessionNameRaw}}}} and {{{{AccessKeyID}}}}"
    )]
    Placeholder(String),
    /// `--denied-groups` or `--allowed-groups`.
    #[error(
        "group {0:?} is not among the groups that this operator may hand out (--allowed-groups, --denied-groups); ask its administrator, or use another group"
    )]
    Group(String),
}

impl Policy {
    /// Whether a mapping of an AWSIamConfig in `namespace` may be written.
    ///
    /// # Errors
    /// The first rule that refuses it.
    pub fn check(&self, namespace: &str, mapping: &Mapping) -> Result<(), Refusal> {
        if is_node(&mapping.username, &mapping.groups) {
            return Err(Refusal::Node);
        }
        self.check_username(mapping)?;
        mapping.groups.iter().try_for_each(|group| self.check_group(namespace, group))
    }

    fn check_username(&self, mapping: &Mapping) -> Result<(), Refusal> {
        let username = &mapping.username;
        if !self.allow_system_identities && starts_with_any(username, &RESERVED_USERNAME_PREFIXES) {
            return Err(Refusal::SystemUsername(username.clone()));
        }
        for (before, placeholder) in placeholders(username) {
            match placeholder {
                "AccessKeyID" if self.forgeable_access_key => return Err(Refusal::ForgeableAccessKey),
                "AccountID" | "AccessKeyID" => {}
                "SessionName" | "SessionNameRaw" if mapping.list != List::Roles => {
                    return Err(Refusal::SessionNamePlace {
                        placeholder: placeholder.to_owned(),
                        place: "the username of an IAM user",
                    });
                }
                "SessionName" | "SessionNameRaw" => {
                    if !self.allow_bare_session_name && !before.contains(':') {
                        return Err(Refusal::BareSessionName(username.clone()));
                    }
                }
                other => return Err(Refusal::Placeholder(other.to_owned())),
            }
        }
        Ok(())
    }

    fn check_group(&self, namespace: &str, group: &str) -> Result<(), Refusal> {
        for (_, placeholder) in placeholders(group) {
            match placeholder {
                "AccountID" => {}
                "AccessKeyID" => return Err(Refusal::AccessKeyIdInGroup),
                "SessionName" | "SessionNameRaw" => {
                    return Err(Refusal::SessionNamePlace {
                        placeholder: placeholder.to_owned(),
                        place: "a group",
                    });
                }
                other => return Err(Refusal::Placeholder(other.to_owned())),
            }
        }
        if group == MASTERS {
            let allowed = match &self.system_masters {
                MastersRule::Allow => true,
                MastersRule::Deny => false,
                MastersRule::Namespaces(names) => names.iter().any(|n| n == namespace),
            };
            return if allowed { Ok(()) } else { Err(Refusal::Masters) };
        }
        if !self.allow_system_identities && starts_with_any(group, &RESERVED_GROUP_PREFIXES) {
            return Err(Refusal::SystemGroup(group.to_owned()));
        }
        let denied = self.denied_groups.iter().any(|p| matches(p, group));
        let allowed = self.allowed_groups.is_empty() || self.allowed_groups.iter().any(|p| matches(p, group));
        if denied || !allowed { Err(Refusal::Group(group.to_owned())) } else { Ok(()) }
    }
}

fn starts_with_any(text: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|p| text.starts_with(p))
}

fn matches(pattern: &str, group: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == group, |prefix| group.starts_with(prefix))
}

/// Every `{{…}}` of `text` with what stands in front of it; an unclosed one counts with its rest.
fn placeholders(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    // Most texts have none, and one character is found many times faster than two.
    let mut from = text.find('{').unwrap_or(text.len());
    while let Some(rest) = text.get(from..)
        && let Some(open) = rest.find("{{")
    {
        let inner = rest.get(open + 2..).unwrap_or_default();
        let name = inner.find("}}").and_then(|close| inner.get(..close)).unwrap_or(inner);
        found.push((text.get(..from + open).unwrap_or_default(), name));
        from += open + 2 + name.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(username: &str, groups: &[&str]) -> Mapping {
        Mapping {
            list: List::Roles,
            arn: "arn:aws:iam::111122223333:role/Dev".into(),
            username: username.into(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        }
    }

    fn refusal(policy: &Policy, mapping: &Mapping) -> Option<Refusal> {
        policy.check("team-a", mapping).err()
    }

    #[test]
    fn defaults_allow_masters_and_plain_groups() {
        assert_eq!(refusal(&Policy::default(), &role("admin", &["system:masters", "dev"])), None);
    }

    #[test]
    fn masters_can_be_denied_or_limited_to_namespaces() {
        let deny = Policy { system_masters: MastersRule::Deny, ..Policy::default() };
        assert_eq!(refusal(&deny, &role("admin", &["system:masters"])), Some(Refusal::Masters));
        let named = |n: &str| Policy { system_masters: n.parse().unwrap(), ..Policy::default() };
        assert_eq!(refusal(&named("namespaces:x,team-a"), &role("admin", &["system:masters"])), None);
        assert_eq!(
            refusal(&named("namespaces:x"), &role("admin", &["system:masters"])),
            Some(Refusal::Masters)
        );
        assert!("namespaces:".parse::<MastersRule>().is_err());
    }

    #[test]
    fn system_identities_need_the_flag_and_node_identities_are_never_allowed() {
        let open = Policy { allow_system_identities: true, ..Policy::default() };
        for (username, group) in [("system:admin", "dev"), ("aws:me", "dev")] {
            let mapping = role(username, &[group]);
            assert_eq!(refusal(&Policy::default(), &mapping), Some(Refusal::SystemUsername(username.into())));
            assert_eq!(refusal(&open, &mapping), None);
        }
        for group in ["system:authenticated", "eks:x", "kubeadm:cluster-admins"] {
            assert_eq!(
                refusal(&Policy::default(), &role("me", &[group])),
                Some(Refusal::SystemGroup(group.into()))
            );
            assert_eq!(refusal(&open, &role("me", &[group])), None);
        }
        for mapping in [
            role("system:node:{{EC2PrivateDNSName}}", &[]),
            role("me", &["system:nodes"]),
            role("me", &["eks:kube-proxy-windows"]),
        ] {
            assert_eq!(refusal(&open, &mapping), Some(Refusal::Node));
        }
    }

    #[test]
    fn session_names_need_a_literal_prefix_with_a_colon() {
        let strict = Policy::default();
        let loose = Policy { allow_bare_session_name: true, ..Policy::default() };
        assert_eq!(refusal(&strict, &role("team:{{SessionName}}", &[])), None);
        for bare in ["{{SessionName}}", "x-{{SessionNameRaw}}", "{{SessionName}}:{{SessionName}}"] {
            assert_eq!(refusal(&strict, &role(bare, &[])), Some(Refusal::BareSessionName(bare.into())));
            assert_eq!(refusal(&loose, &role(bare, &[])), None);
        }
        let user = Mapping { list: List::Users, ..role("team:{{SessionName}}", &[]) };
        assert!(matches!(refusal(&loose, &user), Some(Refusal::SessionNamePlace { .. })));
        assert!(matches!(
            refusal(&loose, &role("me", &["team:{{SessionName}}"])),
            Some(Refusal::SessionNamePlace { .. })
        ));
    }

    #[test]
    fn account_and_access_key_placeholders_have_their_places() {
        let policy = Policy::default();
        assert_eq!(refusal(&policy, &role("u:{{AccountID}}:{{AccessKeyID}}", &["acct-{{AccountID}}"])), None);
        let old = Policy { forgeable_access_key: true, ..Policy::default() };
        assert_eq!(refusal(&old, &role("u:{{AccessKeyID}}", &[])), Some(Refusal::ForgeableAccessKey));
        assert_eq!(refusal(&old, &role("u:{{AccountID}}", &[])), None);
        assert_eq!(refusal(&policy, &role("u", &["k-{{AccessKeyID}}"])), Some(Refusal::AccessKeyIdInGroup));
    }

    #[test]
    fn other_placeholders_are_refused_even_unclosed() {
        let policy = Policy::default();
        for (username, named) in [
            ("u-{{EC2PrivateDNSName}}", "EC2PrivateDNSName"),
            ("u-{{ AccountID }}", " AccountID "),
            ("u-{{x", "x"),
        ] {
            assert_eq!(refusal(&policy, &role(username, &[])), Some(Refusal::Placeholder(named.into())));
        }
    }

    #[test]
    fn group_lists_allow_and_deny_by_name_or_prefix() {
        let policy = Policy {
            denied_groups: vec!["prod-*".into()],
            allowed_groups: vec!["dev".into(), "prod-*".into()],
            ..Policy::default()
        };
        assert_eq!(refusal(&policy, &role("u", &["dev", "system:masters"])), None);
        assert_eq!(refusal(&policy, &role("u", &["prod-a"])), Some(Refusal::Group("prod-a".into())));
        assert_eq!(refusal(&policy, &role("u", &["ops"])), Some(Refusal::Group("ops".into())));
    }
}
