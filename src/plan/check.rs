//! The rules between the parts of a plan: unique names, the order of the datasets, one writer per table.

use super::{
    DatasetPlan,
    reader::{Context, Span},
};
use std::collections::BTreeMap;

/// A part of the plan with the place of its name.
pub(super) struct Placed<T> {
    pub(super) plan: T,
    pub(super) span: Span,
}

/// Notes a problem for each name that was given before.
pub(super) fn unique(cx: &Context<'_>, what: &str, names: &[(String, Span)]) {
    for (index, (name, span)) in names.iter().enumerate() {
        if names[..index].iter().any(|(earlier, _)| earlier == name) {
            let shown = crate::model::text::clean(name, 60);
            cx.fault(span, format!("a second {what} `{shown}`"), "a name of its own");
        }
    }
}

/// The datasets in an order in which `needs` never points forward, otherwise as the plan has them.
pub(super) fn datasets(cx: &Context<'_>, datasets: Vec<Placed<DatasetPlan>>) -> Vec<DatasetPlan> {
    let names: Vec<_> = datasets.iter().map(|set| (set.plan.name.clone(), set.span.clone())).collect();
    unique(cx, "dataset", &names);
    targets(cx, &datasets);
    let mut waiting = datasets;
    let mut done: Vec<DatasetPlan> = Vec::new();
    // A needed dataset that is not there at all had mistakes of its own; waiting for it would only add noise.
    while let Some(next) = waiting
        .iter()
        .position(|set| set.plan.needs.iter().all(|need| !waiting.iter().any(|other| &other.plan.name == need)))
    {
        done.push(waiting.remove(next).plan);
    }
    if let Some(path) = cycle(&waiting) {
        let first = waiting.iter().find(|set| set.plan.name == path[0]).map_or(0..0, |set| set.span.clone());
        cx.fault(
            &first,
            format!("datasets that wait for each other: {}", path.join(" needs ")),
            "`needs` so that one of them can move first",
        );
    }
    done
}

/// The shortest way to see that these datasets wait for each other: a, b, …, a.
fn cycle(waiting: &[Placed<DatasetPlan>]) -> Option<Vec<String>> {
    let needs: BTreeMap<&str, &[String]> =
        waiting.iter().map(|set| (set.plan.name.as_str(), set.plan.needs.as_slice())).collect();
    let mut path: Vec<&str> = vec![waiting.first()?.plan.name.as_str()];
    loop {
        // Every waiting dataset needs another waiting one, so the walk can only end by coming back to where it was.
        let here = path.last()?;
        let next = needs.get(here)?.iter().find(|need| needs.contains_key(need.as_str()))?.as_str();
        if let Some(start) = path.iter().position(|name| *name == next) {
            return Some(path[start..].iter().copied().chain([next]).map(ToOwned::to_owned).collect());
        }
        path.push(next);
    }
}

fn targets(cx: &Context<'_>, datasets: &[Placed<DatasetPlan>]) {
    for (index, Placed { plan, span }) in datasets.iter().enumerate() {
        let place = (&plan.to.store, &plan.to.name);
        if place == (&plan.from.store, &plan.from.name) {
            cx.fault(span, format!("`{}`, which moves to where it comes from", plan.name), "another `to`");
        }
        let earlier = datasets[..index].iter().find(|other| place == (&other.plan.to.store, &other.plan.to.name));
        if let Some(other) = earlier.filter(|other| other.plan.name != plan.name) {
            cx.fault(
                span,
                format!("`{}`, which moves to the same place as `{}`", plan.name, other.plan.name),
                "another `to` for one of them",
            );
        }
    }
}
