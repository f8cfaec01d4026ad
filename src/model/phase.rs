//! The nine phases, in order, and the five stages of the way back.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the nine phases of a cutover. The order of the variants is the order of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Everything reachable, backups taken and proven.
    Preparation,
    /// The source is whole, the target has room, the way back works.
    Validation,
    /// Read-only first, then writes refused.
    Maintenance,
    /// Records and bytes move.
    DataMigration,
    /// The inactive colour gets the new version.
    Deployment,
    /// Names point to the new side.
    DnsCutover,
    /// The new side does what users do.
    PostValidation,
    /// Rules watch; they may roll back by themselves.
    Monitoring,
    /// Past the commit: tidy up and report.
    Cleanup,
}

impl Phase {
    /// All nine in order.
    pub const ALL: [Self; 9] = [
        Self::Preparation,
        Self::Validation,
        Self::Maintenance,
        Self::DataMigration,
        Self::Deployment,
        Self::DnsCutover,
        Self::PostValidation,
        Self::Monitoring,
        Self::Cleanup,
    ];

    /// The name in plans, events and the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preparation => "preparation",
            Self::Validation => "validation",
            Self::Maintenance => "maintenance",
            Self::DataMigration => "data_migration",
            Self::Deployment => "deployment",
            Self::DnsCutover => "dns_cutover",
            Self::PostValidation => "post_validation",
            Self::Monitoring => "monitoring",
            Self::Cleanup => "cleanup",
        }
    }

    /// The name on screen.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Preparation => "Preparation",
            Self::Validation => "Validation",
            Self::Maintenance => "Maintenance",
            Self::DataMigration => "Data migration",
            Self::Deployment => "Deployment",
            Self::DnsCutover => "DNS cutover",
            Self::PostValidation => "Post-validation",
            Self::Monitoring => "Monitoring",
            Self::Cleanup => "Cleanup",
        }
    }

    /// Where the phase stands in the run, from 1.
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize + 1
    }

    /// The phase's share of the overall progress bar, in percent: from, to (source: the seeds' phase list).
    #[must_use]
    pub const fn share(self) -> (u8, u8) {
        match self {
            Self::Preparation => (0, 10),
            Self::Validation => (10, 20),
            Self::Maintenance => (20, 30),
            Self::DataMigration => (30, 60),
            Self::Deployment => (60, 70),
            Self::DnsCutover => (70, 80),
            Self::PostValidation => (80, 90),
            Self::Monitoring => (90, 95),
            Self::Cleanup => (95, 100),
        }
    }

    /// The phase of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// The rollback stage in which this phase's steps are undone.
    #[must_use]
    pub const fn rollback_stage(self) -> RollbackStage {
        match self {
            Self::DnsCutover | Self::PostValidation | Self::Monitoring | Self::Cleanup => RollbackStage::DnsBack,
            Self::Deployment => RollbackStage::DeploymentBack,
            Self::DataMigration => RollbackStage::DataSyncedBack,
            Self::Maintenance | Self::Validation | Self::Preparation => RollbackStage::MaintenanceOff,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// The five named stages of a rollback, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackStage {
    /// Names point to the legacy side again.
    DnsBack,
    /// The old colour is active again.
    DeploymentBack,
    /// What users wrote on the new side is carried to the legacy side, then what the run created is removed.
    DataSyncedBack,
    /// The legacy side takes writes again.
    MaintenanceOff,
    /// The legacy side does what users do.
    LegacyValidated,
}

impl RollbackStage {
    /// All five in order.
    pub const ALL: [Self; 5] =
        [Self::DnsBack, Self::DeploymentBack, Self::DataSyncedBack, Self::MaintenanceOff, Self::LegacyValidated];

    /// The name on screen.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::DnsBack => "DNS back",
            Self::DeploymentBack => "deployment back",
            Self::DataSyncedBack => "data synced back",
            Self::MaintenanceOff => "maintenance off",
            Self::LegacyValidated => "legacy validated",
        }
    }
}
