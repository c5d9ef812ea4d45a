//! IAM ARNs as the authenticator matches them: which can name somebody who logs in, what the others
//! are instead, and how a role loses its path. Pure text; nothing here asks AWS or knows a resource.
//!
//! Source of the rules: `pkg/arn/arn.go`, `pkg/endpoints/partitions.go` and `pkg/config/mapper.go` of
//! <https://github.com/kubernetes-sigs/aws-iam-authenticator>. It compares whole ARNs without regard
//! to case, so the fixed words are recognised in any case here too; names keep theirs.
//! Refused is only what can never match, or what stands in a list it is not meant for.

mod partition;

use std::fmt;

use crate::mapping::List;

pub use self::partition::Partition;

/// Why a text is not the ARN it should be: what it is instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ArnError {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// A blank, a control character or a character outside ASCII; often a space at the end.
    #[error("it holds a blank or another character that no ARN has")]
    BadCharacter,
    /// Not six parts that begin with `arn:`.
    #[error("it is not an ARN")]
    NotAnArn,
    /// An IAM user where a role belongs.
    #[error("it is a user, not a role")]
    UserInRoles,
    /// An account's root user where a role belongs.
    #[error("it is the root user of an account, not a role")]
    RootInRoles,
    /// A federated user where a role belongs.
    #[error("it is a federated user, not a role")]
    FederatedUserInRoles,
    /// An IAM role where a user belongs.
    #[error("it is a role, not a user")]
    RoleInUsers,
    /// A session of a role. The authenticator looks for the role.
    #[error("it is a session of the role {role}")]
    AssumedRole {
        /// The ARN of the role.
        role: String,
    },
    /// An instance profile. Its role may have another name, so nothing can be proposed.
    #[error("it is an instance profile, not the role in it")]
    InstanceProfile,
    /// An IAM group.
    #[error("it is an IAM group, and nobody logs in as a group")]
    Group,
    /// A policy.
    #[error("it is a policy, and nobody logs in as a policy")]
    Policy,
    /// Some other resource: a SAML provider, an OIDC provider, a bucket.
    #[error("it names something that nobody logs in as")]
    OtherKind,
    /// An account id that is not 12 digits.
    #[error("its account id is not 12 digits")]
    BadAccount,
    /// A name that is empty or holds what no name in IAM holds, such as `*`.
    #[error("its name is empty or holds a character that no IAM name has")]
    BadName,
    /// A partition that no identity has.
    #[error("its partition is unknown")]
    UnknownPartition,
    /// Another partition than the one asked for.
    #[error("its partition is not {expected}")]
    WrongPartition {
        /// The partition asked for.
        expected: Partition,
    },
}

/// The ARN of an IAM role that can match: `arn:PARTITION:iam::ACCOUNT:role/[PATH/]NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoleArn {
    /// Its partition.
    pub partition: Partition,
    /// Its account.
    pub account: AccountId,
    /// Its name, without path, in the case it was written.
    pub name: String,
    /// Whether a path stood in front of the name.
    pub had_path: bool,
}

impl RoleArn {
    /// Reads the ARN of a role, with or without a path.
    ///
    /// # Errors
    /// What the text is instead.
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let arn = Parts::split(text)?;
        match arn.kind() {
            Kind::Role => {}
            Kind::User => return Err(ArnError::UserInRoles),
            Kind::Root => return Err(ArnError::RootInRoles),
            Kind::FederatedUser => return Err(ArnError::FederatedUserInRoles),
            kind => return Err(arn.never(kind)),
        }
        let account = AccountId::parse(arn.account)?;
        check_characters(text)?;
        let path = arn.after_kind();
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned();
        Ok(Self { partition: arn.partition()?, account, name, had_path: path.contains('/') })
    }

    /// The ARN as `aws-auth` must carry it. STS leaves the path out of what it reports, and names
    /// are unique in an account whatever their path, so nothing is lost.
    #[must_use]
    pub fn without_path(&self) -> String {
        format!("arn:{}:iam::{}:role/{}", self.partition, self.account, self.name)
    }
}

/// What a [`UserArn`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UserKind {
    /// `arn:P:iam::A:user/[PATH/]NAME`; the path is part of what matches.
    User,
    /// `arn:P:sts::A:federated-user/NAME`, made by `GetFederationToken`.
    Federated,
    /// `arn:P:iam::A:root`: the root user alone, not the whole account as in a trust policy.
    Root,
}

/// The ARN of a user that can match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserArn {
    /// Its partition.
    pub partition: Partition,
    /// Its account.
    pub account: AccountId,
    /// What sort of user it is.
    pub kind: UserKind,
    text: String,
}

impl UserArn {
    /// Reads the ARN of an IAM user, a federated user or an account's root user.
    ///
    /// # Errors
    /// What the text is instead.
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let arn = Parts::split(text)?;
        let kind = match arn.kind() {
            Kind::User => UserKind::User,
            Kind::FederatedUser => UserKind::Federated,
            Kind::Root => UserKind::Root,
            Kind::Role => return Err(ArnError::RoleInUsers),
            kind => return Err(arn.never(kind)),
        };
        let account = AccountId::parse(arn.account)?;
        check_characters(text)?;
        Ok(Self { partition: arn.partition()?, account, kind, text: text.to_owned() })
    }

    /// The ARN as it was written, path included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The id of an AWS account: 12 digits, leading zeros included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

impl AccountId {
    /// Reads an account id.
    ///
    /// # Errors
    /// [`ArnError::BadAccount`]
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        Err(ArnError::BadAccount)
    }

    /// The 12 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ARN by which `aws-auth` knows the caller that STS reports: a session becomes its role, users
/// stay as they are. This is what the authenticator does before it looks for an entry.
///
/// # Errors
/// What the text is instead, if nobody who logs in has such an ARN.
pub fn canonicalize(caller: &str) -> Result<String, ArnError> {
    let arn = Parts::split(caller)?;
    match arn.kind() {
        Kind::AssumedRole => RoleArn::parse(&arn.role_of_session()).map(|role| role.without_path()),
        Kind::Role => RoleArn::parse(caller).map(|role| role.without_path()),
        _ => UserArn::parse(caller).map(|user| user.text),
    }
}

/// Looks at the characters alone: none but printable ASCII, and at the end a name as IAM allows it
/// (`[\w+=,.@-]+`; its length is left to IAM). What the text names is not asked; an empty one passes.
///
/// # Errors
/// [`ArnError::BadCharacter`] or [`ArnError::BadName`]
pub fn check_characters(text: &str) -> Result<(), ArnError> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ArnError::BadCharacter);
    }
    let name = text.rsplit_once([':', '/']).map_or(text, |(_, name)| name);
    let allowed = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
    if allowed && (text.is_empty() || !name.is_empty()) { Ok(()) } else { Err(ArnError::BadName) }
}

/// The word that stands where an ARN has its partition, in lower case; `None` if it is no ARN at all.
#[must_use]
pub fn partition_word(text: &str) -> Option<String> {
    Parts::split(text).ok().map(|arn| arn.partition.to_ascii_lowercase())
}

/// Why an entry of `aws-auth`, whoever wrote it, matches nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NeverMatches {
    /// A role with a path, which STS never reports.
    RolePath {
        /// The ARN that would match.
        write: String,
    },
    /// What stands there is no identity.
    NotAnIdentity(ArnError),
}

impl fmt::Display for NeverMatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NeverMatches::RolePath { write } => write!(f, "it is a role with a path; {write} would match"),
            NeverMatches::NotAnIdentity(why) => why.fmt(f),
        }
    }
}

/// Why the entry for `arn` in `list` can never match, if it can't. Roles and users are not told apart:
/// the authenticator finds a user's ARN under `mapRoles` just as well.
#[must_use]
pub fn can_never_match(list: List, arn: &str) -> Option<NeverMatches> {
    if list == List::Accounts {
        return AccountId::parse(arn).err().map(NeverMatches::NotAnIdentity);
    }
    match RoleArn::parse(arn) {
        Ok(role) if role.had_path => Some(NeverMatches::RolePath { write: role.without_path() }),
        Ok(_) => None,
        Err(ArnError::UserInRoles | ArnError::RootInRoles | ArnError::FederatedUserInRoles) => {
            UserArn::parse(arn).err().map(NeverMatches::NotAnIdentity)
        }
        Err(why) => Some(NeverMatches::NotAnIdentity(why)),
    }
}

/// What an ARN names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Role,
    User,
    Root,
    FederatedUser,
    AssumedRole,
    InstanceProfile,
    Group,
    Policy,
    Other,
}

/// The parts of `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`; the resource may hold colons.
struct Parts<'a> {
    partition: &'a str,
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, ArnError> {
        if text.is_empty() {
            return Err(ArnError::Empty);
        }
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(ArnError::NotAnArn);
        let (scheme, partition, service) = (next()?, next()?, next()?);
        let (region, account, resource) = (next()?, next()?, next()?);
        if !scheme.eq_ignore_ascii_case("arn") || resource.is_empty() {
            return Err(ArnError::NotAnArn);
        }
        Ok(Self { partition, service, region, account, resource })
    }

    fn partition(&self) -> Result<Partition, ArnError> {
        self.partition.to_ascii_lowercase().parse()
    }

    fn kind(&self) -> Kind {
        if !self.region.is_empty() {
            return Kind::Other;
        }
        let slash = if self.resource.contains('/') { "/" } else { "" };
        let (word, _) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let word = format!("{}:{word}{slash}", self.service).to_ascii_lowercase();
        match word.as_str() {
            "iam:role/" => Kind::Role,
            "iam:user/" => Kind::User,
            "iam:root" => Kind::Root,
            "iam:instance-profile/" => Kind::InstanceProfile,
            "iam:group/" => Kind::Group,
            "iam:policy/" => Kind::Policy,
            "sts:assumed-role/" => Kind::AssumedRole,
            "sts:federated-user/" => Kind::FederatedUser,
            _ => Kind::Other,
        }
    }

    /// The error for a kind that is right in no list.
    fn never(&self, kind: Kind) -> ArnError {
        match kind {
            Kind::AssumedRole if AccountId::parse(self.account).is_err() => ArnError::BadAccount,
            Kind::AssumedRole => ArnError::AssumedRole { role: self.role_of_session() },
            Kind::InstanceProfile => ArnError::InstanceProfile,
            Kind::Group => ArnError::Group,
            Kind::Policy => ArnError::Policy,
            _ => ArnError::OtherKind,
        }
    }

    /// What follows `role/`, `user/` and the like.
    fn after_kind(&self) -> &'a str {
        self.resource.split_once('/').map_or("", |(_, rest)| rest)
    }

    /// `assumed-role/NAME/SESSION` as the role `NAME`.
    fn role_of_session(&self) -> String {
        let rest = self.after_kind();
        let name = rest.split_once('/').map_or(rest, |(name, _)| name);
        format!("arn:{}:iam::{}:role/{name}", self.partition, self.account)
    }
}

#[cfg(test)]
mod tests;
