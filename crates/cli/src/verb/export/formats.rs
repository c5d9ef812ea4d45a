//! EKS access entries as commands of the AWS CLI, a CloudFormation template, Terraform resources, and for programs.

use awsiam_core::access_entries::{AccessEntry, CLUSTER_ADMIN, Export, Type};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The ARN of the access policy that gives what `system:masters` gives.
fn admin_policy(entry: &AccessEntry) -> String {
    format!("arn:{}:eks::aws:cluster-access-policy/{CLUSTER_ADMIN}", entry.partition())
}

/// A script for the AWS CLI.
pub(super) fn commands(export: &Export, eks: &str) -> String {
    let mut lines = vec!["#!/bin/sh".to_owned(), "set -e".to_owned()];
    for entry in &export.entries {
        let (cluster, principal) = (quoted(eks), quoted(&entry.principal));
        let mut line = format!(
            "aws eks create-access-entry --cluster-name {cluster} --principal-arn {principal} --type {}",
            entry.kind.as_str()
        );
        if !entry.username.is_empty() {
            line += " --username ";
            line += &quoted(&entry.username);
        }
        if !entry.groups.is_empty() {
            let groups: Vec<String> = entry.groups.iter().map(|group| quoted(group)).collect();
            line += " --kubernetes-groups ";
            line += &groups.join(" ");
        }
        lines.push(line);
        if entry.is_admin {
            let policy = quoted(&admin_policy(entry));
            lines.push(format!(
                "aws eks associate-access-policy --cluster-name {cluster} --principal-arn {principal} --policy-arn {policy} --access-scope type=cluster"
            ));
        }
    }
    lines.join("\n") + "\n"
}

/// One word of a shell, whatever stands in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A CloudFormation template, as JSON.
pub(super) fn cloudformation(export: &Export, eks: &str) -> Value {
    let mut resources = Map::new();
    for (index, entry) in export.entries.iter().enumerate() {
        let mut properties = json!({
            "ClusterName": {"Ref": "ClusterName"},
            "PrincipalArn": entry.principal,
            "Type": entry.kind.as_str(),
        });
        if let Some(properties) = properties.as_object_mut() {
            if !entry.username.is_empty() {
                properties.insert("Username".to_owned(), json!(entry.username));
            }
            if !entry.groups.is_empty() {
                properties.insert("KubernetesGroups".to_owned(), json!(entry.groups));
            }
            if entry.is_admin {
                let policy = json!([{"PolicyArn": admin_policy(entry), "AccessScope": {"Type": "cluster"}}]);
                properties.insert("AccessPolicies".to_owned(), policy);
            }
        }
        resources.insert(
            format!("AccessEntry{}", index + 1),
            json!({"Type": "AWS::EKS::AccessEntry", "Properties": properties}),
        );
    }
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Access entries with the grants of aws-auth",
        "Parameters": {"ClusterName": {"Type": "String", "Default": eks}},
        "Resources": resources,
    })
}

/// Terraform resources, in its JSON syntax. Names are by number: two principals may differ in a path alone.
pub(super) fn terraform(export: &Export, eks: &str) -> Value {
    let (mut entries, mut policies) = (Map::new(), Map::new());
    for (index, entry) in export.entries.iter().enumerate() {
        let name = format!("entry_{}", index + 1);
        let mut resource = json!({
            "cluster_name": "${var.cluster_name}",
            "principal_arn": literal(&entry.principal),
            "type": entry.kind.as_str(),
        });
        if let Some(resource) = resource.as_object_mut() {
            if !entry.username.is_empty() {
                resource.insert("user_name".to_owned(), json!(literal(&entry.username)));
            }
            if !entry.groups.is_empty() {
                let groups: Vec<String> = entry.groups.iter().map(|group| literal(group)).collect();
                resource.insert("kubernetes_groups".to_owned(), json!(groups));
            }
        }
        if entry.is_admin {
            let association = json!({
                "cluster_name": "${var.cluster_name}",
                "principal_arn": format!("${{aws_eks_access_entry.{name}.principal_arn}}"),
                "policy_arn": admin_policy(entry),
                "access_scope": {"type": "cluster"},
            });
            policies.insert(name.clone(), association);
        }
        entries.insert(name, resource);
    }
    let mut resources = Map::new();
    if !entries.is_empty() {
        resources.insert("aws_eks_access_entry".to_owned(), Value::Object(entries));
    }
    if !policies.is_empty() {
        resources.insert("aws_eks_access_policy_association".to_owned(), Value::Object(policies));
    }
    json!({"variable": {"cluster_name": {"type": "string", "default": eks}}, "resource": resources})
}

/// A text in which Terraform fills in nothing.
fn literal(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// An export for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'e> {
    cluster_name: &'e str,
    access_entries: Vec<Entry<'e>>,
    without_equal: Vec<WithoutEqual<'e>>,
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'e> {
    principal_arn: &'e str,
    #[serde(rename = "type")]
    kind: Type,
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'e str,
    kubernetes_groups: &'e [String],
    access_policies: Vec<String>,
    remarks: &'e [&'static str],
}

#[derive(Debug, Serialize)]
struct WithoutEqual<'e> {
    list: &'static str,
    line: usize,
    arn: &'e str,
    message: &'e str,
}

impl<'e> Report<'e> {
    pub(super) fn of(export: &'e Export, cluster_name: &'e str) -> Self {
        let entry = |entry: &'e AccessEntry| Entry {
            principal_arn: &entry.principal,
            kind: entry.kind,
            username: &entry.username,
            kubernetes_groups: &entry.groups,
            access_policies: entry.is_admin.then(|| admin_policy(entry)).into_iter().collect(),
            remarks: &entry.remarks,
        };
        let without = export.without_equal.iter().map(|without| WithoutEqual {
            list: without.list.data_key(),
            line: without.line,
            arn: &without.arn,
            message: &without.why,
        });
        Self {
            cluster_name,
            access_entries: export.entries.iter().map(entry).collect(),
            without_equal: without.collect(),
            unreadable: export.unreadable.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(username: &str) -> Export {
        Export {
            entries: vec![AccessEntry {
                principal: "arn:aws-cn:iam::111122223333:role/a".into(),
                kind: Type::Standard,
                username: username.into(),
                groups: vec!["dev".into()],
                is_admin: true,
                remarks: vec![],
            }],
            ..Export::default()
        }
    }

    #[test]
    fn nothing_in_a_username_is_run_by_a_shell_or_by_terraform() {
        let hostile = "x'; rm -rf ~; '$(id)${file(\"/etc/passwd\")}%{if true}";
        let script = commands(&export(hostile), "prod");
        assert!(
            script.contains("--username 'x'\\''; rm -rf ~; '\\''$(id)${file(\"/etc/passwd\")}%{if true}'")
        );
        let name =
            &terraform(&export(hostile), "prod")["resource"]["aws_eks_access_entry"]["entry_1"]["user_name"];
        assert_eq!(name, "x'; rm -rf ~; '$(id)$${file(\"/etc/passwd\")}%%{if true}");
    }

    #[test]
    fn the_policy_has_the_partition_of_the_principal() {
        let template = cloudformation(&export("a"), "prod");
        let policy = &template["Resources"]["AccessEntry1"]["Properties"]["AccessPolicies"][0]["PolicyArn"];
        assert_eq!(policy, "arn:aws-cn:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy");
    }
}
