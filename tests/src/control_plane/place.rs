//! Where the servers of a control plane run, and how they are reached from here.

use std::net::Ipv4Addr;

use super::supervised::Entrance;

/// Here, or in a test machine.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The way there.
    pub(crate) entrance: Entrance,
    /// Under which both sides reach the API server.
    pub(crate) address: Ipv4Addr,
    /// The API server's port where nobody else can have it; otherwise one that is free is looked for.
    pub(crate) port: Option<u16>,
}

impl Place {
    /// This machine: the servers listen on loopback.
    pub(crate) fn here() -> Self {
        Self { entrance: Entrance::default(), address: Ipv4Addr::LOCALHOST, port: None }
    }

    /// What kube-apiserver is told about it. An address other than loopback has nodes and pods around it.
    pub(super) fn api_server_arguments(&self) -> Vec<String> {
        let address = self.address;
        if address.is_loopback() {
            return vec![
                format!("--bind-address={address}"),
                format!("--advertise-address={address}"),
                // Loopback is no address for the endpoints of the `kubernetes` Service.
                "--endpoint-reconciler-type=none".to_owned(),
            ];
        }
        vec![
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={address}"),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ]
    }
}
