//! What the operator does about a CRD that it finds, or does not find, in the cluster. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use semver::Version;

use super::{OWN_VERSION, is_ours, missing_fields};
use crate::names::CRD_VERSION;

/// What is done about one of the two CRDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installation {
    /// There is none: it is made.
    Make,
    /// It is ours, and older than this awsiam or lacks a field: it is brought up to date.
    Update,
    /// It is ours and of this version.
    Keep,
    /// It goes: what comes after it is looked at when it is gone.
    Wait,
    /// It is somebody else's: never changed.
    Foreign,
    /// It is ours and of a newer awsiam, of which this is the version: never changed back.
    Newer(String),
    /// It is ours, but nobody can tell of which version: its annotation says this.
    Unreadable(String),
}

/// What is to be done about the CRD that was found under the name of one of ours.
#[must_use]
pub fn installation(found: Option<&CustomResourceDefinition>) -> Installation {
    let Some(found) = found else { return Installation::Make };
    if !is_ours(found) {
        return Installation::Foreign;
    }
    if found.metadata.deletion_timestamp.is_some() {
        return Installation::Wait;
    }
    // Before there was the annotation.
    let Some(text) = found.annotations().get(CRD_VERSION) else { return Installation::Update };
    let (Ok(theirs), Ok(own)) = (Version::parse(text), Version::parse(OWN_VERSION)) else {
        return Installation::Unreadable(text.clone());
    };
    match theirs.cmp_precedence(&own) {
        std::cmp::Ordering::Greater => Installation::Newer(text.clone()),
        std::cmp::Ordering::Equal if missing_fields(found).is_empty() => Installation::Keep,
        std::cmp::Ordering::Equal | std::cmp::Ordering::Less => Installation::Update,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::MANAGED_BY;
    use crate::crds;

    fn of_version(version: Option<&str>) -> CustomResourceDefinition {
        let mut crd = crds().remove(0);
        let annotations = crd.annotations_mut();
        annotations.remove(CRD_VERSION);
        annotations.extend(version.map(|version| (CRD_VERSION.to_owned(), version.to_owned())));
        crd
    }

    #[test]
    fn an_absent_or_older_crd_of_ours_is_written_and_a_newer_one_is_not() {
        assert_eq!(installation(None), Installation::Make);
        for (version, wanted) in [
            (None, Installation::Update),
            (Some("0.0.9"), Installation::Update),
            // A pre-release comes before its release.
            (Some(concat!(env!("CARGO_PKG_VERSION"), "-rc.1")), Installation::Update),
            (Some(OWN_VERSION), Installation::Keep),
            // Another build of the same version.
            (Some(concat!(env!("CARGO_PKG_VERSION"), "+1234")), Installation::Keep),
            (Some("99.10.0"), Installation::Newer("99.10.0".into())),
            (Some("newest"), Installation::Unreadable("newest".into())),
        ] {
            assert_eq!(installation(Some(&of_version(version))), wanted, "{version:?}");
        }
    }

    #[test]
    fn one_of_this_version_that_lacks_a_field_is_mended() {
        let mut crd = of_version(Some(OWN_VERSION));
        crd.spec.versions.iter_mut().for_each(|version| version.subresources = None);
        assert_eq!(installation(Some(&crd)), Installation::Update);
    }

    #[test]
    fn somebody_elses_is_never_touched_whatever_version_it_claims() {
        for manager in [None, Some("Helm"), Some("eks-anywhere")] {
            for version in [None, Some("0.0.1"), Some(OWN_VERSION)] {
                let mut crd = of_version(version);
                crd.labels_mut().remove(MANAGED_BY);
                crd.labels_mut().extend(manager.map(|m| (MANAGED_BY.to_owned(), m.to_owned())));
                assert_eq!(installation(Some(&crd)), Installation::Foreign, "{manager:?} {version:?}");
            }
        }
    }

    #[test]
    fn one_that_goes_is_waited_for() {
        let mut crd = of_version(None);
        crd.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        ));
        assert_eq!(installation(Some(&crd)), Installation::Wait);
    }
}
