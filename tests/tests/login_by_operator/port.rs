//! Somebody else on the authenticator's port of the real node: told by its own name, with the authenticator's last words.

use std::path::Path;
use std::process::{Child, Stdio};

use awsiam_tests::machine::Machine;
use awsiam_tests::site::Site;

/// Takes the port as soon as it is free, and gives it back when its standard input ends.
const TAKE: &str = "
import socket, sys, time
taken = socket.socket()
taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
while True:
    try:
        taken.bind(('127.0.0.1', 21362))
        break
    except OSError:
        time.sleep(0.002)
taken.listen()
sys.stdin.read()
";

/// Labels of the authenticator's pods.
pub(crate) const PODS: &str = "app.kubernetes.io/name=aws-iam-authenticator";

/// Who has the port, until this is dropped.
pub(crate) struct Taken(Child);

impl Taken {
    /// Takes it from the authenticator, and returns when that is told.
    pub(crate) fn from_the_authenticator(machine: &Machine, site: &Site) -> Self {
        let mut python = machine.command(Path::new("python3"));
        let taken = Self(python.args(["-c", TAKE]).stdin(Stdio::piped()).spawn().unwrap());
        site.kubectl(&["-n", "kube-system", "delete", "pods", "-l", PODS, "--wait=false"]);
        let said = site.condition("AuthenticatorReady", "False", "PortTaken");
        assert!(said.contains("node awsiam-node: ") && said.contains("address already in use"), "{said}");
        taken
    }

    /// Gives it back. New pods take it at once; the one that failed would wait longer and longer before it tries again.
    pub(crate) fn give_back(self, site: &Site) {
        drop(self);
        site.kubectl(&["-n", "kube-system", "delete", "pods", "-l", PODS, "--wait=false"]);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends by itself.
        let _ = self.0.wait();
    }
}
