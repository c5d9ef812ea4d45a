//! Which images may run, as typed. The same flags with the same defaults for the operator and for offline verbs.

use awsiam_controller::ImagePolicy;
use clap::Args;

/// Flags about images.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Images")]
pub(crate) struct ImageArguments {
    /// The image of awsiam, for the probe that runs beside the authenticator and tells whether it can load the
    /// mappings. The chart gives its own image. Without it nobody looks
    #[arg(long, value_name = "IMAGE")]
    probe_image: Option<String>,

    /// What an image that a Cluster names in spec.iamAuthenticator.image must start with, separated by commas.
    /// Without it: the public images of EKS Distro and of the authenticator's own releases
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',')]
    allowed_image_prefixes: Vec<String>,

    /// A mirror that stands in for public.ecr.aws/eks-distro, where the authenticator's images come from, such as
    /// registry.example.com/eks-distro
    #[arg(long, value_name = "REGISTRY")]
    image_mirror: Option<String>,
}

impl ImageArguments {
    /// The probe's image, if one was named.
    pub(crate) fn probe_image(&self) -> Option<String> {
        self.probe_image.clone().filter(|image| !image.is_empty())
    }

    /// Which images of the authenticator may run.
    pub(crate) fn policy(&self) -> ImagePolicy {
        let mut policy = ImagePolicy { mirror: self.image_mirror.clone(), ..ImagePolicy::default() };
        if !self.allowed_image_prefixes.is_empty() {
            policy.allowed_prefixes.clone_from(&self.allowed_image_prefixes);
        }
        // What an administrator mirrors is allowed by that.
        policy.allowed_prefixes.extend(self.image_mirror.clone());
        policy
    }
}
