//! Mistakes in a plan: all of them at once, each with its place, what was found and what to write instead.
//!
//! A problem never holds a secret: texts come from the reader, which knows what is secret, and the excerpt of the file
//! is masked here by key names, since a file that does not parse has no types yet.

use crate::{
    error::{Fault, FaultKind},
    model::text::clean,
};
use std::{error::Error, fmt, fmt::Write as _};

/// One mistake in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 if it is about the whole file.
    pub line: usize,
    /// Column in characters, from 1; 0 if it is about the whole file.
    pub column: usize,
    /// How many characters it covers on its line; at least 1.
    pub width: usize,
    /// What was found.
    pub found: String,
    /// What to write instead.
    pub instead: String,
}

/// All mistakes of a plan, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    name: String,
    lines: Vec<String>,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(name: &str, text: &str, list: Vec<Problem>) -> Self {
        let lines = mask(text).lines().map(show_line).collect();
        Self { name: clean(name, 300), lines, list }
    }

    /// Every mistake in the order of the file.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// The file's name, as it stands in messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.name
    }

    /// Every mistake with its line of the file and a mark below it, for a terminal.
    #[must_use]
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        for problem in &self.list {
            self.explain(&mut out, problem);
        }
        let count = self.list.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        let _infallible = writeln!(out, "{}: {count} {noun}", self.name);
        out
    }

    fn explain(&self, out: &mut String, problem: &Problem) {
        let Problem { line, column, width, found, instead } = problem;
        let Some(text) = line.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            let _infallible = writeln!(out, "{}: found {found}\n  write {instead}\n", self.place(problem));
            return;
        };
        let gutter = " ".repeat(line.to_string().len());
        let before = " ".repeat(column.saturating_sub(1));
        let room = text.chars().count().saturating_sub(column.saturating_sub(1)).max(1);
        let mark = "^".repeat((*width).clamp(1, room));
        let _infallible = writeln!(
            out,
            "{place}\n{gutter} |\n{line} | {text}\n{gutter} | {before}{mark} found {found}\n{gutter} = write {instead}\n",
            place = self.place(problem),
        );
    }

    fn place(&self, problem: &Problem) -> String {
        if problem.line == 0 { self.name.clone() } else { format!("{}:{}:{}", self.name, problem.line, problem.column) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{}: found {}; write {}", self.place(problem), problem.found, problem.instead)?;
        }
        Ok(())
    }
}

impl Error for Problems {}

impl From<Problems> for Fault {
    fn from(problems: Problems) -> Self {
        let more = problems.list.len().saturating_sub(1);
        let doing = if more == 0 {
            format!("read the plan {}", problems.name)
        } else {
            format!("read the plan {} ({} mistakes)", problems.name, more + 1)
        };
        Self::new(FaultKind::Plan, doing).source(problems)
    }
}

/// A line as it may be shown: one cell per character, so that marks below it stand right.
fn show_line(line: &str) -> String {
    line.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if clean(c.encode_utf8(&mut [0; 4]), 2) != c.to_string() => '·',
            c => c,
        })
        .collect()
}

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 7] = ["token", "api_key", "access_key", "secret_key", "password", "secret", "url"];

/// Characters masked of a text that is never closed.
const LONGEST_SECRET: usize = 8192;

/// The text with the value of every secret key dotted out, unless it is nothing but a variable, and with what stands
/// before the `@` of an address. Works on characters, not on TOML: a file that does not parse is masked as well.
pub(super) fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut shown = chars.clone();
    // Every place is looked at, also inside of what is masked already: quotes that do not match hide nothing.
    for at in 0..chars.len() {
        let hidden = value_of_secret(&chars, at).or_else(|| user_info(&chars, at));
        if let Some((from, to)) = hidden.filter(|(from, to)| !is_variable(&chars[*from..*to])) {
            shown[from..to].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = '•');
        }
    }
    shown.into_iter().collect()
}

/// If a secret key ends just before `at`: from where to where its value goes, without quotes.
fn value_of_secret(chars: &[char], at: usize) -> Option<(usize, usize)> {
    let ends_key = SECRET_KEYS.iter().any(|key| {
        let length = key.chars().count();
        at >= length && chars[at - length..at].iter().flat_map(|c| c.to_lowercase()).eq(key.chars())
    });
    if !ends_key {
        return None;
    }
    let skip = |mut from: usize, set: &[char]| {
        while chars.get(from).is_some_and(|c| set.contains(c)) {
            from += 1;
        }
        from
    };
    let equals = skip(at, &['"', '\'', ' ', '\t']);
    if chars.get(equals) != Some(&'=') {
        return None;
    }
    let value = skip(equals + 1, &[' ', '\t']);
    let quote = chars.get(value).copied().filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else {
        let length = chars[value..].iter().take_while(|c| !matches!(c, '\n' | ',' | '}' | '#')).count();
        return Some((value, value + length));
    };
    let long = chars[value..].iter().take_while(|c| **c == quote).count() >= 3;
    let from = value + if long { 3 } else { 1 };
    let mut to = from;
    while let Some(c) = chars.get(to).filter(|_| to < from + LONGEST_SECRET) {
        let closes = *c == quote && (!long || chars[to..].iter().take(3).filter(|c| **c == quote).count() == 3);
        if closes || (*c == '\n' && !long) {
            break;
        }
        to += if *c == '\\' && quote == '"' { 2 } else { 1 };
    }
    Some((from, to.min(chars.len())))
}

/// If an address begins just before `at`: from where to where its user name and password go.
fn user_info(chars: &[char], at: usize) -> Option<(usize, usize)> {
    if at < 3 || chars[at - 3..at] != [':', '/', '/'] {
        return None;
    }
    let length =
        chars[at..].iter().take_while(|c| !matches!(c, '/' | '?' | '#' | '"' | '\'') && !c.is_whitespace()).count();
    let sign = chars[at..at + length].iter().rposition(|c| *c == '@')?;
    Some((at, at + sign))
}

fn is_variable(value: &[char]) -> bool {
    let text: String = value.iter().collect();
    text.trim()
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::{Problem, Problems, mask};
    use crate::error::{Fault, FaultKind};

    #[test]
    fn secrets_in_the_file_are_dotted_out() {
        for (text, shown) in [
            ("token = \"abc\"", "token = \"•••\""),
            ("token=abc # x", "token=••••# x"),
            ("\"api_key\" = 'a\"b', x = 1", "\"api_key\" = '•••', x = 1"),
            ("token = \"${TOKEN}\"", "token = \"${TOKEN}\""),
            ("token = \"${TOKEN:-abc}\"", "token = \"•••••••••••••\""),
            ("my_password = \"\"\"a\nb\"\"\"", "my_password = \"\"\"•\n•\"\"\""),
            ("token = \"a\\\"b\" x", "token = \"••••\" x"),
            ("token = \"abc\nx = 1", "token = \"•••\nx = 1"),
            ("tokens = 1", "tokens = 1"),
            ("a = \"http://me:pw@host/\" # @", "a = \"http://•••••@host/\" # @"),
            ("a = \"http://host/@\"", "a = \"http://host/@\""),
        ] {
            assert_eq!(mask(text), shown);
        }
    }

    #[test]
    fn problems_are_shown_in_lines_and_with_marks() {
        let list = vec![Problem { line: 2, column: 1, width: 3, found: "`x`".into(), instead: "`y`".into() }];
        let problems = Problems::new("p.toml", "a = 1\nfoo = \"\u{1b}[31m\"\n", list);
        assert_eq!(problems.to_string(), "p.toml:2:1: found `x`; write `y`");
        assert_eq!(
            problems.pretty(),
            "p.toml:2:1\n  |\n2 | foo = \"·[31m\"\n  | ^^^ found `x`\n  = write `y`\n\np.toml: 1 mistake\n"
        );
        let fault = Fault::from(problems);
        assert_eq!(fault.kind, FaultKind::Plan);
        assert_eq!(fault.chain(), "read the plan p.toml: p.toml:2:1: found `x`; write `y`");
    }
}
