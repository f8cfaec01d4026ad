use super::{Findings, Schemas, check};
use crate::{
    migrate::{Mapping, world::users},
    model::{Field, Kind},
    plan::{DatasetPlan, FieldsPlan, LookupPlan},
};
use serde_json::json;
use std::collections::BTreeMap;

/// `name kind`, with `!` for one that may not be null, `=` for one that is filled, `*` for one that is computed.
fn fields(all: &[&str]) -> Vec<Field> {
    let field = |text: &&str| {
        let (name, kind) = text.split_once(' ').unwrap();
        let plain = kind.trim_end_matches(['!', '=', '*']);
        Field {
            name: name.into(),
            kind: if plain == "any" { Kind::Any } else { Kind::parse(plain).unwrap() },
            nullable: !kind.contains('!'),
            filled: kind.contains('='),
            computed: kind.contains('*'),
        }
    };
    all.iter().map(field).collect()
}

const SOURCE: [&str; 7] = [
    "id int64!",
    "first text",
    "last text",
    "email text",
    "balance decimal",
    "secret text",
    "updated_at timestamptz(6)",
];

fn found(dataset: &DatasetPlan, source: &[&str], target: &[&str]) -> Findings {
    let others = BTreeMap::from([("teams".into(), fields(&["id int64!", "uuid uuid!"]))]);
    let (source, target) = (fields(source), fields(target));
    let mapping = Mapping::new(dataset).unwrap();
    check(dataset, &mapping, Schemas { source: &source, target: &target, others: &others })
}

/// Users without the field that a computed one makes.
fn told(all: &[String], part: &str) -> bool {
    all.iter().any(|one| one.contains(part))
}

#[test]
fn a_mapping_that_fits_gives_nothing() {
    let target = [
        "id int64!",
        "first text",
        "last text",
        "name text!",
        "email text",
        "balance decimal",
        "n int32!=",
        "updated_at timestamptz(6)",
        "len int32!*",
    ];
    assert_eq!(found(&users(), &SOURCE, &target), Findings::default());
    // Nobody says anything: nothing is known to be wrong.
    assert_eq!(found(&users(), &[], &[]), Findings::default());
}

#[test]
fn what_the_legacy_side_lacks_is_named() {
    let lookup = LookupPlan { dataset: "teams".into(), field: "uid".into(), by: "team_id".into() };
    let dataset = DatasetPlan {
        map: BTreeMap::from([("name".into(), "firstname ~ last".into()), ("x".into(), "gone | default('x')".into())]),
        drop: vec!["sekret".into()],
        updated: Some("changed".into()),
        fields: FieldsPlan {
            rename: BTreeMap::from([("mail".into(), "e".into())]),
            lookup: BTreeMap::from([("team".into(), lookup)]),
            filter: Some("active".into()),
            ..FieldsPlan::default()
        },
        ..users()
    };
    let all = found(&dataset, &SOURCE, &[]);
    for part in ["`firstname`", "`mail`", "`team_id`", "the filter: the legacy side has no field `active`", "`changed`"]
    {
        assert!(told(&all.blockers, part), "{part}: {all:?}");
    }
    assert!(told(&all.blockers, "`team` looks up `uid`, which `teams` does not have"), "{all:?}");
    assert!(!told(&all.blockers, "`gone`"), "{all:?}");
    assert!(told(&all.recommendations, "`sekret`"), "{all:?}");
    // One record of an endpoint is no schema.
    let loose = found(&dataset, &["id any", "last any"], &[]);
    assert!(!told(&loose.blockers, "legacy side") && told(&loose.warnings, "`firstname`"), "{loose:?}");
    let silent = found(&DatasetPlan { updated: None, ..users() }, &[], &[]);
    assert!(told(&silent.recommendations, "`updated`"), "{silent:?}");
}

#[test]
fn what_the_new_side_lacks_or_cannot_hold_is_named() {
    let target = [
        "id text!",
        "name text!",
        "email text(50)!",
        "balance float64",
        "first int32",
        "last uuid*",
        "team uuid!",
        "kind text!",
        "updated_at timestamp(0)",
    ];
    let all = found(&DatasetPlan { drop: vec![], ..users() }, &SOURCE, &target);
    for part in
        ["no field `secret`: drop it", "computes `last` itself", "`team` may not be null", "`kind` may not be null"]
    {
        assert!(told(&all.blockers, part), "{part}: {all:?}");
    }
    for part in [
        "`email` (text) becomes text(50): at most 50 characters fit",
        "`email` may be null on the legacy side",
        "`balance` (decimal) becomes float64",
        "`first` (text) becomes int32: only texts",
        "`updated_at` (timestamptz(6)) becomes timestamp(0): at most 0 digits",
        "the key `id` is int64 on the legacy side and text on the new one",
    ] {
        assert!(told(&all.warnings, part), "{part}: {all:?}");
    }
    let fields = FieldsPlan {
        constant: BTreeMap::from([("kind".into(), json!("user")), ("team".into(), json!(1))]),
        kinds: BTreeMap::from([("balance".into(), Kind::Date)]),
        rename: BTreeMap::from([("secret".into(), "hidden".into())]),
        ..FieldsPlan::default()
    };
    let all = found(&DatasetPlan { fields, drop: vec!["last".into()], ..users() }, &SOURCE, &target);
    assert!(told(&all.blockers, "`balance` (date) becomes float64: nothing of the kind date fits"), "{all:?}");
    assert!(told(&all.blockers, "no field `hidden`"), "{all:?}");
    assert!(
        !told(&all.blockers, "`kind`") && !told(&all.blockers, "`team`") && !told(&all.blockers, "`last`"),
        "{all:?}"
    );
}
