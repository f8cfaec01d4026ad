//! From a plan to everything outside: each store, bucket, switch and probe with the adapter the plan asks for.

use crate::{
    adapters::{
        blobs::{FolderBucket, HttpBucket, S3Bucket, S3Settings},
        probes::{CommandProbe, CountersProbe, FlowProbe, HttpProbe, Pointers},
        records::{D1Store, HttpStore, LocalStorage, MySqlStore, PostgresStore, SqliteStore},
        switches::{Aim, CommandSwitch, HttpSwitch, PowerDnsSwitch},
        write_back::PostgresWriteBack,
    },
    error::Result,
    plan::{BackupsPlan, BucketPlan, Plan, ProbeKind, ProbePlan, StorePlan, SwitchPlan},
    ports::{BackupPlace, BlobStore, PartLimits, Ports, Probe, RecordStore, Switch, WriteBack},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The folder for backups beside the ledger.
const BACKUPS: &str = "backups";

/// As [`ports`], with a place for backups in the plan's folder `home` unless the plan says another.
///
/// # Errors
/// As [`ports`].
pub fn ports_in(plan: &Plan, home: &Path) -> Result<Ports> {
    let mut ports = ports(plan)?;
    ports.backups.get_or_insert_with(|| folder_of_backups(&home.join(BACKUPS)));
    Ok(ports)
}

/// Makes every port of the plan; no place for backups if the plan says none. Talks to nobody: a server that is not there
/// is found out by whoever uses the port.
///
/// # Errors
/// `Plan` if something in the plan cannot be what it should be (a JSONPath, a DNS value); `Internal` if this machine
/// cannot make an HTTP client.
pub fn ports(plan: &Plan) -> Result<Ports> {
    let mut switches = BTreeMap::new();
    let named = [
        ("maintenance", Aim::Severest, &plan.maintenance),
        ("release", Aim::Relative, &plan.release),
        ("deployment", Aim::Relative, &plan.deployment),
    ];
    for (name, aim, switch) in named {
        if let Some(switch) = switch {
            switches.insert(name.to_owned(), self::switch(name, aim, switch)?);
        }
    }
    if let Some(dns) = &plan.dns {
        switches.insert("dns".to_owned(), Arc::new(PowerDnsSwitch::new(dns)?) as Arc<dyn Switch>);
    }
    let buckets = plan
        .buckets
        .iter()
        .map(|(name, plan)| Ok((name.clone(), bucket(name, plan)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    Ok(Ports {
        backups: backups(&plan.migration.backups, &buckets),
        buckets,
        stores: plan.stores.iter().map(|(name, plan)| Ok((name.clone(), store(name, plan)?))).collect::<Result<_>>()?,
        switches,
        probes: plan
            .announcement()
            .iter()
            .chain(&plan.probes)
            .map(|plan| Ok((plan.name.clone(), probe(plan)?)))
            .collect::<Result<_>>()?,
        write_backs: write_backs(plan)?,
    })
}

fn backups(plan: &BackupsPlan, buckets: &BTreeMap<String, Arc<dyn BlobStore>>) -> Option<BackupPlace> {
    match plan {
        BackupsPlan::Beside => None,
        BackupsPlan::Folder(folder) => Some(folder_of_backups(folder)),
        BackupsPlan::Bucket(end) => Some(BackupPlace {
            bucket: Arc::clone(buckets.get(&end.bucket)?),
            prefix: end.prefix.clone(),
            told: format!("the bucket {} under {}", end.bucket, end.prefix),
        }),
    }
}

fn folder_of_backups(folder: &Path) -> BackupPlace {
    let told = format!("the folder {}", folder.display());
    BackupPlace { bucket: Arc::new(FolderBucket::own("backups", folder)), prefix: String::new(), told }
}

fn write_backs(plan: &Plan) -> Result<BTreeMap<String, Arc<dyn WriteBack>>> {
    let told = plan.datasets.iter().filter_map(|dataset| Some((dataset, dataset.blob.as_ref()?.write_back.as_ref()?)));
    told.map(|(dataset, plan)| {
        Ok((dataset.name.clone(), Arc::new(PostgresWriteBack::new(plan)?) as Arc<dyn WriteBack>))
    })
    .collect()
}

fn store(name: &str, plan: &StorePlan) -> Result<Arc<dyn RecordStore>> {
    Ok(match plan {
        StorePlan::Http(plan) => Arc::new(HttpStore::new(name, plan.as_ref().clone())?),
        StorePlan::LocalStorage(plan) => Arc::new(LocalStorage::new(name, plan)?),
        StorePlan::Sqlite { path } => Arc::new(SqliteStore::new(name, path)),
        StorePlan::Postgres { address, schema, timeout } => {
            Arc::new(PostgresStore::new(name, &address.url, schema.as_deref(), *timeout)?)
        }
        StorePlan::MySql { address, timeout } => Arc::new(MySqlStore::new(name, &address.url, *timeout)?),
        StorePlan::D1 { endpoint, account, database, token, timeout } => {
            Arc::new(D1Store::new(name, endpoint, account, database, token, *timeout)?)
        }
    })
}

fn bucket(name: &str, plan: &BucketPlan) -> Result<Arc<dyn BlobStore>> {
    Ok(match plan {
        BucketPlan::Filesystem { root } => Arc::new(FolderBucket::new(name, root)),
        BucketPlan::Http { endpoint, auth, timeout, writable } => {
            Arc::new(HttpBucket::new(name, endpoint.clone(), auth.clone(), *timeout, *writable)?)
        }
        BucketPlan::S3 { endpoint, bucket, region, access_key, secret_key, path_style, timeout, parts } => {
            let settings = S3Settings {
                endpoint: endpoint.clone(),
                bucket: bucket.clone(),
                region: region.clone(),
                access_key: access_key.clone(),
                secret_key: secret_key.clone(),
                path_style: *path_style,
                timeout: *timeout,
                parts: PartLimits { above: parts.above, part: parts.size, ..PartLimits::default() },
            };
            Arc::new(S3Bucket::new(name, &settings))
        }
    })
}

fn switch(name: &str, aim: Aim, plan: &SwitchPlan) -> Result<Arc<dyn Switch>> {
    Ok(match plan {
        SwitchPlan::Http { turn, observe, timeout } => Arc::new(HttpSwitch::new(name, aim, turn, observe, *timeout)?),
        SwitchPlan::Command { turn, observe, timeout } => {
            Arc::new(CommandSwitch::new(name, aim, turn, observe, *timeout))
        }
    })
}

fn probe(plan: &ProbePlan) -> Result<Arc<dyn Probe>> {
    let (name, timeout, resolver) = (plan.name.as_str(), plan.timeout, plan.resolver);
    Ok(match &plan.kind {
        ProbeKind::Http { request, status } => Arc::new(HttpProbe::new(name, request, status, timeout, resolver)?),
        ProbeKind::Counters { request, total, failed, latency } => {
            let pointers = Pointers { total: total.clone(), failed: failed.clone(), latency: latency.clone() };
            Arc::new(CountersProbe::new(name, request, pointers, timeout, resolver)?)
        }
        ProbeKind::Flow { steps } => Arc::new(FlowProbe::new(name, steps, timeout, resolver)?),
        ProbeKind::Command { run } => Arc::new(CommandProbe::new(name, run, timeout)),
    })
}
