//! The digest of a plan: the same for two files that say the same, whatever their layout; no secret goes into it.

use super::{reader::Context, source::resolve};
use crate::model::Digest;
use std::fmt::Write as _;
use toml::de::{DeTable, DeValue};

/// SHA-256 over everything the plan says, with variables put in, keys in order and secrets left out.
pub(super) fn digest(cx: &Context<'_>, root: &DeTable<'_>) -> String {
    let mut text = String::new();
    table(cx, &mut text, root);
    Digest::of(text.as_bytes()).to_hex()
}

fn table(cx: &Context<'_>, out: &mut String, map: &DeTable<'_>) {
    out.push('{');
    for (key, item) in map {
        let _infallible = write!(out, "{:?}:", key.get_ref());
        value(cx, out, item.get_ref(), item.span().start);
        out.push(',');
    }
    out.push('}');
}

fn value(cx: &Context<'_>, out: &mut String, item: &DeValue<'_>, start: usize) {
    match item {
        DeValue::Table(map) => table(cx, out, map),
        DeValue::Array(items) => {
            out.push('[');
            for item in items {
                value(cx, out, item.get_ref(), item.span().start);
                out.push(',');
            }
            out.push(']');
        }
        DeValue::String(_) if cx.is_secret(start) => out.push_str("secret"),
        DeValue::String(raw) => match resolve(raw, cx.source.env) {
            Ok(resolved) => {
                let _infallible = write!(out, "{:?}", resolved.text);
            }
            // Such a plan is a mistake anyway and its digest is never seen.
            Err(_) => out.push_str("unresolved"),
        },
        DeValue::Integer(number) => out.push_str(&number.to_string()),
        DeValue::Float(number) => out.push_str(number.as_str()),
        DeValue::Boolean(yes) => out.push_str(if *yes { "true" } else { "false" }),
        DeValue::Datetime(time) => out.push_str(&time.to_string()),
    }
}
