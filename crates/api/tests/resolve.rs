//! References become mappings: order, states, and what is held back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::BTreeMap;

use awsiam_api::resolve::Backend;
use awsiam_api::{
    AWSIamConfig, AWSIamConfigSpec, ConfigLookup, IdentityProviderRef, Reason, Resolution, Severity, resolve,
};
use awsiam_core::arn::Partition;
use awsiam_core::desired::{ConfigState, DesiredConfig, Refs, RefusedRow};
use awsiam_core::mapping::{Key, List};
use kube::core::DynamicObject;
use serde_json::{Value, json};

/// Configs by name, as a store holds them.
#[derive(Default)]
struct Store(BTreeMap<&'static str, ConfigLookup>);

impl Store {
    fn with(mut self, name: &'static str, fields: Value) -> Self {
        let mut config = AWSIamConfig::new(name, spec(fields));
        config.metadata.uid = Some(format!("uid-of-{name}"));
        config.metadata.generation = Some(3);
        self.0.insert(name, ConfigLookup::from(config));
        self
    }

    fn undecodable(mut self, name: &'static str) -> Self {
        self.0.insert(name, ConfigLookup::Undecodable("broken".to_owned()));
        self
    }

    fn resolve(&self, names: &[&str]) -> Resolution {
        let refs: Vec<_> = names.iter().map(|name| reference("AWSIamConfig", name)).collect();
        resolve(Some(&refs), |name| self.0.get(name).cloned().unwrap_or(ConfigLookup::NotFound))
    }
}

fn spec(fields: Value) -> AWSIamConfigSpec {
    let mut spec = json!({ "awsRegion": "eu-central-1", "backendMode": ["EKSConfigMap"] });
    let Value::Object(fields) = fields else { panic!("fields") };
    spec.as_object_mut().unwrap().extend(fields);
    serde_json::from_value(spec).unwrap()
}

fn reference(kind: &str, name: &str) -> IdentityProviderRef {
    IdentityProviderRef { kind: kind.to_owned(), name: name.to_owned() }
}

fn role(name: &str) -> Value {
    json!({ "roleARN": format!("arn:aws:iam::111122223333:role/{name}"), "username": "u", "groups": ["g"] })
}

fn listed(resolution: &Resolution) -> &[DesiredConfig] {
    match &resolution.refs {
        Refs::Listed(configs) => configs,
        Refs::Absent => panic!("refs are absent"),
    }
}

fn states(resolution: &Resolution) -> Vec<ConfigState> {
    listed(resolution).iter().map(|config| config.state.clone()).collect()
}

fn arns(config: &DesiredConfig) -> Vec<&str> {
    config.mappings.iter().map(|mapping| mapping.mapping.arn.as_str()).collect()
}

#[test]
fn absent_and_empty_references_differ() {
    let never = |_: &str| panic!("nothing is to be looked up");
    assert_eq!(resolve(None, never).refs, Refs::Absent);
    assert_eq!(resolve(Some(&[]), never).refs, Refs::Listed(vec![]));
    assert_eq!(resolve(Some(&[reference("OIDCConfig", "x")]), never).refs, Refs::Listed(vec![]));
}

#[test]
fn rows_become_mappings_in_the_order_of_the_lists_and_roles_lose_their_path() {
    let store = Store::default().with(
        "a",
        json!({
            "mapAccounts": ["012345678901"],
            "mapUsers": [{ "userARN": "arn:aws:iam::111122223333:user/team/alice", "username": "alice" }],
            "mapRoles": [role("team/ops/Admin"), role("Dev")],
        }),
    );
    let resolution = store.resolve(&["a"]);
    let [config] = listed(&resolution) else { panic!("one config") };
    assert_eq!((config.uid.as_str(), config.generation), ("uid-of-a", 3));
    assert_eq!(config.state, ConfigState::Usable);
    let expected = [
        ("spec.mapRoles[0]", List::Roles, "arn:aws:iam::111122223333:role/Admin"),
        ("spec.mapRoles[1]", List::Roles, "arn:aws:iam::111122223333:role/Dev"),
        ("spec.mapUsers[0]", List::Users, "arn:aws:iam::111122223333:user/team/alice"),
        ("spec.mapAccounts[0]", List::Accounts, "012345678901"),
    ];
    let made = config.mappings.iter().map(|m| (&*m.field, m.mapping.list, m.mapping.arn.as_str()));
    assert_eq!(made.collect::<Vec<_>>(), expected);
    assert_eq!(config.mappings[0].mapping.groups, ["g"]);
    assert!(resolution.findings.is_empty() && config.refused.is_empty());
}

#[test]
fn the_first_reference_sets_region_partition_and_backends() {
    let store = Store::default()
        .with("a", json!({ "awsRegion": "cn-north-1", "partition": "aws-cn", "backendMode": ["CRD", "EKSConfigMap"] }))
        .with("b", json!({ "mapRoles": [role("Dev")] }));
    let resolution = store.resolve(&["a", "b"]);
    let settings = resolution.settings.as_ref().unwrap();
    assert_eq!((settings.config.as_str(), settings.region.as_str()), ("a", "cn-north-1"));
    assert_eq!(settings.partition, Partition::AwsCn);
    assert_eq!(settings.backends, [Backend::Crd, Backend::EksConfigMap]);
    let differing = ["awsRegion", "partition", "backendMode"].map(str::to_owned).to_vec();
    assert_eq!(states(&resolution), [ConfigState::Usable, ConfigState::Disagrees(differing)]);
    assert_eq!(arns(&listed(&resolution)[1]), ["arn:aws:iam::111122223333:role/Dev"]);
}

#[test]
fn while_the_first_does_not_resolve_nobody_sets_anything() {
    let store = Store::default().with("b", json!({})).undecodable("c");
    assert_eq!(store.resolve(&["a", "b"]).settings, None);
    assert_eq!(states(&store.resolve(&["a", "b"])), [ConfigState::NotFound, ConfigState::Usable]);
    assert_eq!(store.resolve(&["c", "b"]).settings, None);
    assert!(store.resolve(&["b", "c"]).settings.is_some());
}

#[test]
fn a_suspended_config_keeps_its_mappings_and_sets_as_well_as_any() {
    let store = Store::default().with("a", json!({ "suspend": true, "mapRoles": [role("Dev")] }));
    let resolution = store.resolve(&["a"]);
    assert_eq!(states(&resolution), [ConfigState::Suspended]);
    assert_eq!(arns(&listed(&resolution)[0]).len(), 1);
    assert!(resolution.settings.is_some());
}

#[test]
fn a_config_that_is_being_deleted_counts_while_it_is_referred_to() {
    let mut config = AWSIamConfig::new("a", spec(json!({ "mapRoles": [role("Dev")] })));
    let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
    config.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    let store = Store(BTreeMap::from([("a", ConfigLookup::from(config))]));
    assert_eq!(states(&store.resolve(&["a"])), [ConfigState::Usable]);
}

#[test]
fn of_rows_with_one_arn_the_first_counts_and_the_others_are_told() {
    let store =
        Store::default().with("a", json!({ "mapRoles": [role("Admin"), role("team/ADMIN"), role("Dev")] }));
    let resolution = store.resolve(&["a"]);
    assert_eq!(arns(&listed(&resolution)[0]).len(), 2);
    let [finding] = resolution.findings["a"].as_slice() else { panic!("one finding") };
    assert_eq!((finding.reason, finding.severity), (Reason::DuplicateArn, Severity::Refused));
    assert_eq!(finding.field_path, "spec.mapRoles[1].roleARN");
    assert!(finding.message.contains("spec.mapRoles[0]"), "{}", finding.message);
    assert!(listed(&resolution)[0].refused.is_empty(), "the key is in force through the first row");
}

#[test]
fn a_bad_row_is_left_out_and_the_others_count() {
    let bad = json!({ "roleARN": "arn:aws:iam::111122223333:instance-profile/x", "username": "u" });
    let store = Store::default().with("a", json!({ "mapRoles": [bad, role("Dev")] }));
    let resolution = store.resolve(&["a"]);
    assert_eq!(arns(&listed(&resolution)[0]), ["arn:aws:iam::111122223333:role/Dev"]);
    assert_eq!(resolution.findings["a"][0].reason, Reason::InstanceProfile);
    // Nobody knows which owned entry the row was once meant for.
    assert_eq!(
        listed(&resolution)[0].refused,
        [RefusedRow { key: None, field: "spec.mapRoles[0]".to_owned() }]
    );
}

#[test]
fn a_row_that_is_refused_for_its_username_still_holds_its_key() {
    let nameless = json!({ "roleARN": "arn:aws:iam::111122223333:role/team/Admin", "username": "" });
    let store = Store::default().with("a", json!({ "mapRoles": [nameless] }));
    let resolution = store.resolve(&["a"]);
    assert!(arns(&listed(&resolution)[0]).is_empty());
    let key = Some(Key::new(List::Roles, "arn:aws:iam::111122223333:role/Admin"));
    assert_eq!(listed(&resolution)[0].refused, [RefusedRow { key, field: "spec.mapRoles[0]".to_owned() }]);
}

#[test]
fn accounts_without_their_backend_are_held() {
    let store =
        Store::default().with("a", json!({ "backendMode": ["CRD"], "mapAccounts": ["111122223333"] }));
    let resolution = store.resolve(&["a"]);
    assert!(arns(&listed(&resolution)[0]).is_empty());
    let key = Some(Key::new(List::Accounts, "111122223333"));
    assert_eq!(listed(&resolution)[0].refused, [RefusedRow { key, field: "spec.mapAccounts[0]".to_owned() }]);
    assert_eq!(resolution.findings["a"][0].reason, Reason::AccountsNeedConfigMap);
}

#[test]
fn settings_that_are_none_make_a_config_undecodable() {
    for fields in [json!({ "partition": "amazon" }), json!({ "backendMode": [] }), json!({ "awsRegion": "" })]
    {
        let store = Store::default().with("a", fields.clone());
        let resolution = store.resolve(&["a"]);
        let [ConfigState::Undecodable(why)] = &states(&resolution)[..] else {
            panic!("{fields} is decodable")
        };
        assert!(why.starts_with("spec."), "{why}");
        assert_eq!(resolution.settings, None);
    }
}

#[test]
fn a_warning_keeps_nothing_from_counting() {
    let root = json!({ "userARN": "arn:aws:iam::111122223333:root", "username": "root" });
    let fields = json!({ "awsRegion": "moon-north-1", "mapUsers": [root] });
    let resolution = Store::default().with("a", fields).resolve(&["a"]);
    assert_eq!(arns(&listed(&resolution)[0]).len(), 1);
    let reasons: Vec<Reason> = resolution.findings["a"].iter().map(|finding| finding.reason).collect();
    assert_eq!(reasons, [Reason::UnknownRegion, Reason::RootUser]);
}

#[test]
fn a_name_that_comes_twice_counts_once() {
    let store = Store::default().with("a", json!({}));
    assert_eq!(states(&store.resolve(&["a", "a"])), [ConfigState::Usable]);
}

#[test]
fn an_object_of_another_shape_is_undecodable_and_says_why() {
    let object = |spec: Value| -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig",
            "metadata": { "name": "a", "uid": "u", "generation": 7 }, "spec": spec,
        }))
        .unwrap()
    };
    let good =
        ConfigLookup::of_object(&object(json!({ "awsRegion": "eu-central-1", "backendMode": ["CRD"] })));
    let ConfigLookup::Found(found) = good else { panic!("{good:?}") };
    assert_eq!((found.name.as_str(), found.generation), ("a", 7));
    let bad = ConfigLookup::of_object(&object(json!({ "awsRegion": 5, "backendMode": ["CRD"] })));
    let ConfigLookup::Undecodable(why) = bad else { panic!("{bad:?}") };
    assert!(why.contains("expected a string"), "{why}");
}
