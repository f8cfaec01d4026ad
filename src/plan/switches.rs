//! The four switches: maintenance, release, deployment, DNS.

use super::{
    Auth, DnsRecord, ObservePlan, PowerDnsPlan, RequestPlan, SwitchPlan,
    limits::{GUARD, PROPAGATION, SWITCH_TIMEOUT, TIMEOUTS, TTL, TTLS},
    reader::{Node, Span, is_name},
    request::{self, Texts, auth, command, pointer},
    table::Table,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Positions of the maintenance, from the mildest to the severest.
const MAINTENANCE: [&str; 3] = ["off", "read-only", "on"];

/// All switches of a plan.
#[derive(Default)]
pub(super) struct Switches {
    pub(super) maintenance: Option<SwitchPlan>,
    pub(super) release: Option<SwitchPlan>,
    pub(super) deployment: Option<SwitchPlan>,
    pub(super) dns: Option<PowerDnsPlan>,
}

/// Positions with their places, and what turns the switch there.
type Turns<T> = Vec<(String, Span, T)>;

pub(super) fn read(root: &Table<'_>) -> Switches {
    let Some(table) = root.table("switches") else { return Switches::default() };
    let maintenance = table.table("maintenance").and_then(|table| switch(&table, check_maintenance));
    let deployment_table = table.get("deployment");
    let deployment = table.table("deployment").and_then(|table| switch(&table, check_deployment));
    let colours = deployment.as_ref().map(|plan| positions(plan).iter().map(|name| (*name).to_owned()).collect());
    let colours: Vec<String> = colours.unwrap_or_default();
    let release = table.table("release").and_then(|table| {
        if deployment_table.is_none() {
            table.cx.fault_if_whole(
                &table.span,
                "`switches.release` without `switches.deployment`",
                "`[switches.deployment]` too, with a position for each colour",
            );
        }
        switch(&table, |turns, span, node| check_release(turns, span, node, &colours))
    });
    let dns = table.table("dns").and_then(|table| dns(&table));
    table.close();
    Switches { maintenance, release, deployment, dns }
}

fn positions(plan: &SwitchPlan) -> Vec<&str> {
    match plan {
        SwitchPlan::Http { turn, .. } => turn.iter().map(|(name, _)| name.as_str()).collect(),
        SwitchPlan::Command { turn, .. } => turn.iter().map(|(name, _)| name.as_str()).collect(),
    }
}

/// Looks at the positions of a switch: names with places, the place of all, where to note problems.
type Look<'a> = &'a [(String, Span)];

fn switch(table: &Table<'_>, check: impl Fn(Look<'_>, &Span, &Table<'_>)) -> Option<SwitchPlan> {
    let is_http = table.need("kind", "\"http\"")?.one_of(&[("http", true), ("command", false)])?;
    let timeout = table.duration("timeout", SWITCH_TIMEOUT, TIMEOUTS);
    let plan = if is_http {
        let auth = auth(table, "auth", Auth::None, Texts::Plain);
        let turn = turns(table, "\"POST https://…\"", &check, |node| requests(node, &auth));
        let observe =
            table.need("observe", "{ get = \"https://…\", pointer = \"/…\" }").and_then(|node| observe(&node, &auth));
        turn.zip(observe).map(|(turn, observe)| SwitchPlan::Http { turn, observe, timeout })
    } else {
        let turn = turns(table, "[\"./turn\", \"…\"]", &check, command);
        let observe = table.need("observe", "[\"./where\"]").and_then(|node| command(&node));
        turn.zip(observe).map(|(turn, observe)| SwitchPlan::Command { turn, observe, timeout })
    };
    table.close();
    plan
}

fn turns<T>(
    table: &Table<'_>,
    example: &str,
    check: &impl Fn(Look<'_>, &Span, &Table<'_>),
    read: impl Fn(&Node<'_>) -> Option<T>,
) -> Option<Vec<(String, T)>> {
    let node = table.need("turn", &format!("{{ … = {example} }}"))?;
    let entries = node.table()?.entries();
    let names: Vec<_> = entries.iter().map(|(name, span, _)| (name.clone(), span.clone())).collect();
    for (name, span) in names.iter().filter(|(name, _)| !is_name(name, "-_")) {
        let shown = crate::model::text::clean(name, 60);
        table.cx.fault(span, format!("the position `{shown}`"), "1 to 64 of `a-z`, `0-9` and `-_`");
    }
    check(&names, &node.span, table);
    let mut turns: Turns<T> =
        entries.iter().filter_map(|(name, span, node)| Some((name.clone(), span.clone(), read(node)?))).collect();
    // The file's order is the order of severity, except where the words have one of their own.
    turns.sort_by_key(|(name, span, _)| {
        (MAINTENANCE.iter().position(|word| word == name).unwrap_or_default(), span.start)
    });
    Some(turns.into_iter().map(|(name, _, turn)| (name, turn)).collect())
}

fn check_maintenance(names: Look<'_>, all: &Span, table: &Table<'_>) {
    for (name, span) in names.iter().filter(|(name, _)| !MAINTENANCE.contains(&name.as_str())) {
        let shown = crate::model::text::clean(name, 60);
        table.cx.fault(
            span,
            format!("the position `{shown}` of the maintenance"),
            super::reader::suggest(name, MAINTENANCE.into_iter()),
        );
    }
    for needed in ["off", "on"] {
        if !names.iter().any(|(name, _)| name == needed) {
            table.cx.fault(
                all,
                format!("a maintenance that cannot be turned `{needed}`"),
                format!("`{needed} = …` as well"),
            );
        }
    }
}

fn check_deployment(names: Look<'_>, all: &Span, table: &Table<'_>) {
    if names.len() < 2 {
        table.cx.fault(all, "fewer than two colours", "two at least, as `blue = …, green = …`");
    }
    if let Some((_, span)) = names.iter().find(|(name, _)| name == "none") {
        table.cx.fault(span, "the colour `none`", "a colour's name: one of them is always active");
    }
}

fn check_release(names: Look<'_>, all: &Span, table: &Table<'_>, colours: &[String]) {
    let has = |wanted: &str| names.iter().any(|(name, _)| name == wanted);
    for needed in colours.iter().map(String::as_str).chain(["none"]).filter(|needed| !has(needed)) {
        table.cx.fault(
            all,
            format!("a release that cannot be turned to `{needed}`"),
            format!("`{needed} = …` as well"),
        );
    }
    let strange = |name: &str| name != "none" && !colours.is_empty() && !colours.iter().any(|colour| colour == name);
    for (name, span) in names.iter().filter(|(name, _)| strange(name)) {
        let choice = colours.iter().map(String::as_str).chain(["none"]);
        let shown = crate::model::text::clean(name, 60);
        table.cx.fault(
            span,
            format!("the colour `{shown}`, which the deployment does not have"),
            super::reader::suggest(name, choice),
        );
    }
}

/// One request or a list of them; a request is a text or `{ request = "POST …", body = { … } }`.
fn requests(node: &Node<'_>, auth: &Auth) -> Option<Vec<RequestPlan>> {
    let one = |node: &Node<'_>| {
        if !node.value.is_table() {
            return request::request(node, auth, Texts::Plain);
        }
        let table = node.table()?;
        let plan =
            table.need("request", "\"POST https://…\"").and_then(|node| request::request(&node, auth, Texts::Plain));
        let body = request::body(&table, Texts::Plain);
        table.close();
        Some(RequestPlan { body, ..plan? })
    };
    if !node.value.is_array() {
        return Some(vec![one(node)?]);
    }
    let list = node.list(one)?;
    if list.is_empty() {
        node.fault(format!("an empty list for `{}`", node.label), "one request at least, as \"POST https://…\"");
    }
    Some(list)
}

fn observe(node: &Node<'_>, auth: &Auth) -> Option<ObservePlan> {
    let table = node.table()?;
    let request = table.need("get", "\"https://…\"").and_then(|node| request::get(&node, auth));
    let pointer = table.need("pointer", "\"/mode\"").and_then(|node| pointer(&node));
    table.close();
    Some(ObservePlan { request: request?, pointer: pointer? })
}

fn dns(table: &Table<'_>) -> Option<PowerDnsPlan> {
    table.need("kind", "\"powerdns\"")?.one_of(&[("powerdns", ())])?;
    let endpoint = table.need("endpoint", "\"http://127.0.0.1:8081\"").and_then(|node| node.url());
    let api_key = table.need("api_key", "\"${PDNS_API_KEY}\"").and_then(|node| node.secret(Texts::Plain));
    let server = table.get("server").map_or(Some("localhost".into()), |node| node.filled());
    let zone = table.need("zone", "\"example.org\"").and_then(|node| domain(&node));
    let records = table.need("records", "[{ name = \"…\", type = \"A\", value = \"…\" }]").and_then(|node| {
        let records = node.list(|item| record(item, zone.as_deref()))?;
        at_least_one(&node, node.value.as_array().is_some_and(|items| items.is_empty()), "record");
        Some(records)
    });
    let resolvers = table.need("resolvers", "[\"1.1.1.1:53\"]").and_then(|node| {
        let list = node.list(resolver)?;
        at_least_one(&node, node.value.as_array().is_some_and(|items| items.is_empty()), "resolver");
        Some(list)
    });
    let guard = table.get("guard").map_or(Some(GUARD), |node| node.number(0.0..=1.0));
    let timeout = table.duration("timeout", SWITCH_TIMEOUT, TIMEOUTS);
    let propagation = table.duration("propagation", PROPAGATION, TIMEOUTS);
    table.close();
    Some(PowerDnsPlan {
        endpoint: endpoint?,
        api_key: api_key?,
        server: server?,
        zone: zone?,
        records: records?,
        resolvers: resolvers?,
        guard: guard?,
        timeout,
        propagation,
    })
}

fn at_least_one(node: &Node<'_>, empty: bool, what: &str) {
    if empty {
        node.fault(format!("no {what} in `{}`", node.label), format!("one {what} at least"));
    }
}

/// An address with or without port; without it is DNS's own.
pub(super) fn resolver(node: &Node<'_>) -> Option<SocketAddr> {
    node.parsed("an address", "address and port of a DNS server, as \"127.0.0.1:53\"", |text| {
        text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53)))
    })
}

/// A domain name, lower case, without the last dot.
fn domain(node: &Node<'_>) -> Option<String> {
    node.parsed("a domain name", "a full name, as \"api.example.org\"", domain_name)
}

fn domain_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*'))
    };
    (name.len() <= 253 && name.split('.').all(good)).then_some(name)
}

fn record(node: &Node<'_>, zone: Option<&str>) -> Option<DnsRecord> {
    let table = node.table()?;
    let name = table.need("name", "\"api.example.org\"").and_then(|node| {
        let name = domain(&node)?;
        let outside = zone.is_some_and(|zone| name != zone && !name.ends_with(&format!(".{zone}")));
        if outside {
            node.fault(format!("{}, which is outside the zone", node.shown()), "a name that ends with the zone's");
        }
        Some(name)
    });
    let kinds = [("A", "A"), ("AAAA", "AAAA"), ("CNAME", "CNAME")];
    let kind = table.need("type", "\"A\"").and_then(|node| node.one_of(&kinds));
    let value = table.need("value", "\"…\"").and_then(|node| match kind? {
        "A" => node.parsed("an IPv4 address", "one, as \"192.0.2.1\"", |text| {
            Some(text.parse::<Ipv4Addr>().ok()?.to_string())
        }),
        "AAAA" => node.parsed("an IPv6 address", "one, as \"2001:db8::1\"", |text| {
            Some(text.parse::<Ipv6Addr>().ok()?.to_string())
        }),
        _ => domain(&node),
    });
    let ttl = table.duration("ttl", TTL, TTLS);
    table.close();
    Some(DnsRecord { name: name?, kind: kind?.into(), value: value?, ttl })
}
