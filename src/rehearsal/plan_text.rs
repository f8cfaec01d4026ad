//! The plan for a world: what an operator would have written for these servers, with the scenario's pace in it.

use super::{Addresses, World};
use crate::rehearsal::names::{NEW_IP, PUBLIC};
use std::{path::Path, time::Duration};

/// `http://api.list-cutter.test:PORT`.
pub(super) fn public_base(addresses: &Addresses) -> String {
    format!("http://{}:{}", PUBLIC.trim_end_matches('.'), addresses.legacy.port())
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn time(time: Duration) -> String {
    format!("\"{}ms\"", time.as_millis())
}

/// The whole plan.
pub(super) fn write(world: &World) -> String {
    [head(world), datasets(), switches(world), probes(world), rules(world), tail(world)].join("\n")
}

fn head(world: &World) -> String {
    let Addresses { legacy, objects, .. } = world.addresses;
    let paths = world.paths();
    let keys = &world.credentials;
    format!(
        r#"# A rehearsal of the scenario "{scenario}": {about}.
# Servers, data and credentials exist only as long as this rehearsal does.
name        = "list-cutter"
environment = "rehearsal"
on_hangup   = "continue"
announce    = ["POST http://{legacy}/admin/announce"]
announce_auth = {{ scheme = "Token", token = "{token}" }}

[stores.django]
kind       = "http"
endpoint   = "http://{legacy}"
auth       = {{ scheme = "Token", token = "{token}" }}
pagination = "page-number"
timeout    = "10s"

[stores.d1]
kind = "sqlite"
path = {new_db}

[buckets.media]
kind = "filesystem"
root = {media}

[buckets.r2]
kind       = "s3"
endpoint   = "http://{objects}"
bucket     = "{bucket}"
region     = "auto"
access_key = "{access}"
secret_key = "{secret}"
path_style = true
timeout    = "10s"
"#,
        scenario = world.scenario.name,
        about = world.scenario.about,
        token = keys.legacy,
        new_db = path(&paths.new_db),
        media = path(&paths.media),
        bucket = super::objects::BUCKET,
        access = keys.access_key,
        secret = keys.secret_key,
    )
}

fn datasets() -> String {
    r#"[[dataset]]
name    = "users"
from    = { store = "django", path = "/api/migration/users/" }
to      = { store = "d1", table = "users" }
key     = "id"
updated = "updated_at"
map     = { email = "email | lower", name = "first_name ~ ' ' ~ last_name" }
back    = ["id", "username", "email", "first_name", "last_name", "password_hash", "created_at", "updated_at"]

[[dataset]]
name    = "files"
needs   = ["users"]
from    = { store = "django", path = "/api/migration/files/" }
to      = { store = "d1", table = "files" }
key     = "id"
updated = "updated_at"
blob    = { from = "media", path = "file_path", to = "r2", key = "users/{{ user_id }}/{{ id }}/{{ file_name }}", sha256 = "checksum", size = "size", content_type = "mime_type" }

[[dataset]]
name    = "filters"
needs   = ["users"]
from    = { store = "django", path = "/api/migration/filters/" }
to      = { store = "d1", table = "filters" }
key     = "id"
updated = "updated_at"
"#
    .to_owned()
}

fn switches(world: &World) -> String {
    let Addresses { legacy, control, names_api, resolver, slow_resolver, .. } = world.addresses;
    let keys = &world.credentials;
    format!(
        r#"[switches.maintenance]
kind    = "http"
auth    = {{ scheme = "Token", token = "{token}" }}
turn    = {{ off = "POST http://{legacy}/admin/maintenance/disable", read-only = "POST http://{legacy}/admin/maintenance/read-only", on = "POST http://{legacy}/admin/maintenance/enable" }}
observe = {{ get = "http://{legacy}/admin/maintenance/status", pointer = "/mode" }}
timeout = "10s"

[switches.release]
kind    = "http"
auth    = {{ scheme = "Bearer", token = "{control_token}" }}
turn    = {{ none = "POST http://{control}/control/release/none", blue = "POST http://{control}/control/release/blue", green = "POST http://{control}/control/release/green" }}
observe = {{ get = "http://{control}/control/status", pointer = "/release" }}
timeout = "10s"

[switches.deployment]
kind    = "http"
auth    = {{ scheme = "Bearer", token = "{control_token}" }}
turn    = {{ blue = "POST http://{control}/control/activate/blue", green = "POST http://{control}/control/activate/green" }}
observe = {{ get = "http://{control}/control/status", pointer = "/active" }}
timeout = "10s"

[switches.dns]
kind        = "powerdns"
endpoint    = "http://{names_api}"
api_key     = "{names_key}"
server      = "localhost"
zone        = "list-cutter.test"
records     = [{{ name = "{public}", type = "A", value = "{NEW_IP}", ttl = "{ttl}s" }}]
resolvers   = ["{resolver}", "{slow_resolver}"]
guard       = 0.3
timeout     = "5s"
propagation = "60s"
"#,
        token = keys.legacy,
        control_token = keys.control,
        names_key = keys.names,
        public = PUBLIC.trim_end_matches('.'),
        ttl = world.scenario.plan.ttl,
    )
}

fn probes(world: &World) -> String {
    let Addresses { legacy, edge, slow_resolver, ops, staging, .. } = world.addresses;
    let every = time(world.scenario.plan.every);
    let public = public_base(&world.addresses);
    let mut text = format!(
        r#"[[probe]]
name    = "live-traffic"
kind    = "counters"
use     = ["watch"]
every   = {every}
timeout = "5s"
request = "GET http://{ops}/metrics.json"
total   = "/requests"
failed  = "/failed"
latency = "/latency"

[[probe]]
name     = "front-door"
kind     = "http"
use      = ["watch"]
every    = {every}
timeout  = "5s"
resolver = "{slow_resolver}"
request  = "GET {public}/health"
status   = [200]

[[probe]]
name    = "write-refused"
kind    = "flow"
use     = ["write-refused"]
timeout = "5s"
[[probe.step]]
name    = "register"
request = "POST http://{legacy}/api/register"
body    = {{ username = "probe-{{{{ random }}}}", password = "x" }}
status  = [201]
"#
    );
    let asks = |uses: &str, ours: bool| {
        let resolver = if ours { format!("resolver = \"{slow_resolver}\"\n") } else { String::new() };
        format!("use     = [\"{uses}\"]\ntimeout = \"15s\"\n{resolver}")
    };
    let legacy = format!("http://{legacy}");
    let staging = format!("http://{staging}");
    let inactive = format!("http://{edge}/__colour/{{{{ colour }}}}");
    for (name, uses, base, ours) in [
        ("staging", "staging", &staging, false),
        ("inactive", "inactive", &inactive, false),
        ("after", "after", &public, true),
        ("legacy", "legacy", &legacy, false),
    ] {
        text.push_str(&authentication(name, &asks(uses, ours), base));
        text.push_str(&files(name, &asks(uses, ours), base));
    }
    text
}

/// Register, log in, refresh, look, leave: nothing stays behind.
fn authentication(name: &str, head: &str, base: &str) -> String {
    format!(
        r#"
[[probe]]
name    = "{name}-authentication"
kind    = "flow"
{head}[[probe.step]]
name    = "register"
request = "POST {base}/api/register"
body    = {{ username = "probe-{{{{ random }}}}", password = "secret-{{{{ random }}}}", email = "Probe-{{{{ random }}}}@Example.org", first_name = "Probe", last_name = "Person" }}
status  = [201]
capture = {{ first = "$.token" }}
expect  = {{ "$.username" = "probe-{{{{ random }}}}" }}
[[probe.step]]
name    = "login"
request = "POST {base}/api/login"
body    = {{ username = "probe-{{{{ random }}}}", password = "secret-{{{{ random }}}}" }}
status  = [200]
capture = {{ refresh = "$.refresh" }}
[[probe.step]]
name    = "refresh"
request = "POST {base}/api/refresh"
body    = {{ refresh = "{{{{ refresh }}}}" }}
status  = [200]
capture = {{ token = "$.token" }}
[[probe.step]]
name    = "look"
request = "GET {base}/api/me"
auth    = {{ scheme = "Token", token = "{{{{ token }}}}" }}
status  = [200]
expect  = {{ "$.username" = "probe-{{{{ random }}}}", "$.first_name" = "Probe" }}
[[probe.step]]
name    = "leave"
request = "DELETE {base}/api/me"
auth    = {{ scheme = "Token", token = "{{{{ token }}}}" }}
status  = [204]
"#
    )
}

/// Upload, download the same text, save a filter and use it, clean up.
fn files(name: &str, head: &str, base: &str) -> String {
    let auth = r#"auth    = { scheme = "Token", token = "{{ token }}" }"#;
    format!(
        r#"
[[probe]]
name    = "{name}-files"
kind    = "flow"
{head}[[probe.step]]
name    = "register"
request = "POST {base}/api/register"
body    = {{ username = "files-{{{{ random }}}}", password = "secret-{{{{ random }}}}" }}
status  = [201]
capture = {{ token = "$.token" }}
[[probe.step]]
name    = "upload"
request = "POST {base}/api/files"
{auth}
upload  = {{ name = "probe & {{{{ random }}}}.csv", content = "name,city\nAda,{{{{ random }}}}\nBob,elsewhere\n" }}
status  = [201]
capture = {{ file = "$.id" }}
[[probe.step]]
name    = "download"
request = "GET {base}/api/files/{{{{ file }}}}/content"
{auth}
status  = [200]
text    = "name,city\nAda,{{{{ random }}}}\nBob,elsewhere\n"
[[probe.step]]
name    = "save-filter"
request = "POST {base}/api/filters"
{auth}
body    = {{ name = "probe {{{{ random }}}}", definition = {{ column = "city", contains = "{{{{ random }}}}" }} }}
status  = [201]
expect  = {{ "$.definition.contains" = "{{{{ random }}}}" }}
[[probe.step]]
name    = "use-filter"
request = "GET {base}/api/filters?file={{{{ file }}}}&contains={{{{ random }}}}"
{auth}
status  = [200]
expect  = {{ "$.lines[0]" = "Ada,{{{{ random }}}}", "$.filters[0].name" = "probe {{{{ random }}}}" }}
[[probe.step]]
name    = "leave"
request = "DELETE {base}/api/me"
{auth}
status  = [204]
"#
    )
}

fn rules(world: &World) -> String {
    let plan = &world.scenario.plan;
    let limits = [("error_rate", plan.error_rate), ("p95", plan.p95_ms), ("mean", plan.mean_ms)];
    let rule = |(metric, limit): (&str, f64)| {
        format!(
            r#"
[[rule]]
metric      = "{metric}"
op          = ">"
limit       = {limit:?}
window      = {window}
budget      = {budget}
min_samples = {samples}
severity    = "critical"
action      = "rollback"
phases      = ["post_validation", "monitoring"]
"#,
            window = time(plan.window),
            budget = plan.budget,
            samples = plan.min_samples,
        )
    };
    limits.map(rule).concat()
}

fn tail(world: &World) -> String {
    let plan = &world.scenario.plan;
    // A sweep every few rounds, so that one is seen.
    let follow = |every| format!("follow        = {}\nsweep         = {}\n", time(every), time(every * 6));
    let follow = plan.follow.map(follow).unwrap_or_default();
    format!(
        r#"{expected}
[phases.monitoring]
duration = {monitoring}
every    = {every}
expected = {monitoring}

[migration]
batch_records = {records}
batch_files   = {files}
concurrency   = {concurrency}
attempts      = {attempts}
backoff       = {backoff}
max_failures  = 0
conflicts     = "{conflicts}"
pace          = {pace}
{follow}
[rollback]
on_failure = true
veto       = {veto}
"#,
        expected = expected(world),
        monitoring = time(plan.monitoring),
        every = time(plan.every),
        records = plan.batch_records,
        files = plan.batch_files,
        concurrency = plan.concurrency,
        attempts = plan.attempts,
        backoff = time(plan.backoff),
        conflicts = plan.conflicts,
        pace = time(plan.pace),
        veto = time(plan.veto),
    )
}

/// How long the phases of this scenario take, so that the first forecast is not a guess.
fn expected(world: &World) -> String {
    let (size, plan) = (world.scenario.size, &world.scenario.plan);
    let records = |rows: u64| rows.div_ceil(u64::from(plan.batch_records.max(1)));
    let files = size.files.div_ceil(u64::from(plan.batch_files.max(1)));
    let batches = records(size.users) + records(size.files) + records(size.filters) + files;
    // What a batch takes besides its wait, measured on two cores.
    let batch = plan.pace + Duration::from_millis(80);
    let seconds = Duration::from_secs;
    [
        ("preparation", seconds(2)),
        ("validation", seconds(4)),
        ("maintenance", seconds(1)),
        ("data_migration", batch.saturating_mul(u32::try_from(batches).unwrap_or(u32::MAX))),
        ("deployment", seconds(1)),
        ("dns_cutover", world.scenario.names.cache + seconds(1)),
        ("post_validation", seconds(4)),
        ("cleanup", seconds(1)),
    ]
    .map(|(phase, takes)| format!("[phases.{phase}]\nexpected = {}\n", time(takes)))
    .concat()
}
