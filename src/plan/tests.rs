//! Plans as a whole: the starters are right, the wrong ones say what is wrong and where, and no secret gets out.

use super::*;
use crate::model::{LaneKind, Limits, Phase};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use std::{path::Path, time::Duration};

mod fields;
mod wrong;

/// The variables the seeds name, as a stranger would set them.
fn seeds(name: &str) -> Option<String> {
    let value = match name {
        "DJANGO_API_ENDPOINT" => "http://localhost:8000",
        "DJANGO_API_TOKEN" => "your-django-token",
        "DJANGO_MEDIA_ROOT" => "/app/media",
        "PYTHON_ORCHESTRATOR_ENDPOINT" => "http://localhost:8080",
        "PYTHON_ORCHESTRATOR_TOKEN" => "your-python-token",
        "WORKERS_URL" => "https://api.list-cutter.com",
        "API_KEY" => "your-api-key",
        _ => return None,
    };
    Some(value.into())
}

fn read(text: &str) -> Result<Plan, Problems> {
    parse(&Source { name: "p.toml", text, base: Path::new("/plans"), env: &seeds })
}

/// A small plan with one of everything.
const SMALL: &str = r#"name = "small"
environment = "staging"
window = { opens = 2026-11-21T01:00:00Z, closes = 2026-11-21T05:00:00Z }
[stores.old]
kind = "http"
endpoint = "${DJANGO_API_ENDPOINT}"
auth = { scheme = "Token", token = "${DJANGO_API_TOKEN}" }
timeout = "30s"
[stores.new]
kind = "sqlite"
path = "new.db"
[buckets.media]
kind = "filesystem"
root = "media"
[buckets.r2]
kind = "s3"
endpoint = "http://127.0.0.1:9000"
bucket = "files"
access_key = "literal-access"
secret_key = "literal-secret"
[[dataset]]
name = "files"
needs = ["users"]
from = { store = "old", path = "/files/" }
to = { store = "new", table = "files" }
key = "id"
blob = { from = "media", path = "p", to = "r2", key = "{{ id }}" }
[[dataset]]
name = "users"
from = { store = "old", path = "/users/" }
to = { store = "new", table = "users" }
key = "id"
map = { email = "email | lower" }
[switches.maintenance]
kind = "http"
turn = { on = "POST http://h/on", off = "POST http://h/off", read-only = "POST http://h/ro" }
observe = { get = "http://h/status", pointer = "/mode" }
[switches.release]
kind = "command"
turn = { none = ["./r", "none"], blue = ["./r", "blue"], green = ["./r", "green"] }
observe = ["./r"]
[switches.deployment]
kind = "command"
turn = { blue = ["./a", "blue"], green = ["./a", "green"] }
observe = ["./a"]
[switches.dns]
kind = "powerdns"
endpoint = "http://127.0.0.1:8081"
api_key = "literal-dns"
zone = "x.test"
records = [{ name = "api.x.test", type = "A", value = "127.0.0.2", ttl = "30s" }]
resolvers = ["127.0.0.1"]
guard = 0.5
[[probe]]
name = "memory"
kind = "command"
use = ["watch"]
run = ["free"]
[[probe]]
name = "journey"
kind = "flow"
use = ["after"]
[[probe.step]]
name = "login"
request = "POST http://h/login"
capture = { token = "$.token" }
expect = { "$.ok" = true }
[[rule]]
metric = "error_rate"
limit = 0.05
phases = ["monitoring"]
[phases.monitoring]
duration = "1m"
[phases.deployment]
before = [{ name = "warm", run = ["./warm"] }]
[migration]
concurrency = 8
"#;

#[test]
fn every_starter_is_a_plan() {
    for kind in STARTERS {
        let plan = read(starter(kind).unwrap()).unwrap_or_else(|problems| panic!("{kind}:\n{}", problems.pretty()));
        assert!(!plan.datasets.is_empty());
    }
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/plans")).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(STARTERS.contains(&name.as_str()), "{name} is embedded");
    }
}

#[test]
fn databases_are_stores_whose_secrets_are_not_shown() {
    let with = |store: &str| {
        let text = SMALL.replace("kind = \"sqlite\"\npath = \"new.db\"", store);
        read(&text).unwrap_or_else(|problems| panic!("{}", problems.pretty())).stores.remove("new").unwrap()
    };
    let store = with("kind = \"postgres\"\nurl = \"postgres://u:hidden@db/app?sslmode=require\"\nschema = \"Old\"");
    let StorePlan::Postgres { address, schema, timeout } = &store else { panic!("{store:?}") };
    assert_eq!((address.host.as_str(), address.encrypted, schema.as_deref()), ("db", true, Some("Old")));
    assert_eq!(timeout.as_secs(), 30);
    assert!(!format!("{store:?}").contains("hidden"));
    let store = with("kind = \"mysql\"\nurl = \"mysql://u:hidden@db/app\"\ntimeout = \"5s\"");
    let StorePlan::MySql { address, timeout } = &store else { panic!("{store:?}") };
    assert_eq!((address.encrypted, timeout.as_secs()), (false, 5));
    assert!(!format!("{store:?}").contains("hidden"));
    let store = with("kind = \"d1\"\naccount = \"a1\"\ndatabase = \"b-2\"\ntoken = \"hidden\"");
    let StorePlan::D1 { endpoint, account, database, .. } = &store else { panic!("{store:?}") };
    assert_eq!(endpoint.as_str(), "https://api.cloudflare.com/client/v4");
    assert_eq!((account.as_str(), database.as_str()), ("a1", "b-2"));
    assert!(!format!("{store:?}").contains("hidden"));
}

#[test]
fn lanes_follow_only_if_the_plan_says_so() {
    let plan =
        |more: &str| read(&SMALL.replace("concurrency = 8", more)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(plan("concurrency = 8").migration.follow, None);
    let follow = plan("follow = \"10s\"").migration.follow.unwrap();
    assert_eq!((follow.every.as_secs(), follow.sweep.as_secs()), (10, 600));
    let follow = plan("follow = \"1m\"\nsweep = \"1h\"").migration.follow.unwrap();
    assert_eq!((follow.every.as_secs(), follow.sweep.as_secs()), (60, 3600));
    let overlaps =
        |text: &str| read(text).unwrap().datasets.iter().map(|one| one.overlap.as_secs()).collect::<Vec<_>>();
    assert_eq!(overlaps(SMALL), [10, 10]);
    let told = SMALL.replace("map = { email", "updated = \"at\"\noverlap = \"90s\"\nmap = { email");
    assert_eq!(overlaps(&told), [90, 10], "users move first");
}

#[test]
fn what_the_starter_only_mentions_of_stores_is_right_too() {
    let text = starter(STARTERS[0]).unwrap();
    let (before, rest) = text.split_once("# Only what differs").unwrap();
    let (mentioned, after) = rest.split_once("# The new side.").unwrap();
    let is_key = |line: &&str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let bare =
        |line: &str| Some(line.strip_prefix("# ").filter(|line| line.starts_with('[') || is_key(line))?.to_owned());
    let lines: Vec<String> = mentioned.lines().filter_map(bare).collect();
    assert!(lines.len() > 15, "{lines:?}");
    let keys = ["max_answer", "cache", "compress"];
    let before = keys
        .into_iter()
        .fold(before.to_owned(), |text, key| text.replace(&format!("# {key} = "), &format!("{key} = ")));
    let whole = format!("{before}{}\n# {after}", lines.join("\n"));
    let plan = read(&whole).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    assert!(plan.stores["browsers"].is_only_read());
}

#[test]
fn a_plan_is_resolved_and_ordered() {
    let plan = read(SMALL).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    let names: Vec<_> = plan.datasets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["users", "files"], "needs never points forward");
    let Some(StorePlan::Http(http)) = plan.stores.get("old") else { panic!("{:?}", plan.stores) };
    let Auth::Token { token, .. } = &http.auth else { panic!("{http:?}") };
    assert_eq!(http.endpoint.as_str(), "http://localhost:8000/");
    assert_eq!(token.expose_secret(), "your-django-token");
    let Some(StorePlan::Sqlite { path }) = plan.stores.get("new") else { panic!("{:?}", plan.stores) };
    assert_eq!(path, Path::new("/plans/new.db"));
    let Some(SwitchPlan::Http { turn, .. }) = &plan.maintenance else { panic!("{:?}", plan.maintenance) };
    let positions: Vec<_> = turn.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(positions, ["off", "read-only", "on"], "from the mildest to the severest");
    let dns = plan.dns.as_ref().unwrap();
    assert_eq!(dns.resolvers, ["127.0.0.1:53".parse().unwrap()]);
    assert_eq!(plan.phases.len(), 9);
    assert!(plan.phases[&Phase::DnsCutover].gate && !plan.phases[&Phase::Validation].gate);
    assert_eq!(plan.phases[&Phase::Monitoring].every, Duration::from_secs(10));
    assert_eq!(plan.phases[&Phase::Deployment].before[0].run, ["/plans/warm"]);
    assert_eq!(plan.migration.concurrency, 8);
    assert_eq!(plan.migration.batch_files, 50);
    assert_eq!(plan.rules[0].name, "error_rate > 0.05");
}

#[test]
fn backups_stand_beside_the_ledger_in_a_folder_or_in_a_bucket() {
    let with = |backups: &str| read(&SMALL.replace("concurrency = 8", backups));
    let place =
        |backups: &str| with(backups).unwrap_or_else(|problems| panic!("{}", problems.pretty())).migration.backups;
    assert_eq!(place(""), BackupsPlan::Beside);
    assert_eq!(place("backups = \"kept\""), BackupsPlan::Folder("/plans/kept".into()));
    let end = BucketEnd { bucket: "r2".into(), prefix: "kept/".into() };
    assert_eq!(place("backups = { bucket = \"r2\", prefix = \"kept/\" }"), BackupsPlan::Bucket(end));
    for to in ["kept/", "kept/files/", ""] {
        let files = format!(
            "[[files]]\nname = \"rest\"\nfrom = {{ bucket = \"media\" }}\nto = {{ bucket = \"r2\", prefix = \"{to}\" }}"
        );
        let problems = with(&format!("backups = {{ bucket = \"r2\", prefix = \"kept/\" }}\n{files}")).unwrap_err();
        assert!(problems.to_string().contains("a place where the files of `rest` are too"), "{problems}");
    }
}

#[test]
fn files_move_with_records_and_without() {
    let plan = read(SMALL).unwrap();
    let Some(BucketPlan::S3 { parts, .. }) = plan.buckets.get("r2") else { panic!("{:?}", plan.buckets) };
    assert_eq!(*parts, PartsPlan { above: 256 << 20, size: 8 << 20 });
    assert_eq!(plan.file_sets, []);
    assert_eq!((plan.migration.on_existing, plan.migration.batch_bytes), (OnExisting::SkipSame, 256 << 20));
    assert_eq!((plan.migration.limit_bytes_per_s, plan.migration.limit_requests_per_s), (None, None));

    let text = SMALL
        .replace(
            "kind = \"filesystem\"\nroot = \"media\"",
            "kind = \"http\"\nendpoint = \"http://h/media/\"\nwritable = true",
        )
        .replace("bucket = \"files\"", "bucket = \"files\"\nparts_above = \"64KiB\"\npart_size = \"5GiB\"")
        .replace(
            "concurrency = 8",
            "on_existing = \"fail\"\nbatch_bytes = \"1GiB\"\nlimit_bytes_per_s = \"50MiB\"\nlimit_requests_per_s = 100",
        )
        + r#"
[buckets.shared]
kind = "filesystem"
root = "shared"
[[files]]
name = "rest"
from = { bucket = "shared", prefix = "uploads/img-" }
to = { bucket = "r2" }
"#;
    let plan = read(&text).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    let Some(BucketPlan::Http { endpoint, writable: true, auth: Auth::None, .. }) = plan.buckets.get("media") else {
        panic!("{:?}", plan.buckets)
    };
    assert_eq!(endpoint.as_str(), "http://h/media/");
    let Some(BucketPlan::S3 { parts, .. }) = plan.buckets.get("r2") else { panic!("{:?}", plan.buckets) };
    assert_eq!(*parts, PartsPlan { above: 64 << 10, size: 5 << 30 });
    let end = |bucket: &str, prefix: &str| BucketEnd { bucket: bucket.into(), prefix: prefix.into() };
    let rest = FileSetPlan { name: "rest".into(), from: end("shared", "uploads/img-"), to: end("r2", "") };
    assert_eq!(plan.file_sets, [rest]);
    assert_eq!((plan.migration.on_existing, plan.migration.batch_bytes), (OnExisting::Fail, 1 << 30));
    assert_eq!((plan.migration.limit_bytes_per_s, plan.migration.limit_requests_per_s), (Some(50 << 20), Some(100)));
}

#[test]
fn failures_are_counted_or_a_share_and_end_a_lane_at_once_where_the_plan_says_so() {
    let plan = read(SMALL).unwrap();
    let users = plan.datasets[0].lane();
    assert!(plan.continues_on_error(&users));
    assert_eq!(plan.may_fail(&users, None), Some(0));
    assert_eq!(plan.migration.limits(LaneKind::Records), Limits::default());

    let told = "concurrency = 8\nmax_failures = \"0.1%\"\ncontinue_on_error = false\nlimit_bytes_per_s = \"1MiB\"\n\
                limit_requests_per_s = 7\nlimit_rows_per_s = 500";
    let plan = read(&SMALL.replace("concurrency = 8", told)).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    assert_eq!((plan.migration.may_fail(Some(25_999)), plan.migration.may_fail(None)), (Some(25), None));
    assert_eq!(plan.may_fail(&users, Some(25_999)), Some(0), "the first ends it");
    let mut otherwise = plan.clone();
    otherwise.datasets[0].continue_on_error = Some(true);
    assert_eq!(otherwise.may_fail(&users, Some(25_999)), Some(25));
    let bytes = Some(1 << 20);
    let of_files = Limits { bytes_per_s: bytes, requests_per_s: Some(7), rows_per_s: None };
    let of_records = Limits { bytes_per_s: bytes, requests_per_s: None, rows_per_s: Some(500) };
    assert_eq!(plan.migration.limits(LaneKind::Files), of_files);
    assert_eq!(plan.migration.limits(LaneKind::Records), of_records);
}

#[test]
fn an_endpoint_is_a_preset_with_its_places_changed() {
    let text = SMALL.replace(
        r#"auth = { scheme = "Token", token = "${DJANGO_API_TOKEN}" }"#,
        r#"auth = { header = "X-API-Key", token = "${API_KEY}" }
preset = "workers-api"
pagination = "link-header"
compress = "zstd"
cache = "0KiB"
max_answer = "16MiB"
read = { rows = "/data", next_as = "link", updated_since = "since" }
write = { request = "PUT {{ path }}", body = { a = [{ b = "{{ records }}" }] }, errors = "/errors", created = ["new"] }
delete = { deleted = "" }"#,
    );
    let text = text.replace("[stores.new]", "[stores.web]\nkind = \"local-storage\"\nroot = \"exports\"\n[stores.new]");
    let text = text.replace(
        r#"from = { store = "old", path = "/users/" }"#,
        r#"from = { store = "web", keys = "savedFilters[]" }"#,
    );
    // The one key that says something of the other way to answer.
    let text = text.replace(r#", created = ["new"]"#, "");
    let plan = read(&text).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    let Some(StorePlan::Http(http)) = plan.stores.get("old") else { panic!("{:?}", plan.stores) };
    assert!(matches!(&http.auth, Auth::Header { name, .. } if name == "X-API-Key"));
    assert_eq!((http.pagination, http.compress, http.cache), (Pagination::LinkHeader, Compression::Zstd, 0));
    assert_eq!((http.read.rows.as_str(), http.read.next.as_str()), ("/data", "/result_info/cursor"));
    assert_eq!((http.read.next_as, http.read.parameters.updated_since.as_str()), (NextAs::Link, "since"));
    assert_eq!(http.write.outcomes, Outcomes::Errors { at: "/errors".into() });
    assert_eq!((http.write.send.method.as_str(), http.write.send.path.as_str()), ("PUT", "{{ path }}"));
    assert_eq!(http.delete.deleted, "");
    assert!(plan.stores["web"].is_only_read() && plan.stores["web"].http().is_none());
    assert_eq!(plan.datasets[0].from.name, "savedFilters[]");
    let basic =
        SMALL.replace(r#"scheme = "Token", token = "${DJANGO_API_TOKEN}""#, r#"user = "ada", password = "${API_KEY}""#);
    let plan = read(&basic).unwrap();
    assert!(matches!(&plan.stores["old"].http().unwrap().auth, Auth::Basic { user, .. } if user == "ada"));
    assert!(!format!("{plan:?}").contains("your-api-key"));
}

#[test]
fn without_rules_the_usual_two_watch() {
    let at = SMALL.find("[[rule]]").unwrap();
    let end = SMALL.find("[phases.monitoring]").unwrap();
    let plan = read(&format!("{}{}", &SMALL[..at], &SMALL[end..])).unwrap();
    let rules: Vec<_> = plan.rules.iter().map(|rule| (rule.name.as_str(), rule.action)).collect();
    assert_eq!(rules, [("error_rate > 0.05", RuleAction::Rollback), ("mean > 1000", RuleAction::Rollback)]);
}

/// [`SMALL`] with a legacy table that is told.
fn with_table(told: &str) -> String {
    SMALL.replace("key = \"{{ id }}\" }", &format!("key = \"{{{{ id }}}}\", write_back = {{ {told} }} }}"))
}

#[test]
fn a_table_that_is_told_is_read_and_its_address_is_a_secret() {
    let told = |text: &str| {
        let plan = read(&with_table(text)).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
        assert!(!format!("{plan:?}").contains("db-secret"));
        (plan.datasets[1].blob.clone().unwrap().write_back.unwrap(), plan.digest)
    };
    let (plan, digest) = told("url = \"postgres://u:db-secret@db:5433/d?sslmode=require\", table = \"app.files\"");
    assert_eq!((plan.host.as_str(), plan.encrypted, plan.key.as_str()), ("db", true, "id"), "the dataset's key");
    assert_eq!((plan.table.to_string(), plan.timeout), ("app.files".to_owned(), Duration::from_secs(30)));
    assert!(plan.url.expose_secret().contains("db-secret"));
    let (other, same) = told("url = \"postgres://u:db-secret@h/d\", table = \"app.files\"");
    assert!(!other.encrypted);
    assert_eq!(digest, same, "secrets do not count");
    let (plan, _) = told("url = \"postgres://u@h/d\", table = \"t\", key = \"Record Id\", timeout = \"5s\"");
    assert_eq!((plan.key.as_str(), plan.timeout), ("Record Id", Duration::from_secs(5)));
    // A mistake beside it shows the line, but not the secret; a production plan may not hold it.
    let torn = "url = \"postgres://u:db/secret@h/d?password=db-secret\", tabel = \"t\"";
    for text in [with_table(torn), with_table(torn).replace("\"staging\"", "\"production\"")] {
        let problems = read(&text).unwrap_err();
        let shown = format!("{problems} {problems:?} {}", problems.pretty());
        assert!(!shown.contains("db/secret") && !shown.contains("db-secret"), "{shown}");
        assert!(shown.contains("`dataset.blob.write_back.url`"), "{shown}");
        let written = "a secret written into the plan of a production cutover (`dataset.blob.write_back.url`)";
        assert_eq!(shown.contains(written), text.contains("production"), "{shown}");
    }
}

/// Secrets of [`SMALL`] and of its environment.
const SECRETS: [&str; 4] = ["your-django-token", "literal-access", "literal-secret", "literal-dns"];

#[test]
fn secrets_are_in_no_text() {
    let plan = read(SMALL).unwrap();
    let shown = format!("{plan:?} {plan:#?}");
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{secret} in the plan's Debug");
    }
    // A mistake on every line, so that every line is shown.
    let mut wrong = SMALL.replace("environment = \"staging\"", "environment = \"production\"");
    for line in SMALL.lines().filter(|line| line.contains('=')) {
        wrong = wrong.replace(line, &format!("{line}\nstrange.thing = {{ x = 1, {line} }}"));
    }
    for text in [wrong, SMALL.replace("\"\n", "\n"), SMALL.replace('=', "= \"\"\" "), SMALL.replace(']', "")] {
        let problems = read(&text).unwrap_err();
        let shown = format!("{problems} {problems:?} {}", problems.pretty());
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{secret} in:\n{shown}");
        }
    }
}

#[test]
fn the_digest_is_of_what_the_plan_says() {
    let digest = |text: &str| read(text).unwrap().digest;
    let usual = digest(SMALL);
    assert_eq!(usual.len(), 64);
    assert_eq!(digest(&format!("# a comment\n{}", SMALL.replace(" = ", "="))), usual, "layout does not count");
    assert_eq!(digest(&SMALL.replace("literal-dns", "other")), usual, "secrets do not count");
    assert_ne!(digest(&SMALL.replace("concurrency = 8", "concurrency = 9")), usual);
    let moved = |name: &str| if name == "DJANGO_API_ENDPOINT" { Some("http://elsewhere".into()) } else { seeds(name) };
    let source = Source { name: "p.toml", text: SMALL, base: Path::new("/plans"), env: &moved };
    assert_ne!(parse(&source).unwrap().digest, usual, "variables count by their values");
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let problems = load(Path::new("/no/such/plan.toml")).unwrap_err();
    assert!(problems.to_string().starts_with("/no/such/plan.toml: found a file that cannot be read ("), "{problems}");
    assert!(problems.pretty().contains("cutover init"));
}

#[test]
fn a_file_is_read_with_paths_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.toml");
    let text = SMALL.replace("${DJANGO_API_ENDPOINT}", "http://h").replace("${DJANGO_API_TOKEN}", "t");
    std::fs::write(&path, text).unwrap();
    let plan = load(&path).unwrap();
    let Some(StorePlan::Sqlite { path }) = plan.stores.get("new") else { panic!("{:?}", plan.stores) };
    assert_eq!(path, &folder.path().join("new.db"));
}

/// A place in `text` at this share of it, between two characters.
fn place(text: &str, share: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a short text"
    )]
    let mut at = (text.len() as f64 * share) as usize;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}|[a-z\\[\\]{}=\".,#$\n 0-9-]{0,300}") {
        if let Err(problems) = read(&text) {
            prop_assert!(!problems.pretty().is_empty());
        }
    }

    #[test]
    fn no_damage_makes_it_panic(
        cuts in prop::collection::vec((0.0..1.0_f64, 0_usize..12, "[\\[\\]{}=\"',.#$ \n0a-c|%-]{0,4}|\\PC"), 1..6),
    ) {
        let mut text = starter("django-workers").unwrap().to_owned();
        for (share, length, put) in cuts {
            let from = place(&text, share);
            let mut to = (from + length).min(text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            text.replace_range(from..to, &put);
        }
        if let Err(problems) = read(&text) {
            prop_assert!(!problems.list().is_empty());
            prop_assert!(!problems.pretty().contains("your-django-token"));
        }
    }
}
