//! Where the legacy database is told which of its files have moved.

use super::{
    DatabaseAddress,
    databases::{self, Server},
    limits::{STORE_TIMEOUT, TIMEOUTS},
    reader::Node,
};
use secrecy::SecretString;
use std::{fmt, time::Duration};

/// Bytes of the longest name `PostgreSQL` keeps; it cuts longer ones.
const LONGEST_NAME: usize = 63;
/// The legacy table that is told.
#[derive(Debug, Clone)]
pub struct WriteBackPlan {
    /// Address of the `PostgreSQL` database, password and all.
    pub url: SecretString,
    /// Its host, or the folder of its socket: what a person may see of the address.
    pub host: String,
    /// Whether it is never talked to without TLS (`sslmode=require` or stricter).
    pub encrypted: bool,
    /// The table.
    pub table: TableName,
    /// The column that holds the record's key.
    pub key: String,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

/// The name of a table as the database has it, case included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Its schema; `None`: whatever the database finds first.
    pub schema: Option<String>,
    /// Its name in the schema.
    pub name: String,
}

impl TableName {
    /// The name that this text stands for: `table`, `schema.table`, and either part in double quotes if it holds other
    /// characters than letters, digits, `_` and `$`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (first, rest) = part(text)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return rest.is_empty().then_some(Self { schema: None, name: first });
        };
        let (second, rest) = part(rest)?;
        rest.is_empty().then_some(Self { schema: Some(first), name: second })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// The first part of a table's name, and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    let (name, rest) = if let Some(mut rest) = text.strip_prefix('"') {
        let mut name = String::new();
        loop {
            let (before, after) = rest.split_once('"')?;
            name.push_str(before);
            let Some(more) = after.strip_prefix('"') else { break (name, after) };
            name.push('"');
            rest = more;
        }
    } else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || "_$".contains(c))).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        (name.to_owned(), rest)
    };
    is_name(&name).then_some((name, rest))
}

pub(super) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// `{ url = "…", table = "…", key = "…", timeout = "…" }`; the key's column is by default called like the dataset's key.
pub(super) fn read(node: &Node<'_>, key: Option<&str>) -> Option<WriteBackPlan> {
    let table = node.table()?;
    let address = databases::address(&table, Server::Postgres, "\"${LEGACY_DATABASE_URL}\"");
    let name = table.need("table", "\"list_app_savedlist\"").and_then(|node| {
        let instead = "a name, or schema and name with a dot between, in double quotes what is not letters and digits";
        node.parsed("a table's name", instead, TableName::parse)
    });
    let column = table.get("key").map(|node| {
        node.parsed("a column's name", "1 to 63 characters", |text| is_name(text).then(|| text.to_owned()))
    });
    let timeout = table.duration("timeout", STORE_TIMEOUT, TIMEOUTS);
    table.close();
    let DatabaseAddress { url, host, encrypted } = address?;
    let key = column.unwrap_or_else(|| key.map(ToOwned::to_owned))?;
    Some(WriteBackPlan { url, host, encrypted, table: name?, key, timeout })
}

#[cfg(test)]
mod tests {
    use super::TableName;

    #[test]
    fn names_of_tables_are_read_as_postgres_writes_them() {
        for (text, schema, name) in [
            ("list_app_savedlist", None, "list_app_savedlist"),
            ("public.files", Some("public"), "files"),
            ("\"Saved File\"", None, "Saved File"),
            ("\"my.schema\".\"a\"\"b\"", Some("my.schema"), "a\"b"),
            ("Schema.größe", Some("Schema"), "größe"),
        ] {
            let wanted = TableName { schema: schema.map(Into::into), name: name.into() };
            assert_eq!(TableName::parse(text), Some(wanted), "{text}");
        }
        for text in ["", ".", "a.", ".a", "a.b.c", "a b", "a;b", "\"a", "\"\"", "a\"b\"", "a-b", &"x".repeat(64)] {
            assert_eq!(TableName::parse(text), None, "{text}");
        }
    }
}
