//! Requests, credentials and programs: what stores, switches, probes and phases have in common.

use super::{
    Auth, RequestPlan,
    reader::{Node, suggest, web_address},
    table::Table,
    template,
};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Whether a request's texts are templates.
#[derive(Debug, Clone, Copy)]
pub(super) enum Texts<'n> {
    /// They are what they are.
    Plain,
    /// minijinja over these names and no others.
    Templates(&'n [String]),
}

/// The credential under `key`, or this default: `{ scheme, token }`, `{ user, password }` or `{ header, token }`.
pub(super) fn auth(table: &Table<'_>, key: &str, default: Auth, texts: Texts<'_>) -> Auth {
    let Some(auth) = table.table(key) else { return default };
    let word = |node: &Node<'_>, instead: &str| {
        node.parsed_unseen(instead, |text| {
            let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            good.then(|| text.to_owned())
        })
    };
    let secret = |key: &str, example: &str| auth.need(key, example).and_then(|node| node.secret(texts));
    let read = if auth.get("user").or_else(|| auth.get("password")).is_some() {
        let user = auth.need("user", "\"admin\"").and_then(|node| {
            node.parsed_unseen("printable ASCII without `:`", |text| {
                let good = !text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c) && c != ':');
                good.then(|| text.to_owned())
            })
        });
        if let Some(scheme) = auth.get("scheme") {
            scheme.one_of(&[("Basic", ())]);
        }
        let password = secret("password", "\"${API_PASSWORD}\"");
        user.zip(password).map(|(user, password)| Auth::Basic { user, password })
    } else if let Some(header) = auth.get("header") {
        let name = word(&header, "the name of a header, as \"X-API-Key\"");
        name.zip(secret("token", "\"${API_TOKEN}\"")).map(|(name, token)| Auth::Header { name, token })
    } else {
        let scheme = auth
            .get("scheme")
            .map_or(Some("Token".into()), |node| word(&node, "a word such as \"Token\" or \"Bearer\""));
        scheme.zip(secret("token", "\"${API_TOKEN}\"")).map(|(scheme, token)| Auth::Token { scheme, token })
    };
    auth.close();
    read.unwrap_or(default)
}

/// `"POST https://…"`.
pub(super) fn request(node: &Node<'_>, auth: &Auth, texts: Texts<'_>) -> Option<RequestPlan> {
    const INSTEAD: &str = "a method and an address, as \"GET https://example.org/health\"";
    let (method, url) = node.parsed("a request", INSTEAD, |text| {
        let (method, url) = text.trim().split_once(char::is_whitespace)?;
        Some((method.to_owned(), url.trim().to_owned()))
    })?;
    if !METHODS.contains(&method.as_str()) {
        let shown = crate::model::text::clean(&method, 20);
        node.fault(format!("the method `{shown}` for `{}`", node.label), suggest(&method, METHODS.into_iter()));
        return None;
    }
    if matches!(texts, Texts::Templates(_)) && template::is_template(&url) {
        check_template(node, &url, texts);
    } else if web_address(&url).is_none() {
        node.fault(
            format!("{}, whose address is not a full one", node.shown()),
            "a full address without user name, as \"GET https://example.org/health\"",
        );
        return None;
    }
    Some(RequestPlan { method, url, auth: auth.clone(), body: None })
}

/// A bare address that is asked with `GET`.
pub(super) fn get(node: &Node<'_>, auth: &Auth) -> Option<RequestPlan> {
    let url = node.url()?.to_string();
    Some(RequestPlan { method: "GET".into(), url, auth: auth.clone(), body: None })
}

/// The JSON body under `body`.
pub(super) fn body(table: &Table<'_>, texts: Texts<'_>) -> Option<serde_json::Value> {
    table.get("body")?.json(&|node: &Node<'_>, text: &str| check_template(node, text, texts))
}

/// Notes a problem if this is no template, or one that names what nobody gives it.
pub(super) fn check_template(node: &Node<'_>, text: &str, texts: Texts<'_>) {
    let Texts::Templates(names) = texts else { return };
    if let Some(why) = template::template(text) {
        node.fault(format!("{}, which is no template: {why}", node.shown()), "a minijinja template, as \"{{ name }}\"");
    }
    for name in template::names(text).iter().filter(|name| !names.contains(name)) {
        node.cx.fault_if_whole(
            &node.span,
            format!("`{name}` in the template for `{}`, which nothing gives it", node.label),
            if names.is_empty() { "the value itself".into() } else { suggest(name, names.iter().map(String::as_str)) },
        );
    }
}

/// A JSON pointer.
pub(super) fn pointer(node: &Node<'_>) -> Option<String> {
    node.parsed("a JSON pointer", "a pointer that begins with a slash, as \"/status/active\"", |text| {
        text.starts_with('/').then(|| text.to_owned())
    })
}

/// A program and its arguments. A program with a slash in it is looked for from the plan's folder.
pub(super) fn command(node: &Node<'_>) -> Option<Vec<String>> {
    let mut words = node.list(Node::text)?;
    match words.first_mut() {
        Some(program) if !program.trim().is_empty() => {
            if program.contains('/') {
                let path = node.cx.source.base.join(&program);
                let path = std::path::absolute(&path).unwrap_or(path);
                *program = path.to_string_lossy().into_owned();
            }
            Some(words)
        }
        _ => {
            node.fault(
                format!("no program for `{}`", node.label),
                "a program and its arguments, as [\"./check.sh\", \"now\"]",
            );
            None
        }
    }
}

/// A list of HTTP statuses.
pub(super) fn statuses(table: &Table<'_>) -> Vec<u16> {
    let read = |node: &Node<'_>| node.integer(100..=599).and_then(|status| u16::try_from(status).ok());
    table.get("status").and_then(|node| node.list(read)).unwrap_or_default()
}
