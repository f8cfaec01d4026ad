//! The house keeps its layers: arrows only point down, each driver stays in its rooms, and no room grows too big to know.
//!
//! Reads `src/` as text. What it enforces stands in the tables below and, in words, in the header of `src/lib.rs`.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test itself")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Rooms and the rooms each may look at, besides itself. A room named `engine::view` is that part of a room only.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &["error"]),
    ("error", &["model"]),
    ("command", &["model", "error"]),
    ("event", &["model", "error", "command"]),
    ("plan", &["model", "error"]),
    ("ports", &["model", "error", "event", "plan"]),
    ("engine", &["model", "error", "event", "command", "plan", "ports", "watch"]),
    ("watch", &["model", "error", "event", "plan", "ports"]),
    ("migrate", &["model", "error", "event", "command", "plan", "ports", "engine", "sync"]),
    ("sync", &["model", "error", "event", "command", "plan", "ports", "engine", "migrate"]),
    ("phases", &["model", "error", "event", "command", "plan", "ports", "engine", "migrate", "sync", "watch"]),
    ("ledger", &["model", "error", "event", "command", "ports"]),
    ("adapters", &["model", "error", "plan", "ports"]),
    ("rehearsal", &["model", "error", "plan", "ports"]),
    ("api", &["model", "error", "event", "command", "plan", "engine"]),
    ("tui", &["model", "error", "event", "command", "plan", "engine"]),
    ("telemetry", &["model", "error"]),
    ("wiring", EVERYTHING),
    ("cli", EVERYTHING),
    ("lib", EVERYTHING),
    ("main", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "model",
    "error",
    "event",
    "command",
    "plan",
    "ports",
    "engine",
    "watch",
    "migrate",
    "sync",
    "phases",
    "ledger",
    "adapters",
    "rehearsal",
    "api",
    "tui",
    "telemetry",
    "wiring",
    "cli",
];

/// What fronts may see of the engine: its handle, its view, its table of legal moves, and the fold for their tests.
const FRONTS_SEE: &[&str] = &["Handle", "Receipt", "handle", "view", "legal", "gate", "fold"];

/// Crates that talk to the outside, and the only rooms that may name them.
const DRIVERS: &[(&str, &[&str])] = &[
    ("sqlx", &["ledger", "adapters", "rehearsal"]),
    ("reqwest", &["adapters", "rehearsal"]),
    ("aws_sdk_s3", &["adapters", "rehearsal"]),
    ("hickory_resolver", &["adapters", "rehearsal"]),
    ("hickory_proto", &["adapters", "rehearsal"]),
    ("hickory_server", &["rehearsal"]),
    ("s3s", &["rehearsal"]),
    ("s3s_fs", &["rehearsal"]),
    ("axum", &["rehearsal"]),
    ("hyper", &["adapters", "rehearsal"]),
    ("hyper_util", &["rehearsal"]),
    ("ratatui", &["tui"]),
    ("crossterm", &["tui"]),
    ("crokey", &["tui"]),
    ("tui_input", &["tui"]),
    ("nucleo_matcher", &["tui"]),
    ("tui_logger", &["tui", "telemetry"]),
    ("clap", &["cli"]),
    ("tracing_subscriber", &["telemetry"]),
    ("toml", &["plan", "rehearsal", "tui", "cli"]),
];

/// Lines of code a file may have, tests beside the code not counted.
const LONGEST: usize = 500;

struct Room {
    path: PathBuf,
    name: String,
    text: String,
    /// Compiled for tests only: some file says `#[cfg(test)] mod` of it or of the folder it is in.
    only_tests: bool,
}

impl Room {
    /// The code without comments and string contents, tests and all.
    fn code(&self) -> String {
        strip(&self.text)
    }

    /// The code that ships: what stands before the file's own tests.
    fn shipped(&self) -> String {
        if self.only_tests {
            return String::new();
        }
        let code = self.code();
        // Tests stand last in a file; a lone `#[cfg(test)]` before a `mod tests;` ends nothing.
        match code.find("#[cfg(test)]\nmod tests {") {
            Some(end) => code[..end].to_owned(),
            None => code,
        }
    }

    fn at(&self) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        self.path.strip_prefix(root).unwrap_or(&self.path).display().to_string()
    }
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            out.push(path);
        }
    }
}

fn rooms(folder: &str) -> Vec<Room> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let texts: Vec<_> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let for_tests: Vec<_> = paths.iter().zip(&texts).flat_map(|(path, text)| test_modules(path, text)).collect();
    paths
        .into_iter()
        .zip(texts)
        .map(|(path, text)| {
            let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
            let name = first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
            let only_tests = for_tests.iter().any(|of| path.starts_with(of) || path == of.with_extension("rs"));
            Room { path, name, text, only_tests }
        })
        .collect()
}

/// Where the modules are that this file declares for tests only, without `.rs`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") => path.parent().unwrap().to_path_buf(),
        _ => path.with_extension(""),
    };
    let mut lines = text.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            continue;
        }
        let mut of = lines.next().unwrap_or_default();
        let mut named = None;
        if let Some(file) = of.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix(".rs\"]")) {
            named = Some(path.parent().unwrap().join(file));
            of = lines.next().unwrap_or_default();
        }
        if let Some(name) = of.rsplit("mod ").next().and_then(|name| name.strip_suffix(';')) {
            found.push(named.unwrap_or_else(|| folder.join(name)));
        }
    }
    found
}

/// Code with comments and the insides of strings and characters blanked out; lines stay lines.
fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if let Some(hashes) = raw_string(&chars, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            at += 2 + hashes;
            while at < chars.len() && !starts(at, &close) {
                out.push(if chars[at] == '\n' { '\n' } else { ' ' });
                at += 1;
            }
            at += 1 + hashes;
        } else if chars[at] == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                if chars[at] == '\\' {
                    at += 1;
                }
                out.push(if chars.get(at) == Some(&'\n') { '\n' } else { ' ' });
                at += 1;
            }
            at += 1;
        } else if chars[at] == '\'' && chars.get(at + 2) == Some(&'\'') {
            // A character; a lifetime has no second quote there.
            at += 3;
        } else if starts(at, "'\\") {
            at += 2;
            while at < chars.len() && chars[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Number of hashes of a raw string that begins here.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).and_then(|at| chars.get(at));
    if chars.get(at) != Some(&'r') || before.is_some_and(|c| c.is_alphanumeric() || *c == '_') {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// Every path below `crate::` that the code names, as its first two parts, also out of `use crate::{…}` trees.
fn crate_paths(code: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("crate::") {
        let boundary = code[..place].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '$'));
        if boundary {
            for path in tree(&code[place + "crate::".len()..]) {
                let mut parts = path.split("::").map(str::to_owned);
                if let Some(first) = parts.next() {
                    found.push((first, parts.next()));
                }
            }
        }
    }
    found
}

/// The paths of a use tree at the beginning of `text`.
fn tree(text: &str) -> Vec<String> {
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix('{') {
        return split_list(inner).into_iter().flat_map(|part| tree(&part)).collect();
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Vec::new();
    }
    match rest.trim_start().strip_prefix("::") {
        Some(rest) => {
            let below = tree(rest);
            if below.is_empty() {
                vec![name.to_owned()]
            } else {
                below.iter().map(|path| format!("{name}::{path}")).collect()
            }
        }
        None => vec![name.to_owned()],
    }
}

/// The parts of a braced list, up to its closing brace.
fn split_list(inner: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts
}

fn report(what: &str, wrong: &[String]) {
    let mut text = String::new();
    for line in wrong {
        writeln!(text, "  {line}").unwrap();
    }
    assert!(wrong.is_empty(), "{what}:\n{text}");
}

#[test]
fn arrows_only_point_down() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for room in rooms("src") {
        let Some(may) = arrows.get(room.name.as_str()) else {
            wrong.push(format!("{}: no row in the table for this room", room.at()));
            continue;
        };
        for (to, part) in crate_paths(&room.shipped()) {
            let known = EVERYTHING.contains(&to.as_str());
            if known && to != room.name && !may.contains(&to.as_str()) {
                wrong.push(format!("{}: `{}` may not look at `{to}`", room.at(), room.name));
            }
            let front = matches!(room.name.as_str(), "api" | "tui");
            if let (true, "engine", Some(part)) = (front, to.as_str(), part.as_deref())
                && !FRONTS_SEE.contains(&part)
            {
                wrong.push(format!("{}: a front may not see `engine::{part}`", room.at()));
            }
        }
    }
    report("rooms that look up", &wrong);
}

#[test]
fn drivers_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for room in rooms("src") {
        let code = room.shipped();
        for (driver, may) in DRIVERS {
            let named = code.match_indices(driver).any(|(place, _)| {
                let before = code[..place].chars().next_back();
                let begins = before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | '.')));
                // `self::` and `super::` name modules of the house, not crates.
                let own = code[..place].ends_with("self::")
                    || code[..place].ends_with("super::")
                    || code[..place].ends_with("crate::");
                begins && !own && code[place + driver.len()..].starts_with("::")
            });
            if named && !may.contains(&room.name.as_str()) {
                wrong.push(format!("{}: `{}` may not use `{driver}`", room.at(), room.name));
            }
        }
    }
    report("drivers in the wrong rooms", &wrong);
}

#[test]
fn files_stay_readable() {
    let mut wrong = Vec::new();
    for room in rooms("src") {
        let lines = room.shipped().lines().filter(|line| !line.trim().is_empty()).count();
        if lines > LONGEST {
            wrong.push(format!("{}: {lines} lines of code, at most {LONGEST}", room.at()));
        }
        if !room.only_tests && !room.text.starts_with("//!") {
            wrong.push(format!("{}: no header that says what it is for", room.at()));
        }
    }
    report("files to cut", &wrong);
}

#[test]
fn nothing_is_left_open() {
    let mut wrong = Vec::new();
    for room in rooms("src").iter().chain(&rooms("tests")) {
        if room.at() == "tests/architecture.rs" {
            continue;
        }
        let (code, shipped) = (room.code(), room.shipped());
        for open in ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "#[allow("] {
            if code.contains(open) {
                wrong.push(format!("{}: `{open}…`", room.at()));
            }
        }
        let in_tests = room.at().starts_with("tests/");
        if !in_tests && shipped.contains(".unwrap()") {
            wrong.push(format!("{}: `.unwrap()` outside of tests", room.at()));
        }
        let tests = if in_tests || room.only_tests { code.as_str() } else { &code[shipped.len().min(code.len())..] };
        if tests.contains("sleep(") {
            wrong.push(format!("{}: a test that sleeps instead of waiting for a state", room.at()));
        }
        for word in ["TODO", "FIXME", "XXX"] {
            if room.text.contains(word) {
                wrong.push(format!("{}: {word}", room.at()));
            }
        }
    }
    report("left open", &wrong);
}

#[test]
fn the_top_level_holds_what_it_should() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "src",
        "assets",
        "tests",
        "benches",
        "target",
    ];
    let wrong: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !known.contains(&name.as_str()))
        .collect();
    report("unexpected at the top level", &wrong);
}

#[test]
fn this_test_reads_code_right() {
    let code = strip(
        "use crate::{a::{B, c::D}, e}; // crate::f\nlet s = \"crate::g\"; 'x' '\\n' r#\"crate::h \"\"# crate::i::j()",
    );
    let paths: Vec<_> = crate_paths(&code)
        .into_iter()
        .map(|(first, second)| format!("{first}/{}", second.unwrap_or_default()))
        .collect();
    assert_eq!(paths, ["a/B", "a/c", "e/", "i/j"]);
}
