//! Writing to Django: upserts with an outcome for each, packed bodies, deletions.

use super::{
    all,
    django::{Django, FILTERS},
    key, keys, numbers, plan, set, store,
};
use cutover::{
    error::FaultKind,
    model::{Record, Value},
    plan::{Compression, HttpPlan, Pagination},
    ports::{RecordStore, WriteOutcome},
};
use serde_json::json;

fn filter(id: i64, member: i64, name: &str) -> Record {
    let json = json!({
        "id": id, "member_id": member, "name": name, "definition": {"q": [1, "ä\u{1F600}"]},
        "created_at": "2026-11-20T10:00:00.123456Z", "updated_at": "2026-11-20T10:00:00.654321Z",
    });
    Record::from_json(json).unwrap()
}

#[tokio::test]
async fn each_record_of_a_write_has_its_outcome() {
    let django = Django::start();
    for compress in [Compression::None, Compression::Gzip] {
        let plan = HttpPlan { compress, ..plan(&django.endpoint, django.token("Token"), Pagination::LimitOffset) };
        let store = store(plan);
        let filters = set("/api/offset/filters/");
        let rows = [
            filter(5000, 1, "new"),
            filter(5001, 99_999, "nobody's"),
            filter(7, 2, "seventh"),
            filter(5002, 1, &"x".repeat(200)),
        ];
        let outcomes = store.write(&filters, &rows).await.unwrap();
        assert_eq!((&outcomes[0], &outcomes[2]), (&WriteOutcome::Created, &WriteOutcome::Updated));
        assert!(matches!(&outcomes[1], WriteOutcome::Rejected(why) if why.contains("does not exist")), "{outcomes:?}");
        assert!(matches!(&outcomes[3], WriteOutcome::Rejected(why) if why.contains("100 characters")), "{outcomes:?}");
        assert_eq!(store.write(&filters, &rows[..1]).await.unwrap(), [WriteOutcome::Updated], "again");
        let read = store.fetch(&filters, &numbers([5000, 5001, 5002, 7])).await.unwrap();
        assert_eq!(read, [rows[2].clone(), rows[0].clone()]);

        let part = Record::from_json(json!({"id": 5000, "name": "part"})).unwrap();
        assert_eq!(store.write(&filters, &[part]).await.unwrap(), [WriteOutcome::Updated]);
        let mut wanted = rows[0].clone();
        wanted.0.insert("name".into(), Value::Text("part".into()));
        assert_eq!(store.fetch(&filters, &[key(5000)]).await.unwrap(), [wanted], "other fields stay");

        store.delete(&filters, &numbers([5000, 777_777])).await.unwrap();
        store.delete(&filters, &numbers([5000])).await.unwrap();
        assert_eq!(keys(&all(&store, &filters, 50).await), numbers(1..=FILTERS));
    }
}

#[tokio::test]
async fn a_set_that_is_not_there_is_told() {
    let django = Django::start();
    let store = store(plan(&django.endpoint, django.token("Token"), Pagination::Cursor));
    let fault = store.describe(&set("/api/cursor/nothing/")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::NotFound, "{}", fault.chain());
    let comma = store.fetch(&set("/api/cursor/filters/"), &[key("a,b")]).await.unwrap_err();
    assert!(comma.kind == FaultKind::Refused && comma.chain().contains("comma"), "{}", comma.chain());
}
