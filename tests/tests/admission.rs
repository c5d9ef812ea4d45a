//! Admission on a real API server: the table of cases on create and on update, every combination of an ARN's
//! parts, the limits, manifests in the shape of EKS Anywhere's, and what `kubectl explain` prints.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use awsiam_api::{AWSIamConfigSpec, Finding, Reason, Severity, crds, validate, validate_update};
use awsiam_tests::control_plane::{ControlPlane, shared};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

#[path = "../../crates/api/tests/cases/mod.rs"]
mod cases;

use cases::{AWS_IAM_CONFIG, Case};

/// How long the API server may take to serve a new CRD.
const ESTABLISHED_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

async fn with_crds() -> (&'static ControlPlane, Client) {
    let control_plane = shared().await;
    let client = control_plane.client();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds() {
        let name = crd.name_any();
        let patch = PatchParams::apply("admission-test").force();
        definitions.patch(&name, &patch, &Patch::Apply(&crd)).await.expect("the CRD is accepted");
        let served = await_condition(definitions.clone(), &name, is_crd_established());
        tokio::time::timeout(ESTABLISHED_WITHIN, served).await.expect("in time").expect("established");
    }
    (control_plane, client)
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("anywhere.eks.amazonaws.com", "v1alpha1", kind);
    Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind))
}

fn object(kind: &str, name: &str, spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": kind,
        "metadata": { "name": name }, "spec": spec,
    }))
    .expect("an object")
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

/// What was refused: field and text of each cause. The API server puts the kind of error and the value in
/// front of a text, in brackets of its own.
fn causes<T>(result: kube::Result<T>) -> Vec<(String, String)> {
    match result {
        Ok(_) => vec![],
        Err(kube::Error::Api(status)) => {
            let causes = status.details.map(|details| details.causes).unwrap_or_default();
            assert!(!causes.is_empty(), "refused without causes: {}", status.message);
            causes.into_iter().map(|cause| (cause.field, cause.message)).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

/// Asserts that each cause ends in one of the texts, and each text ends a cause.
fn assert_texts(causes: &[(String, String)], texts: &BTreeSet<String>, case: &str) {
    for text in texts {
        assert!(causes.iter().any(|(_, cause)| cause.ends_with(text)), "{case}: no {text:?} in {causes:#?}");
    }
    for (_, cause) in causes {
        assert!(texts.iter().any(|text| cause.ends_with(text)), "{case}: unexpected {cause:?}");
    }
}

#[tokio::test]
async fn every_case_of_the_table_is_judged_alike_on_create() {
    let (_, client) = with_crds().await;
    for case in cases::all().into_iter().filter(|case| case.from.is_none()) {
        let made = api(&client, case.kind).create(&dry_run(), &object(case.kind, "new", &case.spec)).await;
        assert_texts(&causes(made), &case.refused, &case.name);
    }
}

#[tokio::test]
async fn every_case_of_the_table_is_judged_alike_on_update() {
    let (_, client) = with_crds().await;
    for (index, case) in cases::all().into_iter().enumerate() {
        let api = api(&client, case.kind);
        let before = case.from.clone().unwrap_or_else(|| stock(case.kind));
        let standing = object(case.kind, &format!("standing-{index}"), &before);
        let standing = api.create(&PostParams::default(), &standing).await.expect("admitted");
        let mut wanted = object(case.kind, &standing.name_any(), &case.spec);
        wanted.metadata.resource_version = standing.resource_version();
        let changed = api.replace(&standing.name_any(), &dry_run(), &wanted).await;
        assert_texts(&causes(changed), &on_update(&case, &before), &case.name);
    }
}

/// What stands there before an update, where the case doesn't say.
fn stock(kind: &str) -> Value {
    match kind {
        AWS_IAM_CONFIG => json!({ "awsRegion": "eu-central-1", "backendMode": ["EKSConfigMap"] }),
        _ => json!({}),
    }
}

/// The texts of a case, and those for the fields that this update changes and may not.
fn on_update(case: &Case, before: &Value) -> BTreeSet<String> {
    let mut texts = case.refused.clone();
    if case.kind == AWS_IAM_CONFIG {
        let [old, new] =
            [before, &case.spec].map(|spec| serde_json::from_value(spec.clone()).expect("a spec"));
        texts.extend(validate_update(&old, &new).into_iter().map(|finding| finding.message));
    }
    texts
}

#[tokio::test]
async fn the_rules_and_validate_agree_on_every_combination_of_parts() {
    let (_, client) = with_crds().await;
    let arns = cases::arns();
    for (list, field) in [("mapRoles", "roleARN"), ("mapUsers", "userARN")] {
        for some in arns.chunks(200) {
            let rows: Vec<Value> =
                some.iter().map(|arn| json!({ field: arn, "username": "someone" })).collect();
            let mut spec = stock(AWS_IAM_CONFIG);
            spec[list] = json!(rows);
            let made =
                api(&client, AWS_IAM_CONFIG).create(&dry_run(), &object(AWS_IAM_CONFIG, "new", &spec)).await;
            let said: BTreeSet<(String, String)> = causes(made).into_iter().collect();
            let expected = of_validate(spec, list);
            assert_eq!(said.len(), expected.len(), "{said:#?}\n{expected:#?}");
            for (field, text) in &expected {
                let same = |(at, cause): &(String, String)| at == field && cause.ends_with(text);
                assert!(said.iter().any(same), "no {field}: {text:?} in {said:#?}");
            }
        }
    }
}

/// Refusals by field, as the API server is to tell them: repeated ARNs are let through, and of the ARNs of
/// other partitions the first is named, for the list.
fn of_validate(spec: Value, list: &str) -> BTreeSet<(String, String)> {
    let spec: AWSIamConfigSpec = serde_json::from_value(spec).expect("a spec");
    let findings: Vec<Finding> = validate(&spec)
        .into_iter()
        .filter(|f| f.severity == Severity::Refused && f.reason != Reason::DuplicateArn)
        .collect();
    let elsewhere = findings.iter().find(|f| f.reason == Reason::WrongPartition);
    let of_list = elsewhere.map(|f| (format!("spec.{list}"), f.message.clone()));
    let of_rows = findings.iter().filter(|f| f.reason != Reason::WrongPartition);
    of_rows.map(|f| (f.field_path.clone(), f.message.clone())).chain(of_list).collect()
}

#[tokio::test]
async fn two_thousand_rows_in_each_list_are_admitted_and_one_more_is_not() {
    let (_, client) = with_crds().await;
    let api = api(&client, AWS_IAM_CONFIG);
    let mut spec = stock(AWS_IAM_CONFIG);
    spec["mapRoles"] =
        rows(2000, |n| json!({ "roleARN": role(n), "username": "u", "groups": ["system:masters"] }));
    spec["mapUsers"] = rows(
        2000,
        |n| json!({ "userARN": format!("arn:aws:iam::111122223333:user/team/{n}"), "username": "u" }),
    );
    spec["mapAccounts"] = rows(2000, |n| json!(format!("{n:012}")));
    let made =
        api.create(&PostParams::default(), &object(AWS_IAM_CONFIG, "large", &spec)).await.expect("admitted");
    // The rules run again on the whole object when a single row changes.
    spec["mapRoles"][1999]["username"] = json!("other");
    let mut changed = object(AWS_IAM_CONFIG, "large", &spec);
    changed.metadata.resource_version = made.resource_version();
    api.replace("large", &PostParams::default(), &changed).await.expect("admitted");

    spec["mapRoles"] = rows(2001, |n| json!({ "roleARN": role(n), "username": "u" }));
    let one_more = api.create(&dry_run(), &object(AWS_IAM_CONFIG, "larger", &spec)).await;
    let causes = causes(one_more);
    assert!(
        causes.iter().any(|(field, text)| field == "spec.mapRoles" && text.contains("2000")),
        "{causes:#?}"
    );
}

fn rows(count: usize, row: impl Fn(usize) -> Value) -> Value {
    (0..count).map(row).collect()
}

fn role(number: usize) -> String {
    format!("arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Team_{number:016}")
}

#[tokio::test]
async fn two_thousand_of_the_longest_arns_fit_the_budget_of_the_rules() {
    let (_, client) = with_crds().await;
    for (list, field, kind) in [("mapRoles", "roleARN", "role"), ("mapUsers", "userARN", "user")] {
        let prefix = format!("arn:aws:iam::111122223333:{kind}/{}/", "p".repeat(400));
        let mut spec = stock(AWS_IAM_CONFIG);
        spec[list] = rows(2000, |n| json!({ field: format!("{prefix}{n}"), "username": "u" }));
        let made =
            api(&client, AWS_IAM_CONFIG).create(&dry_run(), &object(AWS_IAM_CONFIG, "long", &spec)).await;
        assert_eq!(causes(made), [], "{list}");
    }
}

#[tokio::test]
async fn an_absent_a_null_and_an_empty_list_of_references_stay_apart() {
    let (_, client) = with_crds().await;
    let cases = [(json!({}), None), (json!({ "identityProviderRefs": null }), None)];
    let cases = cases.into_iter().chain([(json!({ "identityProviderRefs": [] }), Some(json!([])))]);
    for (spec, expected) in cases {
        let made = api(&client, "Cluster").create(&dry_run(), &object("Cluster", "new", &spec)).await;
        let made = made.expect("admitted").data;
        assert_eq!(made["spec"].get("identityProviderRefs"), expected.as_ref(), "{spec}");
    }
    let spec = json!({ "awsRegion": "eu-central-1", "backendMode": ["EKSConfigMap"], "mapRoles": null });
    let made = api(&client, AWS_IAM_CONFIG).create(&dry_run(), &object(AWS_IAM_CONFIG, "new", &spec)).await;
    assert_eq!(made.expect("admitted").data["spec"].get("mapRoles"), None);
}

#[tokio::test]
async fn whoever_applies_a_list_replaces_it() {
    let (_, client) = with_crds().await;
    let api = api(&client, AWS_IAM_CONFIG);
    let apply = async |manager: &str, names: &[&str]| {
        let rows: Vec<Value> = names
            .iter()
            .map(|n| json!({ "roleARN": format!("arn:aws:iam::111122223333:role/{n}"), "username": n }))
            .collect();
        let mut spec = stock(AWS_IAM_CONFIG);
        spec["mapRoles"] = json!(rows);
        let wanted = object(AWS_IAM_CONFIG, "applied", &spec);
        let applied =
            api.patch("applied", &PatchParams::apply(manager).force(), &Patch::Apply(&wanted)).await;
        applied.expect("applied").data["spec"]["mapRoles"].as_array().expect("a list").len()
    };
    assert_eq!(apply("one", &["A", "B"]).await, 2);
    assert_eq!(apply("other", &["C"]).await, 1);
}

#[tokio::test]
async fn manifests_in_the_shape_of_eks_anywhere_apply_unchanged() {
    let (control_plane, client) = with_crds().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/local-cluster.yaml");
    let manifests = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path());
    let mut applied = 0;
    for path in manifests.chain([examples]) {
        let text = std::fs::read_to_string(&path).expect("a manifest");
        for document in serde_saphyr::from_multiple::<Value>(&text).expect("YAML") {
            let kind = document["kind"].as_str().expect("a kind");
            if !["Cluster", AWS_IAM_CONFIG].contains(&kind) {
                continue;
            }
            assert_applies_quietly(control_plane, &document);
            let wanted =
                object(kind, document["metadata"]["name"].as_str().expect("a name"), &document["spec"]);
            let made = api(&client, kind).create(&dry_run(), &wanted).await.expect("admitted");
            let mut kept = made.data["spec"].clone();
            if document["spec"].get("partition").is_none() && kind == AWS_IAM_CONFIG {
                assert_eq!(kept["partition"], "aws", "{}", path.display());
                kept.as_object_mut().expect("an object").remove("partition");
            }
            assert_eq!(kept, document["spec"], "{}", path.display());
            applied += 1;
        }
    }
    assert_eq!(applied, 8, "documents in tests/manifests and examples");
}

/// Applies with kubectl, strictly and as a dry run: neither an error nor a warning.
fn assert_applies_quietly(control_plane: &ControlPlane, document: &Value) {
    for side in ["--server-side=true", "--server-side=false"] {
        let file = control_plane.folder().join("document.json");
        std::fs::write(&file, document.to_string()).expect("written");
        let arguments = ["apply", side, "--dry-run=server", "--validate=strict", "-f"];
        let output = kubectl(control_plane, &[arguments.as_slice(), &[&*file.to_string_lossy()]].concat());
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && complaints.is_empty(), "{side}: {complaints}");
    }
}

fn kubectl(control_plane: &ControlPlane, arguments: &[&str]) -> Output {
    control_plane.kubectl().expect("kubectl").args(arguments).output().expect("kubectl runs")
}

#[tokio::test]
async fn a_misspelt_field_of_ours_is_told_by_kubectl() {
    let (control_plane, _) = with_crds().await;
    let spec = json!({ "awsRegion": "eu-central-1", "backendMode": ["EKSConfigMap"], "mapRole": [] });
    let document = serde_json::to_string(&object(AWS_IAM_CONFIG, "misspelt", &spec)).expect("JSON");
    let file = control_plane.folder().join("misspelt.json");
    std::fs::write(&file, document).expect("written");
    let output = kubectl(control_plane, &["create", "--dry-run=server", "-f", &file.to_string_lossy()]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.contains("unknown field \"spec.mapRole\""), "{complaint}");
}

#[tokio::test]
async fn kubectl_explains_the_fields_as_stored() {
    let (control_plane, _) = with_crds().await;
    let pages = [
        ("config", vec!["awsiamconfig.spec", "--recursive"]),
        ("config-role", vec!["awsiamconfig.spec.mapRoles"]),
        ("config-status", vec!["awsiamconfig.status", "--recursive"]),
        ("cluster", vec!["clusters.anywhere.eks.amazonaws.com.spec", "--recursive"]),
        ("cluster-authenticator", vec!["clusters.anywhere.eks.amazonaws.com.spec.iamAuthenticator"]),
        ("cluster-status", vec!["clusters.anywhere.eks.amazonaws.com.status", "--recursive"]),
    ];
    for (name, arguments) in pages {
        let resource =
            arguments.first().expect("a resource").replace("clusters.anywhere.eks.amazonaws.com", "cluster");
        let mut full = vec!["explain", "--api-version=anywhere.eks.amazonaws.com/v1alpha1", &resource];
        full.extend(arguments.iter().skip(1));
        let output = kubectl(control_plane, &full);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_stored(name, &String::from_utf8_lossy(&output.stdout));
    }
}

/// Compares a page with the stored one; `AWSIAM_UPDATE=1` stores it.
fn assert_stored(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/admission/explain-{name}.txt"));
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let text = format!("{}\n", lines.join("\n").trim_end());
    if std::env::var_os("AWSIAM_UPDATE").is_some() {
        std::fs::write(&path, &text).expect("stored");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "{} differs; run with AWSIAM_UPDATE=1 and look at the change", path.display());
}
