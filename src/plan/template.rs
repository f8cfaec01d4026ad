//! Whether the small languages inside a plan's texts are well-formed: minijinja templates and expressions, `JSONPath`,
//! JSON pointers. Compiles and throws away; whoever uses them compiles again.

use minijinja::{Environment, ErrorKind};

/// What is wrong with this template, if anything. Unless it could loop, it is also filled in once without any values,
/// which finds filters, tests and functions that do not exist.
pub(super) fn template(text: &str) -> Option<String> {
    let env = Environment::new();
    match env.template_from_str(text) {
        Err(error) => Some(describe(&error)),
        Ok(_) if text.contains("{%") => None,
        Ok(compiled) => compiled.render(()).err().and_then(|error| unknown(&error)),
    }
}

/// The names this template takes from outside; none if it is no template.
pub(super) fn names(text: &str) -> Vec<String> {
    let env = Environment::new();
    let names = env.template_from_str(text).map(|template| template.undeclared_variables(false)).unwrap_or_default();
    // `range` and the like are minijinja's own and count as names too.
    let mut names: Vec<String> =
        names.into_iter().filter(|name| !env.globals().any(|(global, _)| global == name)).collect();
    names.sort();
    names
}

/// What is wrong with this expression, if anything. It is also run once over a record without fields, which finds
/// filters, tests and functions that do not exist.
pub(super) fn expression(text: &str) -> Option<String> {
    let env = Environment::new();
    match env.compile_expression(text) {
        Err(error) => Some(describe(&error)),
        Ok(compiled) => compiled.eval(()).err().and_then(|error| unknown(&error)),
    }
}

/// Only this is a mistake of the plan; everything else is for want of values.
fn unknown(error: &minijinja::Error) -> Option<String> {
    use ErrorKind::{UnknownFilter, UnknownFunction, UnknownTest};
    matches!(error.kind(), UnknownFilter | UnknownTest | UnknownFunction).then(|| describe(error))
}

/// True if this is a `JSONPath`.
pub(super) fn is_json_path(text: &str) -> bool {
    serde_json_path::JsonPath::parse(text).is_ok()
}

/// True for a text that minijinja would change.
pub(super) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

fn describe(error: &minijinja::Error) -> String {
    // Without the detail's own position: the texts are one line long, and the plan's position says where they are.
    error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{expression, is_json_path, names, template};

    #[test]
    fn good_texts_pass_and_bad_ones_say_why() {
        assert_eq!(template("users/{{ user_id }}/{{ id }}"), None);
        assert!(template("users/{{ user_id").is_some());
        assert_eq!(expression("first_name ~ ' ' ~ last_name"), None);
        assert_eq!(expression("email | lower"), None);
        assert_eq!(expression("profile.name[0] + 1"), None, "running without fields is no mistake of the plan");
        assert!(expression("email |").is_some());
        assert!(expression("email | lowercase").is_some_and(|why| why.contains("lowercase")));
        assert!(is_json_path("$.items[0].token"));
        assert!(!is_json_path("token"));
        assert!(template("{{ a | lowercase }}").is_some());
        assert_eq!(names("{{ b }}{% for x in range(3) %}{{ x ~ a.c }}{% endfor %}"), ["a", "b"]);
    }
}
