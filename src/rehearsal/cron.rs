//! Writers that break the rules: a job on the legacy side that knows nothing of the maintenance, and edits of the same
//! rows on the new side after the switch. The conflicts they make are what that scenario is for.

use super::{
    database::{Side, now_text},
    faults::Faults,
    kept::Kept,
    legacy::{Mode, ModeState},
    scenario::CronSpec,
    serve::Tasks,
};
use sqlx::SqlitePool;
use std::sync::Arc;

/// What both writers need.
#[derive(Clone)]
pub(super) struct Cron {
    pub(super) spec: CronSpec,
    pub(super) legacy: SqlitePool,
    pub(super) new: SqlitePool,
    pub(super) mode: Arc<Kept<ModeState>>,
    pub(super) faults: Arc<Faults>,
}

impl Cron {
    /// Sets both writers going.
    pub(super) fn begin(self, tasks: &Tasks) {
        tasks.spawn(self.clone().legacy_side());
        tasks.spawn(self.new_side());
    }

    async fn legacy_side(self) {
        let mut round = 0;
        while round < self.spec.legacy_rounds {
            tokio::time::sleep(self.spec.every).await;
            let maintenance = self.mode.read().await.mode == Mode::On;
            if maintenance && self.copied().await {
                round += 1;
                self.touch(&self.legacy, Side::Legacy, &format!("cron {round}")).await;
            }
        }
    }

    async fn new_side(self) {
        let mut round = 0;
        while round < self.spec.new_rounds {
            tokio::time::sleep(self.spec.every).await;
            if self.faults.switched() {
                round += 1;
                self.touch(&self.new, Side::New, &format!("edited {round}")).await;
            }
        }
    }

    /// True once the rows that will be touched stand on the new side.
    async fn copied(&self) -> bool {
        let rows = i64::try_from(self.spec.rows).unwrap_or(i64::MAX);
        let count = async |table: &str| -> i64 {
            let sql = format!("SELECT COUNT(*) FROM {table} WHERE id <= $1");
            // No answer counts as not yet: it is asked again soon.
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(rows).fetch_one(&self.new).await.unwrap_or(0)
        };
        count("users").await >= rows && count("filters").await >= rows
    }

    async fn touch(&self, pool: &SqlitePool, side: Side, text: &str) {
        let rows = i64::try_from(self.spec.rows).unwrap_or(i64::MAX);
        let users = match side {
            Side::Legacy => "UPDATE users SET last_name = $1, updated_at = $2 WHERE id <= $3",
            Side::New => {
                "UPDATE users SET last_name = $1, name = first_name || ' ' || $1, updated_at = $2 WHERE id <= $3"
            }
        };
        for sql in [users, "UPDATE filters SET name = $1, updated_at = $2 WHERE id <= $3"] {
            if let Err(error) = sqlx::query(sql).bind(text).bind(now_text()).bind(rows).execute(pool).await {
                tracing::warn!(%error, "rehearsal: a rule-breaking write failed");
            }
        }
    }
}
