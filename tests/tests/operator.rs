//! The operator on a real API server, under the chart's rights: every promise about `aws-auth`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use awsiam_tests::stage::Stage;

/// A node entry, an entry of a person, a comment, and an unknown field.
const HAND_MADE: &str = "\
# made by hand, do not touch
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups:
  - system:bootstrappers
  - system:nodes
- rolearn: arn:aws:iam::111122223333:role/Other  # somebody else's
  username: other
  userid: AROAX
  groups: [system:masters]
";

#[tokio::test]
async fn a_role_is_appended_and_everything_else_stays_to_the_byte() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", HAND_MADE), ("mapAccounts", "- \"444455556666\"\n")]).await;
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let ours = "- rolearn: arn:aws:iam::111122223333:role/Dev\n  username: dev\n  groups:\n  - viewers\n";
    stage.text_becomes("mapRoles", &format!("{HAND_MADE}{ours}")).await;
    assert_eq!(stage.text("mapAccounts").await, "- \"444455556666\"\n");
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    stage.condition("Ready", "True", "Ready").await;
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", HAND_MADE).await;
    operator.stop().await;
}
