//! Roles and how a theme shows them. Drawing code names a role, never a colour; themes are TOML in `assets/themes`.
//!
//! A theme file maps each role to `{ fg, x256, add }`: colour, the colour's index for terminals without true colour, and
//! modifiers. `mono` has no colour at all, because any colour under `NO_COLOR` makes crossterm 0.29 emit an empty SGR
//! that also cancels bold and reverse.

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use std::str::FromStr;

/// What a piece of text is, which decides how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Text,
    Faint,
    Ok,
    Active,
    Wait,
    Warn,
    Crit,
    Stale,
    Pending,
    Selected,
    Danger,
    Badge,
    Title,
    Border,
    Focused,
    Key,
}

impl Role {
    /// Every role, in the order of the theme files.
    pub(crate) const ALL: [Self; 16] = [
        Self::Text,
        Self::Faint,
        Self::Ok,
        Self::Active,
        Self::Wait,
        Self::Warn,
        Self::Crit,
        Self::Stale,
        Self::Pending,
        Self::Selected,
        Self::Danger,
        Self::Badge,
        Self::Title,
        Self::Border,
        Self::Focused,
        Self::Key,
    ];
}

/// Which theme is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThemeChoice {
    /// Dark, or mono without colour, or ansi16 where the terminal has no more.
    #[default]
    Auto,
    /// For dark backgrounds.
    Dark,
    /// For light backgrounds.
    Light,
    /// No colour at all.
    Mono,
    /// The sixteen colours of any terminal.
    Ansi16,
}

impl FromStr for ThemeChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "dark" => Ok(Self::Dark),
            "light" => Ok(Self::Light),
            "mono" => Ok(Self::Mono),
            "ansi16" => Ok(Self::Ansi16),
            other => Err(format!("no theme `{other}`: use auto, dark, light, mono or ansi16")),
        }
    }
}

/// How many colours the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// None may be used.
    None,
    /// Sixteen.
    Ansi16,
    /// 256.
    Indexed,
    /// All.
    True,
}

impl Depth {
    /// What the terminal behind standard output can do, and the user wants (`NO_COLOR`, `TERM`, `COLORTERM`).
    pub(crate) fn of_terminal() -> Self {
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return Self::None;
        }
        match supports_color::on(supports_color::Stream::Stdout) {
            None => Self::None,
            Some(level) if level.has_16m => Self::True,
            Some(level) if level.has_256 => Self::Indexed,
            Some(_) => Self::Ansi16,
        }
    }
}

/// A theme: one style per role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Theme {
    styles: [Style; Role::ALL.len()],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    fg: Option<String>,
    x256: Option<u8>,
    #[serde(default)]
    add: Vec<String>,
}

const FILES: [(ThemeChoice, &str); 4] = [
    (ThemeChoice::Dark, include_str!("../../assets/themes/dark.toml")),
    (ThemeChoice::Light, include_str!("../../assets/themes/light.toml")),
    (ThemeChoice::Mono, include_str!("../../assets/themes/mono.toml")),
    (ThemeChoice::Ansi16, include_str!("../../assets/themes/ansi16.toml")),
];

impl Theme {
    /// The theme for this choice on a terminal of this depth. Without colour it is `mono`, whatever was chosen.
    pub(crate) fn choose(choice: ThemeChoice, depth: Depth) -> Self {
        let name = match (choice, depth) {
            (_, Depth::None) | (ThemeChoice::Mono, _) => ThemeChoice::Mono,
            (_, Depth::Ansi16) | (ThemeChoice::Ansi16, _) => ThemeChoice::Ansi16,
            (ThemeChoice::Light, _) => ThemeChoice::Light,
            (ThemeChoice::Auto | ThemeChoice::Dark, _) => ThemeChoice::Dark,
        };
        let file = FILES.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
        // The files are part of the program and a test reads them all; an unreadable one shows everything plain.
        Self::parse(file, depth).unwrap_or(Self { styles: [Style::new(); Role::ALL.len()] })
    }

    /// The style of a role.
    pub(crate) const fn style(&self, role: Role) -> Style {
        self.styles[role as usize]
    }

    fn parse(file: &str, depth: Depth) -> Result<Self, String> {
        let mut looks: std::collections::HashMap<Role, Look> = toml::from_str(file).map_err(|e| e.to_string())?;
        let mut styles = [Style::new(); Role::ALL.len()];
        for role in Role::ALL {
            let look = looks.remove(&role).ok_or_else(|| format!("no role {role:?}"))?;
            styles[role as usize] = look.style(depth)?;
        }
        Ok(Self { styles })
    }
}

impl Look {
    fn style(&self, depth: Depth) -> Result<Style, String> {
        let mut style = Style::new();
        match (&self.fg, self.x256) {
            (Some(_), Some(index)) if depth < Depth::True => style = style.fg(Color::Indexed(index)),
            (Some(name), _) => style = style.fg(Color::from_str(name).map_err(|e| format!("{name}: {e}"))?),
            (None, _) => {}
        }
        for name in &self.add {
            style = style.add_modifier(match name.as_str() {
                "bold" => Modifier::BOLD,
                "dim" => Modifier::DIM,
                "italic" => Modifier::ITALIC,
                "underlined" => Modifier::UNDERLINED,
                "reversed" => Modifier::REVERSED,
                other => return Err(format!("no modifier {other}")),
            });
        }
        Ok(style)
    }
}

#[cfg(test)]
mod tests {
    use super::{Depth, FILES, Role, Theme, ThemeChoice};
    use ratatui::style::Style;

    #[test]
    fn every_file_has_every_role() {
        for (name, text) in FILES {
            for depth in [Depth::Ansi16, Depth::Indexed, Depth::True] {
                let theme = Theme::parse(text, depth).unwrap_or_else(|e| panic!("{name:?}: {e}"));
                let alarms = [Role::Ok, Role::Warn, Role::Crit].map(|role| theme.style(role));
                assert!(alarms[0] != alarms[1] && alarms[1] != alarms[2] && alarms[0] != alarms[2], "{name:?}");
            }
        }
    }

    #[test]
    fn no_colour_means_no_colour_whatever_was_chosen() {
        for choice in [ThemeChoice::Auto, ThemeChoice::Dark, ThemeChoice::Light, ThemeChoice::Mono, ThemeChoice::Ansi16]
        {
            let theme = Theme::choose(choice, Depth::None);
            for role in Role::ALL {
                let Style { fg, bg, .. } = theme.style(role);
                assert_eq!((fg, bg), (None, None), "{choice:?} {role:?}");
            }
            assert_ne!(theme.style(Role::Crit), theme.style(Role::Text));
        }
    }

    #[test]
    fn a_choice_is_read_from_its_name() {
        assert_eq!("light".parse(), Ok(ThemeChoice::Light));
        assert!("pink".parse::<ThemeChoice>().is_err());
    }
}
