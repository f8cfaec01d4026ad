//! Reads TOML values with their places and keeps every mistake instead of stopping at the first.
//!
//! A reading method returns `None` exactly if it has noted a problem (or the thing is not there and need not be), so the
//! parts of the plan read everything first and give up afterwards. Secret values never get into a problem, and neither
//! does what a variable held: problems show the text as the file has it.

use super::{
    Problem, bytes, duration,
    problem::{Problems, mask},
    request::{Texts, check_template},
    source::{BadVariable, Resolved, Source, position, resolve},
    table::Table,
    template,
};
use crate::model::{Timestamp, text::clean};
use secrecy::SecretString;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    ops::{Range, RangeInclusive},
    path::PathBuf,
    time::Duration,
};
use toml::de::DeValue;
use url::Url;

/// A place in the file, in bytes.
pub(super) type Span = Range<usize>;

/// What all nodes of one reading share.
pub(super) struct Context<'r> {
    pub(super) source: &'r Source<'r>,
    /// The plan acts on production, so that secrets must not stand in it.
    pub(super) production: Cell<bool>,
    /// The first so many mistakes are of syntax: the file is torn, what seems missing may only be unreadable.
    syntax: Cell<usize>,
    found: RefCell<Vec<(Span, String, String)>>,
    secrets: RefCell<BTreeSet<usize>>,
}

impl<'r> Context<'r> {
    pub(super) fn new(source: &'r Source<'r>) -> Self {
        Self {
            source,
            production: Cell::new(false),
            syntax: Cell::new(0),
            found: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// Notes a mistake of syntax; these come before all others.
    pub(super) fn syntax(&self, span: &Span, found: impl Into<String>, instead: impl Into<String>) {
        self.fault(span, found, instead);
        self.syntax.set(self.found.borrow().len());
    }

    /// Notes a mistake.
    pub(super) fn fault(&self, span: &Span, found: impl Into<String>, instead: impl Into<String>) {
        self.found.borrow_mut().push((span.clone(), found.into(), instead.into()));
    }

    /// Notes a mistake that is only one if the whole file could be read.
    pub(super) fn fault_if_whole(&self, span: &Span, found: impl Into<String>, instead: impl Into<String>) {
        if self.is_whole() {
            self.fault(span, found, instead);
        }
    }

    /// True if the file could be read as a whole.
    pub(super) fn is_whole(&self) -> bool {
        self.syntax.get() == 0
    }

    /// True while no mistake was noted.
    pub(super) fn is_clean(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All mistakes in the order of the file. On a line with a mistake of syntax only that one counts.
    pub(super) fn into_problems(self) -> Problems {
        let text = self.source.text;
        let mut list: Vec<Problem> = Vec::new();
        let syntax = self.syntax.get();
        for (index, (span, found, instead)) in self.found.into_inner().into_iter().enumerate() {
            let (line, column) = position(text, span.start);
            let (end_line, end) = position(text, span.end);
            let rest =
                || text.get(span.start..).and_then(|rest| rest.lines().next()).map_or(1, |rest| rest.chars().count());
            let width = if end_line == line { end.saturating_sub(column) } else { rest() }.max(1);
            if index < syntax || !list.iter().take(syntax).any(|problem| problem.line == line) {
                list.push(Problem { line, column, width, found, instead });
            }
        }
        list.sort_by_key(|problem| (problem.line, problem.column));
        list.dedup();
        Problems::new(self.source.name, text, list)
    }

    /// True if the value that begins here was read as a secret.
    pub(super) fn is_secret(&self, start: usize) -> bool {
        self.secrets.borrow().contains(&start)
    }
}

/// A value with its place and the dotted name it goes by in messages.
#[derive(Clone)]
pub(super) struct Node<'r> {
    pub(super) cx: &'r Context<'r>,
    pub(super) value: &'r DeValue<'r>,
    pub(super) span: Span,
    pub(super) label: String,
}

impl<'r> Node<'r> {
    /// Notes a mistake at this value.
    pub(super) fn fault(&self, found: impl Into<String>, instead: impl Into<String>) {
        self.cx.fault(&self.span, found, instead);
    }

    fn wrong_type(&self, instead: &str) {
        let kind = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fault(format!("{kind} for `{}`", self.label), instead);
    }

    /// The text as the file has it, safe to show.
    pub(super) fn shown(&self) -> String {
        self.value.as_str().map_or_else(String::new, |raw| format!("`{}`", clean(&mask(raw), 80)))
    }

    fn resolved(&self, instead: &str, secret: bool) -> Option<Resolved> {
        let Some(raw) = self.value.as_str() else {
            self.wrong_type(instead);
            return None;
        };
        let bad = match resolve(raw, self.cx.source.env) {
            Ok(resolved) => return Some(resolved),
            Err(bad) => bad,
        };
        for mistake in bad {
            match mistake {
                BadVariable::Missing(name) if secret => self.fault(
                    format!("the variable `{name}`, which is not set"),
                    format!("its value into the environment before you start (`export {name}=…`)"),
                ),
                BadVariable::Missing(name) => self.fault(
                    format!("the variable `{name}`, which is not set"),
                    format!("its value into the environment (`export {name}=…`), or a default: `${{{name}:-…}}`"),
                ),
                BadVariable::Open => self.fault("`${` without `}`", "`${NAME}`, or `$$` for a dollar sign"),
                BadVariable::Name(_) => {
                    self.fault(
                        "`${…}` around something that is no name of a variable",
                        "`${NAME}` or `${NAME:-default}`",
                    );
                }
            }
        }
        None
    }

    /// A text with its variables put in.
    pub(super) fn text(&self) -> Option<String> {
        self.resolved("a text in quotes", false).map(|resolved| resolved.text)
    }

    /// A text that is not empty.
    pub(super) fn filled(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.fault(format!("an empty text for `{}`", self.label), "something in it, or leave the key out");
            return None;
        }
        Some(text)
    }

    /// A text that `read` understands; `what` it is not if `read` says no, and how to write it.
    pub(super) fn parsed<T>(&self, what: &str, instead: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.resolved(instead, false)?.text;
        let value = read(&text);
        if value.is_none() {
            self.fault(format!("{}, which is not {what}", self.shown()), instead);
        }
        value
    }

    /// A text that `read` understands and that no problem repeats, because it stands beside a secret.
    pub(super) fn parsed_unseen<T>(&self, instead: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = read(&self.resolved(instead, false)?.text);
        if value.is_none() {
            self.fault(format!("something else for `{}`", self.label), instead);
        }
        value
    }

    /// A secret. In production it must come from the environment as a whole, or from an earlier answer where texts
    /// are templates (`{{ token }}`).
    pub(super) fn secret(&self, texts: Texts<'_>) -> Option<SecretString> {
        self.cx.secrets.borrow_mut().insert(self.span.start);
        let Resolved { text, literal } = self.resolved("a variable in quotes, as \"${API_TOKEN}\"", true)?;
        let captured = matches!(texts, Texts::Templates(_)) && template::is_template(&text);
        if literal && self.cx.production.get() && !captured {
            self.fault(
                format!("a secret written into the plan of a production cutover (`{}`)", self.label),
                "a variable without default, as \"${API_TOKEN}\", and set it in the environment",
            );
            return None;
        }
        if text.is_empty() || !text.chars().all(|c| (' '..='~').contains(&c)) {
            self.fault(
                format!("a secret for `{}` that is empty or has characters no header can carry", self.label),
                "printable ASCII only, without line breaks",
            );
            return None;
        }
        check_template(self, &text, texts);
        Some(text.into())
    }

    /// A text that follows a pattern of letters; `extra` are the characters allowed besides `a-z` and `0-9`.
    pub(super) fn name(&self, extra: &str) -> Option<String> {
        let instead = format!(
            "1 to 64 of `a-z`, `0-9`{}",
            if extra.is_empty() { String::new() } else { format!(" and `{extra}`") }
        );
        self.parsed("a name", &instead, |text| is_name(text, extra).then(|| text.to_owned()))
    }

    /// One of these words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let choice = || words.iter().map(|(word, _)| *word);
        let text = self.resolved(&suggest("", choice()), false)?.text;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let instead = suggest(self.value.as_str().unwrap_or_default(), choice());
        self.fault(format!("{} for `{}`", self.shown(), self.label), instead);
        None
    }

    /// A name that stands for something else in the plan.
    pub(super) fn reference(&self, what: &str, names: &[String]) -> Option<String> {
        let text = self.text()?;
        if names.contains(&text) {
            return Some(text);
        }
        let found = format!("{}, but there is no {what} of this name", self.shown());
        let instead = if names.is_empty() {
            format!("a {what} into the plan first")
        } else {
            suggest(self.value.as_str().unwrap_or_default(), names.iter().map(String::as_str))
        };
        self.cx.fault_if_whole(&self.span, found, instead);
        None
    }

    /// A time within these bounds.
    pub(super) fn duration(&self, within: RangeInclusive<Duration>) -> Option<Duration> {
        let instead = format!(
            "a time from {} to {}, as \"500ms\", \"30s\" or \"5m\"",
            duration::format(*within.start()),
            duration::format(*within.end())
        );
        self.parsed("such a time", &instead, |text| duration::parse(text).filter(|time| within.contains(time)))
    }

    /// A number of bytes within these bounds.
    pub(super) fn bytes(&self, within: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (bytes::format(*within.start()), bytes::format(*within.end()));
        let instead = format!("bytes from {least} to {most}, as \"64KiB\", \"16MiB\" or \"1GiB\"");
        self.parsed("such a length", &instead, |text| bytes::parse(text).filter(|bytes| within.contains(bytes)))
    }

    /// A whole number within these bounds.
    pub(super) fn integer(&self, within: RangeInclusive<u64>) -> Option<u64> {
        let instead = format!("a whole number from {} to {}", within.start(), within.end());
        let DeValue::Integer(number) = self.value else {
            self.wrong_type(&instead);
            return None;
        };
        let value = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|value| within.contains(value));
        if value.is_none() {
            self.fault(format!("`{number}` for `{}`", self.label), instead);
        }
        value
    }

    /// The same, for what is counted in 32 bits.
    pub(super) fn count(&self, within: RangeInclusive<u32>) -> Option<u32> {
        let number = self.integer(u64::from(*within.start())..=u64::from(*within.end()))?;
        u32::try_from(number).ok()
    }

    /// A finite number within these bounds; a whole number will do.
    pub(super) fn number(&self, within: RangeInclusive<f64>) -> Option<f64> {
        let instead = if *within.end() > 1e100 {
            "a number".to_owned()
        } else {
            format!("a number from {} to {}", within.start(), within.end())
        };
        let raw = match self.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => {
                self.wrong_type(&instead);
                return None;
            }
        };
        let value = raw.parse::<f64>().ok().filter(|value| value.is_finite() && within.contains(value));
        if value.is_none() {
            self.fault(format!("`{}` for `{}`", clean(raw, 40), self.label), instead);
        }
        value
    }

    /// True or false.
    pub(super) fn boolean(&self) -> Option<bool> {
        let yes = self.value.as_bool();
        if yes.is_none() {
            self.wrong_type("true or false, without quotes");
        }
        yes
    }

    /// A point in time.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        const INSTEAD: &str = "a time with its offset, as 2026-11-21T01:00:00Z";
        if let DeValue::Datetime(time) = self.value {
            let value = time.to_string().parse().ok();
            if value.is_none() {
                self.fault(format!("`{time}`, which is no point in time"), INSTEAD);
            }
            return value;
        }
        self.parsed("a point in time", INSTEAD, |text| text.parse().ok())
    }

    /// The base address of a server.
    pub(super) fn url(&self) -> Option<Url> {
        self.parsed("an address", "an address without user name, as \"https://example.org\"", web_address)
    }

    /// A path, made absolute against the plan's folder.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = self.cx.source.base.join(self.filled()?);
        // Only fails without a current directory; then the path stays as relative as the plan wrote it.
        Some(std::path::absolute(&path).unwrap_or(path))
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let Some(items) = self.value.as_array() else {
            self.wrong_type("a list in brackets");
            return None;
        };
        let node = |item: &'r toml::Spanned<DeValue<'r>>| Self {
            cx: self.cx,
            value: item.get_ref(),
            span: item.span(),
            label: self.label.clone(),
        };
        Some(items.iter().map(node).collect())
    }

    /// The items of a list as `read` understands them; those it does not understand are problems already noted.
    pub(super) fn list<T>(&self, read: impl FnMut(&Self) -> Option<T>) -> Option<Vec<T>> {
        Some(self.items()?.iter().filter_map(read).collect())
    }

    /// The keys of a table.
    pub(super) fn table(&self) -> Option<Table<'r>> {
        if let DeValue::Table(map) = self.value {
            return Some(Table::new(self.cx, map, self.span.clone(), self.label.clone()));
        }
        self.wrong_type("a table, as { key = \"value\" }");
        None
    }

    /// The value as JSON, with its variables put in; `check` sees every text.
    pub(super) fn json(&self, check: &impl Fn(&Self, &str)) -> Option<serde_json::Value> {
        Some(match self.value {
            DeValue::String(_) => {
                let text = self.text()?;
                check(self, &text);
                text.into()
            }
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => return self.number(f64::MIN..=f64::MAX).map(Into::into),
            },
            DeValue::Float(_) => self.number(f64::MIN..=f64::MAX)?.into(),
            DeValue::Boolean(yes) => (*yes).into(),
            DeValue::Datetime(time) => time.to_string().into(),
            DeValue::Array(_) => self.list(|item| item.json(check))?.into(),
            DeValue::Table(_) => {
                let entries = self.table()?.entries();
                let fields = entries.iter().filter_map(|(key, _, node)| Some((key.clone(), node.json(check)?)));
                fields.collect::<serde_json::Map<_, _>>().into()
            }
        })
    }
}

/// True for names of 1 to 64 of `a-z`, `0-9` and `extra` that do not begin with a dot or a dash.
pub(super) fn is_name(text: &str, extra: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c))
}

/// The web address this text is; without user name or password, which have keys of their own.
pub(super) fn web_address(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    let good = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none();
    good.then_some(url)
}

/// What to write instead of `word`: the likest of these, or the whole choice.
pub(super) fn suggest<'w>(word: &str, choice: impl Iterator<Item = &'w str>) -> String {
    let mut choice: Vec<&str> = choice.collect();
    let mut seen = BTreeSet::new();
    choice.retain(|option| seen.insert(*option));
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let near = choice
        .iter()
        .map(|option| (strsim::damerau_levenshtein(&plain(word), &plain(option)), *option))
        .filter(|(distance, option)| *distance <= (option.chars().count() / 3).max(1))
        .min();
    let list = || choice.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ");
    match near {
        Some((_, option)) => format!("`{option}`"),
        None if choice.len() == 1 => list(),
        None => format!("one of {}", list()),
    }
}
