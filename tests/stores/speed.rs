//! How fast the databases are read and written, for who asks: `cargo test --release --test stores speed -- --ignored
//! --nocapture`. The benchmark of whole runs is elsewhere; this one shows what a store itself takes.

use super::{
    record, set,
    sides::{SIDES, Side},
};
use cutover::{
    model::{Record, Value},
    ports::Cursor,
};
use serde_json::json;
use std::time::Instant;

const ROWS: i64 = 200_000;
const BATCH: u32 = 2_000;

fn user(id: i64) -> Record {
    let mut user = record(json!({
        "id": id, "name": format!("Ada Lovelace {id}"), "email": format!("ada{id}@example.org"), "active": true, "score": 0.25,
        "note": "a line of text that somebody wrote", "updated_at": "2026-11-20T00:00:00.123456Z",
    }));
    user.0.insert("settings".into(), Value::Json(json!({"theme": "dark", "size": id})));
    user
}

async fn measure(side: &Side) {
    let columns = "id {key}, name {text}, email {text}, active {bool}, score {float}, note {text}, updated_at {timestamp}, settings {json}";
    side.table("users", columns);
    let (store, set) = (side.store.as_ref(), &set("users"));
    let rate = |began: Instant| f64::from(u32::try_from(ROWS).unwrap()) / began.elapsed().as_secs_f64();
    for what in ["written, all new", "written again"] {
        let batches: Vec<Vec<Record>> = (0..ROWS / i64::from(BATCH))
            .map(|n| (1..=i64::from(BATCH)).map(|id| user(n * i64::from(BATCH) + id)).collect())
            .collect();
        let began = Instant::now();
        for batch in &batches {
            store.write(set, batch).await.unwrap();
        }
        println!("{}: {:.0} rows a second {what}", side.name, rate(began));
    }
    let began = Instant::now();
    let (mut from, mut count) = (Cursor::START, 0);
    loop {
        let page = store.read(set, &from, BATCH).await.unwrap();
        count += page.records.len();
        let Some(next) = page.next else { break };
        from = next;
    }
    assert_eq!(i64::try_from(count).unwrap(), ROWS);
    println!("{}: {:.0} rows a second read", side.name, rate(began));
}

#[tokio::test]
#[ignore = "a measurement"]
async fn speed() {
    for side in SIDES {
        measure(&side().await).await;
    }
}
