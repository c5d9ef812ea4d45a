//! The objects in files of manifests, as kubectl reads them: YAML or JSON, several documents, lists. Keeps
//! what is ours with its places in the file; says what was skipped. Judges no spec.

use std::rc::Rc;

use awsiam_api::Severity;
use awsiam_api::names::{AWS_IAM_CONFIG_KIND, CLUSTER_KIND, GROUP, VERSION};
use awsiam_core::yaml::{self, Document, NodeId, Value as Node};
use serde_json::Value;

use crate::files::Source;
use crate::finding::{Finding, Said};
use crate::place::{self, FieldPath, Place};
use crate::schema::without_nulls;

/// How deep lists of objects may lie in lists.
const MAX_LISTS: usize = 4;

/// A kind of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Config,
    Cluster,
}

impl Kind {
    /// As `kind` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Config => AWS_IAM_CONFIG_KIND,
            Kind::Cluster => CLUSTER_KIND,
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Kind::Config, Kind::Cluster].into_iter().find(|kind| kind.name() == name)
    }
}

/// One object of ours in a file.
#[derive(Clone, Debug)]
pub(crate) struct Manifest<'s> {
    pub(crate) kind: Kind,
    /// `metadata.namespace`, or the one that was given for those without.
    pub(crate) namespace: String,
    /// `metadata.name`
    pub(crate) name: String,
    /// The whole object as JSON, without nulls.
    pub(crate) value: Value,
    place: Spot<'s>,
}

/// A node of a document of a file.
#[derive(Clone, Debug)]
struct Spot<'s> {
    source: &'s Source,
    document: Rc<Document<'s>>,
    node: NodeId,
}

impl Manifest<'_> {
    /// Such as `AWSIamConfig default/platform`.
    pub(crate) fn title(&self) -> String {
        format!("{} {}/{}", self.kind.name(), self.namespace, self.name)
    }

    /// The file and line where it begins.
    pub(crate) fn origin(&self) -> String {
        format!("{}:{}", self.place.source.name, self.place.at(&FieldPath::default()).start.line)
    }

    /// Something wrong with the field at `path`; `on_name`: with its name rather than its value.
    pub(crate) fn finding(
        &self,
        path: &FieldPath,
        on_name: bool,
        severity: Severity,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Finding {
        let Spot { source, document, node } = &self.place;
        let place =
            if on_name { place::find_key(document, *node, path) } else { place::find(document, *node, path) };
        let said = Said {
            severity,
            reason: reason.into(),
            object: Some(self.title()),
            field: path.to_string(),
            message: message.into(),
        };
        Finding::new(source, place, said)
    }

    /// Keys that stand twice in one map: only the last one counts, and what the first says is lost.
    pub(crate) fn repeated_keys(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let Spot { document, node, .. } = &self.place;
        self.find_repeated(document, *node, &FieldPath::default(), &mut found);
        found
    }

    fn find_repeated(
        &self,
        document: &Document<'_>,
        node: NodeId,
        path: &FieldPath,
        found: &mut Vec<Finding>,
    ) {
        match &document.node(node).value {
            Node::Sequence { items, .. } => {
                for (index, item) in items.iter().enumerate() {
                    self.find_repeated(document, item.node, &path.index(index), found);
                }
            }
            Node::Mapping { pairs, .. } => {
                for (at, (key, value)) in pairs.iter().enumerate() {
                    let Some(name) = place::scalar(document, *key) else { continue };
                    let path = path.field(name);
                    let earlier =
                        pairs.iter().take(at).find(|(k, _)| place::scalar(document, *k) == Some(name));
                    if let Some((first, _)) = earlier {
                        let line = document.node(*first).start.line;
                        let message = format!(
                            "{name} stands already on line {line}, and only the last one counts: write one of them"
                        );
                        found.push(self.finding(&path, true, Severity::Refused, "RepeatedField", message));
                    }
                    self.find_repeated(document, *value, &path, found);
                }
            }
            Node::Scalar { .. } | Node::Alias { .. } => {}
        }
    }
}

impl Spot<'_> {
    fn at(&self, path: &FieldPath) -> Place {
        place::find(&self.document, self.node, path)
    }

    fn refusal(&self, path: &FieldPath, reason: &str, message: String) -> Finding {
        let said = Said {
            severity: Severity::Refused,
            reason: reason.to_owned(),
            object: None,
            field: path.to_string(),
            message,
        };
        Finding::new(self.source, self.at(path), said)
    }
}

/// What files hold.
#[derive(Debug, Default)]
pub(crate) struct Manifests<'s> {
    /// The objects of ours, in the order of the files.
    pub(crate) objects: Vec<Manifest<'s>>,
    /// The objects of other kinds, one line each.
    pub(crate) skipped: Vec<String>,
    /// What keeps something from being read as an object.
    pub(crate) findings: Vec<Finding>,
    /// How many files are no YAML at all.
    pub(crate) unreadable: usize,
}

/// Reads every object. One without a namespace gets `namespace`.
pub(crate) fn read<'s>(sources: &'s [Source], namespace: &str) -> Manifests<'s> {
    let mut manifests = Manifests::default();
    for source in sources {
        if let Err(error) = manifests.read_source(source, namespace) {
            manifests.unreadable += 1;
            let end = error.position.offset;
            let said = Said {
                severity: Severity::Refused,
                reason: "Unreadable".to_owned(),
                object: None,
                field: String::new(),
                message: format!("this is neither YAML nor JSON: {}", error.message),
            };
            manifests.findings.push(Finding::new(source, Place { start: error.position, end }, said));
        }
    }
    manifests
}

impl<'s> Manifests<'s> {
    fn read_source(&mut self, source: &'s Source, namespace: &str) -> Result<(), yaml::YamlError> {
        for document in yaml::documents(&source.text)? {
            let value = yaml::to_json(&document)?;
            let Some(node) = document.root.filter(|_| !value.is_null()) else { continue };
            let spot = Spot { source, document: Rc::new(document), node };
            self.take(spot, value, None, namespace, MAX_LISTS);
        }
        Ok(())
    }

    /// Takes in one object; of a list, its items. `implied` is the kind of items that need not name it.
    fn take(
        &mut self,
        spot: Spot<'s>,
        value: Value,
        implied: Option<(&str, &str)>,
        namespace: &str,
        lists: usize,
    ) {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let named = text("apiVersion").zip(text("kind")).or(implied);
        let Some((api_version, kind)) = named else {
            let message = "this is no Kubernetes object: it has no apiVersion and kind".to_owned();
            self.findings.push(spot.refusal(&FieldPath::default(), "NoObject", message));
            return;
        };
        let is_ours = api_version == format!("{GROUP}/{VERSION}");
        let item_kind = kind.strip_suffix("List").filter(|item| is_ours && Kind::named(item).is_some());
        if lists > 0 && (item_kind.is_some() || (api_version == "v1" && kind == "List")) {
            let implied = item_kind.map(|item| (api_version, item));
            self.take_items(&spot, &value, implied, namespace, lists - 1);
        } else if let Some(kind) = Kind::named(kind).filter(|_| is_ours) {
            self.keep(spot, kind, value, namespace);
        } else {
            let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name");
            let line = spot.at(&FieldPath::default()).start.line;
            self.skipped.push(format!("{}:{line}: skipped {kind} {name} ({api_version})", spot.source.name));
        }
    }

    fn take_items(
        &mut self,
        spot: &Spot<'s>,
        value: &Value,
        implied: Option<(&str, &str)>,
        namespace: &str,
        lists: usize,
    ) {
        let path = FieldPath::default().field("items");
        let items = value.get("items").and_then(Value::as_array).into_iter().flatten();
        for (index, item) in items.enumerate() {
            let node = place::node(&spot.document, spot.node, &path.index(index)).unwrap_or(spot.node);
            self.take(Spot { node, ..spot.clone() }, item.clone(), implied, namespace, lists);
        }
    }

    fn keep(&mut self, place: Spot<'s>, kind: Kind, mut value: Value, namespace: &str) {
        without_nulls(&mut value);
        let metadata = |field: &str| value.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
        let Some(name) = metadata("name").filter(|name| is_object_name(name)).map(str::to_owned) else {
            let message = match metadata("name") {
                None | Some("") => format!("this {} has no name: write one under metadata", kind.name()),
                Some(name) => format!(
                    "{name:?} cannot be a name: write lower-case letters, digits, - and ., beginning and ending with a letter or digit"
                ),
            };
            self.findings.push(place.refusal(&FieldPath::parse("metadata.name"), "BadObjectName", message));
            return;
        };
        let namespace = metadata("namespace").filter(|n| !n.is_empty()).unwrap_or(namespace).to_owned();
        self.objects.push(Manifest { kind, namespace, name, value, place });
    }
}

/// Whether the API server takes it for a name: a DNS subdomain (RFC 1123).
fn is_object_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.starts_with(is_plain)
            && label.ends_with(is_plain)
            && label.chars().all(|c| is_plain(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(text: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let sources = [Source { name: "f".into(), text: text.into() }];
        let read = read(&sources, "ns");
        let titles = read.objects.iter().map(Manifest::title).collect();
        let findings =
            read.findings.iter().map(|f| format!("{}:{} {}", f.line, f.column, f.message)).collect();
        (titles, read.skipped, findings)
    }

    const OURS: &str = "anywhere.eks.amazonaws.com/v1alpha1";

    #[test]
    fn documents_and_lists_are_read_and_other_kinds_skipped_with_a_note() {
        let text = format!(
            "# only a comment\n---\napiVersion: {OURS}\nkind: Cluster\nmetadata: {{name: c}}\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {{name: s}}\n- apiVersion: {OURS}\n  kind: AWSIamConfigList\n  items:\n  - metadata: {{name: a, namespace: other}}\n---\napiVersion: cluster.x-k8s.io/v1beta1\nkind: Cluster\nmetadata: {{name: x}}\n"
        );
        let (titles, skipped, findings) = titles(&text);
        assert_eq!(titles, ["Cluster ns/c", "AWSIamConfig other/a"]);
        assert_eq!(
            skipped,
            ["f:10: skipped Secret s (v1)", "f:18: skipped Cluster x (cluster.x-k8s.io/v1beta1)"]
        );
        assert!(findings.is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let (_, _, findings) = titles(&format!(
            "a: 1\n---\napiVersion: {OURS}\nkind: Cluster\n---\napiVersion: {OURS}\nkind: Cluster\nmetadata:\n  name: Not_One\n"
        ));
        assert_eq!(
            findings,
            [
                "1:1 this is no Kubernetes object: it has no apiVersion and kind",
                "3:1 this Cluster has no name: write one under metadata",
                "9:9 \"Not_One\" cannot be a name: write lower-case letters, digits, - and ., beginning and ending with a letter or digit",
            ]
        );
    }

    #[test]
    fn a_text_that_is_no_yaml_is_a_finding_with_its_place() {
        let sources = [Source { name: "f".into(), text: "a: 1\nb: [\n".into() }];
        let read = read(&sources, "ns");
        assert_eq!(read.unreadable, 1);
        assert!(read.findings[0].line >= 2, "{:?}", read.findings);
    }

    #[test]
    fn keys_that_come_twice_are_found() {
        let text = format!(
            "apiVersion: {OURS}\nkind: AWSIamConfig\nmetadata: {{name: a}}\nspec:\n  mapRoles: []\n  mapRoles: []\n"
        );
        let sources = [Source { name: "f".into(), text }];
        let found = read(&sources, "ns").objects[0].repeated_keys();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].column, found[0].field.as_str()), (6, 3, "spec.mapRoles"));
    }
}
