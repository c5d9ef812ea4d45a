//! The authenticator on a remote target: its objects there, its CA here.

use awsiam_authenticator::{cluster_id, names};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};

use super::*;

#[tokio::test]
async fn the_authenticator_is_set_up_mended_and_taken_away_on_the_target() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    team(&stage).await;
    put_kubeconfig(&stage, "prod", &workload.kubeconfig()).await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    let block = json!({"mode": "DaemonSet", "deletionPolicy": "Delete"});
    let spec = json!({"kubernetesVersion": "1.33", "identityProviderRefs": refs, "iamAuthenticator": block});
    stage.cluster_object("prod", json!({}), spec).await;
    let options = Options {
        probe_image: Some("registry.example.com/awsiam:test".to_owned()),
        ..fleet::options(&[&stage])
    };
    let operator = operator(&stage, options).await;
    let message = stage.condition_of("prod", "AuthenticatorReady", "False", "NoControlPlaneNodes").await;
    assert!(!message.is_empty());
    stage.condition_of("prod", "ApiServerConfigured", "False", "WaitingForAdministrator").await;

    // There: everything that runs, with an id that follows from that cluster. The CA's key stays here.
    let sets: Api<DaemonSet> = Api::namespaced(workload.client.clone(), "kube-system");
    assert!(sets.get_opt(names::NAME).await.unwrap().is_some());
    let config: ConfigMap = workload.config_maps().get(names::NAME).await.unwrap();
    let id = config.annotations()[names::CLUSTER_ID].clone();
    assert_eq!(Some(id.clone()), cluster_id::derive(&workload.identity().await));
    let there: Api<Secret> = Api::all(workload.client.clone());
    let there = there.list(&kube::api::ListParams::default()).await.unwrap().items;
    let authority = names::ca_secret("prod");
    assert!(there.iter().all(|secret| secret.name_any() != authority));
    let here = fleet::secrets(&stage);
    let secret = here.get(&authority).await.unwrap();
    assert!(secret.data.unwrap().contains_key("key.pem"));
    assert!(
        stage.config_maps().get_opt(names::NAME).await.unwrap().is_none(),
        "nothing in the management cluster"
    );

    // Users get a kubeconfig for that cluster.
    stage.condition_of("prod", "KubeconfigReady", "True", "Written").await;
    let users = here.get(&names::kubeconfig_secret("prod")).await.unwrap().data.unwrap();
    let users = String::from_utf8(users["value"].0.clone()).unwrap();
    assert!(users.contains(workload.plane().url()) && users.contains(&id), "{users}");
    assert!(!users.contains("client-key-data"), "no credential of the operator is handed on");

    // It is read, not watched, and mended at the next look around.
    sets.delete(names::NAME, &DeleteParams::default()).await.unwrap();
    stage
        .eventually("the DaemonSet", async || match sets.get_opt(names::NAME).await.unwrap() {
            Some(_) => Ok(()),
            None => Err("gone".to_owned()),
        })
        .await;

    stage.clusters().delete("prod", &DeleteParams::default()).await.unwrap();
    stage
        .eventually("the Cluster to go", async || match stage.clusters().get_opt("prod").await.unwrap() {
            None => Ok(()),
            Some(cluster) => Err(format!("{:#?}", cluster.status)),
        })
        .await;
    assert!(sets.get_opt(names::NAME).await.unwrap().is_none());
    assert!(here.get_opt(&authority).await.unwrap().is_none());
    assert_eq!(workload.roles().await, "");
    operator.stop().await;
}

#[tokio::test]
async fn mappings_become_objects_on_the_target_where_the_backend_is_crd() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    let rows =
        json!([{"roleARN": awsiam_tests::stage::role_arn("Dev"), "username": "dev", "groups": ["viewers"]}]);
    stage.config_spec("objects", json!({"backendMode": ["CRD", "EKSConfigMap"], "mapRoles": rows})).await;
    put_kubeconfig(&stage, "prod", &workload.kubeconfig()).await;
    cluster(&stage, "prod", &["objects"], json!({})).await;
    let operator = operator(&stage, fleet::options(&[&stage])).await;
    let resource = awsiam_api::identity_mapping::api_resource();
    let api: Api<kube::api::DynamicObject> = Api::all_with(workload.client.clone(), &resource);
    let usernames = async || -> Result<Vec<String>, String> {
        let list = api.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
        let username =
            |object: &kube::api::DynamicObject| object.data["spec"]["username"].as_str().unwrap().to_owned();
        Ok(list.items.iter().map(username).collect())
    };
    stage
        .eventually("the object", async || {
            let usernames = usernames().await?;
            if usernames == ["dev"] { Ok(()) } else { Err(format!("{usernames:?}")) }
        })
        .await;
    stage.condition_of("prod", "AwsAuthSynced", "Unknown", "WaitingForAuthenticator").await;
    // Drift is seen at the next look around, and the last object goes with the last reference.
    let name = api.list(&kube::api::ListParams::default()).await.unwrap().items[0].name_any();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    stage
        .eventually("the object again", async || {
            let usernames = usernames().await?;
            if usernames == ["dev"] { Ok(()) } else { Err(format!("{usernames:?}")) }
        })
        .await;
    stage.cluster_object("prod", json!({}), json!({"identityProviderRefs": []})).await;
    stage
        .eventually("no object", async || {
            let usernames = usernames().await?;
            if usernames.is_empty() { Ok(()) } else { Err(format!("{usernames:?}")) }
        })
        .await;
    operator.stop().await;
}
