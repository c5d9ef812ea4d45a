//! The table of admission, judged by the CRD's rules (evaluated here, without an API server) and by
//! `validate`: the same verdict in the same words. A real API server judges the same table in the
//! package of the whole-system tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::BTreeSet;

use awsiam_api::{
    AWSIamConfigSpec, ClusterSpec, Severity, crds, validate, validate_cluster, validate_update,
};
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Value, json};

#[path = "cases/mod.rs"]
mod cases;

use cases::{AWS_IAM_CONFIG, Case};

/// The rules of both CRDs, compiled once.
struct Rules {
    validator: Validator,
    config: CompiledSchema,
    cluster: CompiledSchema,
}

impl Rules {
    fn new() -> Self {
        let [config, cluster] = ["AWSIamConfig", "Cluster"].map(|kind| {
            let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).expect("one of ours");
            let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            let compiled = compile_schema(&serde_json::to_value(schema).unwrap());
            assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
            compiled
        });
        Self { validator: Validator::new(), config, cluster }
    }

    fn texts(&self, case: &Case) -> BTreeSet<String> {
        let schema = if case.kind == AWS_IAM_CONFIG { &self.config } else { &self.cluster };
        // Defaults are the API server's, and it applies them first.
        let object = |spec: &Value| {
            let mut spec = spec.clone();
            if case.kind == AWS_IAM_CONFIG && spec.get("partition").is_none() {
                spec["partition"] = json!("aws");
            }
            json!({ "spec": spec })
        };
        let old = case.from.as_ref().map(object);
        match self.validator.validate_compiled(schema, &object(&case.spec), old.as_ref()) {
            Ok(()) => BTreeSet::new(),
            Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
        }
    }
}

fn texts_of_validate(case: &Case) -> BTreeSet<String> {
    let findings = if case.kind == AWS_IAM_CONFIG {
        let spec: AWSIamConfigSpec = serde_json::from_value(case.spec.clone()).unwrap();
        let old = case.from.as_ref().map(|from| serde_json::from_value(from.clone()).unwrap());
        let changes = old.map(|old| validate_update(&old, &spec)).unwrap_or_default();
        // The API server lets repeated ARNs through.
        let unknown_to_admission = |reason| reason == awsiam_api::Reason::DuplicateArn;
        let findings = validate(&spec).into_iter().filter(|finding| !unknown_to_admission(finding.reason));
        findings.chain(changes).collect()
    } else {
        let spec: ClusterSpec = serde_json::from_value(case.spec.clone()).unwrap();
        validate_cluster(&spec)
    };
    let refused = findings.into_iter().filter(|finding| finding.severity == Severity::Refused);
    refused.map(|finding| finding.message).collect()
}

#[test]
fn the_rules_of_the_crd_say_what_the_table_says() {
    let rules = Rules::new();
    for case in cases::all() {
        assert_eq!(rules.texts(&case), case.refused, "{}", case.name);
    }
}

#[test]
fn validate_says_what_the_table_says() {
    for case in cases::all() {
        assert_eq!(texts_of_validate(&case), case.refused, "{}", case.name);
    }
}

#[test]
fn rules_and_validate_agree_on_combinations_of_parts() {
    let rules = Rules::new();
    let mut refused = 0;
    // All of them are for the API server, which is faster than an interpreter in a debug build.
    for arn in cases::arns().into_iter().step_by(53) {
        for list in ["role", "user"] {
            let case = Case::of_row(list, &arn);
            let texts = texts_of_validate(&case);
            assert_eq!(rules.texts(&case), texts, "{list} {arn:?}");
            refused += usize::from(!texts.is_empty());
        }
    }
    assert!(refused > 100, "only {refused} of the combinations are refused");
}
