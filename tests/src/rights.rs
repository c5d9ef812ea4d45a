//! Whether the chart grants what the tests need and no more: each test program leaves behind what was granted to the
//! operator on its control planes and what the operator asked for there; when all have run, the two are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use crate::control_plane::AuditEvent;
use crate::stage::OPERATOR;

/// Names the folder that control planes write their audit logs into, and tests the rights that they install.
pub const FOLDER: &str = "AWSIAM_RIGHTS";

/// What the names of the operator's Roles begin with.
const ROLE: &str = "awsiam-system:awsiam";
/// Endings of these names that don't hold a Cluster's name.
const ENDINGS: [&str; 4] = ["watched", "remote", "cluster-api", "leader-election"];
/// Rules for Clusters that stand for other clusters.
const REMOTE: &str = "remote";
const AUDIT: &str = ".audit.log";
const GRANTED: &str = ".rights.json";

/// Rights that the operator has only so that it may give them to the authenticator, as verb, group and resource: nobody can
/// give what he has not got.
const PASSED_ON: [(&str, &str, &str); 4] = [
    ("get", "iamauthenticator.k8s.aws", "iamidentitymappings"),
    ("update", "iamauthenticator.k8s.aws", "iamidentitymappings/status"),
    ("create", "", "events"),
    ("patch", "", "events"),
];

/// Where the control plane with this folder leaves something; none where nobody compares.
pub(crate) fn place(folder: &Path, ending: &str) -> Option<PathBuf> {
    let mut name = folder.file_name()?.to_owned();
    name.push(ending);
    Some(PathBuf::from(std::env::var_os(FOLDER)?).join(name))
}

/// Where its audit log lies.
pub(crate) fn audit_log(folder: &Path) -> Option<PathBuf> {
    place(folder, AUDIT)
}

/// Leaves behind the Roles among these manifests, as granted on the control plane with this folder.
///
/// # Errors
/// Where they can't be read or written down.
pub(crate) fn granted(
    folder: &Path,
    manifests: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(file) = place(folder, GRANTED) else { return Ok(()) };
    let mut roles: Vec<Value> = match std::fs::read(&file) {
        Ok(written) => serde_json::from_slice(&written)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    for document in manifests.split("\n---") {
        if ["\nkind: Role\n", "\nkind: ClusterRole\n"].iter().any(|kind| document.contains(kind)) {
            roles.push(serde_saphyr::from_str(document)?);
        }
    }
    Ok(std::fs::write(file, serde_json::to_vec(&roles)?)?)
}

/// A Role or a ClusterRole, which has no namespace.
#[derive(Deserialize)]
struct Role {
    metadata: ObjectMeta,
    #[serde(default)]
    rules: Vec<PolicyRule>,
}

/// One verb on one resource, as it is granted whatever the Cluster and the namespace are called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    /// The rules of the chart that it is among: some stand in several Roles, as values choose.
    role: String,
    group: String,
    /// With the subresource behind a slash.
    resource: String,
    /// None: of any name.
    name: Option<String>,
    verb: String,
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { role, group, resource, name, verb } = self;
        let name = name.as_deref().unwrap_or("of any name");
        write!(f, "{verb} {resource} {name} (group {group:?}, role {role})")
    }
}

/// The verbs that a request needs: a server-side apply that makes the object needs the right to create it, too.
fn needed(event: &AuditEvent) -> impl Iterator<Item = &str> {
    let made = event.verb == "patch" && event.code == Some(201);
    std::iter::once(event.verb.as_str()).chain(made.then_some("create"))
}

/// A [`Grant`] on one control plane, with what it takes to see whether a request needed it.
struct Rule {
    grant: Grant,
    /// The Role that it stands in, as no Cluster is called.
    place: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl Rule {
    fn lets(&self, event: &AuditEvent, resource: &str) -> bool {
        needed(event).any(|verb| self.grant.verb == verb)
            && self.grant.group == event.group
            && self.grant.resource == resource
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == event.namespace)
            && self.name.as_ref().is_none_or(|name| *name == event.name)
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Comparison {
    /// How many rights were granted, each counted once.
    pub granted: usize,
    /// How many requests of the operator were looked at.
    pub requests: usize,
    /// Granted, and used by nobody.
    pub unused: Vec<String>,
    /// Asked for, and granted nowhere.
    pub refused: Vec<String>,
}

/// Compares what all control planes left in this folder. A request that was refused counts as asked for in vain only
/// when no control plane grants it, name and namespace included: tests take rights away.
///
/// # Errors
/// Where a file can't be read.
pub fn compare(folder: &Path) -> io::Result<Comparison> {
    let mut used: BTreeMap<Grant, bool> = BTreeMap::new();
    let mut places: BTreeMap<String, bool> = BTreeMap::new();
    let mut all_rules: Vec<Rule> = Vec::new();
    let mut refused: Vec<(AuditEvent, String)> = Vec::new();
    let mut requests = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(plane) = path.to_str().and_then(|path| path.strip_suffix(GRANTED)) else { continue };
        let granted: Vec<Role> = serde_json::from_slice(&std::fs::read(&path)?)?;
        let rules: Vec<Rule> = granted.iter().flat_map(rules_of).collect();
        for rule in &rules {
            used.entry(rule.grant.clone()).or_default();
            places.entry(rule.place.clone()).or_default();
        }
        let log = match File::open(format!("{plane}{AUDIT}")) {
            Ok(log) => log,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(log).split(b'\n') {
            // The last one may be cut off: its server was killed.
            let Some(event) = AuditEvent::read(&line?) else { continue };
            if event.user != OPERATOR || event.resource.is_empty() {
                continue;
            }
            requests += 1;
            let resource = match event.subresource.as_str() {
                "" => event.resource.clone(),
                subresource => format!("{}/{subresource}", event.resource),
            };
            if event.code == Some(403) {
                refused.push((event, resource));
                continue;
            }
            for rule in rules.iter().filter(|rule| rule.lets(&event, &resource)) {
                used.insert(rule.grant.clone(), true);
                places.insert(rule.place.clone(), true);
            }
        }
        all_rules.extend(rules);
    }
    let in_vain: BTreeSet<String> = refused
        .iter()
        .filter(|(event, resource)| !all_rules.iter().any(|rule| rule.lets(event, resource)))
        .map(|(event, resource)| {
            let AuditEvent { verb, group, namespace, name, .. } = event;
            format!("{verb} {resource} {namespace}/{name} (group {group:?})")
        })
        .collect();
    Ok(Comparison {
        granted: used.len(),
        requests,
        refused: in_vain.into_iter().collect(),
        unused: used
            .iter()
            .filter(|(grant, used)| !**used && !is_passed_on(grant))
            .map(|(grant, _)| grant.to_string())
            .chain(
                places
                    .iter()
                    .filter(|(_, used)| !**used)
                    .map(|(place, _)| format!("anything in role {place}")),
            )
            .collect(),
    })
}

fn is_passed_on(grant: &Grant) -> bool {
    PASSED_ON.contains(&(&grant.verb, &grant.group, &grant.resource))
}

/// The verbs that a Role grants, each on its own.
fn rules_of(role: &Role) -> Vec<Rule> {
    let name = role.metadata.name.as_deref().unwrap_or_default();
    let ending = name.strip_prefix(ROLE).map_or(name, |ending| ending.trim_start_matches([':', '-']));
    let cluster = if ENDINGS.contains(&ending) { "" } else { ending.trim_start_matches("remote:") };
    let general = |text: &str| match cluster {
        "" => text.to_owned(),
        cluster if text == cluster => "CLUSTER".to_owned(),
        cluster => text
            .strip_prefix(&format!("{cluster}-"))
            .map_or_else(|| text.to_owned(), |rest| format!("CLUSTER-{rest}")),
    };
    let place = match (ending.starts_with("remote:"), cluster) {
        (true, _) => "remote:CLUSTER",
        (false, "") => ending,
        (false, _) => "CLUSTER",
    };
    let mut rules = Vec::new();
    for (group, resource, name, verb) in role.rules.iter().flat_map(single) {
        let namespace = role.metadata.namespace.clone();
        let among = among(place, namespace.is_none(), group, resource);
        // Remote rules are for Secrets of chosen names, or for all of a namespace.
        let own_name = name.filter(|_| among != REMOTE).map(|name| without_number(&general(name)));
        let grant = Grant {
            role: among.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: own_name,
            verb: verb.to_owned(),
        };
        let place = if among == REMOTE && namespace.is_none() { "remote everywhere" } else { place };
        rules.push(Rule { grant, place: place.to_owned(), namespace, name: name.map(str::to_owned) });
    }
    rules
}

/// The rules of the chart that a right in this Role is among: what Clusters of other clusters need stands in Roles for
/// namespaces, for single Clusters and for where Cluster API's objects lie, and in the ClusterRole for all namespaces; what the
/// operator needs for its own resources, in the ClusterRole or in a Role for each namespace.
fn among<'r>(place: &'r str, is_cluster_role: bool, group: &str, resource: &str) -> &'r str {
    let of_targets = group.ends_with("cluster.x-k8s.io") || (group.is_empty() && resource == "secrets");
    match place {
        "watched" => "",
        "remote" | "remote:CLUSTER" | "cluster-api" => REMOTE,
        "" if is_cluster_role && of_targets => REMOTE,
        other => other,
    }
}

/// Each combination of group, resource, name and verb that a rule allows; no name: any.
fn single(rule: &PolicyRule) -> impl Iterator<Item = (&str, &str, Option<&str>, &str)> {
    let limit = rule.resource_names.as_deref().unwrap_or_default();
    let names = limit.iter().map(|name| Some(name.as_str())).chain(limit.is_empty().then_some(None));
    let groups = rule.api_groups.iter().flatten();
    let resources =
        groups.flat_map(|group| rule.resources.iter().flatten().map(move |resource| (group, resource)));
    let objects =
        resources.flat_map(move |(group, resource)| names.clone().map(move |name| (group, resource, name)));
    objects.flat_map(|(group, resource, name)| {
        rule.verbs.iter().map(move |verb| (group.as_str(), resource.as_str(), name, verb.as_str()))
    })
}

/// The records of the history are ten of a kind.
fn without_number(name: &str) -> String {
    match name.strip_prefix("aws-auth-history-") {
        Some(_) => "aws-auth-history-N".to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const ROLES: &str = r#"[{"metadata": {"name": "awsiam-system:awsiam:prod", "namespace": "default"}, "rules": [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["prod-ca"], "verbs": ["get", "delete"]}]}]"#;

    fn line(verb: &str, resource: &str, name: &str, code: u16) -> String {
        format!(
            r#"{{"stage":"ResponseComplete","requestURI":"/","verb":"{verb}","user":{{"username":"{OPERATOR}"}},"objectRef":{{"resource":"{resource}","namespace":"default","name":"{name}","apiGroup":""}},"responseStatus":{{"code":{code}}},"requestReceivedTimestamp":"2026-01-01T00:00:00Z"}}"#
        )
    }

    fn compared(lines: &[String]) -> Comparison {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("one.rights.json"), ROLES).unwrap();
        std::fs::write(folder.path().join("one.audit.log"), lines.join("\n")).unwrap();
        compare(folder.path()).unwrap()
    }

    #[test]
    fn a_right_that_nobody_used_is_found() {
        let found =
            compared(&[line("get", "secrets", "prod-ca", 200), line("delete", "secrets", "other", 404)]);
        assert_eq!(found.unused, [r#"delete secrets CLUSTER-ca (group "", role CLUSTER)"#]);
        assert_eq!((found.granted, found.requests), (2, 2));
    }

    #[test]
    fn a_server_side_apply_that_makes_the_object_needs_the_right_to_create_it() {
        let event = |code| AuditEvent::read(line("patch", "secrets", "prod-ca", code).as_bytes()).unwrap();
        assert_eq!(needed(&event(201)).collect::<Vec<_>>(), ["patch", "create"]);
        assert_eq!(needed(&event(200)).collect::<Vec<_>>(), ["patch"]);
    }

    #[test]
    fn what_was_asked_for_and_is_granted_nowhere_is_found() {
        let lines = [("get", "secrets", "prod-ca"), ("get", "secrets", "other"), ("watch", "pods", "")];
        let found = compared(&lines.map(|(verb, resource, name)| line(verb, resource, name, 403)));
        assert_eq!(
            found.refused,
            [r#"get secrets default/other (group "")"#, r#"watch pods default/ (group "")"#]
        );
        assert_eq!(found.unused.len(), 3, "two rights, and the role: {:?}", found.unused);
    }
}
