//! What must be true of every frame.

use super::{Person, dark, drawn, fixtures, model, text};
use crate::tui::{glyphs::GlyphChoice, say, theme::ThemeChoice};
use unicode_width::UnicodeWidthStr;

#[test]
fn help_and_environment_are_on_every_frame() {
    for (name, view) in fixtures::all() {
        for size in [(160, 50), (120, 36), (100, 30), (80, 24), (60, 16)] {
            for overlay in ["", "?", ":", "l", "h", "G", "1\n", "!", "P", "/", "2↓↓↓\n", "2↓↓↓↓↓↓↓↓\n", "2↓d", "2↓u\n"]
            {
                let mut person = Person::at(view.clone()).armed();
                person.model.size = ratatui::layout::Size::new(size.0, size.1);
                let shown = text(&person.keys(overlay).model);
                assert!(shown.contains("? help"), "{name} {size:?} {overlay:?}\n{shown}");
                assert!(shown.contains("PROD"), "{name} {size:?} {overlay:?}\n{shown}");
            }
        }
    }
}

#[test]
fn ascii_stays_below_0x80() {
    for (name, view) in fixtures::all().into_iter().chain([("hostile", fixtures::hostile())]) {
        for overlay in ["", "?", ":", "l", "h", "g", "1\n", "!", "P", "2↓\n", "2↓↓↓↓↓↓↓↓\n", "2↓d\n", "2↓u\n", "/a"]
        {
            let mut person = Person::at(view.clone()).armed();
            person.model = model(view.clone(), (120, 36), ThemeChoice::Dark, GlyphChoice::Ascii);
            let shown = text(&person.keys(overlay).model);
            assert!(shown.is_ascii(), "{name} {overlay:?}\n{shown}");
        }
    }
}

#[test]
fn every_sign_is_one_cell_wide_and_every_state_has_its_word() {
    for (name, view) in fixtures::all() {
        let word =
            say::run(view.state, &model(view.clone(), (1, 1), ThemeChoice::Dark, GlyphChoice::Unicode).pen.glyphs).word;
        for overlay in ["", "?", ":", "l", "h", "g", "1\n", "!", "P", "/", "2↓↓↓\n", "2↓↓↓↓↓↓↓↓\n", "2↓d", "2↓u\n"]
        {
            let person = Person::at(view.clone()).armed().keys(overlay);
            let buffer = drawn(&person.model);
            assert!(crate::tui::run::text_of(&buffer).contains(word), "{name} {overlay:?}");
            let wide = buffer.content.iter().find(|cell| cell.symbol().width() != 1);
            assert_eq!(wide, None, "{name} {overlay:?}");
        }
    }
}

#[test]
fn mono_shows_no_colour_and_every_theme_the_same_text() {
    for (name, view) in fixtures::all() {
        let plain = text(&dark(view.clone(), (120, 36)));
        for theme in [ThemeChoice::Light, ThemeChoice::Mono, ThemeChoice::Ansi16] {
            let model = model(view.clone(), (120, 36), theme, GlyphChoice::Unicode);
            assert_eq!(text(&model), plain, "{name} {theme:?}");
            if theme == ThemeChoice::Mono {
                let buffer = drawn(&model);
                let coloured = buffer
                    .content
                    .iter()
                    .find(|cell| cell.fg != ratatui::style::Color::Reset || cell.bg != ratatui::style::Color::Reset);
                assert_eq!(coloured, None, "{name}");
            }
        }
    }
}

#[test]
fn no_size_and_no_model_breaks_a_frame() {
    let views = [fixtures::empty(), fixtures::hostile(), fixtures::veto(), fixtures::stuck()];
    for view in views {
        for overlay in [
            "",
            "?",
            ":",
            "l",
            "h",
            "g",
            "1\n",
            "!",
            "P",
            "B",
            "2↓\n",
            "2↓↓↓↓↓↓↓↓\n",
            "2↓↓↓\n⇟",
            "2↓d\n⇟",
            "2↓u\n",
            "2↓uR",
            "/a",
            "z",
        ] {
            let mut person = Person::at(view.clone()).armed().keys(overlay);
            for (width, height) in sizes() {
                person.model.size = ratatui::layout::Size::new(width, height);
                let shown = text(&person.model);
                assert!(!shown.contains('\x1b') && !shown.contains('\u{202e}'), "{width}x{height} {overlay:?}");
            }
        }
    }
}

/// Every corner from nothing to 220x70, without trying all fifteen thousand.
fn sizes() -> Vec<(u16, u16)> {
    let widths = [0, 1, 2, 5, 9, 20, 40, 59, 60, 61, 79, 80, 99, 100, 119, 120, 160, 220];
    let heights = [0, 1, 2, 3, 5, 9, 15, 16, 17, 23, 24, 29, 30, 36, 50, 70];
    widths.into_iter().flat_map(|width| heights.map(|height| (width, height))).collect()
}

#[test]
fn a_disagreement_is_said_and_old_views_say_they_are_old() {
    let shown = text(&dark(fixtures::failed(), (120, 36)));
    assert!(shown.contains("dns want new ≠ IS legacy"), "{shown}");
    let later = Person::at(fixtures::migrating()).waits(20_000);
    let shown = text(&later.model);
    assert!(shown.contains("STALE 20s") && shown.contains("ETA -"), "{shown}");
    let mut gone = Person::at(fixtures::migrating());
    gone.says(super::Message::EngineGone, 10);
    assert!(text(&gone.model).contains("ENGINE GONE"));
}
