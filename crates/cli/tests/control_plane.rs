//! `awsiam control-plane`, offline.

mod command;

use command::{awsiam, awsiam_reading};

const CA: &str = include_str!("files/ca.pem");

#[test]
fn the_settings_of_a_distribution_are_printed_with_the_file_in_them() {
    insta::assert_snapshot!(awsiam(&["control-plane", "--ca", "ca.pem", "--for", "k3s"]).transcript());
    for distribution in ["kubeadm", "rke2", "talos"] {
        let run = awsiam(&["control-plane", "here", "--ca", "ca.pem", "--for", distribution]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{distribution}");
        assert!(run.stdout.contains("server: https://127.0.0.1:21362/authenticate"), "{}", run.stdout);
    }
}

#[test]
fn the_file_alone_is_what_the_operator_would_put_there() {
    let run = awsiam(&["control-plane", "--ca", "ca.pem", "--file-only"]);
    assert_eq!(run.stdout, awsiam_authenticator::kubeconfig::webhook(CA));
    assert_eq!(awsiam_reading(&["control-plane", "--ca", "-", "--file-only"], CA).stdout, run.stdout);
}

#[test]
fn a_private_key_or_anything_else_but_certificates_is_refused_and_not_printed() {
    let key = format!("{CA}-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n");
    for (text, says) in [(key.as_str(), "stdin holds a private key"), ("c2VjcmV0", "stdin is not made of")] {
        let run = awsiam_reading(&["control-plane", "--ca", "-", "--for", "k3s"], text);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        assert!(run.stderr.contains(says) && !run.stderr.contains("c2VjcmV0"), "{}", run.stderr);
    }
    let run = awsiam(&["control-plane", "--ca", "nobody.pem", "--for", "k3s"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("nobody.pem: there is no such file"), "{}", run.stderr);
}

#[test]
fn what_is_missing_on_the_command_line_is_said() {
    for (words, missing) in [
        (&["control-plane", "--for", "k3s"][..], "CLUSTER"),
        (&["control-plane", "here"], "--for"),
        (&["control-plane", "here", "--for", "eks"], "kubeadm, k3s, rke2, talos"),
        (&["control-plane", "here", "--for", "k3s", "--file-only"], "--file-only"),
        (&["control-plane", "here", "--for", "k3s"], "--kubeconfig FILE"),
    ] {
        let run = awsiam(words);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{words:?}");
        assert!(run.stderr.contains(missing), "{}", run.stderr);
    }
}
