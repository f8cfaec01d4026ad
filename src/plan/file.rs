//! From a file to a checked plan: parses, reads every part, and gives either a plan or every mistake at once.

use super::{
    Auth, OnHangup, Plan, Problem, Problems, Source, Window, check, datasets, digest, file_sets, phases, probes,
    reader::{Context, Node},
    request::{self, Texts},
    sides, switches,
    table::Table,
};
use crate::model::{Environment, text::clean};
use std::path::Path;
use toml::de::DeTable;

/// A plan is written by hand; whatever is longer is another file.
const LONGEST: u64 = 1024 * 1024;
/// Mistakes of syntax that are told; after that many the file is hardly a plan.
const SYNTAX_ERRORS: usize = 20;

/// Reads and checks the plan in this file with this process's environment.
///
/// # Errors
/// Every mistake in the plan, or that the file cannot be read.
pub fn load(path: &Path) -> Result<Plan, Problems> {
    let name = path.display().to_string();
    let whole_file = |found: String, instead: &str| {
        let problem = Problem { line: 0, column: 0, width: 1, found, instead: instead.into() };
        Problems::new(&name, "", vec![problem])
    };
    let unreadable = |error: std::io::Error| {
        let found = format!("a file that cannot be read ({})", clean(&error.to_string(), 200));
        whole_file(found, "the path of a plan, or a new one with `cutover init`")
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > LONGEST {
        return Err(whole_file("a file of more than 1 MiB".into(), "the path of a plan"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let path = std::path::absolute(path).map_err(unreadable)?;
    let base = path.parent().unwrap_or(Path::new("/"));
    parse(&Source { name: &name, text: &text, base, env: &|name| std::env::var(name).ok() })
}

/// Reads and checks a plan.
///
/// # Errors
/// Every mistake in the plan.
pub fn parse(source: &Source<'_>) -> Result<Plan, Problems> {
    let (root, errors) = DeTable::parse_recoverable(source.text);
    let cx = Context::new(source);
    for error in errors.iter().take(SYNTAX_ERRORS) {
        let (found, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), "valid TOML"));
        let instead = match found {
            "duplicate key" => "it once only",
            "string values must be quoted" => "a value; texts stand in quotes",
            _ => expected,
        };
        cx.syntax(&error.span().unwrap_or(0..0), format!("broken TOML: {found}"), instead);
    }
    let plan = plan(&cx, root.get_ref());
    match plan {
        Some(plan) if cx.is_clean() => Ok(plan),
        _ => Err(cx.into_problems()),
    }
}

fn plan<'r>(cx: &'r Context<'r>, map: &'r DeTable<'r>) -> Option<Plan> {
    let root = Table::new(cx, map, 0..0, String::new());
    let environments = [
        ("production", Environment::Production),
        ("staging", Environment::Staging),
        ("development", Environment::Development),
        ("rehearsal", Environment::Rehearsal),
    ];
    let name = root.need("name", "\"my-cutover\"").and_then(|node| node.name("._-"));
    let environment = root.need("environment", "\"production\"").and_then(|node| node.one_of(&environments));
    cx.production.set(environment == Some(Environment::Production));
    let window = root.get("window").and_then(|node| window(&node));
    let hangups = [("continue", OnHangup::Continue), ("pause", OnHangup::Pause)];
    let on_hangup = root.one_of("on_hangup", OnHangup::Continue, &hangups);
    let announce_auth = request::auth(&root, "announce_auth", Auth::None, Texts::Plain);
    let announce =
        root.get("announce").and_then(|node| node.list(|item| request::request(item, &announce_auth, Texts::Plain)));
    let sides = sides::read(&root);
    let datasets = datasets::read(&root, &sides);
    let file_sets = file_sets::read(&root, &sides, &datasets);
    let datasets = check::datasets(cx, datasets);
    let switches = switches::read(&root);
    let probes = probes::read(&root);
    // The announcement is a probe as well, see `Plan::announcement`.
    let announcing = announce.as_ref().is_some_and(|requests| !requests.is_empty());
    let taken = announcing.then(|| ("announce".to_owned(), 0..0));
    let names: Vec<_> =
        taken.into_iter().chain(probes.iter().map(|probe| (probe.plan.name.clone(), probe.span.clone()))).collect();
    check::unique(cx, "probe", &names);
    let rules = phases::rules(&root, &probes);
    let phases = phases::read(&root);
    let migration = phases::migration(&root, &phases, &sides, &file_sets);
    let rollback = phases::rollback(&root);
    root.close();
    Some(Plan {
        name: name?,
        environment: environment?,
        window,
        digest: digest::digest(cx, map),
        stores: sides.stores,
        buckets: sides.buckets,
        datasets,
        file_sets,
        maintenance: switches.maintenance,
        deployment: switches.deployment,
        release: switches.release,
        dns: switches.dns,
        announce: announce.unwrap_or_default(),
        probes: probes.into_iter().map(|probe| probe.plan).collect(),
        rules,
        phases,
        migration,
        rollback,
        on_hangup,
    })
}

fn window(node: &Node<'_>) -> Option<Window> {
    let table = node.table()?;
    let opens = table.need("opens", "2026-11-21T01:00:00Z").and_then(|node| node.timestamp());
    let closes_node = table.need("closes", "2026-11-21T05:00:00Z");
    let closes = closes_node.as_ref().and_then(Node::timestamp);
    table.close();
    let (opens, closes) = (opens?, closes?);
    if let Some(node) = closes_node.filter(|_| closes <= opens) {
        node.fault("a window that closes before it opens", format!("a time after {opens}"));
    }
    Some(Window { opens, closes })
}
