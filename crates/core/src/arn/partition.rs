//! AWS partitions, and which one a region lies in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ArnError;

/// An AWS partition that the authenticator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Partition {
    /// The commercial regions.
    #[serde(rename = "aws")]
    Aws,
    /// China.
    #[serde(rename = "aws-cn")]
    AwsCn,
    /// GovCloud (US).
    #[serde(rename = "aws-us-gov")]
    AwsUsGov,
    /// ISO (US).
    #[serde(rename = "aws-iso")]
    AwsIso,
    /// ISOB (US).
    #[serde(rename = "aws-iso-b")]
    AwsIsoB,
    /// ISOE (Europe).
    #[serde(rename = "aws-iso-e")]
    AwsIsoE,
    /// ISOF.
    #[serde(rename = "aws-iso-f")]
    AwsIsoF,
    /// European Sovereign Cloud.
    #[serde(rename = "aws-eusc")]
    AwsEusc,
}

/// First words of region names; the more telling before the more general. The words of `aws` grow
/// with every new corner of the world (`mx`, `il` are recent).
const REGION_PREFIXES: [(&str, Partition); 16] = [
    ("us-gov-", Partition::AwsUsGov),
    ("us-iso-", Partition::AwsIso),
    ("us-isob-", Partition::AwsIsoB),
    ("us-isof-", Partition::AwsIsoF),
    ("eu-isoe-", Partition::AwsIsoE),
    ("eusc-", Partition::AwsEusc),
    ("cn-", Partition::AwsCn),
    ("us-", Partition::Aws),
    ("eu-", Partition::Aws),
    ("ap-", Partition::Aws),
    ("sa-", Partition::Aws),
    ("ca-", Partition::Aws),
    ("me-", Partition::Aws),
    ("af-", Partition::Aws),
    ("il-", Partition::Aws),
    ("mx-", Partition::Aws),
];

impl Partition {
    /// All partitions, the usual one first.
    pub const ALL: [Partition; 8] = [
        Partition::Aws,
        Partition::AwsCn,
        Partition::AwsUsGov,
        Partition::AwsIso,
        Partition::AwsIsoB,
        Partition::AwsIsoE,
        Partition::AwsIsoF,
        Partition::AwsEusc,
    ];

    /// The name as ARNs carry it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Partition::Aws => "aws",
            Partition::AwsCn => "aws-cn",
            Partition::AwsUsGov => "aws-us-gov",
            Partition::AwsIso => "aws-iso",
            Partition::AwsIsoB => "aws-iso-b",
            Partition::AwsIsoE => "aws-iso-e",
            Partition::AwsIsoF => "aws-iso-f",
            Partition::AwsEusc => "aws-eusc",
        }
    }

    /// The partition a region lies in, by the first word of its name; `None` for a word that is not
    /// in the table, which may simply be younger than it: warn, never refuse.
    #[must_use]
    pub fn of_region(region: &str) -> Option<Self> {
        REGION_PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix)).map(|(_, partition)| *partition)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Partition {
    type Err = ArnError;

    /// Reads a name in lower case, as specs and ARNs carry it.
    fn from_str(name: &str) -> Result<Self, ArnError> {
        Self::ALL.into_iter().find(|partition| partition.as_str() == name).ok_or(ArnError::UnknownPartition)
    }
}
