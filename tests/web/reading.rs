//! Reading from Django: every way of paging, every credential, changes, and rows that come and go meanwhile.

use super::{
    all,
    django::{Django, MEMBERS, PASSWORD},
    key, keys, numbers, plan, set, store,
};
use cutover::{
    error::FaultKind,
    model::{Key, Record, Value},
    plan::{Auth, HttpPlan, Pagination},
    ports::{Cursor, RecordStore},
};
use serde_json::json;
use std::collections::BTreeSet;

const WAYS: [(&str, Pagination); 6] = [
    ("numbered", Pagination::PageNumber),
    ("fixed", Pagination::PageNumber),
    ("offset", Pagination::LimitOffset),
    ("cursor", Pagination::Cursor),
    ("linked", Pagination::LinkHeader),
    ("plain", Pagination::None),
];

#[tokio::test]
async fn every_pagination_gives_every_row_once() {
    let django = Django::start();
    let mut first: Option<Vec<Record>> = None;
    for (way, pagination) in WAYS {
        let store = store(plan(&django.endpoint, django.token("Token"), pagination));
        let members = set(&format!("/api/{way}/members/"));
        for limit in [9, 100, 500] {
            let read = all(&store, &members, limit).await;
            assert_eq!(keys(&read), numbers(1..=MEMBERS), "{way} by {limit}");
            assert_eq!(*first.get_or_insert_with(|| read.clone()), read, "{way} by {limit}");
        }
        let about = store.describe(&members).await.unwrap();
        let counted = !matches!(pagination, Pagination::Cursor | Pagination::LinkHeader);
        assert_eq!(about.count, counted.then_some(MEMBERS.unsigned_abs()), "{way}");
        assert!(about.field("balance").is_some());
        let some = store.fetch(&members, &numbers([7, 8, 9999])).await.unwrap();
        assert_eq!(keys(&some), numbers([7, 8]), "{way}");
    }
    let members = first.unwrap();
    let field = |row: usize, name: &str| members[row].get(name).unwrap().clone();
    assert_eq!(field(2, "points"), Value::Int(i64::MAX));
    assert_eq!(field(1, "points"), Value::Int((1 << 53) + 1));
    assert_eq!(field(1, "balance"), Value::Text("123456789012.345000000000".into()));
    assert_eq!(field(1, "score"), Value::Float(-1.5e-300));
    assert_eq!(field(2, "nickname"), Value::Null);
    assert_eq!(field(0, "born"), Value::Text("1890-01-02".into()));
    assert_eq!(field(6, "profile").to_json()["n"], json!((1_i64 << 53) + 7));
}

#[tokio::test]
async fn every_credential_is_taken_and_a_wrong_one_told() {
    let django = Django::start();
    let members = set("/api/numbered/members/");
    let good = [django.token("Token"), django.token("Bearer"), django.header(), Django::basic(PASSWORD)];
    for auth in good {
        let store = store(plan(&django.endpoint, auth, Pagination::PageNumber));
        assert_eq!(store.describe(&members).await.unwrap().count, Some(MEMBERS.unsigned_abs()));
    }
    let wrong = "wrong-and-secret";
    let token = |scheme: &str, token: &str| Auth::Token { scheme: scheme.into(), token: token.to_owned().into() };
    let bad = [
        Auth::None,
        token("Token", wrong),
        token("Bearer", wrong),
        Auth::Header { name: "X-Api-Key".into(), token: wrong.to_owned().into() },
        Django::basic(wrong),
        // One that is known, and may not do this.
        token("Token", &"0".repeat(40)),
    ];
    for auth in bad {
        let store = store(plan(&django.endpoint, auth, Pagination::PageNumber));
        let fault = store.describe(&members).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unauthorized, "{}", fault.chain());
        assert!(!format!("{store:?} {fault:?} {}", fault.chain()).contains(wrong));
    }
}

#[tokio::test]
async fn changes_are_those_since_a_time_with_what_was_deleted() {
    let django = Django::start();
    let store = store(plan(&django.endpoint, django.token("Token"), Pagination::PageNumber));
    let members = set("/api/numbered/members/");
    let whole = all(&store, &members, 100).await;
    let bound = whole[99].text("updated_at").unwrap();
    store.delete(&members, &numbers([3, 150])).await.unwrap();
    let (mut changed, mut gone, mut from) = (Vec::new(), BTreeSet::new(), Cursor::START);
    loop {
        let page = store.changes(&members, bound.parse().unwrap(), &from, 40).await.unwrap();
        assert_eq!(page.total, None, "a part is not the whole set");
        changed.extend(page.records);
        gone.extend(page.gone);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(keys(&changed), numbers((100..=MEMBERS).filter(|id| *id != 150)), "the bound is inclusive");
    assert_eq!(gone, numbers([3, 150]).into_iter().collect());
}

/// A row that sorts behind all others.
fn late(id: i64) -> Record {
    let json = json!({
        "id": id, "member_id": 1, "name": format!("late {id}"), "size": 1, "tag": uuid::Uuid::nil().to_string(),
        "note": "x", "created_at": "2026-11-21T00:00:00Z", "updated_at": "2026-11-21T00:00:00Z",
    });
    Record::from_json(json).unwrap()
}

#[tokio::test]
async fn no_row_that_stays_is_skipped_while_others_come_and_go() {
    let django = Django::start();
    for (way, pagination) in WAYS {
        let store = store(plan(&django.endpoint, django.token("Token"), pagination));
        let files = set(&format!("/api/{way}/files/"));
        let before = keys(&all(&store, &files, 500).await);
        // As many come as go, so that the number of rows says nothing; where single rows cannot be asked for, fewer come.
        let come = if way == "fixed" { 0 } else { 12 };
        let (mut seen, mut from, mut round) = (BTreeSet::new(), Cursor::START, 0);
        let mut dead: BTreeSet<Key> = BTreeSet::new();
        loop {
            let page = store.read(&files, &from, 40).await.unwrap();
            seen.extend(keys(&page.records));
            if round == 1 || round == 3 {
                let given: Vec<Key> =
                    before.iter().filter(|key| seen.contains(key) && !dead.contains(key)).take(12).cloned().collect();
                store.delete(&files, &given).await.unwrap();
                dead.extend(given);
                let ids = (0..come).map(|n| 100_000 + round * 100 + n);
                let written = store.write(&files, &ids.map(late).collect::<Vec<_>>()).await.unwrap();
                assert_eq!(written.len(), usize::try_from(come).unwrap());
            }
            round += 1;
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        let lost: Vec<&Key> = before.iter().filter(|key| !seen.contains(key)).collect();
        assert!(lost.is_empty(), "{way}: {lost:?}");
        // For the next way everything is as it was.
        let rows: Vec<Key> =
            keys(&all(&store, &files, 500).await).into_iter().filter(|key| !before.contains(key)).collect();
        store.delete(&files, &rows).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_sent_again() {
    let django = Django::start();
    let members = set("/api/numbered/members/");
    let store =
        store(HttpPlan { cache: 1 << 20, ..plan(&django.endpoint, django.token("Token"), Pagination::PageNumber) });
    let once = all(&store, &members, 50).await;
    assert_eq!(all(&store, &members, 50).await, once, "by its ETag");
    let mut changed = once[10].clone();
    changed.0.insert("nickname".into(), Value::Text("changed".into()));
    store.write(&members, std::slice::from_ref(&changed)).await.unwrap();
    let now = all(&store, &members, 50).await;
    assert_eq!(now[10].text("nickname").as_deref(), Some("changed"));
    assert_eq!(store.fetch(&members, &[key(11)]).await.unwrap()[0].text("nickname").as_deref(), Some("changed"));
}
