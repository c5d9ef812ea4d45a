//! Names that are written into clusters and may never change without a migration.

/// API group of both resources, EKS Anywhere's.
pub const GROUP: &str = "anywhere.eks.amazonaws.com";
/// API version of both resources.
pub const VERSION: &str = "v1alpha1";
/// Kind of an AWSIamConfig, as references write it.
pub const AWS_IAM_CONFIG_KIND: &str = "AWSIamConfig";
/// Kind of a Cluster.
pub const CLUSTER_KIND: &str = "Cluster";

/// Field manager of everything that awsiam writes.
pub const FIELD_MANAGER: &str = awsiam_core::history::OPERATOR;

/// Field manager of what an administrator writes with the command line.
pub const COMMAND_LINE_MANAGER: &str = awsiam_core::history::COMMAND_LINE;

/// Finalizer of a Cluster; there only while `deletionPolicy` is `Delete`.
pub const CLUSTER_FINALIZER: &str = "awsiam-operator.dev/cluster";
/// Finalizer of an AWSIamConfig; there while a Cluster refers to it.
pub const CONFIG_FINALIZER: &str = "awsiam-operator.dev/referenced";

/// On a Cluster: `<config>/<generation>` or `cluster/<generation>` allows one removal of the last
/// administrator.
pub const ALLOW_LAST_ADMIN_REMOVAL: &str = "awsiam-operator.dev/allow-last-admin-removal";
/// On a Cluster: `true` takes the target's `aws-auth` over from the writer that its ledger names.
pub const TAKE_OVER: &str = "awsiam-operator.dev/take-over";
/// On a Cluster that is being deleted: `true` lets it go without cleaning its target.
pub const GIVE_UP_TARGET: &str = "awsiam-operator.dev/give-up-target";
/// On a Cluster: there, with any value: our ownership of its target was ended on purpose (`awsiam release`), and nothing
/// is written to the target or held by a finalizer until the annotation is removed.
pub const RELEASED: &str = "awsiam-operator.dev/released";
/// On a Cluster of mode External: the backends that its authenticator runs with, as its flag names them, such as
/// `CRD,EKSConfigMap`. An administrator says so, because nobody else can tell.
pub const AUTHENTICATOR_BACKENDS: &str = "awsiam-operator.dev/authenticator-backends";
/// On a Cluster: `true` lets the authenticator run with backends that do not name `EKSConfigMap`, although nodes join
/// by `aws-auth`.
pub const ALLOW_UNASKED_NODES: &str = "awsiam-operator.dev/allow-unasked-nodes";
/// On a Cluster: how the API server gets its webhook file, recorded once chosen.
pub const ROLLOUT: &str = "awsiam-operator.dev/rollout";
/// On a Cluster: its target has got this image, which the operator's catalogue came to give, and is not ready with it
/// yet. Other targets wait for that. Removing it lets them go on.
pub const IMAGE_CHANGE: &str = "awsiam-operator.dev/image-change";
/// On Secrets of ours: the uid of the Cluster they belong to.
pub const CLUSTER_UID: &str = "awsiam-operator.dev/cluster-uid";
/// On a CA Secret that is there already: `true` lets it be used.
pub const USE_AUTHORITY: &str = "awsiam-operator.dev/use-ca";

/// On a CRD of ours: the version of awsiam that it is of, such as `0.1.0`. An older awsiam leaves it as it is.
pub const CRD_VERSION: &str = "awsiam-operator.dev/crd-version";

/// EKS Anywhere's finalizer on a Cluster that it controls.
pub const EKS_ANYWHERE_FINALIZER: &str = "clusters.anywhere.eks.amazonaws.com/finalizer";
/// EKS Anywhere's field manager (`pkg/awsiamauth/reconciler` of aws/eks-anywhere).
pub const EKS_ANYWHERE_MANAGER: &str = "eks-a-controller";
/// EKS Anywhere's annotation on an object whose reconciliation is paused.
pub const EKS_ANYWHERE_PAUSED: &str = "anywhere.eks.amazonaws.com/paused";

/// API group of the objects that the authenticator's backend `CRD` reads
/// (`pkg/mapper/crd/apis/iamauthenticator/register.go` of aws-iam-authenticator).
pub const IDENTITY_MAPPING_GROUP: &str = "iamauthenticator.k8s.aws";
/// API version of those objects.
pub const IDENTITY_MAPPING_VERSION: &str = "v1alpha1";
/// Their kind; cluster-scoped.
pub const IDENTITY_MAPPING_KIND: &str = "IAMIdentityMapping";
/// Their resource, as rights name it.
pub const IDENTITY_MAPPING_PLURAL: &str = "iamidentitymappings";
/// On an IAMIdentityMapping of ours, for people: a hash of management cluster, namespace and name of the Cluster.
pub const IDENTITY_MAPPING_CLUSTER: &str = "awsiam-operator.dev/cluster";
/// On an IAMIdentityMapping of ours: an annotation that says whose it is and what was written.
pub const IDENTITY_MAPPING_MARK: &str = "awsiam-operator.dev/mapping";
