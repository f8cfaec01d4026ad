//! The rehearsal world: a legacy app, a new app, S3, DNS and users, on loopback inside the process.
//!
//! Real servers that speak real protocols; the engine meets them through the same adapters as in production. Neighbours:
//! `cli` starts a world and writes its plan. Must never enter: shortcuts between the world and the engine.

mod app;
mod cron;
mod database;
mod faults;
mod kept;
mod legacy;
mod metrics;
mod names;
mod objects;
mod plan_text;
mod platform;
mod ports;
mod scenario;
mod seed;
mod serve;
mod traffic;

pub use faults::{FaultSpec, FaultTarget, FaultView, FaultWork};
pub use metrics::Acknowledged;
pub use ports::Addresses;
pub use scenario::{CronSpec, NamesSpec, Overrides, PlanSpec, Scenario, Size, ThinkSpec, TrafficSpec};

use crate::{
    error::{Fault, FaultKind, Result},
    model::Digest,
};
use app::{App, Blobs, Gate};
use database::Side;
use faults::{Faults, FaultyServer};
use kept::{Kept, disk, read_json, write_json};
use legacy::{Legacy, ModeState};
use metrics::Metrics;
use names::Names;
use platform::Colours;
use ports::Sockets;
use serde::{Deserialize, Serialize};
use serve::{Tasks, serve};
use sqlx::SqlitePool;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Stands in the folder while a world is being built, so that a half-built one is known for what it is.
const BUILDING: &str = "building";

/// The credentials of a world; they follow from its seed and open nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The legacy app's migration and maintenance token.
    pub legacy: String,
    /// The new platform's control token.
    pub control: String,
    /// The object store's access key.
    pub access_key: String,
    /// The object store's secret key.
    pub secret_key: String,
    /// The zone API's key.
    pub names: String,
}

impl Credentials {
    fn from_seed(seed: u64) -> Self {
        let word = |what: &str| Digest::of(format!("{seed}/{what}").as_bytes()).to_hex()[..32].to_owned();
        Self {
            legacy: word("legacy"),
            control: word("control"),
            access_key: word("access key")[..20].to_uppercase(),
            secret_key: word("secret key"),
            names: word("names"),
        }
    }
}

/// Where the world keeps its data, for readers that do not ask its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldPaths {
    /// The legacy app's database.
    pub legacy_db: PathBuf,
    /// The legacy app's media folder.
    pub media: PathBuf,
    /// The new app's database.
    pub new_db: PathBuf,
    /// The bucket's folder: an object's key is its path.
    pub bucket: PathBuf,
    /// The list of acknowledged writes, one JSON document per line.
    pub acknowledged: PathBuf,
}

impl WorldPaths {
    fn in_dir(dir: &Path) -> Self {
        Self {
            legacy_db: dir.join("legacy.db"),
            media: dir.join("media"),
            new_db: dir.join("new.db"),
            bucket: dir.join("objects").join(objects::BUCKET),
            acknowledged: dir.join("acknowledged.jsonl"),
        }
    }
}

/// What is written down so that the world can be opened again.
#[derive(Serialize, Deserialize)]
struct Identity {
    addresses: Addresses,
    credentials: Credentials,
    scenario: Scenario,
}

/// A running world. Dropping it ends its servers; [`World::stop`] also waits for them.
pub struct World {
    /// Where its servers listen.
    pub addresses: Addresses,
    /// What opens them.
    pub credentials: Credentials,
    /// What it was made from.
    pub scenario: Scenario,
    dir: PathBuf,
    tasks: Tasks,
    faults: Arc<Faults>,
    metrics: Arc<Metrics>,
    pools: [SqlitePool; 3],
}

impl World {
    /// Builds a world in this folder and starts it, or, if the folder holds one already, opens that one again on the
    /// same ports with the data as it stands; the scenario is then the one it was built from. Every server takes
    /// requests when this returns.
    ///
    /// # Errors
    /// If the folder holds something else, cannot be written, or a port cannot be bound.
    pub async fn start(scenario: Scenario, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|error| disk(format!("make the folder {}", dir.display()), error))?;
        let dir = dir.canonicalize().map_err(|error| disk(format!("find the folder {}", dir.display()), error))?;
        let identity_file = dir.join("world.json");
        let paths = WorldPaths::in_dir(&dir);
        let (identity, sockets) = if identity_file.exists() {
            let identity: Identity = read_json(&identity_file)?;
            let sockets = Sockets::again(&identity.addresses).await?;
            (identity, sockets)
        } else {
            build(&scenario, &dir, &paths).await?;
            let sockets = Sockets::fresh().await?;
            let credentials = Credentials::from_seed(scenario.seed);
            let identity = Identity { addresses: sockets.addresses, credentials, scenario };
            write_json(&identity_file, &identity)?;
            (identity, sockets)
        };
        if dir.join(BUILDING).exists() {
            std::fs::remove_file(dir.join(BUILDING)).map_err(|error| disk("end the building", error))?;
        }
        Self::open(identity, sockets, dir, &paths).await
    }

    async fn open(identity: Identity, sockets: Sockets, dir: PathBuf, paths: &WorldPaths) -> Result<Self> {
        let Identity { addresses, credentials, scenario } = identity;
        let tasks = Tasks::new();
        let faults = Arc::new(Faults::new(scenario.seed, &scenario.faults));
        let metrics = Arc::new(Metrics::open(&paths.acknowledged)?);
        let legacy_pool = database::open(&paths.legacy_db, Side::Legacy).await?;
        let new_pool = database::open(&paths.new_db, Side::New).await?;
        let mode = Arc::new(Kept::open(dir.join("maintenance.json"), ModeState::fresh)?);
        let colours = Arc::new(Kept::open(dir.join("platform.json"), Colours::fresh)?);
        let zone = dir.join("zone.json");
        let names = Arc::new(Names::open(zone, scenario.names.ttl, Arc::clone(&faults)).await?);
        let refuses = mode.read().await.mode != legacy::Mode::Off;
        faults.moment(|moment| moment.maintenance = refuses);

        let with_faults = |target, think| FaultyServer { faults: Arc::clone(&faults), target, think };
        let (access, secret) = (&credentials.access_key, &credentials.secret_key);
        serve(
            &tasks,
            sockets.objects,
            objects::router(
                &dir.join("objects"),
                access,
                secret,
                with_faults(FaultTarget::S3, scenario.think.objects),
            )?,
        );
        serve(&tasks, sockets.names_api, names::router(Arc::clone(&names), &credentials.names));
        names::listen(&tasks, sockets.resolver, Arc::clone(&names), None);
        names::listen(&tasks, sockets.slow_resolver, names, Some(scenario.names.cache));
        serve(&tasks, sockets.control, platform::control(Arc::clone(&colours), &credentials.control));
        serve(&tasks, sockets.ops, metrics::router(Arc::clone(&metrics)));

        let beside = dir.join("drafts");
        std::fs::create_dir_all(&beside).map_err(|error| disk("make the folder for drafts", error))?;
        let folder = Blobs::Folder { root: paths.media.clone(), beside: beside.clone() };
        let gate = Gate::Legacy(Arc::clone(&mode));
        let app = Arc::new(App { side: Side::Legacy, pool: legacy_pool.clone(), blobs: folder, gate });
        let legacy = Arc::new(Legacy {
            pool: legacy_pool.clone(),
            media: paths.media.clone(),
            token: credentials.legacy.clone(),
            mode: Arc::clone(&mode),
            server: with_faults(FaultTarget::LegacyApi, scenario.think.legacy),
        });
        serve(&tasks, sockets.legacy, legacy::router(legacy, app));

        let client = objects::client(&format!("http://{}", addresses.objects), access, secret);
        let bucket = Blobs::Bucket { client, bucket: objects::BUCKET.to_owned() };
        let gate = Gate::Platform(Arc::clone(&colours));
        let app = Arc::new(App { side: Side::New, pool: new_pool.clone(), blobs: bucket, gate });
        let server = with_faults(FaultTarget::NewApp, scenario.think.new);
        serve(&tasks, sockets.edge, platform::edge(&app, &colours, &server));

        let staging_pool = database::open(&dir.join("staging.db"), Side::New).await?;
        let folder = Blobs::Folder { root: dir.join("staging"), beside };
        let app = App { side: Side::New, pool: staging_pool.clone(), blobs: folder, gate: Gate::Open };
        serve(&tasks, sockets.staging, app::router(Arc::new(app)));

        let base = plan_text::public_base(&addresses);
        traffic::begin(&tasks, &scenario, &base, addresses.slow_resolver, &metrics)?;
        if let Some(spec) = scenario.cron {
            let (legacy, new) = (legacy_pool.clone(), new_pool.clone());
            cron::Cron { spec, legacy, new, mode, faults: Arc::clone(&faults) }.begin(&tasks);
        }
        let pools = [legacy_pool, new_pool, staging_pool];
        Ok(Self { addresses, credentials, scenario, dir, tasks, faults, metrics, pools })
    }

    /// A plan for this world: complete, with addresses and credentials in it.
    #[must_use]
    pub fn plan_text(&self) -> String {
        plan_text::write(self)
    }

    /// Lets the fault of this name strike from now on.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] if there is no such fault.
    pub fn inject(&self, name: &str) -> Result<()> {
        self.arm(name, true)
    }

    /// Ends the fault of this name.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] if there is no such fault.
    pub fn mend(&self, name: &str) -> Result<()> {
        self.arm(name, false)
    }

    fn arm(&self, name: &str, armed: bool) -> Result<()> {
        if self.faults.arm(name, armed) {
            return Ok(());
        }
        let known: Vec<String> = self.faults().into_iter().map(|fault| fault.name).collect();
        let detail = format!("there are {}", known.join(", "));
        Err(Fault::new(FaultKind::NotFound, format!("find the fault `{name}`")).detail(detail))
    }

    /// Every fault this world knows.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultView> {
        self.faults.list()
    }

    /// The folder with everything in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the data is, for independent readers.
    #[must_use]
    pub fn paths(&self) -> WorldPaths {
        WorldPaths::in_dir(&self.dir)
    }

    /// The address under which users find whichever app the public name points to.
    #[must_use]
    pub fn public_base(&self) -> String {
        plan_text::public_base(&self.addresses)
    }

    /// Every write that a user got a success answer for, since the world was built.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.metrics.acknowledged()
    }

    /// What `/metrics.json` says.
    #[must_use]
    pub fn metrics(&self) -> serde_json::Value {
        self.metrics.json()
    }

    /// Ends every server and every user, and waits for them.
    pub async fn stop(self) {
        self.tasks.end().await;
        for pool in &self.pools {
            pool.close().await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.stop.cancel();
    }
}

/// Makes the data of a new world. A building that was cut short is begun again; anything else in its place is refused.
async fn build(scenario: &Scenario, dir: &Path, paths: &WorldPaths) -> Result<()> {
    let mark = dir.join(BUILDING);
    if mark.exists() {
        clear(paths)?;
    } else if [&paths.legacy_db, &paths.media, &paths.new_db].iter().any(|path| path.exists()) {
        let fault = Fault::new(FaultKind::Refused, format!("build a rehearsal in {}", dir.display()));
        return Err(fault.detail("the folder holds other data already; name an empty one"));
    }
    std::fs::write(&mark, "").map_err(|error| disk(format!("write into {}", dir.display()), error))?;
    std::fs::create_dir_all(&paths.media).map_err(|error| disk("make the media folder", error))?;
    let pool = database::open(&paths.legacy_db, Side::Legacy).await?;
    seed::fill(&pool, &paths.media, scenario).await?;
    pool.close().await;
    Ok(())
}

fn clear(paths: &WorldPaths) -> Result<()> {
    let gone = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk("clear a half-built rehearsal", error)),
        _ => Ok(()),
    };
    for database in [&paths.legacy_db, &paths.new_db] {
        for tail in ["", "-wal", "-shm"] {
            let mut name = database.clone().into_os_string();
            name.push(tail);
            gone(std::fs::remove_file(PathBuf::from(name)))?;
        }
    }
    gone(std::fs::remove_dir_all(&paths.media))
}
