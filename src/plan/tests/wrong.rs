//! Wrong plans and exactly what is said of them.

use super::{SMALL, read};

/// What to change in [`SMALL`], into what, and what is then wrong with it.
const WRONG: &[(&str, &str, &str)] = &[
    (
        r#"name = "small""#,
        r#"name = "Small Plan""#,
        "p.toml:1:8: found `Small Plan`, which is not a name; write 1 to 64 of `a-z`, `0-9` and `._-`",
    ),
    (
        r#"name = "small"
"#,
        "",
        r#"p.toml:1:1: found the plan without `name`; write `name = "my-cutover"`"#,
    ),
    (
        r#"environment = "staging""#,
        r#"environment = "prod""#,
        "p.toml:2:15: found `prod` for `environment`; write one of `production`, `staging`, `development`, `rehearsal`",
    ),
    (
        r#"map = { email = "email | lower" }"#,
        r#"on_conflict = "merge""#,
        r#"p.toml:28:1: found `dataset` without `keep`; write `keep = ["…"], the fields that stay as they are on the new side`"#,
    ),
    (
        r#"map = { email = "email | lower" }"#,
        r#"on_conflict = "skipp"
keep = ["id"]"#,
        r#"p.toml:33:15: found `skipp` for `dataset.on_conflict`; write `skip`
p.toml:34:8: found `id` in `dataset.keep`, which is the key; write the list without it
p.toml:34:8: found `keep`, which only `on_conflict = "merge"` has; write `on_conflict = "merge"`, or no `keep`"#,
    ),
    (
        r#"environment = "staging""#,
        r#"environment = "producton""#,
        "p.toml:2:15: found `producton` for `environment`; write `production`",
    ),
    (
        r#"environment = "staging""#,
        r#"enviroment = "staging""#,
        r#"p.toml:1:1: found the plan without `environment`; write `environment = "production"`
p.toml:2:1: found the unknown key `enviroment` in the plan; write `environment`"#,
    ),
    (
        r#"environment = "staging""#,
        r#"environment = "production""#,
        r#"p.toml:19:14: found a secret written into the plan of a production cutover (`buckets.r2.access_key`); write a variable without default, as "${API_TOKEN}", and set it in the environment
p.toml:20:14: found a secret written into the plan of a production cutover (`buckets.r2.secret_key`); write a variable without default, as "${API_TOKEN}", and set it in the environment
p.toml:49:11: found a secret written into the plan of a production cutover (`switches.dns.api_key`); write a variable without default, as "${API_TOKEN}", and set it in the environment"#,
    ),
    (
        "closes = 2026-11-21T05:00:00Z",
        "closes = 2026-11-20T05:00:00Z",
        "p.toml:3:51: found a window that closes before it opens; write a time after 2026-11-21T01:00:00Z",
    ),
    (
        "opens = 2026-11-21T01:00:00Z",
        "opens = 2026-11-21T01:00:00",
        "p.toml:3:20: found `2026-11-21T01:00:00`, which is no point in time; write a time with its offset, as 2026-11-21T01:00:00Z",
    ),
    (
        r#"[stores.old]
kind = "http""#,
        r#"[stores.old]
kind = "htp""#,
        "p.toml:5:8: found `htp` for `stores.old.kind`; write `http`",
    ),
    (
        r#"auth = { scheme = "Token", token = "${DJANGO_API_TOKEN}" }"#,
        r#"auth = { user = "a:b", password = "x" }
preset = "django"
pagination = "curser"
max_answer = "1KiB"
compress = "brotli"
[stores.old.read]
rows = "results"
nxt = "/next"
updated_since = "updated since"
[stores.old.write]
request = "SEND {{ path }}/bulk/"
body = { rows = "{{ recors }}" }
errors = "/errors"
outcomes = "/results"
idempotency_header = "Idempotency Key"
[stores.old.delete]
request = "DELETE {{ pth }}/x"
[stores.web]
kind = "local-storage"
root = "exports"
endpoint = "http://h"
path = "/x/"
[stores.later]
kind = "local-storage"
endpoint = "http://h""#,
        r#"p.toml:7:17: found something else for `stores.old.auth.user`; write printable ASCII without `:`
p.toml:8:10: found `django` for `stores.old.preset`; write one of `django-rest`, `workers-api`
p.toml:9:14: found `curser` for `stores.old.pagination`; write `cursor`
p.toml:10:14: found `1KiB`, which is not such a length; write bytes from 64KiB to 1GiB, as "64KiB", "16MiB" or "1GiB"
p.toml:11:12: found `brotli` for `stores.old.compress`; write one of `none`, `gzip`, `zstd`
p.toml:13:8: found `results`, which is not a JSON pointer; write a pointer that begins with a slash, as "/data/rows", or "" for the answer itself
p.toml:14:1: found the unknown key `nxt` in `stores.old.read`; write `next`
p.toml:15:17: found `updated since`, which is not the name of a parameter; write letters, digits and any of `_-.[]`, as "updated_since"
p.toml:17:11: found `SEND {{ path }}/bulk/`, which is not such a request; write a method (POST, PUT, PATCH, DELETE) and a path, as "POST {{ path }}/bulk/"
p.toml:18:8: found a body for `stores.old.write.body` in which `{{ records }}` is not the whole of one text; write `body = { records = "{{ records }}" }`
p.toml:20:12: found both `outcomes` and `errors`; write one of them: what became of each, or the refused ones alone
p.toml:21:22: found `Idempotency Key`, which is not the name of a header; write letters, digits and `-`, as "Idempotency-Key", or "" for none
p.toml:23:11: found `pth` in the template for `stores.old.delete.request`, which nothing gives it; write `path`
p.toml:27:12: found both `root` and `endpoint`; write one of them: a folder, or a server
p.toml:28:1: found the unknown key `path` in `stores.web`; write one of `endpoint`, `kind`, `root`
p.toml:29:1: found `stores.later` without `path`; write `path = "/api/exports/"`"#,
    ),
    (
        r#"from = { store = "old", path = "/users/" }
to = { store = "new", table = "users" }"#,
        r#"from = { store = "old", keys = "x" }
to = { store = "old", path = "users" }"#,
        r#"p.toml:30:8: found `dataset.from` without `path`; write `path = "/api/…/"`
p.toml:30:25: found the unknown key `keys` in `dataset.from`; write one of `path`, `store`
p.toml:31:30: found `users`, which is not a path on the store's server; write a path that begins with a slash, as "/api/users/""#,
    ),
    (
        r#"kind = "sqlite"
path = "new.db""#,
        r#"kind = "local-storage"
root = "exports""#,
        "p.toml:25:16: found `new` for `dataset.to.store`, which is only read; write a store that takes writes
p.toml:31:16: found `new` for `dataset.to.store`, which is only read; write a store that takes writes",
    ),
    (
        r#"endpoint = "${DJANGO_API_ENDPOINT}""#,
        r#"endpoint = "${DJANGO_ENDPOINT}""#,
        "p.toml:6:12: found the variable `DJANGO_ENDPOINT`, which is not set; write its value into the environment (`export DJANGO_ENDPOINT=…`), or a default: `${DJANGO_ENDPOINT:-…}`",
    ),
    (
        r#"endpoint = "${DJANGO_API_ENDPOINT}""#,
        r#"endpoint = "localhost""#,
        r#"p.toml:6:12: found `localhost`, which is not an address; write an address without user name, as "https://example.org""#,
    ),
    (
        r#"endpoint = "${DJANGO_API_ENDPOINT}""#,
        r#"endpoint = "http://user:pw@host""#,
        r#"p.toml:6:12: found `http://•••••••@host`, which is not an address; write an address without user name, as "https://example.org""#,
    ),
    (
        r#"endpoint = "${DJANGO_API_ENDPOINT}""#,
        r#"endpont = "http://h""#,
        r#"p.toml:4:1: found `stores.old` without `endpoint`; write `endpoint = "https://…"`
p.toml:6:1: found the unknown key `endpont` in `stores.old`; write `endpoint`"#,
    ),
    (
        r#"token = "${DJANGO_API_TOKEN}""#,
        r#"token = "${NO_SUCH_TOKEN}""#,
        "p.toml:7:36: found the variable `NO_SUCH_TOKEN`, which is not set; write its value into the environment before you start (`export NO_SUCH_TOKEN=…`)",
    ),
    (
        r#"token = "${DJANGO_API_TOKEN}""#,
        "token = 7",
        r#"p.toml:7:36: found a whole number for `stores.old.auth.token`; write a variable in quotes, as "${API_TOKEN}""#,
    ),
    (
        r#"scheme = "Token""#,
        r#"scheme = "Token abc""#,
        r#"p.toml:7:19: found something else for `stores.old.auth.scheme`; write a word such as "Token" or "Bearer""#,
    ),
    (
        r#"timeout = "30s""#,
        "timeout = 30",
        r#"p.toml:8:11: found a whole number for `stores.old.timeout`; write a time from 10ms to 1h, as "500ms", "30s" or "5m""#,
    ),
    (
        r#"timeout = "30s""#,
        r#"timeout = "30""#,
        r#"p.toml:8:11: found `30`, which is not such a time; write a time from 10ms to 1h, as "500ms", "30s" or "5m""#,
    ),
    (
        r#"timeout = "30s""#,
        r#"timeout = "2h""#,
        r#"p.toml:8:11: found `2h`, which is not such a time; write a time from 10ms to 1h, as "500ms", "30s" or "5m""#,
    ),
    (
        r#"path = "new.db""#,
        r#"path = "${X""#,
        "p.toml:11:8: found `${` without `}`; write `${NAME}`, or `$$` for a dollar sign",
    ),
    (
        r#"path = "new.db""#,
        r#"path = """#,
        "p.toml:11:8: found an empty text for `stores.new.path`; write something in it, or leave the key out",
    ),
    (r#"root = "media""#, "root = [1]", "p.toml:14:8: found a list for `buckets.media.root`; write a text in quotes"),
    (
        r#"bucket = "files""#,
        r#"bucket = "F""#,
        "p.toml:18:10: found `F`, which is not a bucket's name; write 3 to 63 of `a-z`, `0-9` and `.-`",
    ),
    (
        r#"needs = ["users"]"#,
        r#"needs = ["user"]"#,
        "p.toml:23:10: found `user`, but there is no dataset of this name; write `users`",
    ),
    (
        r#"needs = ["users"]"#,
        r#"needs = ["files"]"#,
        "p.toml:22:8: found datasets that wait for each other: files needs files; write `needs` so that one of them can move first",
    ),
    (
        r#"map = { email = "email | lower" }"#,
        r#"needs = ["files"]"#,
        "p.toml:22:8: found datasets that wait for each other: files needs users needs files; write `needs` so that one of them can move first",
    ),
    (
        r#"name = "users""#,
        r#"name = "files""#,
        r"p.toml:23:10: found `users`, but there is no dataset of this name; write `files`
p.toml:29:8: found a second dataset `files`; write a name of its own",
    ),
    (
        r#"from = { store = "old", path = "/files/" }"#,
        r#"from = { store = "olds", path = "/files/" }"#,
        "p.toml:24:18: found `olds`, but there is no store of this name; write `old`",
    ),
    (
        r#"from = { store = "old", path = "/files/" }"#,
        r#"from = { store = "old", path = "files" }"#,
        r#"p.toml:24:32: found `files`, which is not a path on the store's server; write a path that begins with a slash, as "/api/users/""#,
    ),
    (
        r#"from = { store = "old", path = "/files/" }"#,
        r#"from = { store = "old", table = "files" }"#,
        r#"p.toml:24:8: found `dataset.from` without `path`; write `path = "/api/…/"`
p.toml:24:25: found the unknown key `table` in `dataset.from`; write one of `path`, `store`"#,
    ),
    (
        r#"to = { store = "new", table = "users" }"#,
        r#"to = { store = "new", table = "files" }"#,
        "p.toml:29:8: found `users`, which moves to the same place as `files`; write another `to` for one of them",
    ),
    (
        r#"blob = { from = "media", path = "p", to = "r2", key = "{{ id }}" }"#,
        r#"blob = { from = "media", to = "r3", key = "{{ id" }"#,
        r#"p.toml:27:8: found `dataset.blob` without `path`; write `path = "file_path"`
p.toml:27:31: found `r3`, but there is no bucket of this name; write `r2`
p.toml:27:43: found `{{ id`, which is no template: unexpected end of input, expected end of variable block; write a minijinja template over the record's fields, as "users/{{ user_id }}/{{ id }}""#,
    ),
    (
        r#""email | lower""#,
        r#""email | lowercase""#,
        r#"p.toml:33:17: found `email | lowercase`, which is no expression: filter lowercase is unknown; write a minijinja expression over the record's fields, as "email | lower""#,
    ),
    (
        r#""email | lower""#,
        r#""email |""#,
        r#"p.toml:33:17: found `email |`, which is no expression: unexpected end of input, expected identifier; write a minijinja expression over the record's fields, as "email | lower""#,
    ),
    (
        "map = { email",
        r#"drop = ["id"]
map = { email"#,
        "p.toml:33:8: found `id` in `dataset.drop`, which is the key; write the list without it",
    ),
    (
        r#"off = "POST http://h/off", "#,
        "",
        "p.toml:36:8: found a maintenance that cannot be turned `off`; write `off = …` as well",
    ),
    (
        r#"read-only = "POST http://h/ro""#,
        r#"half = "POST http://h/ro""#,
        "p.toml:36:62: found the position `half` of the maintenance; write one of `off`, `read-only`, `on`",
    ),
    (
        r#"on = "POST http://h/on""#,
        r#"on = "post http://h/on""#,
        "p.toml:36:15: found the method `post` for `switches.maintenance.turn.on`; write `POST`",
    ),
    (
        r#"on = "POST http://h/on""#,
        r#"on = "http://h/on""#,
        r#"p.toml:36:15: found `http://h/on`, which is not a request; write a method and an address, as "GET https://example.org/health""#,
    ),
    (
        r#"on = "POST http://h/on""#,
        r#"on = "POST h/on""#,
        r#"p.toml:36:15: found `POST h/on`, whose address is not a full one; write a full address without user name, as "GET https://example.org/health""#,
    ),
    (
        r#"pointer = "/mode""#,
        r#"pointer = "mode""#,
        r#"p.toml:37:48: found `mode`, which is not a JSON pointer; write a pointer that begins with a slash, as "/status/active""#,
    ),
    (
        r#"turn = { blue = ["./a", "blue"], green = ["./a", "green"] }"#,
        r#"turn = { blue = ["./a", "blue"] }"#,
        r"p.toml:40:58: found the colour `green`, which the deployment does not have; write one of `blue`, `none`
p.toml:44:8: found fewer than two colours; write two at least, as `blue = …, green = …`",
    ),
    (
        r#"none = ["./r", "none"], "#,
        "",
        "p.toml:40:8: found a release that cannot be turned to `none`; write `none = …` as well",
    ),
    (
        r#"green = ["./r", "green"]"#,
        r#"red = ["./r", "red"]"#,
        r"p.toml:40:8: found a release that cannot be turned to `green`; write `green = …` as well
p.toml:40:58: found the colour `red`, which the deployment does not have; write one of `blue`, `green`, `none`",
    ),
    (
        r#"observe = ["./a"]"#,
        "observe = []",
        r#"p.toml:45:11: found no program for `switches.deployment.observe`; write a program and its arguments, as ["./check.sh", "now"]"#,
    ),
    (r#"kind = "powerdns""#, r#"kind = "bind""#, "p.toml:47:8: found `bind` for `switches.dns.kind`; write `powerdns`"),
    (
        r#"name = "api.x.test""#,
        r#"name = "api.y.test""#,
        "p.toml:51:21: found `api.y.test`, which is outside the zone; write a name that ends with the zone's",
    ),
    (
        r#"value = "127.0.0.2""#,
        r#"value = "::1""#,
        r#"p.toml:51:55: found `::1`, which is not an IPv4 address; write one, as "192.0.2.1""#,
    ),
    (
        r#"type = "A""#,
        r#"type = "MX""#,
        "p.toml:51:42: found `MX` for `switches.dns.records.type`; write one of `A`, `AAAA`, `CNAME`",
    ),
    (
        r#"ttl = "30s""#,
        "ttl = 30",
        r#"p.toml:51:74: found a whole number for `switches.dns.records.ttl`; write a time from 1s to 1d, as "500ms", "30s" or "5m""#,
    ),
    (
        r#"resolvers = ["127.0.0.1"]"#,
        r#"resolvers = ["dns.x.test"]"#,
        r#"p.toml:52:14: found `dns.x.test`, which is not an address; write address and port of a DNS server, as "127.0.0.1:53""#,
    ),
    (
        r#"resolvers = ["127.0.0.1"]"#,
        "resolvers = []",
        "p.toml:52:13: found no resolver in `switches.dns.resolvers`; write one resolver at least",
    ),
    ("guard = 0.5", "guard = 1.5", "p.toml:53:9: found `1.5` for `switches.dns.guard`; write a number from 0 to 1"),
    (r#"kind = "flow""#, r#"kind = "flows""#, "p.toml:61:8: found `flows` for `probe.kind`; write `flow`"),
    (r#"use = ["watch"]"#, r#"use = ["wach"]"#, "p.toml:57:8: found `wach` for `probe.use`; write `watch`"),
    (
        r#"use = ["watch"]"#,
        "use = []",
        r#"p.toml:57:7: found a probe that is never used; write one use at least, as ["watch"]"#,
    ),
    (
        r#""$.token""#,
        r#""token""#,
        r#"p.toml:66:21: found `token`, which is no JSONPath; write a path from the root, as "$.user.id""#,
    ),
    (
        r#""$.ok" = true"#,
        r#""ok" = true"#,
        r#"p.toml:67:12: found `ok`, which is no JSONPath; write a path from the root, as "$.user.id""#,
    ),
    (r#"run = ["free"]"#, r#"run = "free""#, "p.toml:58:7: found a text for `probe.run`; write a list in brackets"),
    (
        r#"name = "journey""#,
        r#"name = "memory""#,
        "p.toml:60:8: found a second probe `memory`; write a name of its own",
    ),
    (
        r#"metric = "error_rate""#,
        r#"metric = "errors""#,
        "p.toml:69:10: found `errors`, but there is no metric of this name; write one of `error_rate`, `p95`, `mean`, `memory`",
    ),
    (
        r#"metric = "error_rate""#,
        r#"metric = "memry""#,
        "p.toml:69:10: found `memry`, but there is no metric of this name; write `memory`",
    ),
    ("limit = 0.05", "limit = 5", "p.toml:70:9: found `5` for `rule.limit`; write a number from 0 to 1"),
    (
        "limit = 0.05",
        r#"limit = 0.05
op = ">=""#,
        "p.toml:71:6: found `>=` for `rule.op`; write `>`",
    ),
    (
        "limit = 0.05",
        r#"limit = 0.05
action = "roll back""#,
        "p.toml:71:10: found `roll back` for `rule.action`; write `rollback`",
    ),
    (
        r#"phases = ["monitoring"]"#,
        r#"phases = ["monitor"]"#,
        "p.toml:71:11: found `monitor` for `rule.phases`; write `monitoring`",
    ),
    (
        r#"phases = ["monitoring"]"#,
        r#"phases = ["monitoring"]
budget = 0"#,
        "p.toml:72:10: found `0` for `rule.budget`; write a whole number from 1 to 1000",
    ),
    (
        "[phases.monitoring]",
        "[phases.monitorng]",
        "p.toml:72:9: found the unknown key `monitorng` in `phases`; write `monitoring`",
    ),
    (
        "[phases.deployment]",
        r#"[phases.deployment]
duration = "5m""#,
        "p.toml:75:1: found the unknown key `duration` in `phases.deployment`; write one of `after`, `before`, `enabled`, `expected`, `gate`",
    ),
    (
        r#"before = [{ name = "warm", run = ["./warm"] }]"#,
        r#"before = [{ name = "warm", run = ["./warm"] }]
after = [{ name = "warm", run = ["./warm"] }]"#,
        "p.toml:76:19: found a second program `warm`; write a name of its own",
    ),
    (
        "concurrency = 8",
        "concurrency = 65",
        "p.toml:77:15: found `65` for `migration.concurrency`; write a whole number from 1 to 64",
    ),
    (
        "concurrency = 8",
        r#"concurrency = "8""#,
        "p.toml:77:15: found a text for `migration.concurrency`; write a whole number from 1 to 64",
    ),
    (
        "concurrency = 8",
        r#"conflicts = "newest""#,
        "p.toml:77:13: found `newest` for `migration.conflicts`; write one of `legacy-wins`, `new-wins`, `newest-wins`, `manual`",
    ),
    (
        "guard = 0.5",
        "guard =",
        "p.toml:53:8: found broken TOML: string values must be quoted; write a value; texts stand in quotes",
    ),
    ("[migration]", "[migration", "p.toml:76:11: found broken TOML: unclosed table; write `]`"),
    ("[migration]", "[phases.monitoring]", "p.toml:76:9: found broken TOML: duplicate key; write it once only"),
    (
        r#"kind = "sqlite"
path = "new.db""#,
        r#"kind = "sqlite"#,
        r#"p.toml:10:15: found broken TOML: invalid basic string; write `"`"#,
    ),
    (
        r#"request = "POST http://h/login""#,
        r#"request = "POST http://h/{{ tokn }}""#,
        "p.toml:65:11: found `tokn` in the template for `probe.step.request`, which nothing gives it; write `random`",
    ),
    (
        r#"request = "POST http://h/login""#,
        r#"request = "POST http://u:p@h/login""#,
        r#"p.toml:65:11: found `POST http://•••@h/login`, whose address is not a full one; write a full address without user name, as "GET https://example.org/health""#,
    ),
    (
        r#"capture = { token = "$.token" }"#,
        r#"capture = { token = "$.token" }
upload = { name = "a", content = "{{ random | hex }}" }
body = 1
text = "{{ tokens }}""#,
        r#"p.toml:67:10: found `upload` beside `body`; write one of the two: a request carries one body
p.toml:67:34: found `{{ random | hex }}`, which is no template: filter hex is unknown; write a minijinja template, as "{{ name }}"
p.toml:69:8: found `tokens` in the template for `probe.step.text`, which nothing gives it; write `random`"#,
    ),
    (
        r#"api_key = "literal-dns""#,
        r#"api_key = "a\nb""#,
        "p.toml:49:11: found a secret for `switches.dns.api_key` that is empty or has characters no header can carry; write printable ASCII only, without line breaks",
    ),
    (
        r#"key = "{{ id }}" }"#,
        r#"key = "{{ id }}", write_back = { url = "mysql://u:pw@h/d", table = "a b", key = "", timeout = "2h" } }"#,
        r#"p.toml:27:88: found something else for `dataset.blob.write_back.url`; write an address of PostgreSQL, as "postgres://user:password@host:5432/database?sslmode=require"
p.toml:27:116: found `a b`, which is not a table's name; write a name, or schema and name with a dot between, in double quotes what is not letters and digits
p.toml:27:129: found ``, which is not a column's name; write 1 to 63 characters
p.toml:27:143: found `2h`, which is not such a time; write a time from 10ms to 1h, as "500ms", "30s" or "5m""#,
    ),
    (
        r#"key = "{{ id }}" }"#,
        r#"key = "{{ id }}", write_back = { uri = "postgres://u:pw@h/d" } }"#,
        r#"p.toml:27:80: found `dataset.blob.write_back` without `url`; write `url = "${LEGACY_DATABASE_URL}"`
p.toml:27:80: found `dataset.blob.write_back` without `table`; write `table = "list_app_savedlist"`
p.toml:27:82: found the unknown key `uri` in `dataset.blob.write_back`; write `url`"#,
    ),
    (
        r#"key = "{{ id }}" }"#,
        r#"key = "{{ id }}", write_back = { url = "${LEGACY_DATABASE_URL}", table = "t" } }"#,
        "p.toml:27:88: found the variable `LEGACY_DATABASE_URL`, which is not set; write its value into the environment before you start (`export LEGACY_DATABASE_URL=…`)",
    ),
    (
        r#"kind = "sqlite"
path = "new.db""#,
        r#"kind = "postgrs"
url = "postgres://u:pw@h/d""#,
        "p.toml:10:8: found `postgrs` for `stores.new.kind`; write `postgres`",
    ),
    (
        r#"kind = "sqlite"
path = "new.db""#,
        r#"kind = "postgres"
url = "postgres://u:very-secret@h/d?sslmod=require"
schema = ""
timeout = "2h""#,
        r#"p.toml:11:7: found something else for `stores.new.url`; write an address of PostgreSQL, as "postgres://user:password@host:5432/database?sslmode=require"
p.toml:12:10: found ``, which is not a schema's name; write 1 to 63 characters
p.toml:13:11: found `2h`, which is not such a time; write a time from 10ms to 1h, as "500ms", "30s" or "5m""#,
    ),
    (
        r#"kind = "sqlite"
path = "new.db""#,
        r#"kind = "mysql"
url = "postgres://u:very-secret@h/d"
shema = "app""#,
        r#"p.toml:11:7: found something else for `stores.new.url`; write an address of MySQL or MariaDB, as "mysql://user:password@host:3306/database?ssl-mode=REQUIRED"
p.toml:12:1: found the unknown key `shema` in `stores.new`; write one of `kind`, `timeout`, `url`"#,
    ),
    (
        r#"kind = "sqlite"
path = "new.db""#,
        r#"kind = "d1"
account = "Acc"
token = "${DJANGO_API_TOKEN}"
databse = "id""#,
        r#"p.toml:9:1: found `stores.new` without `database`; write `database = "${D1_DATABASE_ID}"`
p.toml:11:11: found `Acc`, which is not an id; write the id that Cloudflare shows: 1 to 64 of `a-z`, `0-9` and `-`
p.toml:13:1: found the unknown key `databse` in `stores.new`; write `database`"#,
    ),
    (r#"kind = "s3""#, r#"kind = "s4""#, r"p.toml:16:8: found `s4` for `buckets.r2.kind`; write `s3`"),
    (
        r#"bucket = "files""#,
        r#"bucket = "files"
parts_above = "256MB"
part_size = "1KiB""#,
        r#"p.toml:19:15: found `256MB`, which is not such a length; write bytes from 64KiB to 5GiB, as "64KiB", "16MiB" or "1GiB"
p.toml:20:13: found `1KiB`, which is not such a length; write bytes from 64KiB to 5GiB, as "64KiB", "16MiB" or "1GiB""#,
    ),
    (
        r#"bucket = "files""#,
        r#"bucket = "files"
part_size = 16777216"#,
        r#"p.toml:19:13: found a whole number for `buckets.r2.part_size`; write bytes from 64KiB to 5GiB, as "64KiB", "16MiB" or "1GiB""#,
    ),
    (
        r#"kind = "filesystem"
root = "media""#,
        r#"kind = "http"
endpoint = "http://h/media/"
auth = { scheme = "Token", token = "${DJANGO_API_TOKEN}" }
timeout = "1s"
writeable = true"#,
        r"p.toml:17:1: found the unknown key `writeable` in `buckets.media`; write `writable`",
    ),
    (
        r#"kind = "filesystem"
root = "media""#,
        r#"kind = "http"
writable = "yes""#,
        r#"p.toml:12:1: found `buckets.media` without `endpoint`; write `endpoint = "https://…"`
p.toml:14:12: found a text for `buckets.media.writable`; write true or false, without quotes"#,
    ),
    (
        r#"blob = { from = "media", path = "p", to = "r2", key = "{{ id }}" }"#,
        r#"blob = { from = "web", path = "p", to = "web", key = "{{ id }}" }
[buckets.web]
kind = "http"
endpoint = "http://h""#,
        r"p.toml:27:41: found the bucket `web`, an HTTP server, which cannot be listed; write a bucket of the kind `filesystem` or `s3`",
    ),
    (
        "[switches.maintenance]",
        r#"[[files]]
name = "rest"
from = { bucket = "web", prefix = "uploads/" }
to = { bucket = "r3" }
[buckets.web]
kind = "http"
endpoint = "http://h"
[switches.maintenance]"#,
        r"p.toml:36:19: found the bucket `web`, an HTTP server, which cannot be listed; write a bucket of the kind `filesystem` or `s3`
p.toml:37:17: found `r3`, but there is no bucket of this name; write `r2`",
    ),
    (
        "[switches.maintenance]",
        r#"[[files]]
name = "users"
from = { bucket = "media", prefix = "a/" }
to = { bucket = "media", prefix = "a/b/" }
[[files]]
name = "rest"
from = { bucket = "media" }
to = { bucket = "r2", prefix = "media/" }
[[files]]
name = "rest"
from = { bucket = "media", prefix = "uploads/" }
to = { bucket = "r2", prefix = "/media/" }
[[files]]
name = "more"
from = { bucket = "media", prefix = "more/" }
to = { bucket = "r2", prefix = "media/" }
[switches.maintenance]"#,
        r#"p.toml:35:8: found the name `users`, which a dataset has; write a name of its own
p.toml:35:8: found `users`, which moves to where it comes from; write another `to`
p.toml:45:32: found `/media/`, which no key begins with; write how keys begin, as "uploads/": not with a slash, and without empty parts, `.` and `..`
p.toml:47:8: found `more`, which moves to the same place as `rest`; write another `to` for one of them"#,
    ),
    (
        "[switches.maintenance]",
        r#"[[files]]
name = "rest-of-it"
from = { bucket = "media", prefix = "a/../b/", sufix = "x" }
[switches.maintenance]"#,
        r#"p.toml:34:1: found `files` without `to`; write `to = { bucket = "…", prefix = "media/" }`
p.toml:35:8: found `rest-of-it`, which is not a name; write 1 to 64 of `a-z`, `0-9` and `_`
p.toml:36:37: found `a/../b/`, which no key begins with; write how keys begin, as "uploads/": not with a slash, and without empty parts, `.` and `..`
p.toml:36:48: found the unknown key `sufix` in `files.from`; write one of `bucket`, `prefix`"#,
    ),
    (
        "[switches.maintenance]",
        r#"[[files]]
name = "rest"
from = { bucket = "media", prefix = "a/" }
to = { bucket = "r2", prefix = "a/" }
[[files]]
name = "rest"
from = { bucket = "media", prefix = "b/" }
to = { bucket = "r2", prefix = "b/" }
[switches.maintenance]"#,
        "p.toml:39:8: found a second file set `rest`; write a name of its own",
    ),
    (
        "concurrency = 8",
        r#"on_existing = "skip"
batch_bytes = "1B"
limit_bytes_per_s = 0
limit_requests_per_s = 0
limit_rows_per_s = 0
continue_on_error = "no"
max_failures = "101%""#,
        r#"p.toml:77:15: found `skip` for `migration.on_existing`; write one of `skip-same`, `overwrite`, `fail`
p.toml:78:15: found `1B`, which is not such a length; write bytes from 1KiB to 1024GiB, as "64KiB", "16MiB" or "1GiB"
p.toml:79:21: found a whole number for `migration.limit_bytes_per_s`; write bytes from 1KiB to 1024GiB, as "64KiB", "16MiB" or "1GiB"
p.toml:80:24: found `0` for `migration.limit_requests_per_s`; write a whole number from 1 to 1000000
p.toml:81:20: found `0` for `migration.limit_rows_per_s`; write a whole number from 1 to 1000000000
p.toml:82:21: found a text for `migration.continue_on_error`; write true or false, without quotes
p.toml:83:16: found `101%`, which is not a share; write a whole number, or a share from "0%" to "100%", as "0.1%""#,
    ),
    (
        "concurrency = 8",
        r#"backups = { bucket = "r3", prefix = "kept" }"#,
        r#"p.toml:77:22: found `r3`, but there is no bucket of this name; write `r2`
p.toml:77:37: found `kept`, which is no folder; write a folder, as "cutover-backups/""#,
    ),
    (
        "concurrency = 8",
        r#"backups = """#,
        "p.toml:77:11: found an empty text for `migration.backups`; write something in it, or leave the key out",
    ),
    (
        "concurrency = 8",
        r#"sweep = "10m""#,
        r#"p.toml:77:9: found `sweep` without `follow`; write `follow = "10s"` as well, or no `sweep`"#,
    ),
    (
        r#"[phases.deployment]
before = [{ name = "warm", run = ["./warm"] }]
[migration]
concurrency = 8"#,
        r#"[phases.validation]
enabled = false
[migration]
follow = "10s""#,
        "p.toml:77:10: found `follow` without the phase `validation`, which is turned off; write `enabled = true` in [phases.validation], or no `follow`",
    ),
    (
        r#"map = { email = "email | lower" }"#,
        r#"overlap = "5s""#,
        "p.toml:33:11: found `overlap` without `updated`; write `updated` as well, or no `overlap`",
    ),
];

#[test]
fn wrong_plans_say_what_is_wrong() {
    let mut differ = 0;
    for (from, to, expected) in WRONG {
        assert_eq!(SMALL.matches(from).count(), 1, "`{from}` stands once in the plan");
        let found = read(&SMALL.replace(from, to)).map_or_else(|problems| problems.to_string(), |_| "nothing".into());
        if found != *expected {
            println!("{from} → {to}\nsays:\n{found}\nand should say:\n{expected}\n");
            differ += 1;
        }
    }
    assert_eq!(differ, 0, "see above");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = WRONG[..40].iter().fold(SMALL.to_owned(), |text, (from, to, _)| text.replace(from, to));
    let problems = read(&text).unwrap_err();
    assert!(problems.list().len() > 15, "{problems}");
    let places: Vec<_> = problems.list().iter().map(|problem| (problem.line, problem.column)).collect();
    assert!(places.is_sorted());
    assert!(problems.pretty().ends_with(&format!("p.toml: {} mistakes\n", places.len())));
}
