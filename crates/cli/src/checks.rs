//! Everything that is wrong with the objects of files, by the rules of admission and of the operator:
//! what `awsiam validate` prints. The rules themselves lie in `awsiam_api` and `awsiam_core`.

use std::sync::Arc;

use awsiam_api::names::AWS_IAM_CONFIG_KIND;
use awsiam_api::{
    AWSIamConfigSpec, ConfigLookup, FoundConfig, IdentityProviderRef, Judged, Severity, resolve,
    validate_cluster,
};
use awsiam_core::desired::{DesiredMapping, Refs};
use awsiam_core::mapping::{Mapping, is_node};
use awsiam_core::privilege::{MASTERS, Policy, Refusal};

use crate::finding::Finding;
use crate::manifests::Manifest;
use crate::object::{Object, Objects};
use crate::place::FieldPath;

/// The reason of findings that a privilege flag decides about.
pub(crate) const PRIVILEGE: &str = "PrivilegeRefused";

/// Every finding of every object, in the order of the files.
pub(crate) fn findings(objects: &Objects<'_>, policy: &Policy) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(repeated(objects.configs.iter().map(|object| &object.manifest)));
    findings.extend(repeated(objects.clusters.iter().map(|object| &object.manifest)));
    for config in &objects.configs {
        findings.extend(of_config(config, policy));
    }
    for cluster in &objects.clusters {
        let found = cluster.spec.as_ref().map(validate_cluster).unwrap_or_default();
        findings.extend(together(cluster, found));
    }
    findings
}

/// Puts findings in the order of `files`, and of lines in them.
pub(crate) fn sort(findings: &mut [Finding], files: &[&str]) {
    let number = |finding: &Finding| files.iter().position(|file| *file == finding.file);
    findings.sort_by_key(|finding| (number(finding), finding.line, finding.column));
}

/// What is wrong with one AWSIamConfig.
fn of_config(config: &Object<'_, AWSIamConfigSpec>, policy: &Policy) -> Vec<Finding> {
    let Ok(spec) = &config.spec else { return config.misfits.clone() };
    let manifest = &config.manifest;
    let found = FoundConfig {
        name: manifest.name.clone(),
        uid: String::new(),
        generation: 0,
        judged: Arc::new(Judged::of(&manifest.name, spec)),
        deleting: false,
    };
    let reference = IdentityProviderRef { kind: AWS_IAM_CONFIG_KIND.to_owned(), name: manifest.name.clone() };
    let mut resolution = resolve(Some(&[reference]), |_| ConfigLookup::Found(Box::new(found.clone())));
    let mut findings = together(config, resolution.findings.remove(&manifest.name).unwrap_or_default());
    if let Refs::Listed(configs) = &resolution.refs {
        let rows = configs.iter().flat_map(|config| config.mappings.iter());
        findings.extend(rows.filter_map(|row| privilege(manifest, row, policy)));
    }
    findings
}

/// Misfits and findings of one object; of two that say of one field that it is too long, one.
fn together<T>(object: &Object<'_, T>, found: Vec<awsiam_api::Finding>) -> Vec<Finding> {
    let said = |misfit: &Finding| {
        found.iter().any(|f| f.field_path == misfit.field && f.reason.to_string() == misfit.reason)
    };
    let mut findings: Vec<Finding> = object.misfits.iter().filter(|misfit| !said(misfit)).cloned().collect();
    findings.extend(found.into_iter().map(|found| {
        let path = FieldPath::parse(&found.field_path);
        object.manifest.finding(&path, false, found.severity, found.reason.to_string(), found.message)
    }));
    findings
}

fn privilege(manifest: &Manifest<'_>, row: &DesiredMapping, policy: &Policy) -> Option<Finding> {
    let refusal = policy.check(&manifest.namespace, &row.mapping).err()?;
    let path = FieldPath::parse(&row.field).join(&concerned(&refusal, &row.mapping));
    Some(manifest.finding(&path, false, Severity::Refused, PRIVILEGE, refusal.to_string()))
}

/// The field of a row that a refusal is about.
fn concerned(refusal: &Refusal, mapping: &Mapping) -> FieldPath {
    let holds = |text: &str, name: &str| text.contains(&format!("{{{{{name}"));
    let group = |is_it: &dyn Fn(&str) -> bool| mapping.groups.iter().position(|group| is_it(group));
    let index = match refusal {
        Refusal::Masters => group(&|g| g == MASTERS),
        Refusal::SystemGroup(name) | Refusal::Group(name) => group(&|g| g == name),
        Refusal::AccessKeyIdInGroup => group(&|g| holds(g, "AccessKeyID")),
        Refusal::SessionNamePlace { place: "a group", placeholder } => group(&|g| holds(g, placeholder)),
        Refusal::Placeholder(name) if !holds(&mapping.username, name) => group(&|g| holds(g, name)),
        Refusal::Node if !is_node(&mapping.username, &[]) => group(&|g| is_node("", &[g.to_owned()])),
        _ => None,
    };
    match index {
        Some(index) => FieldPath::default().field("groups").index(index),
        None => FieldPath::default().field("username"),
    }
}

/// Objects that stand twice in the files: the last would stay, and what the first says would be lost.
fn repeated<'m, 's: 'm>(manifests: impl Iterator<Item = &'m Manifest<'s>>) -> Vec<Finding> {
    let mut seen: Vec<&Manifest<'_>> = Vec::new();
    let mut findings = Vec::new();
    for manifest in manifests {
        let earlier = seen.iter().find(|m| m.namespace == manifest.namespace && m.name == manifest.name);
        if let Some(earlier) = earlier {
            let message = format!(
                "{} stands already at {}, and only the last one would stay: write one of them, or give it another name",
                manifest.title(),
                earlier.origin()
            );
            let path = FieldPath::parse("metadata.name");
            findings.push(manifest.finding(&path, false, Severity::Refused, "RepeatedObject", message));
        }
        seen.push(manifest);
    }
    findings
}
