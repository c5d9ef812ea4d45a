//! Backend `CRD` on a real API server under the chart's rights: mappings as IAMIdentityMapping objects, and the move
//! between them and `aws-auth`, with an administrator at every moment. Nobody runs an authenticator here: the test
//! writes the status that one would write, and says that it runs with the backends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

#[path = "backend_crd/failures.rs"]
mod failures;
#[path = "backend_crd/played.rs"]
mod played;
#[path = "backend_crd/release.rs"]
mod release;

use awsiam_tests::process::Process;
use awsiam_tests::stage::{CLUSTER, OPERATOR, OPERATOR_NAMESPACE, role_arn};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use played::{ADMIN, Authenticator, DEV, Set, Watch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mappings_become_objects_and_what_is_not_ours_stays() {
    let set = Set::up().await;
    set.stage.make_aws_auth(&[("mapUsers", "- userarn: arn:aws:iam::111122223333:user/Theirs\n")]).await;
    set.install_crd().await;
    let theirs = set.make("theirs", &role_arn("Other"), "other", &[]).await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV]).await;
    set.cluster(&["objects"], "CRD,EKSConfigMap").await;
    let operator = set.stage.operator().await;
    set.stage.condition("AwsAuthSynced", "Unknown", "WaitingForAuthenticator").await;
    let authenticator = Authenticator::start(&set.stage);
    set.stage.condition("Ready", "True", "Ready").await;

    let ours = set.ours().await;
    assert_eq!(ours.len(), 2, "{ours:?}");
    let admin = &ours[&role_arn("Admin")];
    assert_eq!(admin.data["spec"]["groups"], json!(["system:masters"]));
    assert_eq!(admin.labels()["app.kubernetes.io/managed-by"], "awsiam-operator");
    assert!(admin.annotations()["awsiam-operator.dev/mapping"].contains(CLUSTER));
    let now = set.loaded(&theirs).await;
    let is_ours = |manager: &str| manager == "awsiam-operator";
    assert!(
        !now.managed_fields().iter().any(|entry| entry.manager.as_deref().is_some_and(is_ours)),
        "{now:?}"
    );
    assert!(set.stage.text("mapRoles").await.is_empty(), "nothing of ours in aws-auth");
    assert!(set.stage.event("MappingsAdded").await.contains("IAMIdentityMappings"));

    // Drift is repaired, and what is deleted comes back.
    let drift = json!({"spec": {"username": "nobody"}});
    let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    set.objects().patch(&admin.name_any(), &params, &Patch::Merge(&drift)).await.unwrap();
    set.username_becomes("Admin", "admin").await;
    assert!(set.stage.event("DriftRepaired").await.contains("somebody"));
    set.objects().delete(&ours[&role_arn("Dev")].name_any(), &DeleteParams::default()).await.unwrap();
    set.username_becomes("Dev", "dev").await;

    // A conflict with an object that is not ours.
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV, ("Other", "ours", &[])]).await;
    let message = set.stage.condition("AwsAuthSynced", "False", "Conflict").await;
    assert!(message.contains("IAMIdentityMapping theirs"), "{message}");

    // The last administrator stays, though the row is gone.
    set.config("objects", &["CRD", "EKSConfigMap"], &[DEV]).await;
    set.stage.condition("AwsAuthSynced", "False", "LastAdministrator").await;
    assert!(set.ours().await.contains_key(&role_arn("Admin")));
    // Another one in the other place counts, too.
    set.edit_roles(&format!("- rolearn: {}\n  username: x\n  groups: [system:masters]\n", role_arn("Chief")))
        .await;
    set.gone("Admin").await;

    // An explicit empty list takes ours out, and nothing else.
    set.stage.cluster_spec(json!({"identityProviderRefs": []})).await;
    set.gone("Dev").await;
    assert!(set.ours().await.is_empty());
    assert_eq!(set.objects().get("theirs").await.unwrap().data["spec"], theirs.data["spec"]);
    assert!(set.stage.text("mapRoles").await.contains("Chief"));
    authenticator.stop().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_objects_and_back_leaves_an_administrator_at_every_write() {
    let set = Set::up().await;
    set.config("entries", &["EKSConfigMap"], &[ADMIN, DEV]).await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV]).await;
    set.cluster(&["entries"], "EKSConfigMap").await;
    let operator = set.stage.operator().await;
    set.stage.condition("Ready", "True", "Ready").await;
    let authenticator = Authenticator::start(&set.stage);
    let watch = Watch::start(&set.stage);

    // The objects are made and loaded; the entries stay while authenticators may run that ask aws-auth alone.
    set.cluster(&["objects"], "EKSConfigMap").await;
    let message = set.stage.condition("AwsAuthSynced", "Unknown", "Moving").await;
    assert!(message.starts_with("2 mappings are on the way"), "{message}");
    set.username_becomes("Admin", "admin").await;
    let counts = set.counts().await;
    assert_eq!((counts.desired, counts.synced, counts.frozen), (2, 2, 0), "none is counted twice");
    assert!(set.stage.text("mapRoles").await.contains("role/Admin"));
    set.cluster(&["objects"], "CRD,EKSConfigMap").await;
    set.stage.text_becomes("mapRoles", "").await;
    set.stage.condition("Ready", "True", "Ready").await;

    set.cluster(&["entries"], "CRD,EKSConfigMap").await;
    set.stage.text_gets("mapRoles", "role/Admin").await;
    set.stage.condition("AwsAuthSynced", "Unknown", "Moving").await;
    assert_eq!(set.ours().await.len(), 2);
    set.cluster(&["entries"], "EKSConfigMap").await;
    set.gone("Admin").await;
    set.gone("Dev").await;
    set.stage.condition("Ready", "True", "Ready").await;

    let states = watch.stop().await;
    assert!(states.len() > 6, "{states:#?}");
    let bad: Vec<_> = states.iter().filter(|state| !state.has_administrator()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    authenticator.stop().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_finished_by_the_next_operator_whatever_write_the_first_died_after() {
    let set = Set::up().await;
    let stage = &set.stage;
    let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    let log = stage.plane.folder().join("killed-operators-crd.log");
    let cluster = format!("{}/{CLUSTER}", stage.namespace);
    set.config("entries", &["EKSConfigMap", "CRD"], &[ADMIN, DEV]).await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV]).await;
    set.cluster(&["entries"], "EKSConfigMap,CRD").await;
    let first = Process::start(&kubeconfig, &cluster, &[], &log).unwrap();
    stage.condition("Ready", "True", "Ready").await;
    first.kill();
    let authenticator = Authenticator::start(stage);
    let witness = Watch::start(stage);
    let mut finished = false;
    let mut round = 0_usize;
    while !(finished && round.is_multiple_of(2)) {
        let to_objects = round.is_multiple_of(2);
        let (config, mode) =
            if to_objects { ("objects", "CRD,EKSConfigMap") } else { ("entries", "EKSConfigMap,CRD") };
        let mark = stage.plane.audit_mark().unwrap();
        set.cluster(&[config], mode).await;
        let limit = (round / 2).to_string();
        let doomed = Process::start(&kubeconfig, &cluster, &["--hang-after-writes", &limit], &log).unwrap();
        let writes = || {
            let events = stage.plane.audit_events_since(mark).unwrap();
            events.iter().filter(|e| e.user == OPERATOR && e.is_write()).count()
        };
        finished = stage
            .eventually("the last write", async || {
                let count = writes();
                if count >= round / 2 {
                    Ok(false)
                } else if set.is_at_rest(to_objects).await {
                    Ok(true)
                } else {
                    Err(format!("{count} writes"))
                }
            })
            .await;
        doomed.kill();
        let successor = Process::start(&kubeconfig, &cluster, &[], &log).unwrap();
        stage
            .eventually("the end of the move", async || {
                if set.is_at_rest(to_objects).await { Ok(()) } else { Err(set.describe().await) }
            })
            .await;
        successor.kill();
        round += 1;
        assert!(round < 80, "a move that never comes to rest");
    }
    assert!(round >= 10, "only {round} rounds");
    let seen = witness.stop().await;
    let bad: Vec<_> = seen.iter().filter(|state| !state.has_administrator()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    authenticator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authenticator_gets_its_rights_and_old_entries_go_when_every_pod_is_new() {
    let set = Set::up().await;
    let stage = &set.stage;
    let nodes = format!(
        "- rolearn: {}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n  groups: [system:nodes]\n",
        role_arn("nodes")
    );
    stage.make_aws_auth(&[("mapRoles", &nodes)]).await;
    set.config("entries", &["EKSConfigMap"], &[ADMIN, DEV]).await;
    set.config("alone", &["CRD"], &[ADMIN, DEV]).await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV]).await;
    set.daemon_set_cluster("entries", json!({})).await;
    let operator = stage.operator_with(set.options()).await;
    let authenticator = Authenticator::start(stage);
    set.rolled_out("EKSConfigMap").await;
    stage.condition("AuthenticatorReady", "True", "RolledOut").await;
    let roles: Api<ClusterRole> = Api::all(stage.client.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(stage.client.clone());
    let name = "awsiam:aws-iam-authenticator";
    assert!(roles.get_opt(name).await.unwrap().is_none());

    // Nodes join by aws-auth: nobody stops asking it by accident.
    set.daemon_set_cluster("alone", json!({})).await;
    let message = stage.condition("AuthenticatorReady", "False", "UnaskedNodes").await;
    assert!(message.contains("awsiam-operator.dev/allow-unasked-nodes=true"), "{message}");
    assert!(stage.event("EntriesNotAsked").await.contains("1 node entry"));
    assert_eq!(set.template_mode().await, "EKSConfigMap");

    set.daemon_set_cluster("objects", json!({})).await;
    set.template_becomes("CRD,EKSConfigMap").await;
    assert!(roles.get_opt(name).await.unwrap().is_some() && bindings.get_opt(name).await.unwrap().is_some());
    stage.condition("AwsAuthSynced", "Unknown", "Moving").await;
    assert!(stage.text("mapRoles").await.contains("role/Admin"));
    set.rolled_out("CRD,EKSConfigMap").await;
    stage.text_becomes("mapRoles", &nodes).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    // Made again when somebody takes it away.
    roles.delete(name, &DeleteParams::default()).await.unwrap();
    stage
        .eventually("the ClusterRole", async || roles.get(name).await.map(drop).map_err(|e| e.to_string()))
        .await;

    set.daemon_set_cluster("entries", json!({})).await;
    set.template_becomes("EKSConfigMap").await;
    stage.text_gets("mapRoles", "role/Admin").await;
    assert!(roles.get_opt(name).await.unwrap().is_some(), "old pods still use it");
    set.rolled_out("EKSConfigMap").await;
    set.gone("Admin").await;
    stage
        .eventually("the rights to go", async || match roles.get_opt(name).await {
            Ok(None) if bindings.get_opt(name).await.is_ok_and(|b| b.is_none()) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    authenticator.stop().await;
    operator.stop().await;
    let daemon_sets: Api<DaemonSet> = Api::namespaced(stage.client.clone(), "kube-system");
    drop(daemon_sets.delete("aws-iam-authenticator", &DeleteParams::default()).await);
}
