//! The legacy app's data before the night: users, files and filters that follow from the seed alone.
//!
//! A dozen files have names and contents that break careless code. No name holds what no real store takes: a slash, a
//! control character, more than 100 bytes.

use super::{
    database::time_text,
    kept::disk,
    scenario::{Scenario, Size},
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::Digest,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use sqlx::SqlitePool;
use std::{fmt::Write as _, path::Path};

/// Rows in one transaction.
const CHUNK: u64 = 500;
/// The evening before: everything was made in the year up to here.
const EVENING: i64 = 1_790_000_000;
const FIRST: [&str; 12] =
    ["Ada", "Björn", "Chloë", "Dmitri", "Eve", "Łukasz", "Nguyễn", "O'Neil", "Søren", "Zoë", "美咲", "Anne-Marie"];
const LAST: [&str; 10] =
    ["Lovelace", "Ångström", "Müller", "D'Arcy", "Smith & Sons", "Čapek", "van der Berg", "Yılmaz", "山田", "Null"];

/// Names and contents that break careless code.
fn nasty(index: u64) -> Option<(&'static str, &'static str, Vec<u8>)> {
    let csv = |text: &str| text.as_bytes().to_vec();
    Some(match index {
        0 => ("empty.csv", "text/csv", Vec::new()),
        1 => ("two  spaces and an end .csv", "text/csv", csv("a,b\n1,2\n")),
        2 => ("zażółć gęślą jaźń.csv", "text/csv", csv("\u{feff}imię;miasto\nŻaneta;Łódź\n")),
        3 => ("顧客リスト.csv", "text/csv", csv("名前,都市\n美咲,東京\n")),
        4 => ("party 🎉👩‍👩‍👧.csv", "text/csv", csv("emoji\n🎉\n")),
        5 => ("50%25 #1?a=b&c=d+e.csv", "text/csv", csv("name,share\nx,50%\n")),
        6 => ("it's \"quoted\"; really, (yes) [1] {2}.csv", "text/csv", csv("\"a\"\"b\",c\r\nd,\"e\nf\"\r\n")),
        7 => (".hidden", "application/octet-stream", vec![0, 1, 2, 255, 254, 10, 13, 0]),
        8 => ("no-newline-at-end", "text/plain", csv("one line and then nothing")),
        9 => ("UPPER.CSV", "text/csv", csv("=HYPERLINK(\"http://example.invalid\")\n+1\n-1\n@x\n")),
        10 => ("e\u{301} decomposed.csv", "text/csv", csv("é is not é\n")),
        11 => ("right-to-left \u{202e}gpj.csv", "text/csv", csv("rtl\nשלום\n")),
        _ => return None,
    })
}

/// The password of seeded user `n`, which its simulated person knows.
pub(super) fn password(n: u64) -> String {
    format!("correct-horse-{n}")
}

/// The name of seeded user `n`.
pub(super) fn username(n: u64) -> String {
    format!("user{n:05}")
}

/// A salted SHA-256: enough for a rehearsal.
pub(super) fn hash_password(salt: &str, password: &str) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update(":").chain_update(password).finalize();
    format!("sha256${salt}${}", hex::encode(digest))
}

/// True if the password is the one behind the hash.
pub(super) fn verify_password(hash: &str, password: &str) -> bool {
    hash.split('$').nth(1).is_some_and(|salt| hash_password(salt, password) == hash)
}

fn rng(seed: u64, what: u64, n: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ what.rotate_left(40) ^ n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn made_at(rng: &mut StdRng) -> (String, String) {
    let created = EVENING - rng.random_range(86_400..31_536_000);
    let updated = created + rng.random_range(0..86_400);
    let text = |second: i64, micro: i32| {
        // The range above is far inside what a timestamp can hold.
        time_text(jiff::Timestamp::new(second, micro * 1000).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    };
    let micro = rng.random_range(0..1_000_000);
    (text(created, micro), text(updated, micro))
}

/// A list as people keep them: a CSV of about this many bytes.
fn list(rng: &mut StdRng, bytes: u64) -> Vec<u8> {
    let wanted = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut text = String::with_capacity(wanted + 64);
    text.push_str("id,name,city,amount\n");
    let mut row = 0_u64;
    while text.len() < wanted {
        row += 1;
        let first = FIRST[rng.random_range(0..FIRST.len())];
        let last = LAST[rng.random_range(0..LAST.len())];
        // Writing to a String cannot fail.
        let _infallible =
            writeln!(text, "{row},\"{first} {last}\",{:08x},{}", rng.random::<u32>(), rng.random::<u16>());
    }
    text.into_bytes()
}

/// Fills an empty legacy database and media folder.
pub(super) async fn fill(pool: &SqlitePool, media: &Path, scenario: &Scenario) -> Result<()> {
    let Scenario { size, seed, .. } = *scenario;
    users(pool, seed, size).await?;
    files(pool, media, seed, size).await?;
    filters(pool, seed, size).await
}

fn failed(error: sqlx::Error) -> Fault {
    Fault::new(FaultKind::Disk, "seed the legacy database").source(error)
}

async fn users(pool: &SqlitePool, seed: u64, size: Size) -> Result<()> {
    for chunk in chunks(size.users) {
        let mut tx = pool.begin().await.map_err(failed)?;
        for n in chunk {
            let mut rng = rng(seed, 1, n);
            let (first, last) = (FIRST[rng.random_range(0..FIRST.len())], LAST[rng.random_range(0..LAST.len())]);
            let (created, updated) = made_at(&mut rng);
            // Mixed case on purpose: the new side keeps addresses in lower case.
            let email = format!("User{n:05}.{}@Example.ORG", if n % 3 == 0 { "Big" } else { "list" });
            sqlx::query(
                "INSERT INTO users (id, username, email, first_name, last_name, password_hash, created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(number(n))
            .bind(username(n))
            .bind(email)
            .bind(first)
            .bind(if n % 17 == 0 { "" } else { last })
            .bind(hash_password(&format!("{:08x}", rng.random::<u32>()), &password(n)))
            .bind(created)
            .bind(updated)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
    }
    Ok(())
}

async fn files(pool: &SqlitePool, media: &Path, seed: u64, size: Size) -> Result<()> {
    for chunk in chunks(size.files) {
        let mut tx = pool.begin().await.map_err(failed)?;
        for n in chunk {
            let mut rng = rng(seed, 2, n);
            let user = rng.random_range(1..=size.users);
            let (name, mime, content) = if let Some((name, mime, content)) = nasty(n - 1) {
                (name.to_owned(), mime, content)
            } else {
                let bytes = size.bytes / 4 + rng.random_range(0..=size.bytes.saturating_mul(3) / 2);
                (format!("list-{n:05}.csv"), "text/csv", list(&mut rng, bytes))
            };
            let path = format!("uploads/u{user}/{n}/{name}");
            let place = media.join(&path);
            let folder = place.parent().unwrap_or(media).to_owned();
            let digest = Digest::of(&content).to_hex();
            let length = content.len();
            let write = async {
                tokio::fs::create_dir_all(&folder).await?;
                tokio::fs::write(&place, content).await
            };
            write.await.map_err(|error| disk(format!("write {}", place.display()), error))?;
            let (created, updated) = made_at(&mut rng);
            sqlx::query(
                "INSERT INTO files (id, user_id, file_name, file_path, size, checksum, mime_type, created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(number(n))
            .bind(number(user))
            .bind(name)
            .bind(path)
            .bind(i64::try_from(length).unwrap_or(i64::MAX))
            .bind(digest)
            .bind(mime)
            .bind(created)
            .bind(updated)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
    }
    Ok(())
}

async fn filters(pool: &SqlitePool, seed: u64, size: Size) -> Result<()> {
    for chunk in chunks(size.filters) {
        let mut tx = pool.begin().await.map_err(failed)?;
        for n in chunk {
            let mut rng = rng(seed, 3, n);
            let definition = serde_json::json!({
                "columns": ["name", "city"],
                "where": [{ "column": "amount", "op": ">", "value": rng.random_range(0..60_000) },
                          { "column": "name", "op": "contains", "value": FIRST[rng.random_range(0..FIRST.len())] }],
                "limit": if n % 5 == 0 { serde_json::Value::Null } else { 100.into() },
                "ratio": 0.5,
            });
            let (created, updated) = made_at(&mut rng);
            sqlx::query(
                "INSERT INTO filters (id, user_id, name, definition, created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(number(n))
            .bind(number(rng.random_range(1..=size.users)))
            .bind(filter_name(n, LAST[rng.random_range(0..LAST.len())]))
            .bind(definition.to_string())
            .bind(created)
            .bind(updated)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
    }
    Ok(())
}

/// Names of filters are free text: one of them would act on a terminal that shows it raw.
fn filter_name(n: u64, last: &str) -> String {
    if n == 3 { "\u{1b}[2J\u{1b}]0;owned\u{7} filter 3".to_owned() } else { format!("filter {n} “{last}”") }
}

fn chunks(count: u64) -> impl Iterator<Item = std::ops::RangeInclusive<u64>> {
    (0..count.div_ceil(CHUNK)).map(move |i| i * CHUNK + 1..=((i + 1) * CHUNK).min(count))
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nasty_names_are_ones_a_store_takes() {
        let names: Vec<_> = (0..).map_while(nasty).map(|(name, ..)| name).collect();
        assert_eq!(names.len(), 12);
        for name in names {
            assert!(name.len() <= 100 && !name.contains('/') && !name.chars().any(char::is_control), "{name}");
        }
    }

    #[test]
    fn chunks_cover_everything_once() {
        for count in [0, 1, 499, 500, 501, 1203] {
            assert_eq!(chunks(count).flatten().collect::<Vec<_>>(), (1..=count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_password_fits_its_hash_and_no_other() {
        let hash = hash_password("salt", &password(3));
        assert!(verify_password(&hash, &password(3)));
        assert!(!verify_password(&hash, &password(4)));
        assert!(!verify_password("garbage", "x"));
    }
}
