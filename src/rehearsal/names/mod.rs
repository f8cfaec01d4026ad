//! The name servers: one zone, an authoritative server and a caching one that answer real queries, and the zone's REST
//! API in the shape of `PowerDNS`.

mod api;
mod server;

pub(super) use api::router;
pub(super) use server::listen;

use super::{
    faults::{FaultTarget, FaultWork, Faults, Moment},
    kept::Kept,
};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// The zone.
pub(super) const ZONE: &str = "list-cutter.test.";
/// The public name of both apps.
pub(super) const PUBLIC: &str = "api.list-cutter.test.";
/// Where the public name points before the cutover.
pub(super) const LEGACY_IP: &str = "127.0.0.1";
/// Where it shall point afterwards.
pub(super) const NEW_IP: &str = "127.0.0.2";

/// All records of one name and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordSet {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) ttl: u32,
    pub(super) contents: Vec<String>,
}

/// The zone as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Zone {
    pub(super) serial: u32,
    pub(super) sets: Vec<RecordSet>,
    /// When a server first answered the new address, since it was last set.
    pub(super) switched: Option<jiff::Timestamp>,
}

impl Zone {
    /// The zone before the cutover: enough names around the public one that a guard has something to guard.
    pub(super) fn fresh(ttl: u32) -> Self {
        let set = |name: &str, kind: &str, ttl, content: &str| RecordSet {
            name: if name.is_empty() { ZONE.to_owned() } else { format!("{name}.{ZONE}") },
            kind: kind.to_owned(),
            ttl,
            contents: vec![content.to_owned()],
        };
        let mut sets = vec![
            set("", "SOA", 3600, "ns1.list-cutter.test. hostmaster.list-cutter.test. 1 3600 600 86400 60"),
            set("", "NS", 3600, "ns1.list-cutter.test."),
            set("ns1", "A", 3600, "127.0.0.1"),
            set("api", "A", ttl, LEGACY_IP),
            set("www", "CNAME", 300, "api.list-cutter.test."),
            set("", "TXT", 300, "\"v=spf1 -all\""),
        ];
        for host in ["mail", "status", "docs", "admin", "static", "legacy"] {
            sets.push(set(host, "A", 300, "127.0.0.1"));
        }
        Self { serial: 1, sets, switched: None }
    }

    pub(super) fn set(&self, name: &str, kind: &str) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.name.eq_ignore_ascii_case(name) && set.kind.eq_ignore_ascii_case(kind))
    }

    fn knows(&self, name: &str) -> bool {
        self.sets.iter().any(|set| set.name.eq_ignore_ascii_case(name))
    }

    fn points_to_new(&self) -> bool {
        self.set(PUBLIC, "A").is_some_and(|set| set.contents.iter().any(|content| content == NEW_IP))
    }
}

/// The name service of the world.
pub(super) struct Names {
    zone: Kept<Zone>,
    frozen: Zone,
    faults: Arc<Faults>,
}

impl Names {
    /// Opens the zone kept in this file, or begins with a fresh one.
    pub(super) async fn open(path: PathBuf, ttl: u32, faults: Arc<Faults>) -> Result<Self> {
        let zone = Kept::open(path, || Zone::fresh(ttl))?;
        let switched = zone.read().await.switched;
        if let Some(at) = switched {
            let since = std::time::Duration::try_from(jiff::Timestamp::now().duration_since(at)).unwrap_or_default();
            faults.moment(|moment: &mut Moment| moment.since_switch = Some(since));
        }
        Ok(Self { zone, frozen: Zone::fresh(ttl), faults })
    }

    /// The answer to a query, or `None` for `SERVFAIL`; `Some(None)` means that the name does not exist.
    async fn answer(&self, name: &str, kind: &str) -> Option<Option<Vec<RecordSet>>> {
        let strike = self.faults.throw(FaultTarget::Dns, name, name, "");
        if !strike.delay.is_zero() {
            tokio::time::sleep(strike.delay).await;
        }
        let frozen = match strike.work {
            Some((FaultWork::Frozen, _)) => true,
            Some((FaultWork::Stall, wait)) => {
                tokio::time::sleep(wait).await;
                return None;
            }
            Some(_) => return None,
            None => false,
        };
        let (found, newly_switched) = {
            let zone = self.zone.read().await;
            let shown = if frozen { &self.frozen } else { &*zone };
            let newly = zone.switched.is_none() && shown.points_to_new() && name.eq_ignore_ascii_case(PUBLIC);
            (look_up(shown, name, kind), newly)
        };
        if newly_switched {
            let kept = self.zone.change(|zone| zone.switched = Some(jiff::Timestamp::now())).await;
            if let Err(fault) = kept {
                tracing::warn!(fault = fault.chain(), "rehearsal: the moment of the switch could not be kept");
            }
            self.faults.moment(|moment| moment.since_switch = Some(std::time::Duration::ZERO));
        }
        Some(found)
    }

    /// Replaces or deletes record sets.
    async fn patch(&self, changes: Vec<Change>) -> Result<()> {
        let switched_back = self
            .zone
            .change(|zone| {
                zone.serial += 1;
                for change in changes {
                    let (name, kind) = match &change {
                        Change::Replace(set) => (&set.name, &set.kind),
                        Change::Delete { name, kind } => (name, kind),
                    };
                    zone.sets
                        .retain(|set| !(set.name.eq_ignore_ascii_case(name) && set.kind.eq_ignore_ascii_case(kind)));
                    if let Change::Replace(set) = change {
                        zone.sets.push(set);
                    }
                }
                let back = zone.switched.is_some() && !zone.points_to_new();
                if back {
                    zone.switched = None;
                }
                back
            })
            .await?;
        if switched_back {
            self.faults.moment(|moment| moment.since_switch = None);
        }
        Ok(())
    }
}

enum Change {
    Replace(RecordSet),
    Delete { name: String, kind: String },
}

/// Follows one alias, as an authoritative server does inside its zone.
fn look_up(zone: &Zone, name: &str, kind: &str) -> Option<Vec<RecordSet>> {
    if !zone.knows(name) {
        return None;
    }
    if let Some(set) = zone.set(name, kind) {
        return Some(vec![set.clone()]);
    }
    let Some(alias) = zone.set(name, "CNAME") else { return Some(Vec::new()) };
    let target = alias.contents.first().and_then(|target| zone.set(target, kind));
    Some(std::iter::once(alias).chain(target).cloned().collect())
}
