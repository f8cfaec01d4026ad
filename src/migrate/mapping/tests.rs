use super::{Found, Mapping};
use crate::{
    model::{Record, Value},
    plan::{BlobPlan, DatasetPlan, FieldsPlan, LookupPlan, SetPlan},
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn dataset(map: &[(&str, &str)], drop: &[&str], back: Option<&[&str]>) -> DatasetPlan {
    DatasetPlan {
        name: "users".into(),
        needs: vec![],
        from: SetPlan { store: "old".into(), name: "users".into() },
        to: SetPlan { store: "new".into(), name: "users".into() },
        key: "id".into(),
        updated: Some("updated_at".into()),
        overlap: std::time::Duration::from_secs(2),
        map: map.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect(),
        drop: drop.iter().map(ToString::to_string).collect(),
        on_conflict: crate::plan::OnConflict::Overwrite,
        back: back.map(|fields| fields.iter().map(ToString::to_string).collect()),
        continue_on_error: None,
        fields: FieldsPlan::default(),
        blob: Some(BlobPlan {
            from: "media".into(),
            path: "file_path".into(),
            to: "r2".into(),
            key: "users/{{ user_id }}/{{ id }}/{{ file_name }}".into(),
            sha256: None,
            size: None,
            content_type: None,
            write_back: None,
        }),
    }
}

fn record(json: serde_json::Value) -> Record {
    Record::from_json(json).unwrap()
}

#[test]
fn computes_drops_and_carries() {
    let mapping = Mapping::new(&dataset(
        &[("email", "email | lower"), ("name", "first ~ ' ' ~ last"), ("age", "age + 1"), ("tags", "tags")],
        &["secret"],
        None,
    ))
    .unwrap();
    let legacy = record(json!({"id": 7, "email": "A@B.C", "first": "Ada", "last": "L", "age": 35,
        "tags": {"b": [1, 2.5], "a": null}, "secret": "x", "on": true}));
    let new = mapping.forward(&legacy, &Found::new()).unwrap().unwrap();
    assert_eq!(
        new,
        record(json!({"id": 7, "email": "a@b.c", "name": "Ada L", "first": "Ada", "last": "L", "age": 36,
            "tags": {"b": [1, 2.5], "a": null}, "on": true}))
    );
    assert_eq!(mapping.back(&new), record(json!({"id": 7, "first": "Ada", "last": "L", "on": true})));
    let chosen = Mapping::new(&dataset(&[("email", "email | lower")], &[], Some(&["email"]))).unwrap();
    assert_eq!(chosen.back(&new), record(json!({"id": 7, "email": "a@b.c"})));
}

#[test]
fn nulls_never_become_words() {
    for (expression, expected) in [
        ("email | lower", json!(null)),
        ("email | trim | upper", json!(null)),
        ("email | default('x', true)", json!("x")),
        ("email or 'x'", json!("x")),
        ("'<' ~ email ~ '>'", json!("<>")),
        ("email is none", json!(true)),
        ("email | replace('a', 'b')", json!(null)),
    ] {
        let mapping = Mapping::new(&dataset(&[("out", expression)], &[], None)).unwrap();
        let new = mapping.forward(&record(json!({"id": 1, "email": null})), &Found::new()).unwrap().unwrap();
        assert_eq!(new.get("out").unwrap().to_json(), expected, "{expression}");
    }
}

#[test]
fn a_missing_field_is_named() {
    for expression in ["gone | lower", "gone", "id ~ gone", "gone + 1", "gone.deeper", "-gone", "gone | upper ~ 'x'"] {
        let mapping = Mapping::new(&dataset(&[("out", expression)], &[], None)).unwrap();
        let fault = mapping.forward(&record(json!({"id": 1})), &Found::new()).unwrap_err();
        assert!(fault.detail.contains("`out`") && fault.detail.contains("`gone`"), "{expression}: {}", fault.detail);
    }
    let mapping = Mapping::new(&dataset(&[("out", "gone | default('x')")], &[], None)).unwrap();
    assert_eq!(
        mapping.forward(&record(json!({"id": 1})), &Found::new()).unwrap().unwrap().get("out"),
        Some(&Value::Text("x".into()))
    );
    let fault = mapping.blob_key(&record(json!({"id": 1, "user_id": 2}))).unwrap_err();
    assert!(fault.detail.contains("`file_name`"), "{}", fault.detail);
    assert!(mapping.forward(&record(json!({"id": null})), &Found::new()).is_err());
}

#[test]
fn wrong_plans_are_refused() {
    assert!(Mapping::new(&dataset(&[("out", "a |")], &[], None)).is_err());
    assert!(Mapping::new(&dataset(&[("id", "id + 1")], &[], None)).is_err());
    assert!(Mapping::new(&dataset(&[], &["id"], None)).is_err());
}

#[test]
fn renames_sets_and_looks_up_and_only_names_go_back() {
    let lookup = LookupPlan { dataset: "teams".into(), field: "uuid".into(), by: "team_id".into() };
    let fields = FieldsPlan {
        rename: BTreeMap::from([("first".into(), "given".into()), ("a".into(), "b".into()), ("b".into(), "a".into())]),
        constant: BTreeMap::from([("origin".into(), json!("legacy")), ("flags".into(), json!([1]))]),
        lookup: BTreeMap::from([("team".into(), lookup)]),
        filter: Some("active and id > 1".into()),
        ..FieldsPlan::default()
    };
    let plan = DatasetPlan { fields, drop: vec!["secret".into()], ..dataset(&[("name", "first | upper")], &[], None) };
    let mapping = Mapping::new(&plan).unwrap();
    let legacy = |id: i64, team: serde_json::Value, active: bool| {
        record(json!({"id": id, "first": "Ada", "a": 1, "b": 2, "secret": "s", "team_id": team, "active": active}))
    };
    let found = Found::from([("team".into(), BTreeMap::from([("7".into(), Some(Value::Text("u-7".into())))]))]);
    let new = mapping.forward(&legacy(2, json!(7), true), &found).unwrap().unwrap();
    assert_eq!(
        new,
        record(json!({"id": 2, "given": "Ada", "b": 1, "a": 2, "team_id": 7, "active": true, "origin": "legacy",
            "flags": [1], "team": "u-7", "name": "ADA"}))
    );
    let mut seen = new.clone();
    seen.0.insert("first".into(), Value::Text("the new side's own".into()));
    let back = record(json!({"id": 2, "first": "Ada", "a": 1, "b": 2, "team_id": 7, "active": true}));
    assert_eq!(mapping.back(&seen), back);
    assert_eq!(mapping.comes_back(&legacy(2, json!(7), true)), back);
    let null = mapping.forward(&legacy(2, json!(null), true), &found).unwrap().unwrap();
    assert_eq!(null.get("team"), Some(&Value::Null));
    assert_eq!(mapping.forward(&legacy(1, json!(7), true), &found).unwrap(), None, "the filter");
    assert_eq!(mapping.forward(&legacy(2, json!(7), false), &found).unwrap(), None, "the filter");
    let fault = mapping.forward(&legacy(2, json!(8), true), &found).unwrap_err();
    assert!(
        fault.detail.contains("`team`") && fault.detail.contains("`teams` has no uuid under the key 8"),
        "{fault:?}"
    );
    let fault = mapping.forward(&record(json!({"id": 2, "first": "x"})), &found).unwrap_err();
    assert!(fault.detail.contains("the filter: `active` is not there"), "{}", fault.detail);
    for fields in [
        FieldsPlan { rename: BTreeMap::from([("id".into(), "uid".into())]), ..FieldsPlan::default() },
        FieldsPlan { rename: BTreeMap::from([("uid".into(), "id".into())]), ..FieldsPlan::default() },
        FieldsPlan { constant: BTreeMap::from([("id".into(), json!(1))]), ..FieldsPlan::default() },
        FieldsPlan { filter: Some("a |".into()), ..FieldsPlan::default() },
    ] {
        assert!(Mapping::new(&DatasetPlan { fields, ..dataset(&[], &[], None) }).is_err());
    }
}

#[test]
fn blob_keys_stay_inside() {
    let mapping = Mapping::new(&dataset(&[], &[], None)).unwrap();
    let key = |name: &str| mapping.blob_key(&record(json!({"id": 3, "user_id": 2, "file_name": name})));
    assert_eq!(key("übér 表.csv").unwrap(), "users/2/3/übér 表.csv");
    assert_eq!(key("<a>&.csv").unwrap(), "users/2/3/<a>&.csv");
    for bad in ["", "..", "../x", "a//b", "/etc", "a/../../b", "."] {
        assert!(key(bad).is_err(), "{bad}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<String>().prop_map(Value::Text),
        prop::collection::vec(any::<i32>(), 0..4).prop_map(|list| Value::Json(json!(list))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn an_identity_mapping_loses_nothing(fields in prop::collection::btree_map("[a-z]{1,6}", value(), 0..8), id in any::<i64>()) {
        let mut fields: BTreeMap<String, Value> = fields;
        fields.insert("id".into(), Value::Int(id));
        let legacy = Record(fields.clone());
        let named: Vec<(String, String)> = fields.keys().filter(|f| *f != "id" && !is_word(f)).map(|f| (f.clone(), f.clone())).collect();
        let map: Vec<(&str, &str)> = named.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        prop_assert_eq!(&Mapping::new(&dataset(&map, &[], None)).unwrap().forward(&legacy, &Found::new()).unwrap().unwrap(), &legacy);
        let straight = Mapping::new(&dataset(&[], &[], None)).unwrap();
        prop_assert_eq!(&straight.back(&straight.forward(&legacy, &Found::new()).unwrap().unwrap()), &legacy);
    }
}

/// Words of the expression language cannot be field references.
fn is_word(name: &str) -> bool {
    ["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "loop", "self", "super"].contains(&name)
        || ["range", "dict", "debug", "namespace"].contains(&name)
}
