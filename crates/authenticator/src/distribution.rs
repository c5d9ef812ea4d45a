//! What an administrator sets so that the API servers of a distribution ask the authenticator: text to read and to
//! copy from, for nodes that run and for nodes that join later.
//!
//! Each text keeps the one order that is safe: the file first, because an API server with the flag and without the
//! file does not start; and back again the other way round. The texts lie in `distribution/`; here is what is put in.

/// A distribution whose settings we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// kubeadm without Cluster API.
    Kubeadm,
    /// k3s.
    K3s,
    /// RKE2.
    Rke2,
    /// Talos Linux.
    Talos,
}

/// Stands in a text where the webhook's kubeconfig goes, with the indentation that each of its lines gets.
const CONTENT: &str = "@KUBECONFIG@";
/// Stands in a text where the file's path goes.
const PATH: &str = "@PATH@";

impl Distribution {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kubeadm, Self::K3s, Self::Rke2, Self::Talos];

    /// As it is written on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kubeadm => "kubeadm",
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
            Self::Talos => "talos",
        }
    }

    /// Where the webhook's kubeconfig lies on a control-plane node. On Talos it is needed before v1.15 alone, and only
    /// `/var` can be written there.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Kubeadm => crate::kubeadm_control_plane::MOUNT_PATH,
            Self::K3s => "/etc/rancher/k3s/awsiam/token-webhook.yaml",
            Self::Rke2 => "/etc/rancher/rke2/awsiam/token-webhook.yaml",
            Self::Talos => "/var/lib/awsiam/token-webhook.yaml",
        }
    }

    /// Mode of that file: no more than its reader needs. It holds no secret. Talos runs its API server as a user of
    /// its own, the others as root.
    #[must_use]
    pub const fn mode(self) -> u32 {
        match self {
            Self::Kubeadm => 0o640,
            Self::K3s | Self::Rke2 => 0o600,
            Self::Talos => 0o644,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Kubeadm => include_str!("distribution/kubeadm.md"),
            Self::K3s => include_str!("distribution/k3s.md"),
            Self::Rke2 => include_str!("distribution/rke2.md"),
            Self::Talos => include_str!("distribution/talos.md"),
        }
    }
}

/// The settings of a distribution, with `webhook_kubeconfig` in every place where it goes.
#[must_use]
pub fn settings(distribution: Distribution, webhook_kubeconfig: &str) -> String {
    let mut settings = String::new();
    for line in distribution.text().lines() {
        if line.trim() == CONTENT {
            let indentation = line.strip_suffix(CONTENT).unwrap_or_default();
            for content in webhook_kubeconfig.lines() {
                push_line(&mut settings, indentation, content);
            }
        } else {
            push_line(&mut settings, "", &line.replace(PATH, distribution.path()));
        }
    }
    settings
}

fn push_line(text: &mut String, indentation: &str, line: &str) {
    if !line.is_empty() {
        text.push_str(indentation);
        text.push_str(line);
    }
    text.push('\n');
}
