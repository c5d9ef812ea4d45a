//! The guard at admission (`guard` of the chart) on a real API server: what it refuses, whom it lets pass, and where it does
//! not look.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::BTreeMap;

use awsiam_tests::documents::{GUARD, run};
use awsiam_tests::stage::{CLUSTER, OPERATOR_NAMESPACE, Stage, install_with};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Error, ResourceExt};
use serde_json::json;

const POLICY: &str = "awsiam.awsiam-system.guard";
const NODES: &str = "- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

/// So many entries that are not for nodes.
fn people(word: &str, number: usize) -> String {
    let one = |i| [format!("- {word}: arn:aws:iam::111122223333:x/p{i}\n"), format!("  username: p{i}\n")];
    (0..number).flat_map(one).collect()
}

fn with_nodes(number: usize) -> String {
    format!("{NODES}{}", people("rolearn", number))
}

/// A control plane with the guard, and an aws-auth of its own for each question.
struct Guarded {
    stage: Stage,
}

impl Guarded {
    async fn set() -> Self {
        let stage = Stage::set().await;
        let values =
            ["guard.enabled=true", "guard.exemptUsers={breakglass}", "guard.exemptGroups={fleet:makers}"];
        let values = values.map(str::to_owned);
        install_with(stage.plane, OPERATOR_NAMESPACE, CLUSTER, &values).await.unwrap();
        let guarded = Self { stage };
        guarded.has(&[("mapRoles", NODES)]).await;
        // A policy counts from when the API server has seen it, and so do both.
        guarded
            .stage
            .eventually("the guard refuses", async || {
                let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
                match maps(&guarded.admin()).delete("aws-auth", &dry).await {
                    Err(_) => Ok(()),
                    Ok(_) => Err("deletes".to_owned()),
                }
            })
            .await;
        guarded
            .stage
            .eventually("the guard warns", async || {
                let long = format!("#{}", "x".repeat(200_000));
                let said = guarded.kubectl_replaces(&long);
                if said.contains("Warning") { Ok(()) } else { Err(said) }
            })
            .await;
        guarded
    }

    fn admin(&self) -> Client {
        self.stage.client.clone()
    }

    fn exempt(&self) -> Client {
        self.stage.plane.client_as("breakglass", &["system:masters"])
    }

    /// Makes aws-auth have these keys, whatever it had.
    async fn has(&self, data: &[(&str, &str)]) -> ConfigMap {
        let maps = maps(&self.exempt());
        let now = maps.get_opt("aws-auth").await.unwrap();
        let wanted = config_map("aws-auth", data, now.as_ref().and_then(ResourceExt::resource_version));
        match now {
            Some(_) => maps.replace("aws-auth", &PostParams::default(), &wanted).await.unwrap(),
            None => maps.create(&PostParams::default(), &wanted).await.unwrap(),
        }
    }

    /// What a client is told who replaces the data.
    async fn replaces(
        &self,
        client: &Client,
        from: &[(&str, &str)],
        to: &[(&str, &str)],
    ) -> Result<(), String> {
        let now = self.has(from).await;
        let wanted = config_map("aws-auth", to, now.resource_version());
        said(maps(client).replace("aws-auth", &PostParams::default(), &wanted).await)
    }

    /// What kubectl prints about replacing `mapRoles`.
    fn kubectl_replaces(&self, roles: &str) -> String {
        let file = self.stage.plane.folder().join("guard.json");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"mapRoles": format!("{NODES}{roles}")},
            "metadata": {"name": "aws-auth", "namespace": "kube-system"}});
        std::fs::write(&file, object.to_string()).unwrap();
        let output = self.stage.plane.kubectl().unwrap().args(["replace", "-f"]).arg(&file).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Takes the guard away, as its page says and then wholly, so that other tests have the control plane as it was.
    async fn end(self) {
        let away = &GUARD.blocks("The guard at admission")[0];
        run(&self.stage, &away.replace("RELEASE.NAMESPACE.guard", POLICY), CLUSTER, "").await;
        self.stage
            .eventually("aws-auth can be deleted", async || {
                let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
                let goes = maps(&self.admin()).delete("aws-auth", &dry).await;
                goes.map(drop).map_err(|error| error.to_string())
            })
            .await;
        let kubectl = |args: &[&str]| {
            let done = self.stage.plane.kubectl().unwrap().args(args).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        for name in [POLICY.to_owned(), format!("{POLICY}.size")] {
            let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
            kubectl(&["delete", kinds, &name, "--ignore-not-found"]);
        }
        maps(&self.admin()).delete("aws-auth", &DeleteParams::default()).await.unwrap();
    }
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "kube-system")
}

fn config_map(name: &str, data: &[(&str, &str)], resource_version: Option<String>) -> ConfigMap {
    let data: BTreeMap<_, _> =
        data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), resource_version, ..ObjectMeta::default() },
        data: (!data.is_empty()).then_some(data),
        ..ConfigMap::default()
    }
}

fn said<T>(result: Result<T, Error>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("not an answer of the API server: {error}"),
    }
}

/// A refusal that says this, and how to get out.
#[track_caller]
fn assert_refused(result: Result<(), String>, part: &str) {
    let message = result.expect_err(part);
    assert!(message.contains(part), "{message}");
    assert!(
        message.contains(&format!("kubectl delete validatingadmissionpolicybinding {POLICY}")),
        "{message}"
    );
    assert!(message.contains("guard.exemptUsers"), "{message}");
}

#[tokio::test]
async fn the_guard_refuses_what_locks_out_and_lets_those_pass_who_are_exempt() {
    let guarded = Guarded::set().await;
    deletions(&guarded).await;
    nodes(&guarded).await;
    losses(&guarded).await;
    exemptions(&guarded).await;
    large_texts(&guarded).await;
    other_objects(&guarded).await;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(guarded.admin());
    for policy in policies.list(&ListParams::default()).await.unwrap() {
        let warnings = policy.status.and_then(|status| status.type_checking?.expression_warnings);
        assert_eq!(warnings, None, "the API server's own check of the expressions");
    }
    guarded.end().await;
}

async fn deletions(guarded: &Guarded) {
    let maps = maps(&guarded.admin());
    guarded.has(&[("mapRoles", NODES)]).await;
    assert_refused(
        said(maps.delete("aws-auth", &DeleteParams::default()).await),
        "refuses to delete aws-auth",
    );
    let only = ListParams::default().fields("metadata.name=aws-auth");
    let all = maps.delete_collection(&DeleteParams::default(), &only).await.map(drop);
    assert_refused(said(all), "refuses to delete aws-auth");
    assert!(maps.get_opt("aws-auth").await.unwrap().is_some());
}

async fn nodes(guarded: &Guarded) {
    let admin = guarded.admin();
    let others = people("rolearn", 2);
    let commented = format!("{others}# {}", NODES.replace('\n', "\n# "));
    for (name, to) in [
        ("gone", others.as_str()),
        ("in comments alone", commented.as_str()),
        ("behind a comment", "- rolearn: a\n  username: a # system:node:x\n- rolearn: b\n"),
    ] {
        let told = guarded.replaces(&admin, &[("mapRoles", &with_nodes(2))], &[("mapRoles", to)]).await;
        assert!(told.is_err(), "{name}");
        assert_refused(told, "without any entry for nodes");
    }
    // Written in another way, or where there was none.
    let inline = r#"[{"rolearn":"arn:aws:iam::111122223333:role/n","groups":["system:nodes"]}]"#;
    guarded.replaces(&admin, &[("mapRoles", NODES)], &[("mapRoles", inline)]).await.unwrap();
    guarded.replaces(&admin, &[("mapRoles", &others)], &[("mapRoles", &people("rolearn", 1))]).await.unwrap();
    // A patch is an edit as well.
    guarded.has(&[("mapRoles", &with_nodes(1))]).await;
    let patch = Patch::Merge(json!({"data": {"mapRoles": people("rolearn", 2)}}));
    let told = maps(&admin).patch("aws-auth", &PatchParams::default(), &patch).await;
    assert_refused(said(told), "without any entry for nodes");
}

async fn losses(guarded: &Guarded) {
    let admin = guarded.admin();
    for (had, has, refusal) in [
        (9, 3, Some("data.mapRoles goes from 10 entries to 4 at once (guard.maxLossPercent is 50)")),
        (9, 4, None),
        (2, 0, None),
        (3, 0, Some("data.mapRoles goes from 4 entries to 1")),
    ] {
        let (from, to) = (with_nodes(had), with_nodes(has));
        let told = guarded.replaces(&admin, &[("mapRoles", &from)], &[("mapRoles", &to)]).await;
        match refusal {
            Some(part) => assert_refused(told, part),
            None => assert_eq!(told, Ok(()), "{had} to {has}"),
        }
    }
    let users = |number| people("userarn", number);
    for (from, to, refusal) in [
        (users(1), Some(String::new()), "data.mapUsers goes from 1 entries to 0"),
        (users(1), None, "data.mapUsers goes from 1 entries to 0"),
        (users(8), Some(users(3)), "data.mapUsers goes from 8 entries to 3"),
    ] {
        let to: Vec<_> = to.iter().map(|to| ("mapUsers", to.as_str())).collect();
        assert_refused(guarded.replaces(&admin, &[("mapUsers", &from)], &to).await, refusal);
    }
    let told = guarded.replaces(&admin, &[("mapRoles", &people("rolearn", 1))], &[]).await;
    assert_refused(told, "data.mapRoles goes from 1 entries to 0");
    // What adds, and what was empty, is nobody's loss.
    guarded.replaces(&admin, &[], &[("mapRoles", NODES)]).await.unwrap();
    guarded.replaces(&admin, &[("mapRoles", "")], &[("mapUsers", "")]).await.unwrap();
}

async fn exemptions(guarded: &Guarded) {
    let plane = guarded.stage.plane;
    let operator = plane.client_as_service_account(OPERATOR_NAMESPACE, "awsiam");
    let of_group = plane.client_as("maker", &["system:masters", "fleet:makers"]);
    for client in [guarded.exempt(), of_group.clone(), operator] {
        guarded.replaces(&client, &[("mapRoles", &with_nodes(9))], &[]).await.unwrap();
    }
    for client in [guarded.exempt(), of_group] {
        guarded.has(&[("mapRoles", NODES)]).await;
        said(maps(&client).delete("aws-auth", &DeleteParams::default()).await).unwrap();
    }
    // An operator of another namespace, and a user who is called like the exempt group.
    for client in [
        plane.client_as("system:serviceaccount:elsewhere:awsiam", &["system:masters"]),
        plane.client_as("fleet:makers", &["system:masters"]),
    ] {
        let told = guarded.replaces(&client, &[("mapRoles", NODES)], &[]).await;
        assert_refused(told, "without any entry for nodes");
    }
}

/// The longest texts that are looked at are looked at to the end, and longer ones pass with a warning.
async fn large_texts(guarded: &Guarded) {
    let admin = guarded.admin();
    let filled = |length: usize| format!("{}#{}", with_nodes(900), " ".repeat(length))[..length].to_owned();
    // As many words and lines as fit, so that the most is computed.
    let dense = "rolearn \n".repeat(22_000);
    for from in [filled(200_000), format!("{NODES}{dense}")] {
        assert!(from.len() <= 200_000);
        let told =
            guarded.replaces(&admin, &[("mapRoles", &from)], &[("mapRoles", &from[NODES.len()..])]).await;
        assert_refused(told, "without any entry for nodes");
        let told = guarded.replaces(&admin, &[("mapRoles", &from)], &[("mapRoles", NODES)]).await;
        assert_refused(told, "entries to 1 at once");
    }
    // Both keys at once, before and after.
    let users = people("userarn", 4_000)[..200_000].to_owned();
    let both = [("mapRoles", filled(200_000)), ("mapUsers", users)];
    let from = both.each_ref().map(|(key, text)| (*key, text.as_str()));
    let to = [from[0], ("mapUsers", &from[1].1[..90_000])];
    assert_refused(guarded.replaces(&admin, &from, &to).await, "data.mapUsers goes from");

    guarded.replaces(&admin, &[("mapRoles", &filled(200_001))], &[("mapRoles", "")]).await.unwrap();
    guarded.has(&[("mapRoles", NODES)]).await;
    let warning = "did not look at this edit: a key of aws-auth has more than 200000 characters";
    assert!(guarded.kubectl_replaces(&"#".repeat(200_000)).contains(warning));
    let silent = guarded.kubectl_replaces("# short\n");
    guarded.has(&[("mapRoles", NODES)]).await;
    let silent = format!("{silent}{}", guarded.kubectl_replaces("# short\n"));
    assert!(silent.matches("replaced").count() == 2 && silent.matches("Warning").count() <= 1, "{silent}");
}

async fn other_objects(guarded: &Guarded) {
    guarded.has(&[("mapRoles", NODES)]).await;
    for (namespace, name) in [("kube-system", "aws-auth-copy"), (OPERATOR_NAMESPACE, "aws-auth")] {
        let maps: Api<ConfigMap> = Api::namespaced(guarded.admin(), namespace);
        let made = maps.create(&PostParams::default(), &config_map(name, &[("mapRoles", NODES)], None)).await;
        let emptied = config_map(name, &[], made.unwrap().resource_version());
        maps.replace(name, &PostParams::default(), &emptied).await.unwrap();
        maps.delete(name, &DeleteParams::default()).await.unwrap();
    }
    // All others in kube-system can be deleted together, with aws-auth left.
    let maps = maps(&guarded.admin());
    maps.create(&PostParams::default(), &config_map("bystander", &[], None)).await.unwrap();
    let all = maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await.map(drop);
    assert_refused(said(all), "refuses to delete aws-auth");
    assert!(maps.get_opt("aws-auth").await.unwrap().is_some());
}
