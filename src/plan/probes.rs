//! The probes of a plan.

use super::{
    Auth, FlowStep, ProbeKind, ProbePlan, ProbeUse, RequestPlan,
    check::{self, Placed},
    limits::{CADENCES, PROBE_EVERY, SWITCH_TIMEOUT, TIMEOUTS},
    reader::{Node, Span},
    request::{self, Texts, auth, check_template, command, pointer, statuses},
    switches::resolver,
    table::Table,
    template,
};
use std::collections::BTreeMap;

const USES: [(&str, ProbeUse); 6] = [
    ("watch", ProbeUse::Watch),
    ("staging", ProbeUse::Staging),
    ("after", ProbeUse::After),
    ("legacy", ProbeUse::Legacy),
    ("write-refused", ProbeUse::WriteRefused),
    ("inactive", ProbeUse::Inactive),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Counters,
    Flow,
    Command,
}

const KINDS: [(&str, Kind); 4] =
    [("http", Kind::Http), ("counters", Kind::Counters), ("flow", Kind::Flow), ("command", Kind::Command)];

/// What the templates of a probe may name from the start: in a flow 8 hexadecimal digits, new each time, and where it is
/// only run against the inactive colour, that colour.
fn given(kind: Kind, uses: Option<&[ProbeUse]>) -> Vec<String> {
    let random = (kind == Kind::Flow).then(|| "random".to_owned());
    // A probe whose uses are a mistake may name the colour: one mistake is enough.
    let inactive = uses.is_none_or(|uses| uses.iter().all(|used| *used == ProbeUse::Inactive));
    random.into_iter().chain(inactive.then(|| "colour".to_owned())).collect()
}

/// All probes in the order of the file; those with mistakes in them are missing.
pub(super) fn read(root: &Table<'_>) -> Vec<Placed<ProbePlan>> {
    root.tables("probe").into_iter().filter_map(|table| probe(&table)).collect()
}

fn probe(table: &Table<'_>) -> Option<Placed<ProbePlan>> {
    let name_node = table.need("name", "\"live-traffic\"");
    let span = name_node.as_ref().map_or_else(|| table.span.clone(), |node| node.span.clone());
    let name = name_node.and_then(|node| node.name("_-"));
    let kind = table.need("kind", "\"http\"").and_then(|node| node.one_of(&KINDS))?;
    let uses = uses(table, kind);
    let resolver = table.get("resolver").map(|node| resolver(&node));
    let every = table.duration("every", PROBE_EVERY, CADENCES);
    let timeout = table.duration("timeout", SWITCH_TIMEOUT, TIMEOUTS);
    let given = given(kind, uses.as_deref());
    let texts = Texts::Templates(&given);
    let auth = if kind == Kind::Command { Auth::None } else { auth(table, "auth", Auth::None, texts) };
    let kind = match kind {
        Kind::Http => {
            let request = asked(table, &auth, texts);
            let body = request::body(table, texts);
            let status = statuses(table);
            request.map(|request| ProbeKind::Http { request: RequestPlan { body, ..request }, status })
        }
        Kind::Counters => counters(table, &auth, texts),
        Kind::Flow => flow(table, &auth, given),
        Kind::Command => {
            let run = table.need("run", "[\"./check.sh\"]").and_then(|node| command(&node));
            run.map(|run| ProbeKind::Command { run })
        }
    };
    table.close();
    let plan = ProbePlan { name: name?, kind: kind?, uses: uses?, resolver: resolver.flatten(), every, timeout };
    Some(Placed { plan, span })
}

fn uses(table: &Table<'_>, kind: Kind) -> Option<Vec<ProbeUse>> {
    let node = table.need("use", "[\"watch\"]")?;
    let items = node.items()?;
    if items.is_empty() {
        node.fault("a probe that is never used", "one use at least, as [\"watch\"]");
    }
    let read = |item: &Node<'_>| {
        let used = item.one_of(&USES)?;
        if kind == Kind::Counters && used != ProbeUse::Watch {
            item.fault(
                format!("{} for a probe that only counts", item.shown()),
                "`watch`: counters cannot pass or fail",
            );
        }
        Some(used)
    };
    Some(items.iter().filter_map(read).collect())
}

fn asked(table: &Table<'_>, auth: &Auth, texts: Texts<'_>) -> Option<RequestPlan> {
    let node = table.need("request", "\"GET https://…\"")?;
    request::request(&node, auth, texts)
}

fn counters(table: &Table<'_>, auth: &Auth, texts: Texts<'_>) -> Option<ProbeKind> {
    let request = asked(table, auth, texts);
    let total = table.need("total", "\"/requests\"").and_then(|node| pointer(&node));
    let failed = table.need("failed", "\"/failed\"").and_then(|node| pointer(&node));
    let latency = table.get("latency").and_then(|node| pointer(&node));
    Some(ProbeKind::Counters { request: request?, total: total?, failed: failed?, latency })
}

fn flow(table: &Table<'_>, auth: &Auth, given: Vec<String>) -> Option<ProbeKind> {
    let node = table.need("step", "[{ name = \"…\", request = \"GET https://…\" }]")?;
    let items = node.items()?;
    if items.is_empty() {
        node.fault("a flow without steps", "one `[[probe.step]]` at least");
    }
    let mut journey = Journey { captured: given, names: Vec::new() };
    let steps = items.iter().filter_map(|item| step(&item.table()?, auth, &mut journey)).collect();
    check::unique(table.cx, "step", &journey.names);
    Some(ProbeKind::Flow { steps })
}

/// What the steps of a flow have in common.
struct Journey {
    /// What templates may name so far.
    captured: Vec<String>,
    /// The steps' names.
    names: Vec<(String, Span)>,
}

fn step(table: &Table<'_>, inherited: &Auth, journey: &mut Journey) -> Option<FlowStep> {
    let name = table.need("name", "\"login\"").and_then(|node| {
        let name = node.filled()?;
        journey.names.push((name.clone(), node.span.clone()));
        Some(name)
    });
    let before = Texts::Templates(&journey.captured);
    let auth = auth(table, "auth", inherited.clone(), before);
    let request = asked(table, &auth, before);
    let sent = request::body(table, before);
    let upload = table.get("upload").and_then(|node| upload(&node, sent.is_some(), before));
    let status = statuses(table);
    let capture: BTreeMap<String, String> = entries(table, "capture").iter().filter_map(capture).collect();
    let expect = entries(table, "expect")
        .into_iter()
        .filter_map(|(path, span, node)| {
            json_path(&node, &span, &path);
            let value = node.json(&|node: &Node<'_>, text: &str| check_template(node, text, before))?;
            Some((path, value))
        })
        .collect();
    let body = table.get("text").and_then(|node| templated(&node, before));
    table.close();
    // An answer is judged before anything is taken from it, so its captures are for the steps after this one.
    journey.captured.extend(capture.keys().cloned());
    let request = RequestPlan { body: sent, ..request? };
    Some(FlowStep { name: name?, request, upload, status, capture, expect, body })
}

fn entries<'r>(table: &Table<'r>, key: &str) -> Vec<(String, Span, Node<'r>)> {
    table.table(key).map(|table| table.entries()).unwrap_or_default()
}

fn capture((name, span, node): &(String, Span, Node<'_>)) -> Option<(String, String)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(word) || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let shown = crate::model::text::clean(name, 60);
        node.cx.fault(
            span,
            format!("the capture `{shown}`"),
            "letters, digits and `_`, so that a template can name it",
        );
    }
    let path = node.filled()?;
    json_path(node, &node.span, &path);
    Some((name.clone(), path))
}

fn json_path(node: &Node<'_>, span: &Span, path: &str) {
    if !template::is_json_path(path) {
        let shown = crate::model::text::clean(path, 80);
        node.cx.fault(span, format!("`{shown}`, which is no JSONPath"), "a path from the root, as \"$.user.id\"");
    }
}

fn templated(node: &Node<'_>, texts: Texts<'_>) -> Option<String> {
    let text = node.text()?;
    check_template(node, &text, texts);
    Some(text)
}

fn upload(node: &Node<'_>, has_body: bool, texts: Texts<'_>) -> Option<(String, String)> {
    if has_body {
        node.fault("`upload` beside `body`", "one of the two: a request carries one body");
    }
    let table = node.table()?;
    let name = table.need("name", "\"list.csv\"").and_then(|node| templated(&node, texts));
    let content = table.need("content", "\"a,b\\n1,2\\n\"").and_then(|node| templated(&node, texts));
    table.close();
    Some((name?, content?))
}
