//! Each fault once.

use std::collections::BTreeMap;

use awsiam_api::{ClusterSpec, ClusterStatus, crds};
use awsiam_authenticator::certificate::Authority;
use awsiam_authenticator::kubeconfig::{Exec, UserKubeconfig, user};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

use super::*;

const NOW: i64 = 1_790_000_000;

#[test]
fn a_clock_that_is_off_is_told() {
    let now = Timestamp::from_second(NOW).unwrap();
    let at = |second: i64| {
        rfc2822::to_string(
            &Timestamp::from_second(second).unwrap().to_zoned(k8s_openapi::jiff::tz::TimeZone::UTC),
        )
        .unwrap()
    };
    assert_eq!(clock(Some(&at(NOW + 3)), now).level, Level::Ok);
    let behind = clock(Some(&at(NOW - 90)), now);
    assert!(behind.level == Level::Error && behind.message.contains("90 s behind"), "{behind:?}");
    assert_eq!(clock(None, now).level, Level::Warning);
    // As Go writes it.
    assert_eq!(clock(Some("Mon, 21 Sep 2026 14:13:20 GMT"), now).level, Level::Ok);
}

fn properties(crd: &mut CustomResourceDefinition) -> &mut JSONSchemaProps {
    crd.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap()
}

#[test]
fn a_crd_is_absent_or_lacks_fields_or_is_of_another_version() {
    let wanted = crds().remove(0);
    assert_eq!(crd(&wanted, Some(&wanted), false).level, Level::Ok);
    assert_eq!(crd(&wanted, None, false).level, Level::Error);
    assert_eq!(crd(&wanted, None, true).level, Level::Ok);
    let mut other = wanted.clone();
    properties(&mut other).description = Some("older".into());
    assert_eq!(crd(&wanted, Some(&other), false).level, Level::Warning);
    let spec = properties(&mut other).properties.as_mut().unwrap().get_mut("spec").unwrap();
    spec.properties.as_mut().unwrap().remove("suspend");
    other.metadata.labels = None;
    let lacking = crd(&wanted, Some(&other), false);
    assert!(lacking.level == Level::Error && lacking.message.contains("suspend"), "{lacking:?}");
    assert!(lacking.message.starts_with("somebody else's"), "{lacking:?}");
}

#[test]
fn an_operator_that_does_not_look_is_told() {
    let mut cluster = Cluster::new("c", ClusterSpec::default());
    cluster.metadata.generation = Some(2);
    assert!(operator(&cluster).message.contains("no operator has looked"));
    cluster.status = Some(ClusterStatus { observed_generation: Some(1), ..ClusterStatus::default() });
    assert!(operator(&cluster).message.contains("since it was changed"));
}

#[test]
fn what_is_wrong_with_aws_auth_is_said_line_by_line() {
    let of = |roles: &str| {
        aws_auth(&Observed {
            present: true,
            data: BTreeMap::from([("mapRoles".to_owned(), roles.to_owned())]),
            ..Observed::default()
        })
    };
    assert_eq!(of("[]")[0].level, Level::Ok);
    let unreadable = &of("- a: [\n")[0];
    assert!(
        unreadable.level == Level::Error && unreadable.message.contains("mapRoles, line"),
        "{unreadable:?}"
    );
    let odd = &of("- rolearn: arn:aws:iam::111122223333:role/a/b\n  username: x\n")[0];
    assert!(odd.level == Level::Warning && odd.message.contains("line 1"), "{odd:?}");
    assert_eq!(aws_auth(&Observed::default())[0].level, Level::Warning);
}

#[test]
fn each_fault_of_the_authenticator_has_its_remedy() {
    assert_eq!(authenticator(&Readiness::Ready { nodes: 1 }).level, Level::Ok);
    assert_eq!(authenticator(&Readiness::NoControlPlaneNodes).level, Level::Error);
    assert_eq!(authenticator(&Readiness::RollingOut("x".into())).level, Level::Error);
    let faults = [
        Fault::PortTaken,
        Fault::CrashLooping,
        Fault::ImagePull,
        Fault::NotScheduled,
        Fault::ClockOff,
        Fault::MappingsNotLoaded,
    ];
    let mut remedies: Vec<String> = faults
        .map(|fault| {
            authenticator(&Readiness::Failing { fault, node: "n".into(), detail: "d".into() }).remedy
        })
        .to_vec();
    assert!(remedies.iter().all(|remedy| !remedy.is_empty()));
    remedies.sort();
    remedies.dedup();
    assert_eq!(remedies.len(), faults.len());
}

#[test]
fn each_answer_of_an_api_server_is_told_apart() {
    assert_eq!(webhook(Webhook::Asked, "c").level, Level::Ok);
    for wrong in [Webhook::Absent, Webhook::Unanswered, Webhook::NotTrusted, Webhook::SomethingElse] {
        assert!(webhook(wrong, "c").level == Level::Error && !webhook(wrong, "c").remedy.is_empty());
    }
    assert_eq!(webhook(Webhook::Unknown, "c").level, Level::Warning);
}

#[test]
fn a_certificate_s_end_comes_near_and_passes() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let authority = Authority::new(key, NOW).unwrap();
    let at = |day: i64, is_authority| {
        certificate("it", Some(authority.certificate_pem()), is_authority, NOW + day * DAY).level
    };
    assert_eq!(
        (at(0, true), at(3_600, true), at(3_600, false), at(3_700, true)),
        (Level::Ok, Level::Warning, Level::Ok, Level::Error)
    );
    assert_eq!(at(3_630, false), Level::Warning);
    assert_eq!(certificate("it", None, true, NOW).level, Level::Error);
}

#[test]
fn a_kubeconfig_of_an_earlier_state_is_told() {
    let text = user(&UserKubeconfig {
        cluster: "c",
        server: "https://a:6443",
        ca_pem: "CA",
        cluster_id: "id",
        region: "eu-west-1",
        exec: Exec::Authenticator,
    })
    .unwrap();
    let with = |server, cluster_id, region| {
        let login = Login { server: Some(server), cluster_id: Some(cluster_id), region: Some(region) };
        kubeconfig(Some(&text), &login)
    };
    assert_eq!(with("https://a:6443", "id", "eu-west-1").level, Level::Ok);
    assert!(with("https://b:6443", "id", "eu-west-1").message.contains("address"));
    assert!(with("https://a:6443", "other", "eu-west-1").message.contains("cluster id"));
    assert!(with("https://a:6443", "id", "eu-west-2").message.contains("region"));
    let login = Login { server: None, cluster_id: None, region: None };
    assert_eq!(kubeconfig(None, &login).level, Level::Error);
    assert_eq!(kubeconfig(Some("- x"), &login).level, Level::Error);
}
