//! `awsiam explain` against the authenticator's own mapper: the same answer for the same identity.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::BTreeMap;
use std::path::Path;

use awsiam_core::desired::Backend;
use awsiam_core::explain::{Answer, Caller, Explanation, Found, Sources, explain};
use awsiam_core::mapping::List;
use awsiam_core::reader;
use awsiam_tests::oracle::{IdentityAnswer, Mapped, Oracle};

/// Identities that are asked about in every text, those in the texts aside.
const ALWAYS: [&str; 6] = [
    "arn:aws:iam::111122223333:role/Dev",
    "arn:aws:sts::111122223333:assumed-role/Dev/ann@example.org",
    "arn:aws:iam::111122223333:user/team/Ann",
    "arn:aws:sts::111122223333:federated-user/Fred",
    "arn:aws:iam::111122223333:root",
    "arn:aws:iam::012345678901:role/Anybody",
];

/// An `aws-auth` in which entries compete in every way that we know.
fn competing() -> BTreeMap<String, String> {
    let roles = "\
- rolearn: arn:aws:iam::111122223333:role/Dev
  username: first
- rolearn: ARN:AWS:IAM::111122223333:ROLE/DEV
  username: last:{{SessionName}}
  groups: [a, b]
- rolearn: arn:aws:iam::111122223333:role/team/Dev
  username: with-path
- rolearn: arn:aws:iam::111122223333:user/team/Ann
  username: user-under-roles
- sso: {permissionSetName: Admin, accountID: '111122223333'}
  username: sso
";
    let users = "\
- userarn: arn:aws:iam::111122223333:user/team/Ann
  username: asked-later
- userarn: arn:aws:iam::111122223333:user/Bob
  username: bob
- userarn: arn:aws:iam::111122223333:user/bob
  username: other-bob
- userarn: arn:aws:sts::111122223333:federated-user/Fred
  username: fred
";
    let accounts = "- '012345678901'\n- '111122223333'\n";
    BTreeMap::from([
        ("mapRoles".to_owned(), roles.to_owned()),
        ("mapUsers".to_owned(), users.to_owned()),
        ("mapAccounts".to_owned(), accounts.to_owned()),
    ])
}

#[test]
fn each_identity_gets_what_the_authenticator_gives_it() {
    let mut texts: Vec<BTreeMap<String, String>> = vec![competing(), BTreeMap::new()];
    for text in stored_texts() {
        texts.extend(List::ALL.map(|list| BTreeMap::from([(list.data_key().to_owned(), text.clone())])));
    }
    let identities: Vec<Vec<String>> = texts.iter().map(identities).collect();
    let questions: Vec<(&BTreeMap<String, String>, &str)> = texts
        .iter()
        .zip(&identities)
        .flat_map(|(data, arns)| arns.iter().map(move |arn| (data, arn.as_str())))
        .collect();
    let answers = Oracle::build().unwrap().ask_identities(&questions).unwrap();
    let mut let_in = 0;
    for ((data, arn), theirs) in questions.iter().zip(&answers) {
        let caller = Caller::parse(arn).unwrap();
        assert_eq!(theirs.error, None, "{arn}");
        let sources = Sources { data, backends: &[Backend::EksConfigMap], objects: &[] };
        let ours = explain(caller, &sources);
        assert!(same(&ours, theirs), "{arn} in {data:#?}\nours:   {ours:#?}\ntheirs: {theirs:#?}");
        let_in += usize::from(ours.answer != Answer::Nobody);
    }
    assert!(let_in > 50, "{let_in} of {}", questions.len());
    let chance = explain(
        Caller::parse("arn:aws:iam::111122223333:user/BOB").unwrap(),
        &Sources { data: &texts[0], backends: &[Backend::EksConfigMap], objects: &[] },
    );
    assert!(matches!(chance.answer, Answer::Chance(_)), "{chance:?}");
}

/// The identities to ask about: the usual ones, and those in the texts that can log in.
fn identities(data: &BTreeMap<String, String>) -> Vec<String> {
    let mut arns: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
    for list in [List::Roles, List::Users] {
        let Some(text) = data.get(list.data_key()) else { continue };
        let Ok(block) = reader::read(list, text) else { continue };
        for read in block.entries {
            // The authenticator canonicalizes what STS says, which has no path and no odd case.
            let canonical = Caller::parse(&read.entry.arn).map(|caller| caller.canonical);
            arns.extend(canonical.ok().filter(|canonical| canonical.starts_with("arn:aws")));
        }
    }
    arns.sort();
    arns.dedup();
    arns
}

fn same(ours: &Explanation, theirs: &IdentityAnswer) -> bool {
    let said = |found: &[Found]| {
        let mut said: Vec<Mapped> = found
            .iter()
            .map(|found| Mapped {
                username: found.entry.username.clone(),
                groups: found.entry.groups.clone(),
            })
            .collect();
        said.sort();
        said.dedup();
        said
    };
    let mut answers = theirs.answers.clone();
    answers.sort();
    let is_same = match &ours.answer {
        Answer::One(found) => said(std::slice::from_ref(found)) == answers,
        Answer::Chance(found) => said(found) == answers,
        Answer::Account(_) => answers.is_empty() && theirs.account,
        Answer::Nobody => answers.is_empty() && !theirs.account,
    };
    is_same && ours.caller.canonical == theirs.canonical
}

fn stored_texts() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("texts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}
