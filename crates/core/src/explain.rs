//! Which entry an identity gets at a login and why, by the authenticator's own rules: backend after backend, in
//! `aws-auth` roles before users before accounts. Pure; where the texts come from is the caller's business.
//!
//! Source: `doMapping` and `renderTemplate` in `pkg/server/server.go`, `Map` in `pkg/mapper/configmap/mapper.go` and
//! `pkg/mapper/crd/mapper.go`, `Canonicalize` in `pkg/arn/arn.go` of aws-iam-authenticator v0.7.18.

use std::collections::BTreeMap;

use crate::arn::{self, ArnError, NeverMatches};
use crate::desired::Backend;
use crate::effective::{Effective, Place};
use crate::identity_mappings::IdentityMapping;
use crate::mapping::{Entry, List, fold};
use crate::reader::{self, Unreadable};

/// Somebody who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The ARN as it was given.
    pub given: String,
    /// The ARN by which entries are found: a session's role, a role without path, else as given.
    pub canonical: String,
    /// The account id in it.
    pub account: String,
    /// The session's name, where a session's ARN was given; empty for a user, who has none.
    pub session: Option<String>,
}

impl Caller {
    /// Reads the ARN of a role, a session of a role, a user, a federated user or an account's root user.
    ///
    /// # Errors
    /// What the text is instead: nobody logs in with it.
    pub fn parse(given: &str) -> Result<Self, ArnError> {
        let given = given.trim();
        let canonical = arn::canonicalize(given)?;
        let account = canonical.split(':').nth(4).unwrap_or_default().to_owned();
        let resource = given.splitn(6, ':').nth(5).unwrap_or_default().to_owned();
        let is_session = fold(&resource).starts_with("assumed-role/");
        let session = match resource.rsplit_once('/') {
            Some((before, session)) if is_session && before.contains('/') => Some(session.to_owned()),
            _ if arn::RoleArn::parse(&canonical).is_ok() => None,
            _ => Some(String::new()),
        };
        Ok(Self { given: given.to_owned(), canonical, account, session })
    }

    /// A username or group with its placeholders filled in, as far as the ARN tells what they stand for.
    #[must_use]
    pub fn rendered(&self, template: &str) -> String {
        let text = template.replace("{{AccountID}}", &self.account);
        match &self.session {
            None => text,
            Some(session) => text
                .replace("{{SessionNameRaw}}", session)
                .replace("{{SessionName}}", &session.replace('@', "-")),
        }
    }
}

/// Where mappings are read from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// `data` of `aws-auth`.
    pub data: &'a BTreeMap<String, String>,
    /// The backends that the authenticator asks, in their order.
    pub backends: &'a [Backend],
    /// The `IAMIdentityMapping` objects; empty where there are none.
    pub objects: &'a [IdentityMapping],
}

/// An entry or object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The place it stands in.
    pub place: Backend,
    /// Its list; of an object the one it would belong to.
    pub list: List,
    /// Its line in the data key, from 1; 0 for an object.
    pub line: usize,
    /// The object's name; empty for an entry.
    pub object: String,
    /// What it says.
    pub entry: Entry,
}

/// What the authenticator answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It refuses the login.
    Nobody,
    /// This one answers.
    One(Found),
    /// Chance decides between these at every login.
    Chance(Vec<Found>),
    /// No entry is for this identity, and its account is in `mapAccounts`: it is let in under its ARN, without groups.
    Account(Found),
}

/// Why one that looks as if it were meant does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another one with the same ARN counts instead of it.
    Overruled,
    /// It stands in a place or list that is asked only where the ones before know nobody.
    AskedLater,
    /// Its ARN never matches, and would if it were written right.
    NeverMatches(NeverMatches),
    /// No authenticator has read the object, or its backend is not asked.
    NotLoaded,
    /// It has the same name in another account.
    OtherAccount,
}

/// One that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// It.
    pub found: Found,
    /// Why not.
    pub why: Why,
}

/// Who somebody is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Who is meant.
    pub caller: Caller,
    /// What the authenticator answers.
    pub answer: Answer,
    /// Others that look as if they were meant.
    pub passed: Vec<Passed>,
    /// Data keys of which the authenticator reads nothing.
    pub unreadable: Vec<Unreadable>,
}

/// Finds out.
#[must_use]
pub fn explain(caller: Caller, sources: &Sources<'_>) -> Explanation {
    let mut unreadable = Vec::new();
    let mut read: BTreeMap<List, Vec<(usize, Entry)>> = BTreeMap::new();
    for list in List::ALL {
        let Some(text) = sources.data.get(list.data_key()) else { continue };
        match reader::read(list, text) {
            Ok(block) => {
                let entries = block.entries.into_iter().map(|read| (read.position.line, read.entry));
                read.insert(list, entries.collect());
            }
            Err(error) => unreadable.push(error),
        }
    }
    let asked = Asked::of(&caller, sources, &read);
    let answer = asked.answer();
    let passed = asked.passed(&answer);
    Explanation { caller, answer, passed, unreadable }
}

struct Asked<'a> {
    caller: &'a Caller,
    backends: &'a [Backend],
    /// Everything that there is, in the order of the lists, then the objects.
    all: Vec<Found>,
    /// Those of `aws-auth` that answer for the caller.
    answers: Vec<Found>,
    /// Objects that an authenticator has loaded for the caller.
    loaded: Vec<Found>,
}

impl<'a> Asked<'a> {
    fn of(caller: &'a Caller, sources: &Sources<'a>, read: &BTreeMap<List, Vec<(usize, Entry)>>) -> Self {
        let found = |list: List, (line, entry): &(usize, Entry)| Found {
            place: Backend::EksConfigMap,
            list,
            line: *line,
            object: String::new(),
            entry: entry.clone(),
        };
        let entries: BTreeMap<List, Vec<Entry>> = read
            .iter()
            .map(|(list, entries)| (*list, entries.iter().map(|(_, entry)| entry.clone()).collect()))
            .collect();
        let at = |(list, index): Place| Some(found(list, read.get(&list)?.get(index)?));
        let answers = Effective::of(&entries).answers(&caller.canonical).into_iter().filter_map(at).collect();
        let objects: Vec<(bool, Found)> = sources
            .objects
            .iter()
            .map(|object| (object.is_loaded_for(&fold(&caller.canonical)), of_object(object)))
            .collect();
        let loaded = objects.iter().filter(|(loaded, _)| *loaded).map(|(_, found)| found.clone()).collect();
        let of_lists = read.iter().flat_map(|(list, all)| all.iter().map(|read| found(*list, read)));
        let all = of_lists.chain(objects.into_iter().map(|(_, found)| found)).collect();
        Self { caller, backends: sources.backends, all, answers, loaded }
    }

    /// Backend after backend; within one the mappings, then the accounts.
    fn answer(&self) -> Answer {
        for backend in self.backends {
            let found = match backend {
                Backend::EksConfigMap => &self.answers,
                Backend::Crd => &self.loaded,
            };
            match found.as_slice() {
                [] => {}
                [one] => return Answer::One(one.clone()),
                several => return Answer::Chance(several.to_vec()),
            }
            if *backend == Backend::EksConfigMap
                && let Some(account) = self.account()
            {
                return Answer::Account(account.clone());
            }
        }
        Answer::Nobody
    }

    fn account(&self) -> Option<&Found> {
        self.all.iter().rev().find(|f| f.list == List::Accounts && f.entry.arn == self.caller.account)
    }

    fn passed(&self, answer: &Answer) -> Vec<Passed> {
        let answering: &[Found] = match answer {
            Answer::Nobody => &[],
            Answer::One(found) | Answer::Account(found) => std::slice::from_ref(found),
            Answer::Chance(found) => found,
        };
        let others = self.all.iter().filter(|found| !answering.contains(found));
        let passed = others.filter_map(|found| {
            let why = self.why_not(found, answering)?;
            Some(Passed { found: found.clone(), why })
        });
        passed.collect()
    }

    fn why_not(&self, found: &Found, answering: &[Found]) -> Option<Why> {
        if found.list == List::Accounts {
            let is_repeated = answering.iter().any(|answer| answer.list == List::Accounts);
            return (found.entry.arn == self.caller.account && !is_repeated).then_some(Why::AskedLater);
        }
        let canonical = &self.caller.canonical;
        let (arn, wanted) = (&found.entry.arn, fold(canonical));
        if fold(arn) == wanted {
            let is_asked = self.backends.contains(&found.place);
            if !is_asked || (found.place == Backend::Crd && !self.loaded.contains(found)) {
                return Some(Why::NotLoaded);
            }
            let beside = |answer: &Found| answer.place == found.place && answer.list == found.list;
            let is_beside = answering.iter().any(beside);
            return Some(if is_beside { Why::Overruled } else { Why::AskedLater });
        }
        let meant = arn::canonicalize(arn.trim()).ok();
        if meant.is_some_and(|meant| fold(&meant) == wanted) {
            let never = arn::can_never_match(found.list, arn)?;
            return Some(Why::NeverMatches(never));
        }
        (answering.is_empty() && same_name(arn, canonical)).then_some(Why::OtherAccount)
    }
}

/// Whether two ARNs differ in the account alone.
fn same_name(one: &str, other: &str) -> bool {
    let name = |arn: &str| arn.splitn(6, ':').nth(5).map(fold);
    let (one, other) = (name(one), name(other));
    one.is_some() && one == other
}

fn of_object(object: &IdentityMapping) -> Found {
    let is_role = arn::RoleArn::parse(&object.spec.arn).is_ok();
    Found {
        place: Backend::Crd,
        list: if is_role { List::Roles } else { List::Users },
        line: 0,
        object: object.name.clone(),
        entry: object.spec.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "arn:aws:iam::111122223333:role/Dev";

    fn explained(given: &str, data: &[(&str, &str)]) -> Explanation {
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let sources = Sources { data: &data, backends: &[Backend::EksConfigMap], objects: &[] };
        explain(Caller::parse(given).unwrap(), &sources)
    }

    fn line(answer: &Answer) -> Option<(List, usize)> {
        match answer {
            Answer::One(found) | Answer::Account(found) => Some((found.list, found.line)),
            _ => None,
        }
    }

    #[test]
    fn a_session_gets_the_entry_of_its_role_and_its_name_in_the_username() {
        let roles = format!("- rolearn: {DEV}\n  username: dev:{{{{SessionName}}}}@{{{{AccountID}}}}\n");
        let got = explained("arn:aws:sts::111122223333:assumed-role/Dev/ann@x.org", &[("mapRoles", &roles)]);
        let Answer::One(found) = &got.answer else { panic!("{got:?}") };
        assert_eq!(got.caller.rendered(&found.entry.username), "dev:ann-x.org@111122223333");
        // Of a role alone nobody knows the session.
        let got = explained(DEV, &[("mapRoles", &roles)]);
        let Answer::One(found) = &got.answer else { panic!("{got:?}") };
        assert_eq!(got.caller.rendered(&found.entry.username), "dev:{{SessionName}}@111122223333");
    }

    #[test]
    fn roles_come_before_users_and_users_before_accounts() {
        let (roles, users) =
            (format!("- rolearn: {DEV}\n  username: r\n"), format!("- userarn: {DEV}\n  username: u\n"));
        let accounts = "- '111122223333'\n";
        let all = [("mapUsers", users.as_str()), ("mapAccounts", accounts), ("mapRoles", roles.as_str())];
        let got = explained(DEV, &all);
        assert_eq!(line(&got.answer), Some((List::Roles, 1)));
        let whys: Vec<&Why> = got.passed.iter().map(|passed| &passed.why).collect();
        assert_eq!(whys, [&Why::AskedLater, &Why::AskedLater]);
        assert_eq!(line(&explained(DEV, all.get(..2).unwrap()).answer), Some((List::Users, 1)));
        let got = explained(DEV, all.get(1..2).unwrap());
        assert!(matches!(&got.answer, Answer::Account(found) if found.list == List::Accounts));
    }

    #[test]
    fn the_last_of_two_roles_counts_and_between_two_users_chance_decides() {
        let roles = format!("- rolearn: {DEV}\n  username: a\n- rolearn: {}\n  username: b\n", fold(DEV));
        let got = explained(DEV, &[("mapRoles", &roles)]);
        assert_eq!(line(&got.answer), Some((List::Roles, 3)));
        assert_eq!(got.passed.first().map(|passed| &passed.why), Some(&Why::Overruled));
        let users = "- userarn: arn:aws:iam::111122223333:user/Bob\n  username: a\n- userarn: arn:aws:iam::111122223333:user/bob\n  username: b\n";
        let got = explained("arn:aws:iam::111122223333:user/BOB", &[("mapUsers", users)]);
        assert!(matches!(&got.answer, Answer::Chance(found) if found.len() == 2), "{got:?}");
    }

    #[test]
    fn what_was_meant_and_written_wrong_is_named() {
        let roles = "- rolearn: arn:aws:iam::111122223333:role/team/Dev\n  username: a\n- rolearn: arn:aws:sts::111122223333:assumed-role/Dev/x\n  username: b\n- rolearn: arn:aws:iam::999922223333:role/Dev\n  username: c\n";
        let got = explained(DEV, &[("mapRoles", roles)]);
        assert_eq!(got.answer, Answer::Nobody);
        let whys: Vec<bool> =
            got.passed.iter().map(|passed| matches!(passed.why, Why::NeverMatches(_))).collect();
        assert_eq!(whys, [true, true, false]);
        assert_eq!(got.passed.last().map(|passed| &passed.why), Some(&Why::OtherAccount));
    }

    #[test]
    fn objects_answer_in_the_order_of_the_backends() {
        let roles = format!("- rolearn: {DEV}\n  username: config-map\n");
        let data = BTreeMap::from([("mapRoles".to_owned(), roles)]);
        let object = |loaded: bool| IdentityMapping {
            name: "dev".into(),
            spec: Entry { arn: DEV.into(), username: "object".into(), ..Entry::default() },
            canonical_arn: loaded.then(|| fold(DEV)),
            ..IdentityMapping::default()
        };
        let ask = |backends: &[Backend], loaded| {
            let objects = [object(loaded)];
            let sources = Sources { data: &data, backends, objects: &objects };
            match explain(Caller::parse(DEV).unwrap(), &sources).answer {
                Answer::One(found) => found.entry.username,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask(&[Backend::Crd, Backend::EksConfigMap], true), "object");
        assert_eq!(ask(&[Backend::Crd, Backend::EksConfigMap], false), "config-map");
        assert_eq!(ask(&[Backend::EksConfigMap, Backend::Crd], true), "config-map");
    }

    #[test]
    fn an_unreadable_list_is_said_and_the_others_answer() {
        let users = format!("- userarn: {DEV}\n  username: u\n");
        let got = explained(DEV, &[("mapRoles", "- {"), ("mapUsers", &users)]);
        assert_eq!((line(&got.answer), got.unreadable.len()), (Some((List::Users, 1)), 1));
        assert!(Caller::parse("arn:aws:iam::111122223333:group/g").is_err());
    }
}
