//! Lanes of records between real servers in processes of their own that are killed again and again, at moments chosen by a
//! seed: while they back up, copy, follow, drain, compare, restore and take back. Whenever a way comes to its end, the
//! databases' own clients must find both sides equal, nothing lost and nothing doubled, and after the way back the target
//! as it was before any life.
//!
//! `CUTOVER_TEST_KILLS` says how many kills in all (200), `CUTOVER_TEST_SEED` with which seed.

use super::{
    django::Django,
    lanes::{self, TABLE},
    lives::{End, Moment, Stage, live},
    mariadb_server,
    postgres_server::Server,
    proxy::{Count, Wire},
    sides::lite_rows,
    web_sides::secret_of,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{collections::BTreeMap, fs, path::Path, rc::Rc};
use tempfile::TempDir;

/// Rows of the source, in batches of 20.
const ROWS: u32 = 240;

fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A lane between two servers, and readers of both sides that know nothing of this program.
struct Trial {
    folder: TempDir,
    count: Count,
    /// The rows of the source, one a line, in the order of their keys.
    source: Box<dyn Fn() -> Vec<String>>,
    target: Box<dyn Fn() -> Vec<String>>,
    /// Rows of the target before any life. The first has a key of the source, the second has none.
    before: Vec<String>,
    /// The stages of the way to the new side, and of the way back.
    ways: [&'static [Stage]; 2],
    /// What users do on the source after so many lives of that way.
    users: Box<dyn Fn(u64)>,
}

impl Trial {
    fn plan(folder: &Path, old: &str, new: &str, dataset: &str) {
        let migration = "[migration]\nbatch_records = 20\nbackoff = \"20ms\"\nfollow = \"50ms\"\nsweep = \"100ms\"\n";
        fs::write(folder.join("cutover.toml"), lanes::plan_text(old, new, &format!("{migration}{dataset}"))).unwrap();
    }

    async fn live(&self, stages: &[Stage], dies: Option<Moment>) -> End {
        live(self.folder.path(), stages, &self.count, dies).await
    }

    fn assert_there(&self, when: &str) {
        let mut wanted = (self.source)();
        assert_eq!(wanted.len(), ROWS as usize, "{when}");
        wanted.push(self.before[1].clone());
        let found = (self.target)();
        for (wanted, found) in wanted.iter().zip(&found) {
            assert_eq!(wanted, found, "{when}");
        }
        assert_eq!(wanted.len(), found.len(), "{when}");
    }

    fn assert_as_before(&self, when: &str) {
        assert_eq!((self.target)(), self.before, "{when}");
    }

    async fn killed(self, kills: u64) {
        let kills = asked_for("CUTOVER_TEST_KILLS").map_or(kills, |all| all * kills / 200);
        let seed = asked_for("CUTOVER_TEST_SEED").unwrap_or_else(rand::random);
        println!("seed {seed}, {kills} kills");
        let mut random = StdRng::seed_from_u64(seed);
        let mut whole = BTreeMap::new();
        for stages in self.ways {
            let End::Whole(said) = self.live(stages, None).await else { panic!("nobody killed it") };
            whole.extend(said);
        }
        self.assert_as_before("an undisturbed way there and back");
        println!("undisturbed: {whole:?}");
        let [forward, back] = self.ways;
        let (mut killed, mut ways) = (BTreeMap::new(), 0);
        while killed.values().sum::<u64>() < kills {
            for (stages, most) in [(forward, 12), (back, 5)] {
                let most = random.random_range(1..=most);
                let mut lives = 0;
                loop {
                    // The first of them die in the first half of the stages: later ones find those done.
                    let early = stages.len().div_ceil(if lives * 3 < most { 2 } else { 1 });
                    let stage = stages[random.random_range(0..early)];
                    let moment = whole[&stage].moment(stage, lives, &mut random);
                    let dies = lives < most && killed.values().sum::<u64>() < kills;
                    match self.live(stages, dies.then_some(moment)).await {
                        End::Whole(_) => break,
                        End::Killed(stage) => *killed.entry(stage).or_default() += 1,
                    }
                    if stages == forward {
                        (self.users)(killed.values().sum());
                    }
                    lives += 1;
                }
                ways += 1;
                let when = format!("seed {seed}, {killed:?} killed");
                if stages == forward { self.assert_there(&when) } else { self.assert_as_before(&when) }
            }
        }
        println!("killed {killed:?} on {ways} ways");
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

const USERS: &str = r#"
[[dataset]]
name = "users"
from = { store = "old", table = "users" }
to = { store = "new", table = "users" }
key = "id"
updated = "updated_at"
"#;

const ALL: &str = "SELECT * FROM users ORDER BY id";

/// Rows of the target that are not the run's: one under a key of the source.
const STANDING: &str = "INSERT INTO users (id, email, name, updated_at) VALUES \
    (3, 'stood@example.test', 'stood here', '2020-01-01Z'), (100000, 'stays@example.test', NULL, '2020-01-01Z')";

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_postgres() {
    let (old, new) = (Server::start(), Server::start());
    for server in [&old, &new] {
        server.psql(TABLE);
        server.psql("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'");
    }
    old.psql(&lanes::fill(ROWS));
    new.psql(STANDING);
    let (folder, count) = (TempDir::new().unwrap(), Count::new());
    let (_wire, from) = Wire::before(&old.url("mover", "secret"), &count).await;
    let (_wire, to) = Wire::before(&new.url("mover", "secret"), &count).await;
    let address = |url: &str| format!("kind = \"postgres\"\nurl = \"{url}\"");
    Trial::plan(folder.path(), &address(&from), &address(&to), USERS);
    let before = lines(&new.psql(ALL));
    let old = Rc::new(old);
    let (reader, users) = (Rc::clone(&old), move |lives: u64| {
        let (changed, gone, come) = (lives % 7, lives % 50 + 10, 1000 + lives);
        old.psql(&format!(
            "UPDATE users SET name = 'after {lives} lives', updated_at = now() WHERE id % 7 = {changed};
             UPDATE users SET id = {come}, email = 'come {lives}', updated_at = now()
             WHERE id = (SELECT min(id) FROM users WHERE id >= {gone})"
        ));
    });
    Trial {
        folder,
        count,
        source: Box::new(move || lines(&reader.psql(ALL))),
        target: Box::new(move || lines(&new.psql(ALL))),
        before,
        ways: [Stage::FOLLOWING, Stage::RESTORING],
        users: Box::new(users),
    }
    .killed(130)
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_postgres() {
    let (old, new) = (mariadb_server::Server::start(), Server::start());
    old.sql(
        "CREATE TABLE users (id bigint AUTO_INCREMENT PRIMARY KEY, email varchar(200) NOT NULL, name varchar(80),
             balance decimal(30, 10), updated_at timestamp(6) NOT NULL);
         CREATE USER mover@'%' IDENTIFIED BY 'secret'; GRANT ALL ON app.* TO mover@'%'",
    );
    old.sql(&format!(
        "SET time_zone = '+00:00'; INSERT INTO users SELECT seq, concat('üser', seq, '@example.test'), 'x',
             seq * 12345678901234.0123456789, timestamp('2024-02-29 23:59:59.123456') + interval seq second
         FROM seq_1_to_{ROWS}"
    ));
    new.psql(
        "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, name text, balance numeric(30, 10),
             updated_at timestamptz NOT NULL); CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'",
    );
    new.psql(STANDING);
    let (folder, count) = (TempDir::new().unwrap(), Count::new());
    let (_wire, from) = Wire::before(&old.url("mover", "secret"), &count).await;
    let (_wire, to) = Wire::before(&new.url("mover", "secret"), &count).await;
    let (from, to) = (format!("kind = \"mysql\"\nurl = \"{from}\""), format!("kind = \"postgres\"\nurl = \"{to}\""));
    Trial::plan(folder.path(), &from, &to, USERS);
    let target = move || {
        let sql = "SELECT concat_ws(' ', id, email, name, balance, to_char(updated_at AT TIME ZONE 'UTC',
            'YYYY-MM-DD HH24:MI:SS.US')) FROM users ORDER BY id";
        lines(&new.psql(sql))
    };
    let source = move || {
        let sql = "SET time_zone = '+00:00'; SELECT concat_ws(' ', id, email, name, balance, updated_at) FROM users \
            ORDER BY id";
        lines(&old.sql(sql))
    };
    let before = target();
    let (ways, users) = ([Stage::FORWARD, Stage::BACK], Box::new(|_| ()));
    Trial { folder, count, source: Box::new(source), target: Box::new(target), before, ways, users }.killed(45).await;
}

const FILTERS: &str = r#"
[[dataset]]
name = "filters"
from = { store = "old", path = "/api/offset/filters/" }
to = { store = "new", table = "filters" }
key = "id"
updated = "updated_at"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn from_django_to_sqlite() {
    let django = Django::start();
    let (folder, count) = (TempDir::new().unwrap(), Count::new());
    let database = folder.path().join("new.db");
    // As many rows as elsewhere.
    let more = format!(
        "INSERT INTO shop_filter (id, member_id, name, definition, created_at, updated_at)
         SELECT id + 120, member_id, name || ' again', definition, created_at, updated_at FROM shop_filter
         WHERE id <= {ROWS} - 120"
    );
    lite_rows(&django.database(), &more);
    fs::File::create(&database).unwrap();
    lite_rows(
        &database,
        "CREATE TABLE filters (id INTEGER PRIMARY KEY, member_id INTEGER, name TEXT, definition JSON, created_at TEXT,
             updated_at TEXT);
         INSERT INTO filters VALUES (3, 7, 'stood', '{}', '', ''), (100000, 7, 'stays', '[1]', '', '')",
    );
    let (_wire, from) = Wire::before(django.endpoint.as_str(), &count).await;
    let auth = secret_of(&django);
    let from = format!(
        "kind = \"http\"\nendpoint = \"{from}\"\nauth = {{ token = \"{auth}\" }}\npagination = \"limit-offset\""
    );
    let to = format!("kind = \"sqlite\"\npath = \"{}\"", database.display());
    Trial::plan(folder.path(), &from, &to, FILTERS);
    let read = |database: &Path, table: &str| {
        let database = database.to_owned();
        let time = |name: &str| format!("replace(replace(rtrim({name}, 'Z'), 'T', ' '), '+00:00', '')");
        let (made, changed) = (time("created_at"), time("updated_at"));
        let sql = format!(
            "SELECT id || ' ' || member_id || ' ' || quote(name) || ' ' || quote(definition ->> '$.a') || ' '
                 || quote(definition ->> '$.n') || ' ' || {made} || ' ' || {changed} FROM {table} ORDER BY id"
        );
        move || lite_rows(&database, &sql)
    };
    let (source, target) = (read(&django.database(), "shop_filter"), read(&database, "filters"));
    let before = target();
    let (ways, users) = ([Stage::FORWARD, Stage::BACK], Box::new(|_| ()));
    Trial { folder, count, source: Box::new(source), target: Box::new(target), before, ways, users }.killed(25).await;
}
