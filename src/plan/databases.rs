//! Databases as stores, and their addresses, of which a part is a secret.

use super::{
    DatabaseAddress, StorePlan,
    limits::{STORE_TIMEOUT, TIMEOUTS},
    reader::is_name as is_id,
    request::Texts,
    table::Table,
    write_back::is_name,
};
use secrecy::ExposeSecret as _;
use std::collections::BTreeMap;
use url::Url;

/// Where Cloudflare's API is.
const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4";

/// Whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Postgres,
    MySql,
}

impl Server {
    const fn schemes(self) -> [&'static str; 2] {
        match self {
            Self::Postgres => ["postgres", "postgresql"],
            Self::MySql => ["mysql", "mariadb"],
        }
    }

    /// What may stand behind the `?` of an address: what nobody knows would be ignored, TLS mistyped among it.
    const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &[
                "sslmode",
                "sslrootcert",
                "sslcert",
                "sslkey",
                "host",
                "port",
                "dbname",
                "user",
                "password",
                "options",
            ],
            Self::MySql => &["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"],
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Postgres => {
                "an address of PostgreSQL, as \"postgres://user:password@host:5432/database?sslmode=require\""
            }
            Self::MySql => {
                "an address of MySQL or MariaDB, as \"mysql://user:password@host:3306/database?ssl-mode=REQUIRED\""
            }
        }
    }

    /// Whether TLS is a must with this mode; `None` if there is no such mode.
    fn encrypts(self, mode: Option<&str>) -> Option<bool> {
        match (self, mode) {
            (Self::Postgres, Some("require" | "verify-ca" | "verify-full"))
            | (Self::MySql, Some("REQUIRED" | "VERIFY_CA" | "VERIFY_IDENTITY")) => Some(true),
            (_, None)
            | (Self::Postgres, Some("disable" | "allow" | "prefer"))
            | (Self::MySql, Some("DISABLED" | "PREFERRED")) => Some(false),
            _ => None,
        }
    }

    /// Host and whether TLS is a must, if this is an address of such a server, with a database in it.
    fn read(self, text: &str) -> Option<(String, bool)> {
        let url = Url::parse(text).ok()?;
        let parameters: BTreeMap<_, _> = url.query_pairs().collect();
        let known = |name: &str| self.parameters().contains(&name);
        if !self.schemes().contains(&url.scheme()) || parameters.keys().any(|name| !known(name)) {
            return None;
        }
        if self == Self::MySql && url.path().trim_matches('/').is_empty() {
            return None;
        }
        let parameter = |name: &str| parameters.get(name).map(AsRef::as_ref);
        let encrypted = self.encrypts(parameter("sslmode").or_else(|| parameter("ssl-mode")))?;
        let host = parameter("host").or_else(|| parameter("socket")).map(ToOwned::to_owned);
        let host = host.or_else(|| url.host_str().map(|host| host.replace("%2F", "/").replace("%2f", "/")));
        Some((host.filter(|host| !host.is_empty())?, encrypted))
    }
}

/// The address under `url`.
pub(super) fn address(table: &Table<'_>, server: Server, example: &str) -> Option<DatabaseAddress> {
    let node = table.need("url", example)?;
    let url = node.secret(Texts::Plain)?;
    let read = server.read(url.expose_secret());
    if read.is_none() {
        node.fault(format!("something else for `{}`", node.label), server.example());
    }
    read.map(|(host, encrypted)| DatabaseAddress { url, host, encrypted })
}

/// `{ kind = "postgres", url = "…", schema = "…", timeout = "…" }`.
pub(super) fn postgres(table: &Table<'_>) -> Option<StorePlan> {
    let address = address(table, Server::Postgres, "\"${DATABASE_URL}\"");
    let schema = match table.get("schema") {
        None => Some(None),
        Some(node) => node
            .parsed("a schema's name", "1 to 63 characters", |text| is_name(text).then(|| text.to_owned()))
            .map(Some),
    };
    let timeout = table.duration("timeout", STORE_TIMEOUT, TIMEOUTS);
    Some(StorePlan::Postgres { address: address?, schema: schema?, timeout })
}

/// `{ kind = "mysql", url = "…", timeout = "…" }`.
pub(super) fn mysql(table: &Table<'_>) -> Option<StorePlan> {
    let address = address(table, Server::MySql, "\"${DATABASE_URL}\"");
    let timeout = table.duration("timeout", STORE_TIMEOUT, TIMEOUTS);
    address.map(|address| StorePlan::MySql { address, timeout })
}

/// `{ kind = "d1", account = "…", database = "…", token = "…", endpoint = "…", timeout = "…" }`.
pub(super) fn d1(table: &Table<'_>) -> Option<StorePlan> {
    let id = |key: &str, example: &str| {
        let node = table.need(key, example)?;
        node.parsed("an id", "the id that Cloudflare shows: 1 to 64 of `a-z`, `0-9` and `-`", |text| {
            is_id(text, "-").then(|| text.to_owned())
        })
    };
    let (account, database) = (id("account", "\"${CLOUDFLARE_ACCOUNT_ID}\""), id("database", "\"${D1_DATABASE_ID}\""));
    let token = table.need("token", "\"${CLOUDFLARE_API_TOKEN}\"").and_then(|node| node.secret(Texts::Plain));
    let endpoint = table.get("endpoint").map_or_else(|| Url::parse(CLOUDFLARE).ok(), |node| node.url());
    let timeout = table.duration("timeout", STORE_TIMEOUT, TIMEOUTS);
    let (account, database) = (account?, database?);
    Some(StorePlan::D1 { endpoint: endpoint?, account, database, token: token?, timeout })
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn addresses_say_where_and_how_safely() {
        for (server, text, wanted) in [
            (Server::Postgres, "postgres://u:p@db.example:5432/legacy", Some(("db.example", false))),
            (Server::Postgres, "postgresql://u@db.example/legacy?sslmode=verify-full", Some(("db.example", true))),
            (Server::Postgres, "postgres://u@%2Fvar%2Frun%2Fpostgresql/legacy", Some(("/var/run/postgresql", false))),
            (Server::Postgres, "postgres:///legacy?host=/tmp/pg&user=u", Some(("/tmp/pg", false))),
            (Server::Postgres, "postgres://u@h/d?sslmode=requires", None),
            (Server::Postgres, "postgres://u@h/d?ssl=true", None),
            (Server::Postgres, "mysql://u@h/d", None),
            (Server::Postgres, "postgres:///d", None),
            (Server::Postgres, "host=h password=p", None),
            (Server::MySql, "mysql://u:p@db.example:3306/legacy", Some(("db.example", false))),
            (Server::MySql, "mariadb://u@db.example/legacy?ssl-mode=VERIFY_CA", Some(("db.example", true))),
            (
                Server::MySql,
                "mysql://u@localhost/legacy?socket=/run/mysqld/mysqld.sock",
                Some(("/run/mysqld/mysqld.sock", false)),
            ),
            (Server::MySql, "mysql://u@h", None),
            (Server::MySql, "mysql://u@h/d?ssl-mode=required", None),
            (Server::MySql, "mysql://u@h/d?sslmode=require", None),
            (Server::MySql, "postgres://u@h/d", None),
        ] {
            assert_eq!(server.read(text), wanted.map(|(host, encrypted)| (host.to_owned(), encrypted)), "{text}");
        }
    }
}
