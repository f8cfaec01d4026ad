//! Names resolved by a given server, each time anew.

use super::{
    PATIENCE,
    doubles::{Names, serve},
    request,
};
use axum::{Router, routing::get};
use cutover::{adapters::probes::HttpProbe, model::Verdict, ports::Probe};
use std::collections::BTreeMap;

#[tokio::test]
async fn a_probe_goes_where_the_name_points_now() {
    let names = Names::start().await;
    let at = serve(Router::new().route("/", get(async || "hello"))).await;
    let url = format!("http://api.list-cutter.test:{}/", at.port());
    let probe = HttpProbe::new("home", &request("GET", url), &[], PATIENCE, Some(names.at)).unwrap();
    let nowhere = probe.measure(&BTreeMap::new()).await.unwrap();
    assert_eq!(nowhere.verdict, Verdict::Fail, "no such name: {}", nowhere.detail);
    names.point("api.list-cutter.test", &["127.0.0.1"]);
    let here = probe.measure(&BTreeMap::new()).await.unwrap();
    assert_eq!(here.verdict, Verdict::Pass, "{}", here.detail);
    names.point("api.list-cutter.test", &["127.0.0.9"]);
    let moved = probe.measure(&BTreeMap::new()).await.unwrap();
    assert_eq!(moved.verdict, Verdict::Fail, "nothing was kept, neither the name nor the connection: {}", moved.detail);
}
