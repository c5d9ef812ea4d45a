//! Who has access, and who was meant to: every entry that is there and every mapping that is asked for and is not
//! there, with its owner and what it is worth. Read from a plan and what it was made from; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::arn;
use crate::desired::Backend;
use crate::effective::{Effective, Place};
use crate::identity_mappings::{IdentityMapping, Mark};
use crate::ledger::{KeyHash, Ledger, MeaningHash, Relation};
use crate::mapping::{Entry, Key, List, fold};
use crate::plan::{Note, Outcome, Plan, Reason, Request, State};
use crate::reader;

/// Whose an entry is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Owner {
    /// The AWSIamConfig of this name.
    Config(String),
    /// Somebody else.
    Foreign,
    /// Nodes join by it, so that it is nobody's to change.
    Node,
}

/// What an entry or mapping is worth at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Standing {
    /// It answers for its identity.
    InEffect,
    /// It comes, changes or goes with the operator's next write.
    Pending,
    /// Ours, and neither changed nor removed for now.
    Frozen,
    /// Two entries are in each other's way.
    Conflict,
    /// Another one with the same ARN counts instead.
    Shadowed,
    /// A rule refuses the mapping.
    Refused,
    /// Nobody can ever log in by it.
    WithoutEffect,
}

/// One entry, or one mapping that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it stands, or would.
    pub place: Backend,
    /// Its list; of an object that is not ours the one it would belong to.
    pub list: List,
    /// The ARN or account id as written; of an `sso` entry what it matches.
    pub arn: String,
    /// The Kubernetes username.
    pub username: String,
    /// The Kubernetes groups in order.
    pub groups: Vec<String>,
    /// Whose it is.
    pub owner: Owner,
    /// What it is worth.
    pub standing: Standing,
    /// Its line in the data key, from 1; none where it is no entry of `aws-auth`.
    pub line: Option<usize>,
    /// The name of the IAMIdentityMapping, where it is one.
    pub object: Option<String>,
    /// The row of the AWSIamConfig that asks for it, such as `spec.mapRoles[3]`.
    pub field: Option<Arc<str>>,
    /// Why it is worth that and what to do; empty where nothing is to be said.
    pub message: String,
}

/// All rows, sorted by ARN, then by place and list.
#[must_use]
pub fn rows(request: &Request<'_>, plan: &Plan) -> Vec<Row> {
    let entries = Entries::of(request);
    let survey = Survey {
        request,
        plan,
        ledger: ledger(request, plan),
        effective: Effective::of(&entries.lists),
        entries: &entries,
    };
    let mut rows = survey.of_entries();
    rows.extend(survey.of_objects());
    rows.extend(survey.of_mappings(&rows));
    // What is there before what is not.
    let line = |row: &Row| row.line.unwrap_or(usize::MAX);
    rows.sort_by_cached_key(|row| (fold(&row.arn), row.place, row.list, line(row), row.object.clone()));
    rows
}

/// What is ours at this moment: what the ledger says, or, where it was lost, what the plan found out.
fn ledger(request: &Request<'_>, plan: &Plan) -> Ledger {
    let nothing = || Ledger::new(request.writer.clone(), request.cluster_generation);
    let is_rebuilt = plan.notes.iter().any(|note| matches!(note, Note::LedgerRebuilt { .. }));
    match request.observed.ledger.as_deref().map(Ledger::parse) {
        Some(Ok(ledger))
            if request.take_over || ledger.writer.relation_to(request.writer) != Relation::Other =>
        {
            ledger
        }
        _ if is_rebuilt => {
            plan.after.ledger.as_deref().and_then(|text| Ledger::parse(text).ok()).unwrap_or_else(nothing)
        }
        _ => nothing(),
    }
}

/// The readable lists, with the line of each entry.
struct Entries {
    lists: BTreeMap<List, Vec<Entry>>,
    lines: BTreeMap<List, Vec<usize>>,
}

impl Entries {
    fn of(request: &Request<'_>) -> Self {
        let mut entries = Self { lists: BTreeMap::new(), lines: BTreeMap::new() };
        for list in List::ALL {
            let key = list.data_key();
            if request.observed.binary_keys.contains(key) {
                continue;
            }
            let Some(text) = request.observed.data.get(key) else { continue };
            let Ok(block) = reader::read(list, text) else { continue };
            entries.lines.insert(list, block.entries.iter().map(|read| read.position.line).collect());
            entries.lists.insert(list, block.entries.into_iter().map(|read| read.entry).collect());
        }
        entries
    }

    fn line(&self, (list, index): Place) -> Option<usize> {
        self.lines.get(&list)?.get(index).copied()
    }

    fn all(&self) -> impl Iterator<Item = (Place, &Entry)> {
        self.lists.iter().flat_map(|(list, entries)| {
            entries.iter().enumerate().map(move |(index, entry)| ((*list, index), entry))
        })
    }
}

struct Survey<'a> {
    request: &'a Request<'a>,
    plan: &'a Plan,
    ledger: Ledger,
    entries: &'a Entries,
    effective: Effective<'a, Entry>,
}

impl Survey<'_> {
    fn of_entries(&self) -> Vec<Row> {
        let ours = self.ours();
        let row = |(place, entry): (Place, &Entry)| {
            let (list, _) = place;
            let owner = match ours.get(&place) {
                Some(config) => Owner::Config(config.clone()),
                None if entry.is_node() => Owner::Node,
                None => Owner::Foreign,
            };
            let outcome = self.outcome(Backend::EksConfigMap, &entry.key(list), &owner);
            let (standing, message) = overlaid(&owner, outcome).unwrap_or_else(|| self.worth(place, entry));
            Row {
                place: Backend::EksConfigMap,
                list,
                arn: named(entry),
                username: entry.username.clone(),
                groups: entry.groups.clone(),
                owner,
                standing,
                line: self.entries.line(place),
                object: None,
                field: outcome.and_then(|outcome| outcome.field.clone()),
                message,
            }
        };
        self.entries.all().map(row).collect()
    }

    /// The places of our entries and the configs they come from: of several with one key the one that we wrote, else
    /// the last, as the merge has it.
    fn ours(&self) -> BTreeMap<Place, String> {
        let mut found: BTreeMap<KeyHash, Vec<(Place, &Entry)>> = BTreeMap::new();
        for (place, entry) in self.entries.all() {
            let hash = KeyHash::of(&entry.key(place.0));
            if !entry.arn.is_empty() && self.ledger.owned.contains_key(&hash) {
                found.entry(hash).or_default().push((place, entry));
            }
        }
        let chosen = found.into_iter().filter_map(|(hash, found)| {
            let owned = self.ledger.owned.get(&hash)?;
            let as_written =
                |(place, entry): &&(Place, &Entry)| MeaningHash::of(place.0, entry) == owned.meaning;
            let (place, _) = found.iter().rev().find(as_written).or(found.last())?;
            Some((*place, owned.config.to_string()))
        });
        chosen.collect()
    }

    /// The outcome that speaks of an entry or object.
    fn outcome(&self, place: Backend, key: &Key, owner: &Owner) -> Option<&Outcome> {
        let speaks = |outcome: &&Outcome| {
            let is_meant = match owner {
                Owner::Config(_) => {
                    !matches!(outcome.state, State::Shadowed | State::Refused | State::AlreadyPresent)
                }
                Owner::Foreign => matches!(outcome.state, State::AlreadyPresent | State::Adopted),
                Owner::Node => false,
            };
            is_meant && outcome.place == place && outcome.key == *key
        };
        self.plan.outcomes.iter().find(speaks)
    }

    /// What an entry of `aws-auth` is worth by the authenticator's rules.
    fn worth(&self, place: Place, entry: &Entry) -> (Standing, String) {
        let none = |why: String| (Standing::WithoutEffect, why);
        let (list, _) = place;
        if !self.request.places.asks(Backend::EksConfigMap) {
            return none(
                "backendMode does not name EKSConfigMap, so the authenticator does not ask aws-auth"
                    .to_owned(),
            );
        }
        if entry.sso.is_some() {
            return none("entries of IAM Identity Center match only with the authenticator's feature gate SSORoleMatch, which is off by default".to_owned());
        }
        if let Some(why) = arn::can_never_match(list, &entry.arn) {
            return none(format!("nobody can log in by it: {why}"));
        }
        if list == List::Accounts {
            return (Standing::InEffect, String::new());
        }
        if let Some(object) = self.asked_before(&entry.arn) {
            let message = format!("IAMIdentityMapping {} has the same ARN and is asked first", object.name);
            return (Standing::Shadowed, message);
        }
        let answers = self.effective.answers(&entry.arn);
        match answers.as_slice() {
            answers if !answers.contains(&place) => {
                let by = answers.first().map_or_else(String::new, |by| self.at(*by));
                (Standing::Shadowed, format!("{by} has the same ARN and counts instead"))
            }
            [_] => (Standing::InEffect, String::new()),
            several => {
                let others: Vec<String> =
                    several.iter().filter(|other| **other != place).map(|other| self.at(*other)).collect();
                let message = format!(
                    "{} has the same ARN in other case, and chance decides at every login which of them counts; remove one",
                    others.join(" and ")
                );
                (Standing::Conflict, message)
            }
        }
    }

    fn at(&self, place: Place) -> String {
        let line = self.entries.line(place).unwrap_or_default();
        format!("the entry on line {line} of {}", place.0)
    }

    /// The object that answers for an ARN before `aws-auth` is asked.
    fn asked_before(&self, arn: &str) -> Option<&IdentityMapping> {
        let places = &self.request.places;
        let is_first = places.backends.first() == Some(&Backend::Crd) && places.ready;
        let arn = fold(arn);
        places.objects.filter(|_| is_first)?.iter().find(|object| object.is_loaded_for(&arn))
    }

    fn of_objects(&self) -> Vec<Row> {
        let objects = self.request.places.objects.unwrap_or_default();
        objects.iter().map(|object| self.of_object(object, objects)).collect()
    }

    fn of_object(&self, object: &IdentityMapping, all: &[IdentityMapping]) -> Row {
        let mark = object.mark.as_deref().and_then(|text| Mark::parse(text).ok());
        let mark = mark.filter(|mark| {
            mark.name == object.name && mark.writer.relation_to(self.request.writer) != Relation::Other
        });
        let list = match &mark {
            Some(mark) => mark.list,
            None if arn::RoleArn::parse(&object.spec.arn).is_ok() => List::Roles,
            None => List::Users,
        };
        let owner = match &mark {
            Some(mark) => Owner::Config(mark.config.clone()),
            None if object.spec.is_node() => Owner::Node,
            None => Owner::Foreign,
        };
        let key = mark.as_ref().map_or_else(|| object.spec.key(list), Mark::key);
        let outcome = self.outcome(Backend::Crd, &key, &owner);
        let (standing, message) = overlaid(&owner, outcome).unwrap_or_else(|| self.object_worth(object, all));
        Row {
            place: Backend::Crd,
            list,
            arn: object.spec.arn.clone(),
            username: object.spec.username.clone(),
            groups: object.spec.groups.clone(),
            owner,
            standing,
            line: None,
            object: Some(object.name.clone()),
            field: outcome.and_then(|outcome| outcome.field.clone()),
            message,
        }
    }

    fn object_worth(&self, object: &IdentityMapping, all: &[IdentityMapping]) -> (Standing, String) {
        let places = &self.request.places;
        if !places.asks(Backend::Crd) {
            let why = "backendMode does not name CRD, so the authenticator does not ask IAMIdentityMappings";
            return (Standing::WithoutEffect, why.to_owned());
        }
        let Some(arn) = object.canonical_arn.as_deref() else {
            return (Standing::Pending, "no authenticator has read it yet".to_owned());
        };
        let rival = all.iter().find(|other| other.name != object.name && other.is_loaded_for(arn));
        if let Some(rival) = rival {
            let message = format!(
                "IAMIdentityMapping {} has the same ARN, and chance decides at every login which of them counts; remove one",
                rival.name
            );
            return (Standing::Conflict, message);
        }
        let answers = self.effective.answers(arn);
        match answers.first() {
            Some(by) if places.backends.first() == Some(&Backend::EksConfigMap) => {
                let by = self.at(*by);
                (Standing::Shadowed, format!("{by} has the same ARN, and aws-auth is asked first"))
            }
            _ => (Standing::InEffect, String::new()),
        }
    }

    /// The mappings that are asked for and have no entry or object of ours among `rows`.
    fn of_mappings(&self, rows: &[Row]) -> Vec<Row> {
        let there: BTreeSet<(Backend, String, &str)> = rows
            .iter()
            .filter_map(|row| match &row.owner {
                Owner::Config(config) => Some((row.place, fold(&row.arn), config.as_str())),
                _ => None,
            })
            .collect();
        let rows = self.plan.outcomes.iter().filter_map(|outcome| {
            let standing = match outcome.state {
                State::Added | State::Repaired => Standing::Pending,
                State::Held if outcome.reason == Reason::Moving => Standing::Pending,
                State::Refused => Standing::Refused,
                State::Conflict => Standing::Conflict,
                State::Shadowed => Standing::Shadowed,
                State::Frozen | State::Held => Standing::Frozen,
                _ => return None,
            };
            let (mapping, config) = (outcome.after.as_ref()?, outcome.config.clone()?);
            if there.contains(&(outcome.place, fold(&mapping.arn), &*config)) {
                return None;
            }
            Some(Row {
                place: outcome.place,
                list: mapping.list,
                arn: mapping.arn.clone(),
                username: mapping.username.clone(),
                groups: mapping.groups.clone(),
                owner: Owner::Config(config.to_string()),
                standing,
                line: None,
                object: None,
                field: outcome.field.clone(),
                message: said(outcome),
            })
        });
        rows.collect()
    }
}

/// What the plan says of an entry that is there, where that is more than the authenticator's rules.
fn overlaid(owner: &Owner, outcome: Option<&Outcome>) -> Option<(Standing, String)> {
    let outcome = outcome?;
    let standing = match (owner, outcome.state) {
        (Owner::Foreign, State::Adopted)
        | (Owner::Config(_), State::Changed | State::Repaired | State::Removed) => Standing::Pending,
        (Owner::Config(_), State::Frozen | State::Held) => Standing::Frozen,
        (Owner::Config(_), State::Conflict) => Standing::Conflict,
        _ => return None,
    };
    Some((standing, said(outcome)))
}

fn said(outcome: &Outcome) -> String {
    if !outcome.message.is_empty() {
        return outcome.message.clone();
    }
    match (outcome.state, outcome.config.as_deref()) {
        (State::Added, _) => "comes with the operator's next write".to_owned(),
        (State::Changed | State::Repaired, _) => match &outcome.after {
            Some(mapping) => {
                format!("becomes {} [{}]", mapping.username, mapping.groups.join(", "))
            }
            None => String::new(),
        },
        (State::Removed, _) => "goes with the operator's next write".to_owned(),
        (State::Adopted, Some(config)) => format!("becomes AWSIamConfig {config}'s"),
        _ => String::new(),
    }
}

/// What stands where an entry has its ARN.
fn named(entry: &Entry) -> String {
    match &entry.sso {
        None => entry.arn.clone(),
        Some(sso) => format!("sso:{}:{}", sso.account_id, sso.permission_set_name),
    }
}

#[cfg(test)]
mod tests;
