//! Numbers that the server counts up, once rows with numbers of their own were written.

use super::{super::sql::Table, session::Session};
use crate::{
    adapters::postgres::{fault, quoted},
    error::Result,
};
use sqlx::{AssertSqlSafe, Row as _};

/// Sets each sequence of the table behind the greatest number in its column, where it is not there yet.
pub(super) async fn settle(doing: &str, session: &mut Session<'_>, table: &Table) -> Result<Option<String>> {
    let wrong = |error| fault(doing, error);
    let mut said = Vec::new();
    for column in table.columns.iter().filter(|column| column.field.filled) {
        let name = &column.field.name;
        let row = sqlx::query(
            "SELECT q.seqrelid::regclass::text FROM pg_sequence AS q \
             WHERE q.seqrelid = pg_get_serial_sequence($1, $2)::regclass AND q.seqincrement > 0",
        )
        .bind(table.place.clone())
        .bind(name.clone())
        .fetch_optional(&mut session.connection)
        .await
        .map_err(wrong)?;
        let Some(row) = row else { continue };
        // The server writes the name as a statement takes it.
        let sequence: String = row.try_get(0).map_err(wrong)?;
        let sql = format!(
            "SELECT setval('{}'::regclass, m.greatest)::text FROM (SELECT max({})::bigint AS greatest FROM {}) AS m, \
             {sequence} AS s WHERE m.greatest > s.last_value OR (m.greatest = s.last_value AND NOT s.is_called)",
            sequence.replace('\'', "''"),
            quoted(name),
            table.place,
        );
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_optional(&mut session.connection).await.map_err(wrong)?;
        if let Some(row) = row {
            let number: String = row.try_get(0).map_err(wrong)?;
            said.push(format!("{sequence} counts on behind {number}"));
        }
    }
    Ok((!said.is_empty()).then(|| said.join(", ")))
}
