//! The id that login tokens carry. A token made for one id is refused by a cluster with another one.

use uuid::Uuid;

/// The id of a cluster: UUIDv5 of its `kube-system` uid and the authenticator's name. The same on every
/// pass and in every process, so that no half-done rollout can leave two of them. `None` where the uid is
/// no UUID.
#[must_use]
pub fn derive(kube_system_uid: &str) -> Option<String> {
    let namespace = Uuid::parse_str(kube_system_uid).ok()?;
    Some(Uuid::new_v5(&namespace, crate::names::NAME.as_bytes()).to_string())
}

/// The id in the `config.yaml` of an existing ConfigMap `aws-iam-authenticator`, ours or somebody else's.
#[must_use]
pub fn configured(config_yaml: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Config {
        #[serde(rename = "clusterID")]
        cluster_id: String,
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let config: Config = serde_saphyr::from_str_with_options(config_yaml, options).ok()?;
    Some(config.cluster_id).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_depends_on_the_cluster_alone() {
        let uid = "5b1c2d3e-0000-4000-8000-000000000001";
        assert_eq!(derive(uid), derive(uid));
        assert_ne!(derive(uid), derive("5b1c2d3e-0000-4000-8000-000000000002"));
        assert_eq!(derive(uid).as_deref(), Some("b01a5c6e-90c3-501c-a193-b62cf89569fb"));
        assert_eq!(derive("no uid"), None);
    }

    #[test]
    fn an_existing_id_is_read() {
        assert_eq!(configured("clusterID: abc\nserver: {}\n").as_deref(), Some("abc"));
        assert_eq!(configured("server: {}\n"), None);
        assert_eq!(configured("clusterID: ''\n"), None);
        assert_eq!(configured("{"), None);
    }
}
