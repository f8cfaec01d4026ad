//! From a plan's text to its ports.

use cutover::{plan, wiring};

const PLAN: &str = r#"
name = "list-cutter"
environment = "rehearsal"
announce = ["POST http://127.0.0.1:1/admin/announce"]
[stores.django]
kind = "http"
endpoint = "http://127.0.0.1:1"
auth = { scheme = "Token", token = "abcdefgh" }
[stores.d1]
kind = "sqlite"
path = "new.db"
[buckets.media]
kind = "filesystem"
root = "media"
[buckets.r2]
kind = "s3"
endpoint = "http://127.0.0.1:1"
bucket = "list-cutter"
access_key = "abcdefgh"
secret_key = "abcdefgh"
path_style = true
[buckets.web]
kind = "http"
endpoint = "http://127.0.0.1:1/media/"
[[dataset]]
name = "users"
from = { store = "django", path = "/api/migration/users/" }
to = { store = "d1", table = "users" }
key = "id"
updated = "updated_at"
[switches.maintenance]
kind = "http"
turn = { off = "POST http://127.0.0.1:1/off", on = "POST http://127.0.0.1:1/on" }
observe = { get = "http://127.0.0.1:1/status", pointer = "/mode" }
[switches.deployment]
kind = "command"
turn = { blue = ["./activate", "blue"], green = ["./activate", "green"] }
observe = ["./active"]
[switches.dns]
kind = "powerdns"
endpoint = "http://127.0.0.1:1"
api_key = "abcdefgh"
server = "localhost"
zone = "list-cutter.test"
records = [{ name = "api.list-cutter.test", type = "A", value = "127.0.0.2", ttl = "30s" }]
resolvers = ["127.0.0.1:1"]
[[probe]]
name = "live"
kind = "counters"
use = ["watch"]
request = "GET http://127.0.0.1:1/metrics"
total = "/requests"
failed = "/failed"
[[probe]]
name = "login"
kind = "flow"
use = ["after"]
[[probe.step]]
name = "register"
request = "POST http://127.0.0.1:1/api/register"
capture = { token = "$.token" }
"#;

#[test]
fn every_port_of_a_plan_is_made_without_asking_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cutover.toml");
    std::fs::write(&path, PLAN).unwrap();
    let plan = plan::load(&path).unwrap();
    let ports = wiring::ports(&plan).unwrap();
    assert_eq!(ports.stores.keys().collect::<Vec<_>>(), ["d1", "django"]);
    assert_eq!(ports.buckets.keys().collect::<Vec<_>>(), ["media", "r2", "web"]);
    assert_eq!(ports.switches.keys().collect::<Vec<_>>(), ["deployment", "dns", "maintenance"]);
    assert_eq!(ports.probes.keys().collect::<Vec<_>>(), ["announce", "live", "login"]);
    let target = |name: &str| ports.switch(name).unwrap().target().map(|position| position.0);
    assert_eq!(target("maintenance").as_deref(), Some("on"));
    assert_eq!(target("deployment"), None, "the other colour, whichever that is");
    assert_eq!(target("dns").as_deref(), Some("api.list-cutter.test A 30 127.0.0.2"));
    assert!(!folder.path().join("new.db").exists());
}
