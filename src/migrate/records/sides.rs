//! One record laid open on both sides, for a person who wants to see what differs.
//!
//! A side that does not answer is a part of the answer, so that the other one is shown all the same. Must never enter: a
//! write to either side or to the ledger, a wait before another attempt.

use crate::{
    engine::StepContext,
    error::Result,
    migrate::{
        compare::Kinds,
        lane::{Lane, Side},
    },
    model::{Key, LaneKind, LaneStage, Record, Value},
    plan::DatasetPlan,
};
use std::collections::BTreeSet;

/// How a side answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The record is there.
    There,
    /// The side has no such record.
    Absent,
    /// The filter leaves it out.
    LeftOut,
    /// It cannot be brought into the target's form, for this reason; its fields are as the source has them.
    Unfit(String),
    /// The side could not be asked, for this reason.
    Unreachable(String),
}

/// One field on both sides; `None`: not there.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldPair {
    /// Its name on the new side.
    pub name: String,
    /// What the target is to hold.
    pub source: Option<Value>,
    /// What it holds.
    pub target: Option<Value>,
    /// They are not the same.
    pub differs: bool,
}

/// A record on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct BothSides {
    /// How the legacy side answered.
    pub source: Seen,
    /// How the new side answered.
    pub target: Seen,
    /// Every field that either side has, in the order of their names.
    pub fields: Vec<FieldPair>,
}

/// Reads the record of this key from both sides, the source's in the form in which the target is to hold it.
///
/// # Errors
/// `Plan` if a store is unknown; `Ledger`; `Cancelled`. A side that does not answer is no error.
pub async fn both_sides(cx: &StepContext, dataset: &DatasetPlan, key: &str) -> Result<BothSides> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Verifying)?;
    // Nobody waits at a screen for all attempts.
    lane.give_up();
    let (old, new) = tokio::join!(ask(&lane, &lane.old, key), ask(&lane, &lane.new, key));
    let (target, stands) = match new {
        Ok(Some(row)) => (Seen::There, Some(row)),
        Ok(None) => (Seen::Absent, None),
        Err(why) => (Seen::Unreachable(why), None),
    };
    let (source, wanted) = match old {
        Ok(Some(record)) => wanted(&lane, record).await?,
        Ok(None) => (Seen::Absent, None),
        Err(why) => (Seen::Unreachable(why), None),
    };
    let fields = match lane.kinds().await {
        Ok(kinds) => pair(kinds, wanted.as_ref(), stands.as_ref()),
        // The target does not answer: there is nothing to compare with.
        Err(_) => pair(&Kinds::default(), wanted.as_ref(), stands.as_ref()),
    };
    Ok(BothSides { source, target, fields })
}

async fn ask(lane: &Lane<'_>, side: &Side, key: &str) -> std::result::Result<Option<Record>, String> {
    let doing = format!("fetch record {key} of {} from {}", side.set.name, side.name);
    let found = lane.once(&doing, side.store.fetch(&side.set, &[Key(key.to_owned())])).await;
    Ok(found.map_err(|fault| fault.chain())?.into_iter().next())
}

/// What the target is to hold of a record of the source.
async fn wanted(lane: &Lane<'_>, record: Record) -> Result<(Seen, Option<Record>)> {
    let item = match lane.mapping.key(&record) {
        Some(key) => lane.items_of(vec![key.0]).await?.into_values().next(),
        None => None,
    };
    Ok(match lane.mapped_one(&record).await {
        Ok(Ok(Some(mapped))) => (Seen::There, Some(lane.wanted(mapped, item.as_ref()))),
        Ok(Ok(None)) => (Seen::LeftOut, Some(record)),
        Ok(Err(why)) => (Seen::Unfit(why), Some(record)),
        // What the mapping asks the target for does not come.
        Err(fault) => (Seen::Unfit(fault.chain()), Some(record)),
    })
}

fn pair(kinds: &Kinds, wanted: Option<&Record>, stands: Option<&Record>) -> Vec<FieldPair> {
    let differing: Vec<String> = match (wanted, stands) {
        (Some(wanted), Some(stands)) => kinds.differing(wanted, stands),
        _ => Vec::new(),
    };
    let names: BTreeSet<&String> = wanted.into_iter().chain(stands).flat_map(|record| record.0.keys()).collect();
    let value = |record: Option<&Record>, name: &str| record.and_then(|record| record.get(name)).cloned();
    let field = |name: &String| FieldPair {
        name: name.clone(),
        source: value(wanted, name),
        target: value(stands, name),
        differs: differing.contains(name),
    };
    names.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::{Seen, both_sides};
    use crate::{
        error::FaultKind,
        migrate::{
            records::copy,
            world::{World, user, users},
        },
        model::Value,
        ports::fakes::Mishap,
    };

    #[tokio::test]
    async fn what_differs_is_marked_and_the_other_fields_are_shown_too() {
        let world = World::new(3, 0);
        let dataset = users();
        copy(&world.start(), &dataset).await.unwrap();
        let mut other = world.new.row("users", "2").unwrap().to_json();
        other["name"] = "Somebody Else".into();
        world.new.put("users", other);
        let both = both_sides(&world.start(), &dataset, "2").await.unwrap();
        assert_eq!((&both.source, &both.target), (&Seen::There, &Seen::There));
        let named = |name: &str| both.fields.iter().find(|field| field.name == name).unwrap();
        let name = named("name");
        assert_eq!(name.source, Some(Value::Text("First2 Last2".into())));
        assert_eq!(name.target, Some(Value::Text("Somebody Else".into())));
        assert!(name.differs && !named("email").differs);
        assert!(both.fields.iter().all(|field| field.name != "secret"), "what is dropped is no difference");
    }

    #[tokio::test]
    async fn a_record_on_one_side_only_and_a_side_that_is_away_are_told_apart() {
        let world = World::new(3, 0);
        let dataset = users();
        copy(&world.start(), &dataset).await.unwrap();
        world.new.remove("users", "1");
        world.old.remove("users", "3");
        world.old.put("users", user(9));
        let both = both_sides(&world.start(), &dataset, "1").await.unwrap();
        assert_eq!((both.source, both.target), (Seen::There, Seen::Absent));
        let both = both_sides(&world.start(), &dataset, "3").await.unwrap();
        assert_eq!((both.source, both.target), (Seen::Absent, Seen::There));
        let cx = world.start();
        world.trouble.always("new.fetch", Mishap::Fail(FaultKind::Unreachable));
        let both = both_sides(&cx, &dataset, "2").await.unwrap();
        assert_eq!(both.source, Seen::There);
        let Seen::Unreachable(why) = both.target else { panic!("{:?}", both.target) };
        assert!(why.contains("new.fetch"), "{why}");
        assert!(both.fields.iter().all(|field| field.target.is_none()));
    }
}
