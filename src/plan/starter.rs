//! Starter plans: complete, commented, built into the program.

/// The names of all starter plans, the usual one first.
pub const STARTERS: [&str; 1] = ["django-workers"];

/// The text of a starter plan, if there is one of this name.
#[must_use]
pub fn starter(kind: &str) -> Option<&'static str> {
    match kind {
        "django-workers" => Some(include_str!("../../assets/plans/django-workers.toml")),
        _ => None,
    }
}
