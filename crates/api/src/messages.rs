//! The words of refusal and warning. The API server (through the CRD's rules) and `awsiam validate`
//! use the same texts, so that an administrator reads one message wherever the mistake is caught.
//!
//! A text has blanks such as `{arn}`. [`Text::fill`] fills them here, [`Text::cel`] turns the text into a
//! CEL expression by which the API server fills them.

use awsiam_core::arn::ArnError;
use awsiam_core::mapping::List;

/// A message with blanks in curly brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text(&'static str);

impl Text {
    /// The text as it stands; for those without blanks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The text with its blanks filled. The blanks of a value are not looked at again.
    #[must_use]
    pub fn fill(self, values: &[(&str, &str)]) -> String {
        self.pieces().flat_map(|(text, blank)| [text, value_of(blank, values)]).collect()
    }

    /// The text as a CEL expression of type string, each blank being the expression given for it.
    #[must_use]
    pub fn cel(self, expressions: &[(&str, &str)]) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let parts: Vec<String> = self
            .pieces()
            .flat_map(|(text, blank)| {
                let text = (!text.is_empty()).then(|| quoted(text));
                let value = Some(value_of(blank, expressions)).filter(|value| !value.is_empty());
                [text, value.map(ToOwned::to_owned)]
            })
            .flatten()
            .collect();
        parts.join(" + ")
    }

    /// Each stretch of plain text with the name of the blank after it (empty at the end).
    fn pieces(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.split('}').map(|piece| piece.split_once('{').unwrap_or((piece, "")))
    }
}

fn value_of<'a>(blank: &str, values: &[(&str, &'a str)]) -> &'a str {
    values.iter().find(|(name, _)| *name == blank).map_or("", |(_, value)| value)
}

/// `roleARN` is empty.
pub const EMPTY_ROLE: Text =
    Text("roleARN is empty: write the ARN of an IAM role, as in arn:aws:iam::111122223333:role/Admin");
/// `userARN` is empty.
pub const EMPTY_USER: Text =
    Text("userARN is empty: write the ARN of an IAM user, as in arn:aws:iam::111122223333:user/alice");
/// `username` is empty.
pub const EMPTY_USERNAME: Text =
    Text("username is empty: write the name that this identity is to have in the cluster");
/// A blank or the like in an ARN.
pub const BAD_CHARACTER: Text = Text(
    "\"{arn}\" holds a blank or another character that no ARN has, and would match nobody: write it without",
);
/// Not an ARN, under `mapRoles`.
pub const NOT_A_ROLE_ARN: Text =
    Text("\"{arn}\" is not an ARN: write that of an IAM role, as in arn:aws:iam::111122223333:role/Admin");
/// Not an ARN, under `mapUsers`.
pub const NOT_A_USER_ARN: Text =
    Text("\"{arn}\" is not an ARN: write that of an IAM user, as in arn:aws:iam::111122223333:user/alice");
/// A user under `mapRoles`.
pub const USER_IN_ROLES: Text = Text("{arn} is a user: write it under mapUsers, as userARN");
/// A federated user under `mapRoles`.
pub const FEDERATED_USER_IN_ROLES: Text =
    Text("{arn} is a federated user: write it under mapUsers, as userARN");
/// A root user under `mapRoles`.
pub const ROOT_IN_ROLES: Text = Text(
    "{arn} is the root user of an account and stands for nobody else: write the roles one by one, or the account id under mapAccounts",
);
/// A role under `mapUsers`.
pub const ROLE_IN_USERS: Text = Text("{arn} is a role: write it under mapRoles, as roleARN");
/// A session.
pub const ASSUMED_ROLE: Text = Text(
    "{arn} is a session of a role and would match nobody: write the role itself, {role}, under mapRoles",
);
/// An instance profile.
pub const INSTANCE_PROFILE: Text = Text(
    "{arn} is an instance profile, which nobody logs in as: write the ARN of the role in it, under mapRoles; its name may be another",
);
/// A group.
pub const GROUP: Text = Text(
    "{arn} is an IAM group, which nobody logs in as: write a role that its members assume, under mapRoles, or its users, under mapUsers",
);
/// A policy.
pub const POLICY: Text = Text(
    "{arn} is a policy, which nobody logs in as: write the role or user that it is attached to, under mapRoles or mapUsers",
);
/// Some other resource under `mapRoles`.
pub const NOT_A_ROLE: Text = Text(
    "{arn} names something that nobody logs in as: write the ARN of an IAM role, as in arn:aws:iam::111122223333:role/Admin",
);
/// Some other resource under `mapUsers`.
pub const NOT_A_USER: Text = Text(
    "{arn} names something that nobody logs in as: write the ARN of an IAM user, as in arn:aws:iam::111122223333:user/alice",
);
/// An ARN without a proper account.
pub const BAD_ARN_ACCOUNT: Text =
    Text("{arn} has no account id of 12 digits: write it in full, leading zeros included");
/// A bad name in an ARN.
pub const BAD_NAME: Text = Text(
    "{arn} does not end in a name that IAM allows (letters, digits and _+=,.@-): write one ARN for each name, as nothing like * is understood here",
);
/// An ARN of another partition.
pub const WRONG_PARTITION: Text = Text(
    "{arn} is not in the partition of this object, {partition}: write an ARN that begins with arn:{partition}:, or an AWSIamConfig of its own for a cluster of the other partition",
);
/// An account that is not one.
pub const BAD_ACCOUNT: Text =
    Text("\"{account}\" is not an account id: write its 12 digits in quotes, leading zeros included");
/// Accounts without their backend.
pub const ACCOUNTS_NEED_CONFIG_MAP: Text = Text(
    "mapAccounts works with backendMode EKSConfigMap alone: add it to backendMode, or leave mapAccounts out",
);
/// No region.
pub const EMPTY_REGION: Text = Text("awsRegion is empty: write the region of the logins, as in eu-central-1");
/// An unknown partition.
pub const UNKNOWN_PARTITION: Text = Text(
    "\"{partition}\" is not a partition: write one of aws, aws-cn, aws-us-gov, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f, aws-eusc",
);
/// No backend.
pub const NO_BACKEND_MODE: Text =
    Text("backendMode is empty: write EKSConfigMap, CRD, or both in the order to look in");
/// A backend twice.
pub const REPEATED_BACKEND_MODE: Text = Text("backendMode names one backend twice: write each once");
/// An unknown backend.
pub const UNKNOWN_BACKEND_MODE: Text =
    Text("backendMode knows EKSConfigMap and CRD: write one of them, or both");
/// `MountedFile`.
pub const MOUNTED_FILE: Text = Text(
    "backendMode MountedFile is not supported, as its mappings lie in a file on each node: write EKSConfigMap, CRD, or both",
);
/// A changed region.
pub const IMMUTABLE_REGION: Text = Text(
    "awsRegion cannot be changed: make a new AWSIamConfig and replace the reference in the Cluster by one to it",
);
/// A changed partition.
pub const IMMUTABLE_PARTITION: Text = Text(
    "partition cannot be changed: make a new AWSIamConfig and replace the reference in the Cluster by one to it",
);
/// Changed backends.
pub const IMMUTABLE_BACKEND_MODE: Text = Text(
    "backendMode cannot be changed: make a new AWSIamConfig and replace the reference in the Cluster by one to it",
);
/// Two equal references.
pub const DUPLICATE_REF: Text =
    Text("identityProviderRefs names one object twice: write each kind and name once");
/// A variable that is not about proxies.
pub const UNKNOWN_VARIABLE: Text =
    Text("\"{name}\" is not taken over: env knows HTTPS_PROXY, HTTP_PROXY and NO_PROXY");

/// A second row with one ARN. Not refused by the API server: the first row counts.
pub const DUPLICATE_ARN: Text =
    Text("{arn} is the same as {first}, which counts: remove one of the two rows");
/// Too many rows. The API server has words of its own for this.
pub const TOO_MANY: Text = Text("{count} items are more than {max}: spread them over several AWSIamConfigs");
/// A text that is too long. The API server has words of its own for this.
pub const TOO_LONG: Text = Text("{count} characters are more than {max}: shorten it");
/// A root user.
pub const ROOT_USER: Text = Text(
    "{arn} matches the root user of the account alone, not the account as in a trust policy; mapAccounts lets a whole account in",
);
/// A region of no known word.
pub const UNKNOWN_REGION: Text = Text("awsRegion {region} is not one this release knows: check its spelling");
/// A region elsewhere.
pub const REGION_OF_OTHER_PARTITION: Text = Text(
    "awsRegion {region} is in partition {other}, and partition says {partition}: one of the two is wrong",
);
/// A group without a name.
pub const EMPTY_GROUP: Text = Text("an empty group name grants nothing: remove it or write the group's name");

/// What to say of `arn`, which is not what `list` holds. `partition` is that of the object.
#[must_use]
pub fn of_arn(list: List, error: &ArnError, arn: &str, partition: &str) -> String {
    let users = list == List::Users;
    let text = match error {
        ArnError::Empty if users => EMPTY_USER,
        ArnError::Empty => EMPTY_ROLE,
        ArnError::BadCharacter => BAD_CHARACTER,
        ArnError::NotAnArn if users => NOT_A_USER_ARN,
        ArnError::NotAnArn => NOT_A_ROLE_ARN,
        ArnError::UserInRoles => USER_IN_ROLES,
        ArnError::RootInRoles => ROOT_IN_ROLES,
        ArnError::FederatedUserInRoles => FEDERATED_USER_IN_ROLES,
        ArnError::RoleInUsers => ROLE_IN_USERS,
        ArnError::AssumedRole { role } => return ASSUMED_ROLE.fill(&[("arn", arn), ("role", role)]),
        ArnError::InstanceProfile => INSTANCE_PROFILE,
        ArnError::Group => GROUP,
        ArnError::Policy => POLICY,
        ArnError::OtherKind if users => NOT_A_USER,
        ArnError::OtherKind => NOT_A_ROLE,
        ArnError::BadAccount => BAD_ARN_ACCOUNT,
        ArnError::BadName => BAD_NAME,
        ArnError::UnknownPartition | ArnError::WrongPartition { .. } => WRONG_PARTITION,
    };
    text.fill(&[("arn", arn), ("partition", partition)])
}
