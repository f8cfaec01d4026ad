//! What the table looks like, as the database itself says, and the statements that fit it.

use crate::{
    adapters::postgres::{fault, quoted},
    error::{Fault, FaultKind, Result},
    plan::TableName,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};
use std::collections::BTreeMap;

/// What a column has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Text of at least so many characters.
    Text(i32),
    /// A point in time.
    Time,
}

/// The columns, with what each has to hold: a column of the application's own may be shorter than ours. The mark is a
/// UUID and a batch; how long the keys are nobody knows before.
const COLUMNS: [(&str, Holds); 5] = [
    ("r2_key", Holds::Text(64)),
    ("migrated_at", Holds::Time),
    ("migration_status", Holds::Text(9)),
    (MARK, Holds::Text(64)),
    ("checksum", Holds::Text(64)),
];
/// The column by which a run knows the rows it told.
const MARK: &str = "migration_batch_id";
/// What `migration_status` says of a file that has moved.
const COMPLETED: &str = "completed";
/// The comment of a column that `prepare` added: by it a later run and the way back know that it is ours.
const OURS: &str = "added by cutover";

/// What the catalog says of a column.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a row of the catalog, which answers so")]
struct Column {
    name: String,
    /// Its type without length, as SQL writes it in a cast.
    cast: String,
    /// Its type as a person reads it.
    shown: String,
    kind: String,
    /// Characters it may have; `None`: as many as one likes.
    length: Option<i32>,
    not_null: bool,
    ours: bool,
    may_read: bool,
    may_write: bool,
    unique: bool,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name for a statement.
    place: String,
    key: Column,
    columns: BTreeMap<String, Column>,
}

/// What the catalog says of the table itself.
struct Standing {
    oid: i64,
    kind: String,
    read_only: bool,
    may_extend: bool,
    role: String,
}

impl Table {
    /// The table of this name, if it can be told.
    pub(super) async fn discover(
        doing: &str,
        connection: &mut PgConnection,
        name: &TableName,
        key: &str,
    ) -> Result<Self> {
        let refuse = |kind, why: String| Err(Fault::new(kind, doing).detail(why));
        if COLUMNS.iter().any(|(ours, _)| *ours == key) {
            return refuse(FaultKind::Refused, format!("{key} is what every run writes, so it can be no key"));
        }
        let place = match &name.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&name.name)),
            None => quoted(&name.name),
        };
        let Some(standing) = standing(doing, connection, &place).await? else {
            return refuse(FaultKind::NotFound, format!("there is no table {name}"));
        };
        if !matches!(standing.kind.as_str(), "r" | "p") {
            return refuse(FaultKind::Refused, format!("{name} is no table that could be given columns"));
        }
        if standing.read_only {
            return refuse(FaultKind::Refused, "the server takes no writes: it is a copy, or set to read only".into());
        }
        let mut columns = columns(doing, connection, standing.oid, key).await?;
        let Some(key) = columns.remove(key) else {
            return refuse(FaultKind::NotFound, format!("{name} has no column {key}"));
        };
        if !key.unique {
            let why = format!("{} is not unique in {name}: one file would be told to several rows", key.name);
            return refuse(FaultKind::Refused, why);
        }
        let table = Self { place, key, columns };
        if let Some(why) = table.unfit() {
            return refuse(FaultKind::Refused, format!("{why} in {name}"));
        }
        if let Some(column) = table.forbidden() {
            let why = format!("the role {} may not read and change {column} of {name}", standing.role);
            return refuse(FaultKind::Unauthorized, why);
        }
        if !standing.may_extend && !table.missing().is_empty() {
            let missing = table.missing().join(", ");
            let why = format!("the role {} does not own {name}, so it cannot add {missing}", standing.role);
            return refuse(FaultKind::Unauthorized, why);
        }
        Ok(table)
    }

    /// Columns that are not there, in our order.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = COLUMNS.iter().filter(|(name, _)| !self.columns.contains_key(*name));
        missing.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// No run can have told this table: it has no place for a mark.
    pub(super) fn never_told(&self) -> bool {
        !self.columns.contains_key(MARK)
    }

    /// Says which columns are missing, if any are.
    pub(super) fn complete(&self, doing: &str) -> Result<()> {
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Fault::new(FaultKind::NotFound, doing).detail(format!("it has no column {}", missing.join(", "))))
    }

    /// What is wrong with a column that is there.
    fn unfit(&self) -> Option<String> {
        COLUMNS.iter().find_map(|(name, holds)| {
            let column = self.columns.get(*name)?;
            let fits = match holds {
                Holds::Text(least) => {
                    matches!(column.kind.as_str(), "text" | "varchar")
                        && column.length.is_none_or(|length| length >= *least)
                }
                Holds::Time => matches!(column.kind.as_str(), "timestamptz" | "timestamp"),
            };
            let wanted = match holds {
                Holds::Text(least) => format!("text of {least} characters at least"),
                Holds::Time => "a timestamp".to_owned(),
            };
            if !fits {
                return Some(format!("the column {name} is {}, not {wanted},", column.shown));
            }
            let clearable = !column.not_null || (*name == "checksum" && !column.ours);
            (!clearable).then(|| format!("the column {name} takes no NULL, which the way back needs,"))
        })
    }

    /// The first column that this role may not use.
    fn forbidden(&self) -> Option<&str> {
        let key = (!self.key.may_read).then_some(&self.key);
        let other = || self.columns.values().find(|column| !(column.may_read && column.may_write));
        key.or_else(other).map(|column| column.name.as_str())
    }

    /// Adds the columns that are missing. Without defaults, so that no row is rewritten.
    pub(super) fn extend(&self) -> String {
        let missing = || COLUMNS.iter().filter(|(name, _)| !self.columns.contains_key(*name));
        let add = |(name, holds): &(&str, Holds)| {
            let kind = if *holds == Holds::Time { "timestamptz" } else { "text" };
            format!("ADD COLUMN IF NOT EXISTS {name} {kind}")
        };
        let adding: Vec<String> = missing().map(add).collect();
        let extend = format!("ALTER TABLE {} {}", self.place, adding.join(", "));
        let sign = |(name, _): &(&str, Holds)| format!("COMMENT ON COLUMN {}.{name} IS '{OURS}'", self.place);
        std::iter::once(extend).chain(missing().map(sign)).collect::<Vec<_>>().join("; ")
    }

    /// Tells rows. Parameters: five arrays of text with ids, keys, times, marks and checksums. Gives the ids without a row.
    pub(super) fn fill(&self) -> String {
        let (place, key, cast) = (&self.place, quoted(&self.key.name), &self.key.cast);
        let time = self.columns.get("migrated_at").map_or("timestamptz", |column| column.cast.as_str());
        let checksum = if self.owns_checksum() {
            "given.checksum"
        } else {
            "CASE WHEN coalesce(t.checksum, '') = '' THEN given.checksum ELSE t.checksum END"
        };
        format!(
            "WITH given AS MATERIALIZED (\
                SELECT g.id, g.id::{cast} AS key, g.r2_key, g.at::timestamptz::{time} AS at, g.mark, g.checksum \
                FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) \
                    AS g(id, r2_key, at, mark, checksum)), \
            told AS (\
                UPDATE {place} AS t SET r2_key = given.r2_key, migrated_at = given.at, \
                    migration_status = '{COMPLETED}', migration_batch_id = given.mark, checksum = {checksum} \
                FROM given WHERE t.{key} = given.key AND \
                    (t.r2_key, t.migrated_at, t.migration_status, t.migration_batch_id, t.checksum) IS DISTINCT FROM \
                    (given.r2_key, given.at, '{COMPLETED}', given.mark, {checksum})) \
            SELECT given.id FROM given WHERE NOT EXISTS (SELECT FROM {place} AS t WHERE t.{key} = given.key)"
        )
    }

    /// Clears a stretch of the table. Parameters: how a mark begins, how many rows, the key to begin after (NULL if
    /// `after` is false). Gives how many rows were cleared, how many looked at, and the last key.
    pub(super) fn clear(&self, after: bool) -> String {
        let (place, key, cast) = (&self.place, quoted(&self.key.name), &self.key.cast);
        let from = if after { format!("t.{key} > $3::text::{cast}") } else { "$3::text IS NULL".to_owned() };
        let ours = self.columns.values().filter(|column| column.name != "checksum" || column.ours);
        let nothing: Vec<String> = ours.map(|column| format!("{} = NULL", column.name)).collect();
        format!(
            "WITH page AS MATERIALIZED (\
                SELECT t.{key} AS key FROM {place} AS t WHERE {from} ORDER BY t.{key} LIMIT $2), \
            cleared AS (\
                UPDATE {place} AS t SET {nothing} \
                FROM page WHERE t.{key} = page.key AND starts_with(t.{MARK}, $1) RETURNING 1) \
            SELECT (SELECT count(*) FROM cleared), (SELECT count(*) FROM page), \
                (SELECT page.key::text FROM page ORDER BY page.key DESC LIMIT 1)",
            nothing = nothing.join(", "),
        )
    }

    fn owns_checksum(&self) -> bool {
        self.columns.get("checksum").is_some_and(|column| column.ours)
    }
}

async fn standing(doing: &str, connection: &mut PgConnection, place: &str) -> Result<Option<Standing>> {
    let row = sqlx::query(
        "SELECT c.oid::bigint, c.relkind::text, current_setting('transaction_read_only')::boolean, \
            pg_has_role(c.relowner, 'USAGE'), current_user::text \
         FROM pg_class AS c WHERE c.oid = to_regclass($1)",
    )
    .bind(place.to_owned())
    .fetch_optional(connection)
    .await
    .map_err(|error| fault(doing, error))?;
    let Some(row) = row else { return Ok(None) };
    let read = || -> Result<Standing, sqlx::Error> {
        Ok(Standing {
            oid: row.try_get(0)?,
            kind: row.try_get(1)?,
            read_only: row.try_get(2)?,
            may_extend: row.try_get(3)?,
            role: row.try_get(4)?,
        })
    };
    read().map(Some).map_err(|error| fault(doing, error))
}

/// The key and those of our columns that are there, by name.
async fn columns(
    doing: &str,
    connection: &mut PgConnection,
    table: i64,
    key: &str,
) -> Result<BTreeMap<String, Column>> {
    let names: Vec<String> = COLUMNS.iter().map(|(name, _)| *name).chain([key]).map(ToOwned::to_owned).collect();
    // The type modifier of text with a length is that length and four more.
    sqlx::query(
        "SELECT a.attname::text, format_type(a.atttypid, -1), format_type(a.atttypid, a.atttypmod), y.typname::text, \
            CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 END, a.attnotnull, \
            coalesce(col_description(a.attrelid, a.attnum) = $3, false), \
            has_column_privilege(a.attrelid, a.attnum, 'SELECT'), has_column_privilege(a.attrelid, a.attnum, 'UPDATE'), \
            EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid \
                AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) \
         FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = a.atttypid \
         WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY($2::text[])",
    )
    .bind(table)
    .bind(names)
    .bind(OURS)
    .fetch_all(connection)
    .await
    .and_then(|rows| rows.iter().map(|row| column(row).map(|column| (column.name.clone(), column))).collect())
    .map_err(|error| fault(doing, error))
}

fn column(row: &PgRow) -> Result<Column, sqlx::Error> {
    Ok(Column {
        name: row.try_get(0)?,
        cast: row.try_get(1)?,
        shown: row.try_get(2)?,
        kind: row.try_get(3)?,
        length: row.try_get(4)?,
        not_null: row.try_get(5)?,
        ours: row.try_get(6)?,
        may_read: row.try_get(7)?,
        may_write: row.try_get(8)?,
        unique: row.try_get(9)?,
    })
}
