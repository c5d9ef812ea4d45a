//! Facts of IAM and of the authenticator, one sentence each.
#![allow(clippy::unwrap_used)]

use super::*;

const ADMIN: &str = "arn:aws:iam::111122223333:role/Admin";

fn role(text: &str) -> Result<String, ArnError> {
    RoleArn::parse(text).map(|role| role.without_path())
}

#[test]
fn a_role_path_is_dropped() {
    let sso = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef";
    let parsed = RoleArn::parse(sso).unwrap();
    assert!(parsed.had_path);
    assert_eq!(parsed.without_path(), "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef");
    assert!(!RoleArn::parse(ADMIN).unwrap().had_path);
    assert_eq!(role(ADMIN).unwrap(), ADMIN);
}

#[test]
fn a_path_may_hold_what_a_name_may_not() {
    assert_eq!(role("arn:aws:iam::111122223333:role/a:b/*!/Admin").unwrap(), ADMIN);
}

#[test]
fn a_user_path_stays() {
    let user = "arn:aws:iam::111122223333:user/team/ops/alice";
    assert_eq!(UserArn::parse(user).unwrap().as_str(), user);
}

#[test]
fn federated_and_root_users_are_users() {
    let federated = UserArn::parse("arn:aws:sts::111122223333:federated-user/alice").unwrap();
    assert_eq!(federated.kind, UserKind::Federated);
    assert_eq!(UserArn::parse("arn:aws:iam::111122223333:root").unwrap().kind, UserKind::Root);
    let unnamed = UserArn::parse("arn:aws:sts::111122223333:federated-user/");
    assert_eq!(unnamed, Err(ArnError::BadName));
}

#[test]
fn fixed_words_are_known_in_any_case_and_names_keep_theirs() {
    assert_eq!(role("ARN:AWS:IAM::111122223333:ROLE/Admin").unwrap(), ADMIN);
}

#[test]
fn what_is_no_role_is_named() {
    let session = ArnError::AssumedRole { role: ADMIN.to_owned() };
    let cases = [
        ("", ArnError::Empty),
        ("Admin", ArnError::NotAnArn),
        ("arn:aws:iam::111122223333", ArnError::NotAnArn),
        ("arn:aws:iam::111122223333:", ArnError::NotAnArn),
        ("arn:aws:iam::111122223333:role/Admin ", ArnError::BadCharacter),
        ("arn:aws:iam::111122223333:role/Ádmin", ArnError::BadCharacter),
        ("arn:aws:iam::111122223333:user/alice", ArnError::UserInRoles),
        ("arn:aws:iam::111122223333:root", ArnError::RootInRoles),
        ("arn:aws:sts::111122223333:federated-user/alice", ArnError::FederatedUserInRoles),
        ("arn:aws:sts::111122223333:assumed-role/Admin/alice", session),
        ("arn:aws:sts::1111:assumed-role/Admin/alice", ArnError::BadAccount),
        ("arn:aws:iam::111122223333:instance-profile/Admin", ArnError::InstanceProfile),
        ("arn:aws:iam::111122223333:group/admins", ArnError::Group),
        ("arn:aws:iam::aws:policy/AdministratorAccess", ArnError::Policy),
        ("arn:aws:iam::111122223333:saml-provider/corp", ArnError::OtherKind),
        ("arn:aws:iam::111122223333:oidc-provider/example.com", ArnError::OtherKind),
        ("arn:aws:iam:eu-west-1:111122223333:role/Admin", ArnError::OtherKind),
        ("arn:aws:s3:::bucket", ArnError::OtherKind),
        ("arn:aws:iam::111122223333:role", ArnError::OtherKind),
        ("arn:aws:iam::11112222333:role/Admin", ArnError::BadAccount),
        ("arn:aws:iam::1111-2222-3333:role/Admin", ArnError::BadAccount),
        ("arn:aws:iam::111122223333:role/", ArnError::BadName),
        ("arn:aws:iam::111122223333:role/team/", ArnError::BadName),
        ("arn:aws:iam::111122223333:role/*", ArnError::BadName),
        ("arn:amazon:iam::111122223333:role/Admin", ArnError::UnknownPartition),
    ];
    for (text, expected) in cases {
        assert_eq!(role(text), Err(expected), "{text:?}");
    }
}

#[test]
fn what_is_no_user_is_named() {
    let cases = [
        (ADMIN, ArnError::RoleInUsers),
        ("arn:aws:iam::111122223333:group/admins", ArnError::Group),
        ("arn:aws:iam::111122223333:user/", ArnError::BadName),
        ("arn:aws:iam::1:root", ArnError::BadAccount),
        ("arn:aws:sts::111122223333:federated-user/", ArnError::BadName),
        ("arn:aws:iam::111122223333:root/x", ArnError::OtherKind),
    ];
    for (text, expected) in cases {
        assert_eq!(UserArn::parse(text), Err(expected), "{text:?}");
    }
}

#[test]
fn an_account_id_is_twelve_digits() {
    assert_eq!(AccountId::parse("012345678901").unwrap().as_str(), "012345678901");
    for text in ["", "12345678901", "1234567890123", "12345678901x", "١٢٣٤٥٦٧٨٩٠١٢", " 12345678901"]
    {
        assert_eq!(AccountId::parse(text), Err(ArnError::BadAccount), "{text:?}");
    }
}

#[test]
fn characters_are_looked_at_whatever_the_text_names() {
    let cases = [
        ("", Ok(())),
        ("Admin", Ok(())),
        ("arn:aws:iam::111122223333:root", Ok(())),
        ("arn:aws:iam::111122223333:user/a:b/!/alice", Ok(())),
        (" arn:aws:iam::111122223333:root", Err(ArnError::BadCharacter)),
        ("arn:aws:iam::111122223333:group/team ops", Err(ArnError::BadCharacter)),
        ("arn:aws:iam::111122223333:group/*", Err(ArnError::BadName)),
        ("arn:", Err(ArnError::BadName)),
    ];
    for (text, expected) in cases {
        assert_eq!(check_characters(text), expected, "{text:?}");
    }
}

#[test]
fn an_arn_of_anything_has_a_partition() {
    assert_eq!(partition_word("arn:AWS-CN:s3:::bucket").as_deref(), Some("aws-cn"));
    assert_eq!(partition_word("arn:aws"), None);
}

#[test]
fn a_region_lies_in_one_partition() {
    let cases = [
        ("eu-central-1", Some(Partition::Aws)),
        ("us-east-1", Some(Partition::Aws)),
        ("mx-central-1", Some(Partition::Aws)),
        ("cn-north-1", Some(Partition::AwsCn)),
        ("us-gov-west-1", Some(Partition::AwsUsGov)),
        ("us-iso-east-1", Some(Partition::AwsIso)),
        ("us-isob-east-1", Some(Partition::AwsIsoB)),
        ("eu-isoe-west-1", Some(Partition::AwsIsoE)),
        ("us-isof-south-1", Some(Partition::AwsIsoF)),
        ("eusc-de-east-1", Some(Partition::AwsEusc)),
        ("moon-north-1", None),
        ("", None),
    ];
    for (region, partition) in cases {
        assert_eq!(Partition::of_region(region), partition, "{region}");
    }
    for partition in Partition::ALL {
        assert_eq!(partition.as_str().parse(), Ok(partition));
    }
}

#[test]
fn a_session_is_known_by_its_role() {
    assert_eq!(
        canonicalize("arn:aws:sts::111122223333:assumed-role/Admin/alice@example.com").unwrap(),
        ADMIN
    );
    assert_eq!(canonicalize("arn:aws:iam::111122223333:role/team/Admin").unwrap(), ADMIN);
    let user = "arn:aws:iam::111122223333:user/team/alice";
    assert_eq!(canonicalize(user).unwrap(), user);
    let root = "arn:aws:iam::111122223333:root";
    assert_eq!(canonicalize(root).unwrap(), root);
    assert_eq!(canonicalize("arn:aws:iam::111122223333:instance-profile/x"), Err(ArnError::InstanceProfile));
}

#[test]
fn lists_are_not_typed_for_the_authenticator() {
    assert_eq!(can_never_match(List::Roles, "arn:aws:iam::111122223333:user/team/alice"), None);
    assert_eq!(can_never_match(List::Roles, "arn:aws:iam::111122223333:root"), None);
    assert_eq!(can_never_match(List::Users, ADMIN), None);
    assert_eq!(can_never_match(List::Accounts, "111122223333"), None);
}

#[test]
fn entries_that_match_nobody_are_told_why() {
    let with_path = can_never_match(List::Users, "arn:aws:iam::111122223333:role/team/Admin").unwrap();
    assert_eq!(with_path, NeverMatches::RolePath { write: ADMIN.to_owned() });
    assert!(with_path.to_string().contains(ADMIN));
    let cases = [
        (List::Roles, "arn:aws:iam::111122223333:role/Admin ", ArnError::BadCharacter),
        (List::Roles, "arn:aws:iam::111122223333:user/al ice", ArnError::BadCharacter),
        (List::Roles, "arn:aws:iam::11:user/alice", ArnError::BadAccount),
        (List::Users, "arn:aws:iam::111122223333:group/a", ArnError::Group),
        (List::Accounts, "1111-2222-3333", ArnError::BadAccount),
    ];
    for (list, arn, why) in cases {
        assert_eq!(can_never_match(list, arn), Some(NeverMatches::NotAnIdentity(why)), "{arn:?}");
    }
}
