//! What the authenticator demands of an entry (`Validate` in its `pkg/config/mapper.go`): little.
//! Whether an ARN can match anybody is `arn`'s affair.

use crate::mapping::{Entry, List, Sso};

/// The partitions it knows (`pkg/endpoints/partitions.go`).
const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];

/// The longest name of a permission set.
const LONGEST_PERMISSION_SET: usize = 32;

/// Says why the authenticator drops an entry.
pub(super) fn check(list: List, entry: &Entry) -> Result<(), String> {
    match (list, entry.arn.is_empty(), &entry.sso) {
        (List::Roles, true, None) => Err("the entry is ignored: it has neither rolearn nor sso".into()),
        (List::Roles, false, Some(_)) => Err("the entry is ignored: it has both rolearn and sso".into()),
        (List::Roles, true, Some(sso)) => check_sso(sso),
        (List::Users, true, _) => Err("the entry is ignored: it has no userarn".into()),
        _ => Ok(()),
    }
}

fn check_sso(sso: &Sso) -> Result<(), String> {
    let Sso { permission_set_name: name, account_id: account, partition } = sso;
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "the entry is ignored: sso.accountID must be 12 digits in quotes, not '{account}'"
        ));
    }
    if !(1..=LONGEST_PERMISSION_SET).contains(&name.len()) || !name.bytes().all(is_name) {
        return Err(format!(
            "the entry is ignored: sso.permissionSetName '{name}' is no name of a permission set"
        ));
    }
    if !partition.is_empty() && !PARTITIONS.contains(&partition.as_str()) {
        return Err(format!("the entry is ignored: sso.partition '{partition}' is not known"));
    }
    Ok(())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
}
