//! A make-believe target: what is in `aws-auth`, what is asked for, and a way to plan and write.
//! Every write is followed by a second plan, which must change nothing.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

pub mod checks;

use awsiam_core::desired::{ConfigState, DesiredConfig, DesiredMapping, Refs, RefusedRow};
use awsiam_core::history::Record;
use awsiam_core::ledger::{Ledger, Writer};
use awsiam_core::mapping::{Entry, Key, List, Mapping};
use awsiam_core::observed::Observed;
use awsiam_core::places::Places;
use awsiam_core::plan::{self, ConflictPolicy, LastAdminAllowance, Outcome, Plan, Reason, Request, State};
use awsiam_core::privilege::Policy;
use awsiam_core::reader;

/// The group that bypasses RBAC.
pub const MASTERS: &str = "system:masters";

/// What EKS writes for managed node groups.
pub const NODES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups:
  - system:bootstrappers
  - system:nodes
";

/// The ARN of a role.
pub fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

/// The ARN of a user.
pub fn user_arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:user/{name}")
}

/// A mapping of a role.
pub fn role(name: &str, username: &str, groups: &[&str]) -> Mapping {
    mapping(List::Roles, role_arn(name), username, groups)
}

/// A mapping of a user.
pub fn user(name: &str, username: &str, groups: &[&str]) -> Mapping {
    mapping(List::Users, user_arn(name), username, groups)
}

/// A mapping of an account.
pub fn account(id: &str) -> Mapping {
    mapping(List::Accounts, id.to_owned(), "", &[])
}

fn mapping(list: List, arn: String, username: &str, groups: &[&str]) -> Mapping {
    let groups = groups.iter().map(|g| (*g).to_owned()).collect();
    Mapping { list, arn, username: username.to_owned(), groups }
}

/// A usable config at generation 1.
pub fn config(name: &str, mappings: impl IntoIterator<Item = Mapping>) -> DesiredConfig {
    let row = |(index, mapping): (usize, Mapping)| {
        let field = format!("spec.{}[{index}]", mapping.list);
        DesiredMapping { mapping: mapping.into(), field: field.into() }
    };
    DesiredConfig {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        generation: 1,
        state: ConfigState::Usable,
        mappings: mappings.into_iter().enumerate().map(row).collect(),
        refused: Vec::new(),
    }
}

/// A reference that does not resolve.
pub fn missing(name: &str) -> DesiredConfig {
    DesiredConfig { state: ConfigState::NotFound, uid: String::new(), generation: 0, ..config(name, []) }
}

/// The config with another state.
pub fn in_state(config: DesiredConfig, state: ConfigState) -> DesiredConfig {
    DesiredConfig { state, ..config }
}

/// The config with a row that an admission rule refuses.
pub fn with_refused(mut config: DesiredConfig, key: Option<Key>) -> DesiredConfig {
    config.refused.push(RefusedRow { key, field: "spec.mapRoles[9]".to_owned() });
    config
}

/// A target and all that a plan for it is made from.
#[derive(Clone, Debug)]
pub struct Target {
    pub observed: Observed,
    pub refs: Refs,
    pub writer: Writer,
    pub generation: i64,
    pub policy: Policy,
    pub conflicts: ConflictPolicy,
    pub remove_all: bool,
    pub last_admin: Option<LastAdminAllowance>,
    pub take_over: bool,
    pub history: Vec<Record>,
    pub owned_before: bool,
}

impl Target {
    /// A target whose `aws-auth` is there and empty, and a Cluster that refers to nothing.
    pub fn new() -> Self {
        Self {
            observed: Observed { present: true, ..Observed::default() },
            refs: Refs::Listed(Vec::new()),
            writer: Writer {
                management: Some("management".into()),
                namespace: "default".into(),
                name: "prod".into(),
                uid: Some("uid-prod".into()),
            },
            generation: 1,
            policy: Policy::default(),
            conflicts: ConflictPolicy::Refuse,
            remove_all: false,
            last_admin: None,
            take_over: false,
            history: Vec::new(),
            owned_before: false,
        }
    }

    /// One whose `aws-auth` has this text under a list's data key.
    pub fn holding(list: List, text: &str) -> Self {
        Self::new().with(list, text)
    }

    /// The same with this text under a list's data key.
    pub fn with(mut self, list: List, text: &str) -> Self {
        self.observed.data.insert(list.data_key().to_owned(), text.to_owned());
        self
    }

    /// The same with these configs referred to.
    pub fn wanting(mut self, configs: impl IntoIterator<Item = DesiredConfig>) -> Self {
        self.want(configs);
        self
    }

    /// Refers to these configs from now on.
    pub fn want(&mut self, configs: impl IntoIterator<Item = DesiredConfig>) {
        self.refs = Refs::Listed(configs.into_iter().collect());
    }

    /// Somebody writes this text under a list's data key.
    pub fn edit(&mut self, list: List, text: impl Into<String>) {
        self.observed.data.insert(list.data_key().to_owned(), text.into());
    }

    /// The text of a list; empty when its data key is absent.
    pub fn text(&self, list: List) -> &str {
        self.observed.data.get(list.data_key()).map(String::as_str).unwrap_or_default()
    }

    /// The text of `mapRoles`.
    pub fn roles(&self) -> &str {
        self.text(List::Roles)
    }

    /// What the authenticator reads in a list; nothing when it can't.
    pub fn entries(&self, list: List) -> Vec<Entry> {
        let block = reader::read(list, self.text(list));
        block.map(|block| block.entries.into_iter().map(|e| e.entry).collect()).unwrap_or_default()
    }

    /// The ledger as it stands.
    pub fn ledger(&self) -> Option<Ledger> {
        self.observed.ledger.as_deref().map(|text| Ledger::parse(text).unwrap())
    }

    /// How many entries the ledger says are ours.
    pub fn owned(&self) -> usize {
        self.ledger().map_or(0, |ledger| ledger.owned.len())
    }

    /// What a plan is made from.
    pub fn request(&self) -> Request<'_> {
        Request {
            observed: &self.observed,
            places: Places::default(),
            refs: &self.refs,
            writer: &self.writer,
            cluster_generation: self.generation,
            policy: &self.policy,
            conflicts: self.conflicts,
            remove_all: self.remove_all,
            last_admin: self.last_admin.as_ref(),
            take_over: self.take_over,
            history: &self.history,
            owned_before: self.owned_before,
        }
    }

    /// The plan for the target as it is.
    pub fn plan(&self) -> Plan {
        plan::plan(&self.request())
    }

    /// Plans and writes; the next plan must change nothing. (An entry that was held because another one used its
    /// anchor may be free after that one has changed: then the pass after the next is the last one.)
    pub fn apply(&mut self) -> Plan {
        let plan = self.plan();
        if !plan.has_write() {
            return plan;
        }
        self.write(&plan);
        let mut again = self.plan();
        if plan.outcomes.iter().any(|o| o.reason == Reason::Anchored) && again.has_write() {
            self.write(&again);
            again = self.plan();
        }
        assert_eq!(again.before, again.after, "a second plan changes something: {:#?}", again.outcomes);
        assert!(again.changes().next().is_none(), "a second plan names changes: {:#?}", again.outcomes);
        plan
    }

    /// Puts the plan's content in place.
    pub fn write(&mut self, plan: &Plan) {
        self.observed.present = true;
        self.observed.data.clone_from(&plan.after.data);
        self.observed.ledger.clone_from(&plan.after.ledger);
    }

    /// Applies and gives the target, for tests that start from a state we made.
    pub fn applied(mut self) -> Self {
        self.apply();
        self
    }

    /// Records the content as the history does.
    pub fn record(&mut self) {
        let (slot, revision) = awsiam_core::history::next(&self.history);
        let (data, ledger) = (self.observed.data.clone(), self.observed.ledger.clone());
        self.history.retain(|record| record.slot != slot);
        self.history.push(Record::new(slot, revision, data, ledger, "kubectl".into()));
    }

    /// Somebody deletes `aws-auth`.
    pub fn delete(&mut self) {
        self.observed = Observed::default();
    }
}

/// What a plan says of a role, by its name: state and reason.
pub fn said(plan: &Plan, name: &str) -> Option<(State, &'static str)> {
    find(plan, &role_arn(name)).map(|o| (o.state, o.reason.name()))
}

/// The outcome for an ARN.
pub fn find<'p>(plan: &'p Plan, arn: &str) -> Option<&'p Outcome> {
    plan.outcomes.iter().find(|o| o.key.arn == arn.to_lowercase())
}
