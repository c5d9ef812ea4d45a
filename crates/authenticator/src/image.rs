//! Which image of aws-iam-authenticator a target gets. The catalogue is data: `images.json`, from the release
//! pages of EKS Distro (<https://distro.eks.amazonaws.com/>), whose images are public and run as uid 65532.

use serde::Deserialize;
use thiserror::Error;

/// The first release whose `{{AccessKeyID}}` can't be forged (CVE-2022-2385, GHSA-pp3f-98qg-5g75).
const FIRST_SAFE: [u64; 3] = [0, 5, 9];

/// Prefixes of images that a Cluster may name where the operator is told nothing else.
pub const DEFAULT_PREFIXES: [&str; 2] = [
    "public.ecr.aws/eks-distro/kubernetes-sigs/aws-iam-authenticator",
    "602401143452.dkr.ecr.us-west-2.amazonaws.com/amazon/aws-iam-authenticator",
];

const CATALOGUE: &str = include_str!("images.json");

#[derive(Debug, Deserialize)]
struct Row {
    kubernetes: String,
    image: String,
}

/// What the operator is told about images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePolicy {
    /// What an image that a Cluster names must start with.
    pub allowed_prefixes: Vec<String>,
    /// A mirror of the catalogue's registry, such as `registry.example.com/eks-distro`, put in place of
    /// `public.ecr.aws/eks-distro`.
    pub mirror: Option<String>,
}

impl Default for ImagePolicy {
    fn default() -> Self {
        Self { allowed_prefixes: DEFAULT_PREFIXES.iter().map(ToString::to_string).collect(), mirror: None }
    }
}

/// An image of the authenticator, and what asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Whole reference, as a pod names it.
    pub reference: String,
    /// What asked for it.
    pub source: Source,
}

/// What asked for an image. Its words stand in targets (annotation [`crate::names::IMAGE_SOURCE`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Cluster's `spec.iamAuthenticator.image`.
    Cluster,
    /// The catalogue, by the minor version of Kubernetes, such as `1.33`; none: its newest.
    Catalogue(Option<String>),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Cluster => f.write_str("spec.iamAuthenticator.image"),
            Source::Catalogue(Some(kubernetes)) => write!(f, "catalogue, Kubernetes {kubernetes}"),
            Source::Catalogue(None) => f.write_str("catalogue, newest"),
        }
    }
}

/// Why there is no image for a Cluster.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// The version is not in the catalogue.
    #[error(
        "spec.kubernetesVersion {version:?} is not one that this release has an image for ({oldest} to {newest}); set spec.iamAuthenticator.image"
    )]
    UnknownVersion {
        /// As the Cluster says it.
        version: String,
        /// Oldest of the catalogue.
        oldest: String,
        /// Newest of the catalogue.
        newest: String,
    },
    /// The image is not one that the operator's flags allow.
    #[error(
        "spec.iamAuthenticator.image {image:?} does not start with an allowed prefix ({}); use one of these or start the operator with --allowed-image-prefixes", allowed.join(", ")
    )]
    NotAllowed {
        /// As the Cluster says it.
        image: String,
        /// The allowed prefixes.
        allowed: Vec<String>,
    },
}

/// The image for a Cluster: the one it names, if it is allowed, else the catalogue's for its Kubernetes
/// version (`1.33`, `v1.33.2`); without a version the catalogue's newest.
///
/// # Errors
/// [`ImageError`].
pub fn choose(
    named: Option<&str>,
    kubernetes_version: Option<&str>,
    policy: &ImagePolicy,
) -> Result<Image, ImageError> {
    if let Some(image) = named {
        return if policy.allowed_prefixes.iter().any(|prefix| is_under(image, prefix)) {
            Ok(Image { reference: image.to_owned(), source: Source::Cluster })
        } else {
            Err(ImageError::NotAllowed { image: image.to_owned(), allowed: policy.allowed_prefixes.clone() })
        };
    }
    let rows = rows();
    let found = match kubernetes_version {
        None => rows.last(),
        Some(version) => rows.iter().find(|row| row.kubernetes == minor(version)),
    };
    let row = found.ok_or_else(|| ImageError::UnknownVersion {
        version: kubernetes_version.unwrap_or_default().to_owned(),
        oldest: rows.first().map(|row| row.kubernetes.clone()).unwrap_or_default(),
        newest: rows.last().map(|row| row.kubernetes.clone()).unwrap_or_default(),
    })?;
    Ok(Image {
        reference: mirrored(&row.image, policy.mirror.as_deref()),
        source: Source::Catalogue(kubernetes_version.map(minor)),
    })
}

/// Whether an image is known to be older than the release that mended CVE-2022-2385. A tag that is no
/// version tells nothing and is taken as new.
#[must_use]
pub fn has_forgeable_access_key(image: &str) -> bool {
    version(image).is_some_and(|version| version < FIRST_SAFE)
}

/// A prefix ends at a boundary of the reference, so that `registry/a` does not allow `registry/ab`.
fn is_under(image: &str, prefix: &str) -> bool {
    let Some(rest) = image.strip_prefix(prefix) else { return false };
    prefix.ends_with(['/', ':', '@']) || rest.is_empty() || rest.starts_with(['/', ':', '@'])
}

fn rows() -> Vec<Row> {
    serde_json::from_str(CATALOGUE).unwrap_or_default()
}

fn minor(version: &str) -> String {
    version.trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join(".")
}

fn mirrored(image: &str, mirror: Option<&str>) -> String {
    match (mirror, image.strip_prefix("public.ecr.aws/eks-distro/")) {
        (Some(mirror), Some(rest)) => format!("{}/{rest}", mirror.trim_end_matches('/')),
        _ => image.to_owned(),
    }
}

/// The version that the tag begins with, such as 0.6.20 of `v0.6.20-eks-1-26-36`.
fn version(image: &str) -> Option<[u64; 3]> {
    let reference = image.split('@').next()?;
    let (_, tag) = reference.rsplit_once('/').unwrap_or(("", reference)).1.rsplit_once(':')?;
    let core = tag.trim_start_matches('v').split(['-', '+']).next()?;
    let mut parts = core.split('.').map(str::parse::<u64>);
    Some([parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> ImagePolicy {
        ImagePolicy::default()
    }

    #[test]
    fn the_catalogue_is_readable_in_order_and_within_the_default_prefixes() {
        let rows = rows();
        assert!(rows.len() > 10);
        let minors: Vec<u32> =
            rows.iter().map(|row| row.kubernetes.strip_prefix("1.").unwrap().parse().unwrap()).collect();
        assert!(minors.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{minors:?}");
        for row in &rows {
            assert!(is_under(&row.image, DEFAULT_PREFIXES[0]), "{}", row.image);
            assert!(!has_forgeable_access_key(&row.image), "{}", row.image);
        }
    }

    #[test]
    fn the_version_chooses_the_image() {
        let of = |version| choose(None, Some(version), &policy());
        assert!(of("1.33").unwrap().reference.contains("eks-1-33"));
        assert_eq!(of("v1.33.4").unwrap().source.to_string(), "catalogue, Kubernetes 1.33");
        assert_eq!(of("v1.33.4"), of("1.33"));
        let ImageError::UnknownVersion { oldest, newest, .. } = of("1.99").unwrap_err() else { panic!() };
        assert_eq!((oldest.as_str(), newest.as_str()), ("1.23", "1.36"));
        assert!(of("latest").is_err());
        assert!(choose(None, None, &policy()).is_ok());
    }

    #[test]
    fn a_mirror_stands_in_for_the_public_registry() {
        let policy = ImagePolicy { mirror: Some("mirror.example.com/eks/".to_owned()), ..policy() };
        let image = choose(None, Some("1.33"), &policy).unwrap().reference;
        assert!(
            image.starts_with("mirror.example.com/eks/kubernetes-sigs/aws-iam-authenticator:v0.7"),
            "{image}"
        );
    }

    #[test]
    fn an_image_that_a_cluster_names_needs_an_allowed_prefix() {
        let policy = ImagePolicy { allowed_prefixes: vec!["r.example.com/aia".to_owned()], mirror: None };
        for good in ["r.example.com/aia:v1", "r.example.com/aia@sha256:00", "r.example.com/aia/x:1"] {
            let image = Image { reference: good.to_owned(), source: Source::Cluster };
            assert_eq!(choose(Some(good), None, &policy), Ok(image));
        }
        for bad in ["r.example.com/aiab:v1", "evil.example.com/r.example.com/aia:v1", ""] {
            let error = choose(Some(bad), Some("1.33"), &policy).unwrap_err().to_string();
            assert!(
                error.contains("spec.iamAuthenticator.image") && error.contains("r.example.com/aia"),
                "{error}"
            );
        }
    }

    #[test]
    fn images_with_the_forgeable_access_key_are_known() {
        for old in ["r/a:v0.5.8", "r/a:v0.5.2-scratch", "r:5000/a:0.4.0", "r/a:v0.5.8@sha256:00"] {
            assert!(has_forgeable_access_key(old), "{old}");
        }
        for new in ["r/a:v0.5.9", "r/a:v0.6.20-eks-1-26-36", "r/a:v1.0.0", "r/a:latest", "r:5000/a"] {
            assert!(!has_forgeable_access_key(new), "{new}");
        }
    }
}
