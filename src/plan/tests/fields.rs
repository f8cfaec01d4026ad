//! What a dataset says of its fields.

use super::{SMALL, read};
use crate::{
    model::Kind,
    plan::{FieldsPlan, LookupPlan},
};
use serde_json::json;
use std::collections::BTreeMap;

/// [`SMALL`] with these lines in its dataset `files`, which needs `users`.
fn with(lines: &str) -> String {
    SMALL.replace("key = \"id\"\nblob", &format!("key = \"id\"\n{lines}\nblob"))
}

#[test]
fn fields_are_read() {
    let lines = r#"rename = { owner_id = "owner" }
constant = { origin = "legacy", rank = 1, tags = ["a"] }
lookup = { team = { dataset = "users", field = "uuid", by = "team_id" }, user_id = { dataset = "users", field = "uuid" } }
type = { size = "int64", sum = "decimal(10,2)" }
filter = "size > 0 and not deleted"
references = { owner = "users", copy_of = "files" }
unique = ["path"]
back = ["owner"]"#;
    let plan = read(&with(lines)).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    let lookup = |by: &str| LookupPlan { dataset: "users".into(), field: "uuid".into(), by: by.into() };
    let decimal = Kind::Decimal { digits: Some(10), scale: Some(2) };
    let wanted = FieldsPlan {
        rename: BTreeMap::from([("owner_id".into(), "owner".into())]),
        constant: [("origin", json!("legacy")), ("rank", json!(1)), ("tags", json!(["a"]))]
            .map(|(field, value)| (field.to_owned(), value))
            .into(),
        lookup: BTreeMap::from([("team".into(), lookup("team_id")), ("user_id".into(), lookup("user_id"))]),
        kinds: BTreeMap::from([("size".into(), Kind::Int { bits: 64, signed: true }), ("sum".into(), decimal)]),
        filter: Some("size > 0 and not deleted".into()),
        references: BTreeMap::from([("owner".into(), "users".into()), ("copy_of".into(), "files".into())]),
        unique: vec!["path".into()],
    };
    assert_eq!(plan.datasets[1].fields, wanted);
    assert_eq!(plan.datasets[0].fields, FieldsPlan::default());
}

#[test]
fn every_mistake_is_named_where_it_stands() {
    for (lines, said) in [
        (r#"rename = { id = "uid" }"#, "27:17: found `id`, the key, renamed; write the key under its name"),
        (r#"rename = { uid = "id" }"#, "27:18: found `id`, the key, the new name of a field; write the key as it is"),
        (r#"rename = { a = "" }"#, "27:16: found"),
        ("drop = [\"a\"]\nrename = { a = \"b\" }", "28:16: found `a`, which is dropped, renamed; write one of the two"),
        (r#"rename = { a = "c", b = "c" }"#, "`c`, which is the new name of a field, the new name of a field too"),
        ("map = { c = \"a\" }\nconstant = { c = 1 }", "28:18: found `c`, which is computed in `map`, a constant too"),
        ("constant = { id = 1 }", "found `id`, the key, a constant; write the key as it is: both sides"),
        (r#"lookup = { a = { dataset = "user", field = "x" } }"#, "27:28: found `user`"),
        (r#"lookup = { a = { dataset = "files", field = "x" } }"#, "found the dataset itself; write another dataset"),
        (r#"lookup = { a = { dataset = "users" } }"#, "without `field`; write `field = \"uuid\"`"),
        (r#"lookup = { a = { dataset = "users", field = "x", key = "y" } }"#, "found the unknown key `key` in"),
        (r#"type = { a = "varchar" }"#, "27:14: found `varchar`, which is not a type; write one of bool, int8"),
        ("drop = [\"a\"]\ntype = { a = \"text\" }", "found a type for `a`, which is dropped; write one of the two"),
        (r#"references = { a = "user" }"#, "27:20: found `user`, but there is no dataset of this name"),
        (r"references = { a = 1 }", "27:20: found"),
        (
            "lookup = { a = { dataset = \"users\", field = \"x\" } }\nreferences = { a = \"users\" }",
            "28:20: found `a`, which is looked up, and refers to what it was found in; write one of the two",
        ),
        (r#"unique = ["id"]"#, "27:10: found the key, which comes once anyway; write the list without it"),
        (r#"unique = "email""#, "27:10: found"),
        (r#"filter = "size >""#, "27:10: found `size >`, which is no expression"),
        ("constant = { c = 1 }\nback = [\"c\"]", "`c` in `dataset.back`, which is a constant, which the legacy side"),
        ("rename = { a = \"b\" }\nback = [\"a\"]", "`a` in `dataset.back`, which is `b` on the new side"),
        (
            "lookup = { c = { dataset = \"users\", field = \"x\" } }\nback = [\"c\"]",
            "`c` in `dataset.back`, which is looked up in `users`",
        ),
    ] {
        let problems = read(&with(lines)).expect_err(lines).to_string();
        assert!(problems.contains(said), "{lines}\n{problems}");
    }
    let unmoved = with(r#"lookup = { a = { dataset = "users", field = "x" } }"#).replace("needs = [\"users\"]\n", "");
    let problems = read(&unmoved).unwrap_err().to_string();
    assert!(problems.contains("`users`, which need not have moved by then; write `needs = [\"users\"]`"), "{problems}");
    let unmoved = with(r#"references = { a = "users" }"#).replace("needs = [\"users\"]\n", "");
    assert!(read(&unmoved).unwrap_err().to_string().contains("`users`, which need not have moved by then"));
}
