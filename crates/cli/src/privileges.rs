//! The flags that say which identities mappings may hand out: the same for the operator and for every
//! verb that judges or plans as it does.

use awsiam_core::privilege::{MastersRule, Policy};
use clap::Args;

/// The privilege flags as typed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What mappings may ask for (as given to the operator)")]
pub(crate) struct PrivilegeArguments {
    /// Who may map the group system:masters: allow, deny, or namespaces:a,b (AWSIamConfigs of these
    /// namespaces only)
    #[arg(long, value_name = "RULE", default_value = "allow")]
    system_masters: MastersRule,

    /// Allow other system:, eks: and kubeadm: groups, and usernames that start with system:, eks:, aws:,
    /// amazon: or iam:. Identities by which nodes join are never allowed
    #[arg(long)]
    allow_system_identities: bool,

    /// Allow {{SessionName}} and {{SessionNameRaw}} without a literal prefix that contains a colon. Whoever
    /// assumes the role then chooses the username
    #[arg(long)]
    allow_bare_session_name: bool,

    /// Groups that no mapping may name, separated by commas; a * at the end stands for any rest
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    denied_groups: Vec<String>,

    /// The only groups that mappings may name, system:masters aside; a * at the end stands for any rest
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    allowed_groups: Vec<String>,
}

impl PrivilegeArguments {
    /// What they mean.
    pub(crate) fn policy(&self) -> Policy {
        let named = |groups: &[String]| {
            let groups = groups.iter().map(|group| group.trim().to_owned());
            groups.filter(|group| !group.is_empty()).collect()
        };
        Policy {
            system_masters: self.system_masters.clone(),
            allow_system_identities: self.allow_system_identities,
            allow_bare_session_name: self.allow_bare_session_name,
            denied_groups: named(&self.denied_groups),
            allowed_groups: named(&self.allowed_groups),
            forgeable_access_key: false,
        }
    }
}
