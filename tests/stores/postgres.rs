//! What only a `PostgreSQL` has: types of its own, sequences, roles, a server that goes away.

use super::{
    all,
    bulk::{rows, tells},
    keys, numbers,
    postgres_server::Server,
    record, set,
    sides::PATIENCE,
};
use cutover::{
    adapters::records::PostgresStore,
    error::FaultKind,
    model::{Kind, Record, Value},
    ports::{Cursor, Form, Inserted, RecordStore, SetRef, WriteOutcome},
};
use serde_json::json;

const USERS: &str = "CREATE TABLE users (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL, \
    updated_at timestamptz)";

fn store(server: &Server) -> PostgresStore {
    PostgresStore::new("legacy", &server.socket_url().into(), None, PATIENCE).unwrap()
}

fn user(id: i64) -> Record {
    record(json!({"id": id, "name": format!("u{id}"), "updated_at": "2026-11-20T00:00:00Z"}))
}

fn users(ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
    ids.into_iter().map(user).collect()
}

#[tokio::test]
async fn the_catalog_says_what_columns_hold() {
    let server = Server::start();
    server.psql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0); \
         CREATE DOMAIN dear AS price NOT NULL; CREATE SCHEMA app; \
         CREATE TABLE app.odd (id serial PRIMARY KEY, mood mood, price price, dear dear, code char(4), small varchar(7) NOT NULL, \
            doubled numeric GENERATED ALWAYS AS (price * 2) STORED, made timestamptz(3) DEFAULT now(), bare timestamp(0), \
            tags text[], spans numeric(5,1)[], address inet, took interval, hundreds numeric(3,-2))",
    );
    let store = PostgresStore::new("legacy", &server.socket_url().into(), Some("app"), PATIENCE).unwrap();
    let odd = SetRef { updated: None, ..set("odd") };
    let info = store.describe(&odd).await.unwrap();
    let said = |name: &str| {
        let field = info.field(name).unwrap();
        (field.kind.clone(), field.nullable, field.filled, field.computed)
    };
    let text = |max| Kind::Text { max, nul: false };
    let decimal = |digits, scale| Kind::Decimal { digits: Some(digits), scale: Some(scale) };
    assert_eq!(said("id"), (Kind::Int { bits: 32, signed: true }, false, true, false));
    assert_eq!(said("mood"), (text(None), true, false, false));
    assert_eq!(said("price"), (decimal(10, 2), true, false, false));
    assert_eq!(said("dear"), (decimal(10, 2), false, false, false));
    assert_eq!(said("code"), (text(Some(4)), true, false, false));
    assert_eq!(said("small"), (text(Some(7)), false, false, false));
    assert_eq!(said("doubled"), (Kind::Decimal { digits: None, scale: None }, true, false, true));
    assert_eq!(said("made"), (Kind::Timestamp { zone: true, fraction: 3 }, true, true, false));
    assert_eq!(said("bare"), (Kind::Timestamp { zone: false, fraction: 0 }, true, false, false));
    assert_eq!(said("tags"), (Kind::List(Box::new(text(None))), true, false, false));
    assert_eq!(said("spans"), (Kind::List(Box::new(decimal(5, 1))), true, false, false));
    assert_eq!(said("hundreds").0, decimal(5, 0));
    assert_eq!(said("address").0, text(None));

    let row = record(json!({
        "id": 1, "mood": "ok", "price": "12.5", "dear": "1", "code": "ab", "small": "x", "made": "2026-11-20T00:00:00.125Z",
        "bare": "2026-11-20T00:00:00", "tags": ["a,b", null], "spans": ["1.5", "-7"], "address": "10.0.0.1/8",
        "took": "P1DT2H", "hundreds": "1200",
    }));
    assert_eq!(store.write(&odd, std::slice::from_ref(&row)).await.unwrap(), [WriteOutcome::Created]);
    let read = &all(&store, &odd).await[0];
    assert_eq!(read.get("doubled").map(Value::to_text).as_deref(), Some("25"));
    for (name, value) in &row.0 {
        assert_eq!(read.get(name).map(Value::to_text), Some(value.to_text()), "{name}");
    }
    for wrong in [
        json!({"id": 2, "dear": "-1", "small": "x"}),
        json!({"id": 2, "dear": "1", "small": "x", "mood": "angry"}),
        json!({"id": 2, "dear": "1.234", "small": "x"}),
        json!({"id": 2, "dear": "1", "small": "x", "address": "nowhere"}),
        json!({"id": 2, "dear": "1", "small": "NUL \u{0}"}),
        json!({"id": 2, "small": "x"}),
    ] {
        let outcomes = store.write(&odd, &[record(wrong.clone())]).await.unwrap();
        assert!(matches!(&outcomes[0], WriteOutcome::Rejected(why) if !why.is_empty()), "{wrong}: {outcomes:?}");
    }
    let fault =
        store.write(&odd, &[record(json!({"id": 2, "dear": "1", "small": "x", "doubled": 2}))]).await.unwrap_err();
    assert!(fault.chain().contains("computes by itself: doubled"), "{}", fault.chain());
    // A document in memory would round this number, so it is not carried.
    server.psql(
        "CREATE TABLE deep (id int PRIMARY KEY, it jsonb); INSERT INTO deep VALUES (1, '[1.00000000000000000001]')",
    );
    let deep = SetRef { name: "public.deep".into(), ..odd };
    let fault = store.read(&deep, &cutover::ports::Cursor::START, 10).await.unwrap_err();
    assert!(fault.chain().contains("would be rounded"), "{}", fault.chain());
}

#[tokio::test]
async fn sequences_follow_and_are_never_counted_down() {
    let server = Server::start();
    server.psql(USERS);
    let (store, set) = (store(&server), set("users"));
    store.write(&set, &users(1..=40)).await.unwrap();
    let said = store.settle(&set).await.unwrap().unwrap();
    assert!(said.contains("users_id_seq") && said.contains("40"), "{said}");
    assert_eq!(store.settle(&set).await.unwrap(), None);
    assert_eq!(server.psql("INSERT INTO users (name) VALUES ('x') RETURNING id"), "41");
    server.psql("SELECT setval('users_id_seq', 1000)");
    assert_eq!(store.settle(&set).await.unwrap(), None);
    assert_eq!(server.psql("INSERT INTO users (name) VALUES ('x') RETURNING id"), "1001");
}

#[tokio::test]
async fn one_in_a_hundred_is_rejected_and_the_others_arrive() {
    let server = Server::start();
    server.psql("CREATE TABLE users (id bigint PRIMARY KEY, name text CHECK (name !~ '00$'), updated_at timestamptz)");
    let (store, set) = (store(&server), set("users"));
    let outcomes = store.write(&set, &users(1..=1000)).await.unwrap();
    for (id, outcome) in (1..).zip(&outcomes) {
        match outcome {
            WriteOutcome::Rejected(why) if id % 100 == 0 => assert!(why.contains("users_name_check"), "{why}"),
            outcome => assert_eq!((id % 100 > 0, outcome), (true, &WriteOutcome::Created), "{id}"),
        }
    }
    assert_eq!(server.psql("SELECT count(*) FROM users"), "990");
    server.psql(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            IF NEW.id = 5 THEN RETURN NULL; ELSIF NEW.id = 6 THEN RAISE 'not six'; END IF; RETURN NEW; END $$; \
         CREATE TABLE guarded (LIKE users INCLUDING ALL); \
         CREATE TRIGGER no BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION no()",
    );
    let set = super::set("guarded");
    let outcomes = store.write(&set, &users(1..=30)).await.unwrap();
    assert!(matches!(&outcomes[4], WriteOutcome::Rejected(why) if why.contains("trigger")), "{outcomes:?}");
    assert!(matches!(&outcomes[5], WriteOutcome::Rejected(why) if why.contains("not six")), "{outcomes:?}");
    assert_eq!(keys(&all(&store, &set).await), numbers((1..=4).chain(7..=30)));
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let server = Server::start();
    server.psql(USERS);
    server.psql(
        "INSERT INTO users (name) VALUES ('x'); CREATE ROLE reader LOGIN PASSWORD 'secret1'; GRANT SELECT ON users TO reader; \
         CREATE ROLE nobody LOGIN PASSWORD 'secret1'",
    );
    let of = |role: &str, password: &str| {
        PostgresStore::new("legacy", &server.url(role, password).into(), None, PATIENCE).unwrap()
    };
    let set = set("users");
    let reader = of("reader", "secret1");
    assert!(!reader.describe(&set).await.unwrap().writable);
    assert_eq!(all(&reader, &set).await.len(), 1);
    let fault = reader.write(&set, &users([2])).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(fault.advice().contains("permission denied for table users"), "{}", fault.advice());
    let fault = of("nobody", "secret1").describe(&set).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    let fault = of("reader", "wrong-secret").describe(&set).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(!fault.chain().contains("wrong-secret"), "{}", fault.chain());
    server.psql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.psql("SELECT pg_reload_conf()");
    let late = store(&server);
    while late.describe(&set).await.unwrap().writable {
        tokio::task::yield_now().await;
    }
    let fault = late.write(&set, &users([2])).await.unwrap_err();
    assert_eq!((fault.kind, fault.kind.is_retryable()), (FaultKind::Unmet, false));
    assert!(fault.chain().contains("read-only"), "{}", fault.chain());
}

#[tokio::test]
async fn a_server_that_was_started_again_is_found_again() {
    let mut server = Server::start();
    server.psql(USERS);
    let (store, set) = (store(&server), set("users"));
    assert_eq!(store.write(&set, &users(1..=3)).await.unwrap(), vec![WriteOutcome::Created; 3]);
    server.stop();
    let fault = store.write(&set, &users([4])).await.unwrap_err();
    assert_eq!((fault.kind, fault.kind.is_retryable()), (FaultKind::Unreachable, true), "{}", fault.chain());
    server.start_again();
    assert_eq!(store.write(&set, &users(1..=4)).await.unwrap()[2..], [WriteOutcome::Updated, WriteOutcome::Created]);
    assert_eq!(all(&store, &set).await, users(1..=4));
}

#[tokio::test]
async fn a_view_is_read_and_a_table_in_parts_is_written() {
    let server = Server::start();
    server.psql(
        "CREATE TABLE events (id bigint PRIMARY KEY, name text, updated_at timestamptz) PARTITION BY RANGE (id); \
         CREATE TABLE low PARTITION OF events FOR VALUES FROM (0) TO (100); \
         CREATE TABLE high PARTITION OF events FOR VALUES FROM (100) TO (10000); \
         CREATE VIEW seen AS SELECT * FROM events",
    );
    let (store, set) = (store(&server), set("events"));
    assert_eq!(store.write(&set, &users(1..=300)).await.unwrap(), vec![WriteOutcome::Created; 300]);
    assert_eq!(
        store.write(&set, &users(299..=301)).await.unwrap()[1..],
        [WriteOutcome::Updated, WriteOutcome::Created]
    );
    let outcomes = store.write(&set, &users([20_000])).await.unwrap();
    assert!(matches!(outcomes[0], WriteOutcome::Rejected(_)), "no part takes it: {outcomes:?}");
    assert!(store.split(&set, 3).await.unwrap().len() > 1);
    let view = super::set("seen");
    assert!(!store.describe(&view).await.unwrap().writable);
    assert_eq!(all(&store, &view).await, users(1..=301));
    assert_eq!(store.split(&view, 3).await.unwrap().len(), 1);
}

#[tokio::test]
async fn settings_of_the_role_change_no_value() {
    let server = Server::start();
    server.psql(
        "CREATE TABLE users (id bigint PRIMARY KEY, at timestamptz, day date, raw bytea, number float8, took interval); \
         ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'; ALTER ROLE postgres SET DateStyle = 'German'; \
         ALTER ROLE postgres SET bytea_output = 'escape'; ALTER ROLE postgres SET extra_float_digits = -5; \
         ALTER ROLE postgres SET IntervalStyle = 'postgres_verbose'; ALTER ROLE postgres SET standard_conforming_strings = off",
    );
    let (store, set) = (store(&server), SetRef { updated: None, ..set("users") });
    let mut row =
        record(json!({"id": 1, "at": "2026-11-20T23:00:00.5Z", "day": "2026-11-20", "number": 0.1, "took": "P1Y"}));
    row.0.insert("raw".into(), Value::Bytes(vec![0, 92, 255]));
    store.write(&set, std::slice::from_ref(&row)).await.unwrap();
    assert_eq!(all(&store, &set).await, [row]);
    let odd = cutover::model::Key("\\' OR true --".into());
    assert_eq!(store.fetch(&SetRef { key: "id".into(), ..set }, &[odd]).await.unwrap(), []);
}

/// Columns of every type that goes in the server's own form, and values at their ends.
const OWN: &str = "CREATE TABLE own (id bigint PRIMARY KEY, small smallint, whole integer, object oid, yes boolean, \
        short real, long double precision, amount numeric, price numeric(12, 4), day date, at time, bare timestamp, \
        zoned timestamptz, coarse timestamptz(0), token uuid, raw bytea, plain json, document jsonb, \
        name text, code varchar(9), padded char(5)); \
    CREATE TABLE copies (LIKE own); ALTER TABLE copies ADD PRIMARY KEY (id)";
const ENDS: &str = "INSERT INTO own VALUES \
    (-9223372036854775808, -32768, -2147483648, 4294967295, true, 'NaN', '-Infinity', 'NaN', -99999999.9999, 'infinity', \
        '24:00', '-infinity', 'infinity', '4713-01-01 00:00:00Z BC', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\\x00ff0a5c', \
        ' {\"b\" : 1, \"a\":[]}', '{\"b\": \"\\u00fc\\t\", \"a\": 1.500}', E'a\\tb\\n\\\\N', '\\N', 'x'), \
    (9223372036854775807, 32767, 2147483647, 0, false, '1e-45', '5e-324', 'Infinity', 0.5, '5874897-12-31', \
        '00:00:00.000001', '294276-12-31 23:59:59.999999', '0001-12-31 23:59:59.5Z BC', '1899-12-31', \
        '00000000-0000-0000-0000-000000000000', '', 'null', '\"text\"', '', '', ''), \
    (0, 0, 0, 1, NULL, '-0', '-0', '0.000000000000000000001', 0, '4713-01-01 BC', '12:30', '2000-02-29 12:00', 'epoch', \
        'epoch', NULL, NULL, NULL, '[[], {}, -0.0, 1e30]', NULL, 'Zo\u{eb} \u{1f980}', 'a b'), \
    (1, NULL, NULL, NULL, NULL, 3.4028235e38, 1.7976931348623157e308, -123456789012345678901234567890.0001000, 1.2, \
        '9999-12-31', '23:59:59.999999', '0001-01-01', '10000-01-01Z', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
const ANY: &str = "SELECT setseed(0.20261128); INSERT INTO own SELECT n, random() * 60000 - 30000, random() * 4e9 - 2e9, \
        (random() * 4e9)::bigint::oid, random() > 0.5, random() * power(10, random() * 60 - 30), random() * power(10, random() * 600 - 300), \
        ((random() - 0.5) * power(10, random() * 40 - 20))::numeric, (random() - 0.5) * 1e8, \
        date '0001-01-01 BC' + (random() * 4e6)::int, time '00:00' + random() * interval '1 day', \
        timestamp '2000-01-01' + (random() - 0.5) * interval '3000 years', \
        timestamptz '2000-01-01Z' + (random() - 0.3) * interval '12000 years', now(), gen_random_uuid(), \
        decode(md5(n::text), 'hex'), json_build_object('n', random(), 'a', n), jsonb_build_object('n', random(), 'aa', n), \
        md5(n::text), left(md5(n::text), 9), chr(97 + n % 26) FROM generate_series(10, 2000) AS n";

#[tokio::test]
async fn the_servers_own_form_says_what_its_text_says() {
    let server = Server::start();
    for sql in [OWN, ENDS, ANY] {
        server.psql(sql);
    }
    let store = store(&server);
    let (own, copies) = (SetRef { updated: None, ..set("own") }, SetRef { updated: None, ..set("copies") });
    let blocks = store.blocks().unwrap();
    let types = blocks.shape(&own).await.unwrap().types;
    assert!(types.is_some() && types == blocks.shape(&copies).await.unwrap().types, "{types:?}");
    let read = async |form| blocks.read_block(&own, &Cursor::START, 5000, usize::MAX, form).await.unwrap().block;
    let (said, written) = (read(Form::Own).await, read(Form::Text).await);
    let wanted = rows(&written);
    assert_eq!(wanted.len(), 1995);
    for (own, text) in rows(&said).iter().zip(&wanted) {
        assert_eq!(own, text);
    }
    tells(&said);
    tells(&written);
    let every = |table: &str| server.psql(&format!("SELECT t FROM {table} AS t ORDER BY id"));
    for block in [&said, &written] {
        server.psql("TRUNCATE copies");
        assert_eq!(blocks.insert_block(&copies, block).await.unwrap(), Inserted::All);
        assert_eq!(every("own"), every("copies"));
    }
    // Of a type that a later version may send otherwise the text goes.
    server.psql("ALTER TABLE copies ADD COLUMN took interval");
    assert_eq!(blocks.shape(&copies).await.unwrap().types, None);
    // A row that cannot be stored refuses the block, and says why.
    server.psql("ALTER TABLE copies DROP COLUMN took; TRUNCATE copies; ALTER TABLE copies ADD CHECK (id <> 77)");
    let refused = blocks.insert_block(&copies, &said).await.unwrap();
    assert!(matches!(&refused, Inserted::None(why) if why.contains("copies_id_check")), "{refused:?}");
    assert_eq!(server.psql("SELECT count(*) FROM copies"), "0");
}
