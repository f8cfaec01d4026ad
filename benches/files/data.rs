//! The data: files with seeded content, a table that speaks of them, and the plan that moves them.

use rand::{RngCore as _, SeedableRng as _, rngs::SmallRng};
use sqlx::{Connection as _, sqlite::SqliteConnectOptions};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// So many files of one size.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    pub(crate) size: usize,
}

impl Set {
    pub(crate) const SMALL: Self = Self { name: "small", count: 5000, size: 16 << 10 };
    pub(crate) const LARGE: Self = Self { name: "large", count: 8, size: 256 << 20 };
}

/// Everything on the disk.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn make(set: &Set) -> Self {
        let world = Self { folder: TempDir::new().expect("a temporary folder") };
        let seed = 20_260_501;
        println!("{} files of {} bytes, seed {seed}", set.count, set.size);
        let mut random = SmallRng::seed_from_u64(seed);
        fs::create_dir_all(world.media()).expect("a folder");
        let names: Vec<String> = (0..set.count).map(|number| format!("file-{number:05}.bin")).collect();
        for name in &names {
            let mut file = fs::File::create(world.media().join(name)).expect("room on the disk");
            // In pieces: the peak memory of a child begins with what its parent has.
            let mut left = set.size;
            let mut piece = [0; 16 << 10];
            while left > 0 {
                let length = left.min(piece.len());
                random.fill_bytes(&mut piece[..length]);
                file.write_all(&piece[..length]).expect("room on the disk");
                left -= length;
            }
        }
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(world.write_rows(&names));
        world
    }

    async fn write_rows(&self, names: &[String]) {
        for file in ["old.db", "new.db"] {
            let options = SqliteConnectOptions::new().filename(self.path(file)).create_if_missing(true);
            let mut sql = sqlx::SqliteConnection::connect_with(&options).await.expect("a database");
            sqlx::raw_sql("CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT NOT NULL)")
                .execute(&mut sql)
                .await
                .expect("a table");
            if file == "old.db" {
                let mut transaction = sql.begin().await.expect("a transaction");
                for name in names {
                    sqlx::query("INSERT INTO files (path) VALUES ($1)")
                        .bind(name)
                        .execute(&mut *transaction)
                        .await
                        .expect("a row");
                }
                transaction.commit().await.expect("a commit");
            }
            sql.close().await.expect("a closed database");
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn media(&self) -> PathBuf {
        self.path("media")
    }

    pub(crate) fn buckets(&self) -> PathBuf {
        self.path("buckets")
    }

    pub(crate) fn write_plan(&self, endpoint: &str) {
        let plan = format!(
            r#"
name = "bench"
environment = "development"
[stores.old]
kind = "sqlite"
path = "old.db"
[stores.new]
kind = "sqlite"
path = "new.db"
[buckets.media]
kind = "filesystem"
root = "media"
[buckets.r2]
kind = "s3"
endpoint = "{endpoint}"
bucket = "{bucket}"
region = "us-east-1"
access_key = "{access}"
secret_key = "{secret}"
[[dataset]]
name = "files"
from = {{ store = "old", table = "files" }}
to = {{ store = "new", table = "files" }}
key = "id"
blob = {{ from = "media", path = "path", to = "r2", key = "copy/{{{{ path }}}}" }}
"#,
            bucket = super::server::BUCKET,
            access = super::server::ACCESS,
            secret = super::server::SECRET,
        );
        fs::write(self.path("cutover.toml"), plan).expect("room on the disk");
    }

    /// Nothing was ever copied. Small files only go out of the way: a file system that has just lost thousands of them
    /// is slow to make new ones, and the next tool would pay for that.
    pub(crate) fn empty_bucket(&self, set: &Set, round: usize, peer: usize) {
        let gone = self.path("gone");
        for (folder, name) in [(self.buckets(), "buckets"), (self.path("run"), "run")] {
            if folder.exists() {
                fs::create_dir_all(&gone).expect("a folder");
                fs::rename(&folder, gone.join(format!("{name}-{round}-{peer}"))).expect("a folder that can be moved");
            }
        }
        if set.size > 1 << 20 && gone.exists() {
            fs::remove_dir_all(&gone).expect("a folder that can be removed");
        }
        fs::create_dir_all(self.buckets().join(super::server::BUCKET)).expect("a folder");
    }

    /// Every object is there with its length.
    pub(crate) fn assert_copied(&self, set: &Set) {
        let copied = self.buckets().join(super::server::BUCKET).join("copy");
        let found = fs::read_dir(copied).expect("the copies").map_while(Result::ok);
        let lengths: Vec<u64> = found.map(|entry| entry.metadata().expect("a file").len()).collect();
        assert_eq!(lengths.len(), set.count, "copied");
        assert!(lengths.iter().all(|length| *length == set.size as u64), "whole");
    }
}
