//! What the authenticator may do on its target. Its only call with backend EKSConfigMap is a watch with
//! `fieldSelector=metadata.name=aws-auth`, which authorization sees as a request for that name; so it can
//! read `aws-auth` and nothing else.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::{cluster_wide, namespaced};
use crate::names::{CRD_ROLE, NAME, NAMESPACE};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn role() -> Role {
    let rule = PolicyRule {
        resource_names: Some(vec!["aws-auth".to_owned()]),
        ..rule("", "configmaps", &["get", "list", "watch"])
    };
    Role { metadata: namespaced(NAME), rules: Some(vec![rule]) }
}

pub(super) fn role_binding() -> RoleBinding {
    RoleBinding { metadata: namespaced(NAME), role_ref: to("Role", NAME), subjects: Some(vec![subject()]) }
}

/// With backend CRD the authenticator watches IAMIdentityMappings and writes into their status the ARN as it
/// matches it, by updates; it tells of failures by Events. Those go to namespace `default`, as the objects have none;
/// the right is cluster-wide all the same, because a Role in `default` would be two more objects in a namespace of
/// other people, and whoever can make Events can do no more than make noise.
pub(super) fn cluster_role() -> ClusterRole {
    let group = "iamauthenticator.k8s.aws";
    ClusterRole {
        metadata: cluster_wide(CRD_ROLE),
        rules: Some(vec![
            rule(group, "iamidentitymappings", &["get", "list", "watch"]),
            rule(group, "iamidentitymappings/status", &["update"]),
            rule("", "events", &["create", "patch"]),
        ]),
        ..ClusterRole::default()
    }
}

pub(super) fn cluster_role_binding() -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: cluster_wide(CRD_ROLE),
        role_ref: to("ClusterRole", CRD_ROLE),
        subjects: Some(vec![subject()]),
    }
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    }
}

fn to(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: RBAC.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn subject() -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: NAME.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        ..Subject::default()
    }
}
