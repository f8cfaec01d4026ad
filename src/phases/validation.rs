//! Phase 2, validation: the source is whole, the target has room and takes writes, nothing secret travels in the clear,
//! the staging journeys pass, and the way back works before anybody goes forward.
//!
//! That no secret stands in the plan of a production cutover is seen to where the plan is read.

use crate::{
    engine::{StepContext, StepDone},
    error::Result,
    migrate::marker,
    model::{Check, Environment, Phase},
    phases::{
        Entry,
        examine::{Examine, answered, count, judge, verdict},
        follow,
        gather::{self, patiently},
        integrity, preparation, probing,
    },
    plan::{Auth, BucketPlan, FlowStep, Plan, ProbeKind, ProbeUse, RequestPlan, StorePlan, SwitchPlan},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use url::Url;

const PHASE: Phase = Phase::Validation;
/// The step that proves the way back.
pub(super) const WAY_BACK: &str = "way-back";

/// The steps the plan gives cause for.
pub(super) fn steps(plan: &Plan) -> Vec<Entry> {
    let mut steps = Vec::new();
    let data = !plan.datasets.is_empty();
    if data {
        steps.push(Entry::looks(Examine::new(PHASE, "records", "Check that the source is whole", |cx| {
            Box::pin(async move { judge("find the source whole", "records are whole", integrity::records(cx).await?) })
        })));
    }
    if !plan.file_sets.is_empty() || plan.datasets.iter().any(|dataset| dataset.blob.is_some()) {
        steps.push(Entry::looks(Examine::new(PHASE, "files", "Check that the source's files are whole", |cx| {
            Box::pin(async move {
                let mut checks = integrity::files(cx).await?;
                checks.extend(integrity::file_sets(cx).await?);
                judge("find the files whole", "files are whole", checks)
            })
        })));
    }
    if plan.moves_data() {
        steps.push(Entry::looks(Examine::new(PHASE, "target", "Check that the target takes writes", |cx| {
            Box::pin(target(cx))
        })));
    }
    steps.push(Entry::looks(Examine::new(PHASE, "security", "Check what travels, and how", |cx| {
        Box::pin(async move { judge("find every connection safe", "connections are safe", security(&cx.plan)) })
    })));
    if probing::any(plan, ProbeUse::Staging) {
        steps.push(Entry::acts(Examine::new(PHASE, "staging", "Run the flows against staging", |cx| {
            Box::pin(staging(cx))
        })));
    }
    if plan.moves_data() {
        steps.push(Entry::acts(Examine::new(PHASE, WAY_BACK, "Prove the way back", |cx| Box::pin(way_back(cx)))));
    }
    steps.extend(follow::ahead(plan));
    steps
}

async fn target(cx: &StepContext) -> Result<StepDone> {
    let mut checks = Vec::new();
    for dataset in &cx.plan.datasets {
        let side = gather::new(cx, dataset)?;
        let doing = format!("describe {} in {}", side.set.name, side.name);
        let name = format!("{} writable", dataset.name);
        checks.push(match patiently(cx, &doing, || side.store.describe(&side.set)).await {
            Ok(info) => {
                let value = if info.writable { "takes writes" } else { "takes no writes" };
                verdict(name, info.writable, value, "give this credential the right to write")
            }
            Err(fault) => answered(name, Err(fault)),
        });
    }
    for (name, folder) in preparation::target_folders(&cx.plan) {
        checks.push(preparation::room(&folder, &format!("free space for {name}")));
    }
    judge("find the target ready", format!("{} passed", count(checks.len() as u64, "check")), checks)
}

async fn staging(cx: &StepContext) -> Result<StepDone> {
    let (checks, _) = probing::all_pass(cx, probing::of_use(&cx.plan, ProbeUse::Staging), &BTreeMap::new()).await?;
    judge("run the flows against staging", format!("{} passed", count(checks.len() as u64, "flow")), checks)
}

async fn way_back(cx: &StepContext) -> Result<StepDone> {
    let checks = marker::prove_way_back(cx).await?;
    judge("prove the way back", "the way back works", checks)
}

/// Tokens that are empty, and addresses of other machines without TLS. In development and rehearsal plain HTTP passes,
/// and says so.
fn security(plan: &Plan) -> Vec<Check> {
    let mut used = Used::default();
    used.plan(plan);
    let strict = matches!(plan.environment, Environment::Production | Environment::Staging);
    let open: Vec<&str> = used.plain.iter().map(String::as_str).collect();
    let value = if open.is_empty() {
        "TLS, or this machine only".to_owned()
    } else {
        format!("without TLS: {}", open.join(", "))
    };
    let empty: Vec<&str> = used.empty.iter().map(String::as_str).collect();
    let given = if empty.is_empty() { "none is empty".to_owned() } else { format!("empty: {}", empty.join(", ")) };
    vec![
        verdict("encrypted connections", open.is_empty() || !strict, value, "use https for these addresses"),
        verdict("credentials", empty.is_empty(), given, "set these variables in the environment, then start again"),
    ]
}

/// The addresses and credentials a plan uses.
#[derive(Default)]
struct Used {
    plain: BTreeSet<String>,
    empty: BTreeSet<String>,
}

impl Used {
    fn plan(&mut self, plan: &Plan) {
        for (name, store) in &plan.stores {
            if let Some(http) = store.http() {
                self.address(http.endpoint.as_str());
                self.auth(&format!("store {name}"), &http.auth);
            }
            match store {
                StorePlan::Postgres { address, .. } | StorePlan::MySql { address, .. } if !address.encrypted => {
                    self.host(&address.host);
                }
                StorePlan::D1 { endpoint, token, .. } => {
                    self.address(endpoint.as_str());
                    self.secret(&format!("token of store {name}"), token);
                }
                _ => {}
            }
        }
        for (name, bucket) in &plan.buckets {
            match bucket {
                BucketPlan::Filesystem { .. } => {}
                BucketPlan::Http { endpoint, auth, .. } => {
                    self.address(endpoint.as_str());
                    self.auth(&format!("bucket {name}"), auth);
                }
                BucketPlan::S3 { endpoint, access_key, secret_key, .. } => {
                    self.address(endpoint.as_str());
                    self.secret(&format!("access key of {name}"), access_key);
                    self.secret(&format!("secret key of {name}"), secret_key);
                }
            }
        }
        for dataset in &plan.datasets {
            let told = dataset.blob.as_ref().and_then(|blob| blob.write_back.as_ref());
            if let Some(told) = told.filter(|told| !told.encrypted) {
                self.host(&told.host);
            }
        }
        for switch in [&plan.maintenance, &plan.deployment, &plan.release].into_iter().flatten() {
            if let SwitchPlan::Http { turn, observe, .. } = switch {
                turn.iter().flat_map(|(_, requests)| requests).for_each(|request| self.request(request));
                self.request(&observe.request);
            }
        }
        if let Some(dns) = &plan.dns {
            self.address(dns.endpoint.as_str());
            self.secret("api key of dns", &dns.api_key);
        }
        plan.announce.iter().for_each(|request| self.request(request));
        for probe in &plan.probes {
            match &probe.kind {
                ProbeKind::Http { request, .. } | ProbeKind::Counters { request, .. } => self.request(request),
                ProbeKind::Flow { steps } => steps.iter().for_each(|FlowStep { request, .. }| self.request(request)),
                ProbeKind::Command { .. } => {}
            }
        }
    }

    fn request(&mut self, request: &RequestPlan) {
        self.address(&request.url);
        self.auth(&request.url, &request.auth);
    }

    fn address(&mut self, address: &str) {
        let Ok(url) = Url::parse(address) else { return };
        if url.scheme() != "http" {
            return;
        }
        self.host(url.host_str().unwrap_or_default());
    }

    /// A host that is talked to without TLS. A folder is the place of a socket on this machine.
    fn host(&mut self, host: &str) {
        let here = host == "localhost"
            || host.starts_with('/')
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !here {
            self.plain.insert(host.to_owned());
        }
    }

    fn auth(&mut self, whose: &str, auth: &Auth) {
        match auth {
            Auth::None => {}
            Auth::Token { token, .. } | Auth::Header { token, .. } => self.secret(&format!("token of {whose}"), token),
            Auth::Basic { password, .. } => self.secret(&format!("password of {whose}"), password),
        }
    }

    fn secret(&mut self, whose: &str, secret: &SecretString) {
        if secret.expose_secret().trim().is_empty() {
            self.empty.insert(whose.to_owned());
        }
    }
}
