//! Record sets and their text.

use super::seconds;
use crate::{
    error::{Fault, FaultKind, Result},
    plan::DnsRecord,
    ports::Position,
};
use hickory_resolver::proto::rr::RecordType;
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

/// Seconds.
pub(super) type Ttl = u32;

/// Which record set: a full name in lower case without the last dot, and a type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) kind: Kind,
}

impl Name {
    /// The type as the resolver knows it.
    pub(super) const fn record_type(&self) -> RecordType {
        match self.kind {
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Cname => RecordType::CNAME,
        }
    }
}

/// The types that a cutover changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    A,
    Aaaa,
    Cname,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "A" => Some(Self::A),
            "AAAA" => Some(Self::Aaaa),
            "CNAME" => Some(Self::Cname),
            _ => None,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
        }
    }

    /// A value of this type in the one form it is compared in.
    fn canonical(self, value: &str) -> Option<String> {
        match self {
            Self::A => value.parse::<Ipv4Addr>().ok().map(|ip| ip.to_string()),
            Self::Aaaa => value.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string()),
            Self::Cname => {
                let host = host(value);
                (!host.is_empty() && !host.contains(char::is_whitespace)).then_some(host)
            }
        }
    }

    /// A value as the API takes it.
    fn wire(self, value: &str) -> String {
        match self {
            Self::Cname => format!("{value}."),
            Self::A | Self::Aaaa => value.to_owned(),
        }
    }
}

fn host(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}

/// One record set; without values there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// `None` where nobody could say.
    ttl: Option<Ttl>,
    values: BTreeSet<String>,
}

/// The plan's record sets, as they are wanted or as they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sets(BTreeMap<Name, Set>);

impl Sets {
    /// What the plan wants.
    pub(super) fn planned(records: &[DnsRecord]) -> Result<Self> {
        let mut sets = BTreeMap::<Name, Set>::new();
        for record in records {
            let wrong = || {
                Fault::new(FaultKind::Plan, format!("point {} to {}", record.name, record.value))
                    .detail(format!("that is no {} record", record.kind))
            };
            let kind = Kind::parse(&record.kind.to_uppercase()).ok_or_else(wrong)?;
            let set = sets.entry(Name { name: host(&record.name), kind }).or_default();
            set.ttl = Some(seconds(record.ttl));
            set.values.insert(kind.canonical(&record.value).ok_or_else(wrong)?);
        }
        Ok(Self(sets))
    }

    /// The names it is about.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }

    /// The same names as the API describes them in a zone.
    pub(super) fn found(&self, doing: &str, rrsets: &[Json]) -> Result<Self> {
        let mut sets: BTreeMap<Name, Set> = self.0.keys().map(|name| (name.clone(), Set::default())).collect();
        for rrset in rrsets {
            let text = |field: &str| rrset.get(field).and_then(Json::as_str).unwrap_or_default();
            let Some(kind) = Kind::parse(text("type")) else { continue };
            let Some(set) = sets.get_mut(&Name { name: host(text("name")), kind }) else { continue };
            let garbage = || Fault::new(FaultKind::Garbage, doing).detail(format!("unreadable record set: {rrset}"));
            let ttl = rrset.get("ttl").and_then(Json::as_u64).and_then(|ttl| u32::try_from(ttl).ok());
            let records = rrset.get("records").and_then(Json::as_array).ok_or_else(garbage)?;
            set.ttl = Some(ttl.ok_or_else(garbage)?);
            for record in records.iter().filter(|record| record.get("disabled") != Some(&Json::Bool(true))) {
                let content = record.get("content").and_then(Json::as_str).ok_or_else(garbage)?;
                set.values.insert(kind.canonical(content).ok_or_else(garbage)?);
            }
        }
        Ok(Self(sets))
    }

    /// What a resolver answered.
    pub(super) fn resolved(answers: Vec<(Name, Vec<String>)>) -> Self {
        let sets = answers.into_iter().map(|(name, values)| {
            let values = values.iter().filter_map(|value| name.kind.canonical(value)).collect();
            (name, Set { ttl: None, values })
        });
        Self(sets.collect())
    }

    /// Times to live aside, both are the same.
    pub(super) fn same_values(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|(name, set)| other.0.get(name).is_some_and(|other| other.values == set.values))
    }

    /// The canonical text.
    pub(super) fn position(&self) -> Position {
        let mut lines = Vec::new();
        for (Name { name, kind }, set) in &self.0 {
            let kind = kind.word();
            if set.values.is_empty() {
                lines.push(format!("{name} {kind} none"));
            }
            for value in &set.values {
                let mut line = format!("{name} {kind} ");
                // Writing to a String cannot fail.
                let _infallible = match set.ttl {
                    Some(ttl) => write!(line, "{ttl} {value}"),
                    None => write!(line, "? {value}"),
                };
                lines.push(line);
            }
        }
        lines.sort();
        Position(lines.join("\n"))
    }

    /// The sets that a position names. It must speak of the plan's sets and of all of them, so that turning to it can
    /// neither touch a stranger nor leave one behind.
    pub(super) fn parse(doing: &str, position: &str, plan: &Self) -> Result<Self> {
        let mut sets = BTreeMap::<Name, Set>::new();
        for line in position.lines() {
            let refused = || Fault::new(FaultKind::Refused, doing).detail(format!("`{line}` is no line of a position"));
            let mut words = line.split_whitespace();
            let (name, kind) =
                (words.next().ok_or_else(refused)?, words.next().and_then(Kind::parse).ok_or_else(refused)?);
            let set = sets.entry(Name { name: host(name), kind }).or_default();
            match (words.next(), words.next(), words.next()) {
                (Some("none"), None, None) => {}
                (Some(ttl), Some(value), None) => {
                    set.ttl = match ttl {
                        "?" => None,
                        ttl => Some(ttl.parse().map_err(|_| refused())?),
                    };
                    set.values.insert(kind.canonical(value).ok_or_else(refused)?);
                }
                _ => return Err(refused()),
            }
        }
        if !sets.keys().eq(plan.0.keys()) {
            return Err(Fault::new(FaultKind::Refused, doing).detail("the position is not about the plan's records"));
        }
        for (name, set) in &mut sets {
            set.ttl = set.ttl.or_else(|| plan.0.get(name).and_then(|planned| planned.ttl));
        }
        Ok(Self(sets))
    }

    /// What the API has to be told to get from here to there.
    pub(super) fn changes(&self, wanted: &Self) -> Vec<Json> {
        wanted
            .0
            .iter()
            .filter(|(name, set)| {
                let here = self.0.get(name).cloned().unwrap_or_default();
                here.values != set.values || (!set.values.is_empty() && here.ttl != set.ttl)
            })
            .map(|(Name { name, kind }, set)| {
                let name = format!("{name}.");
                if set.values.is_empty() {
                    return json!({ "name": name, "type": kind.word(), "changetype": "DELETE", "records": [] });
                }
                let records: Vec<Json> = set
                    .values
                    .iter()
                    .map(|value| json!({ "content": kind.wire(value), "disabled": false }))
                    .collect();
                json!({ "name": name, "type": kind.word(), "ttl": set.ttl, "changetype": "REPLACE", "records": records })
            })
            .collect()
    }
}
