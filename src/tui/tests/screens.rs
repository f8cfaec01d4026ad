//! Pictures of every screen at every size: text, which role each cell has, and a fingerprint of the styled cells in each
//! theme. ratatui's own picture of a buffer has no styles, so this one is made here.

use super::{Person, drawn, fixtures, model};
use crate::{
    engine::view::RunView,
    tui::{
        glyphs::GlyphChoice,
        model::Model,
        pen::Pen,
        theme::{Depth, Role, Theme, ThemeChoice},
        update::Message,
    },
};
use ratatui::{
    buffer::{Buffer, Cell},
    layout::Size,
};
use sha2::{Digest, Sha256};
use std::fmt::Write;

const SIZES: [(u16, u16); 6] = [(160, 50), (120, 36), (100, 30), (80, 24), (60, 16), (59, 15)];
const THEMES: [ThemeChoice; 4] = [ThemeChoice::Dark, ThemeChoice::Light, ThemeChoice::Mono, ThemeChoice::Ansi16];

/// Every screen: its name, the run, whether steering is armed, and the keys that lead there.
fn screens() -> Vec<(&'static str, RunView, bool, &'static str)> {
    let board = fixtures::all().into_iter().map(|(name, view)| (name, view, false, ""));
    let over = vec![
        ("gate", fixtures::gate_closed(), true, "G↓"),
        ("gate_watch", fixtures::at_gate(), false, "g"),
        ("gate_go", fixtures::at_gate(), true, "G\tG"),
        ("gate_no_go", fixtures::gate_closed(), true, "GNlags"),
        ("gate_waive", fixtures::gate_closed(), true, "GWbackup job"),
        ("dialog_pause", fixtures::migrating(), false, "P"),
        ("dialog_pausing", fixtures::pausing(), true, "P"),
        ("dialog_resume", fixtures::paused(), true, "P"),
        ("dialog_stop", fixtures::migrating(), false, "!ST"),
        ("dialog_rollback", fixtures::migrating(), true, "Blist-c"),
        ("dialog_maintenance", fixtures::paused(), true, "M"),
        ("dialog_keep", fixtures::veto(), true, "K"),
        ("dialog_retry", fixtures::failed(), true, "R"),
        ("dialog_arm", fixtures::migrating(), false, "T"),
        ("help", fixtures::migrating(), false, "?"),
        ("palette", fixtures::migrating(), true, ":pau"),
        ("batch", fixtures::migrating(), false, "2↓↓↓↓↓↓↓↓\n"),
        ("batch_page", fixtures::migrating(), false, "2↓↓↓↓↓↓↓↓\n⇟↓"),
        ("lane", fixtures::migrating(), false, "2↓↓↓\n"),
        ("lane_listing", fixtures::listing(), false, "2↓↓↓\n"),
        ("lane_verifying", fixtures::verifying(), false, "2↓↓↓\n"),
        ("lane_records", fixtures::migrating(), false, "2↓\n"),
        ("lane_records_slowed", fixtures::copying_users(), false, "2↓\n"),
        ("letters", fixtures::letters_at_gate(), false, "2↓d"),
        ("letters_mending", fixtures::mending(), true, "2↓d"),
        ("letter", fixtures::letters_at_gate(), true, "2↓d\n↓↓↓↓"),
        ("letters_none", fixtures::letters_at_gate(), false, "2↓↓d"),
        ("dialog_retry_letters", fixtures::letters_at_gate(), true, "2↓dR↓"),
        ("dialog_decide", fixtures::letters_at_gate(), true, "2↓d↓D"),
        ("dialog_leave_record_out", fixtures::letters_at_gate(), true, "2↓dXon legal hold"),
        ("differences", fixtures::letters_at_gate(), false, "2↓u"),
        ("differences_class", fixtures::letters_at_gate(), false, "2↓uccc"),
        ("differences_never", fixtures::letters_at_gate(), false, "2↓↓u"),
        ("differences_refused", fixtures::letters_at_gate(), true, "2↓↓↓↓u"),
        ("sides", fixtures::letters_at_gate(), false, "2↓u\n"),
        ("sides_away", fixtures::letters_at_gate(), false, "2↓u↓↓\n"),
        ("dialog_repair", fixtures::letters_at_gate(), true, "2↓uROVER"),
        ("dialog_repair_missing", fixtures::letters_at_gate(), true, "2↓u↓↓R"),
        ("dialog_repair_extra", fixtures::letters_at_gate(), true, "2↓u↓↓↓RDELETE\t↓"),
        ("dialog_compare", fixtures::letters_at_gate(), true, "2↓uV"),
        ("dialog_limit_records", fixtures::copying_users(), true, "2↓\nL500 rows/s"),
        ("following", fixtures::following(), false, ""),
        ("lane_following", fixtures::following(), false, "2↓\n"),
        ("lane_end", fixtures::migrating(), false, "2↓↓↓\n⇟⇟"),
        ("dialog_limit", fixtures::migrating(), true, "2↓↓↓\nL10M"),
        ("dialog_retry_files", fixtures::migrating(), true, "2↓↓↓↓↓↓↓↓\nR"),
        ("dialog_exclude", fixtures::migrating(), true, "2↓↓↓↓↓↓↓↓\nXon legal hold"),
        ("refused_exclude", fixtures::migrating(), true, "2↓↓↓↓↓↓↓↓\n↓↓X"),
        ("filter_typing", fixtures::migrating(), false, "/fai"),
        ("filter_kept", fixtures::migrating(), false, "/=files-content !retry\n"),
        ("filter_log", fixtures::migrating(), false, "l/wrn"),
        ("phase", fixtures::failed(), false, "1\n"),
        ("log", fixtures::migrating(), false, "l"),
        ("history", fixtures::migrating(), false, "h"),
        ("zoomed", fixtures::migrating(), false, "3z"),
        ("held", fixtures::migrating(), false, "f"),
        ("refused_key", fixtures::ready(), true, "B"),
        ("many_batches", fixtures::huge(), false, "↓↓↓↓↓↓↓↓↓↓↓↓↓↓"),
    ];
    board.chain(over).collect()
}

fn person(view: RunView, armed: bool, keys: &str, size: (u16, u16)) -> Person {
    let person = Person::at(view);
    let mut person = if armed { person.armed() } else { person };
    // A screen too small would swallow the keys: it is made small once they were typed.
    person.model.size = Size::new(size.0.max(60), size.1.max(16));
    let mut person = person.keys(keys).waits(700);
    person.model.size = Size::new(size.0, size.1);
    person
}

fn letter(role: Role) -> char {
    match role {
        Role::Text => '.',
        Role::Faint => 'f',
        Role::Ok => 'o',
        Role::Active => 'a',
        Role::Wait => 'w',
        Role::Warn => 'y',
        Role::Crit => 'c',
        Role::Stale => 's',
        Role::Pending => 'p',
        Role::Selected => 'S',
        Role::Danger => 'D',
        Role::Badge => 'B',
        Role::Title => 'T',
        Role::Border => 'b',
        Role::Focused => 'F',
        Role::Key => 'k',
    }
}

fn role_of(cell: &Cell, pen: &Pen) -> char {
    let wears = |role: &Role| {
        let style = pen.style(*role);
        (cell.fg, cell.modifier) == (style.fg.unwrap_or_default(), style.add_modifier)
    };
    // A selected cell wears its own role and the selection.
    Role::ALL.iter().find(|role| wears(role)).map_or('+', |role| letter(*role))
}

/// `12.5o`: twelve plain cells, five that are ok.
fn roles(buffer: &Buffer, pen: &Pen) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let row: Vec<char> = (0..buffer.area.width).map(|x| role_of(&buffer[(x, y)], pen)).collect();
        for run in row.chunk_by(|a, b| a == b) {
            write!(out, "{}{}", run.len(), run[0]).unwrap();
        }
        out.push('\n');
    }
    out
}

fn fingerprint(model: &mut Model) -> String {
    let mut all = Vec::new();
    for theme in THEMES {
        model.pen.theme = Theme::choose(theme, Depth::True);
        let mut hash = Sha256::new();
        for cell in &drawn(model).content {
            hash.update(format!("{}{:?}{:?}{:?}", cell.symbol(), cell.fg, cell.bg, cell.modifier));
        }
        all.push(format!("{theme:?} {}", &hex::encode(hash.finalize())[..12]));
    }
    all.join(", ")
}

#[test]
fn every_screen_at_every_size_in_every_theme() {
    for (name, view, armed, keys) in screens() {
        let mut picture = String::new();
        for size in SIZES {
            let mut person = person(view.clone(), armed, keys, size);
            let buffer = drawn(&person.model);
            writeln!(picture, "== {}x{}", size.0, size.1).unwrap();
            picture.push_str(&crate::tui::run::text_of(&buffer));
            writeln!(picture, "-- roles").unwrap();
            picture.push_str(&roles(&buffer, &person.model.pen));
            writeln!(picture, "-- styles: {}", fingerprint(&mut person.model)).unwrap();
        }
        insta::assert_snapshot!(name, picture);
    }
}

#[test]
fn the_board_in_ascii() {
    let mut picture = String::new();
    for view in [fixtures::migrating(), fixtures::failed(), fixtures::rolling_back()] {
        let model = model(view, (120, 36), ThemeChoice::Mono, GlyphChoice::Ascii);
        picture.push_str(&super::text(&model));
    }
    insta::assert_snapshot!("ascii", picture);
}

#[test]
fn the_board_without_an_engine() {
    let mut gone = Person::at(fixtures::migrating());
    gone.says(Message::EngineGone, 10);
    let mut broken = Person::at(fixtures::migrating());
    broken.says(Message::Broken("index out of bounds (src/x.rs:7)".into()), 10);
    let stale = Person::at(fixtures::migrating()).waits(20_000);
    let picture = [gone, broken, stale].map(|person| super::text(&person.model)).join("\n");
    insta::assert_snapshot!("engine_trouble", picture);
}

#[test]
fn what_each_role_looks_like() {
    let mut table = String::new();
    for theme in THEMES {
        for depth in [Depth::True, Depth::Indexed] {
            writeln!(table, "{theme:?} {depth:?}").unwrap();
            let styles = Theme::choose(theme, depth);
            for role in Role::ALL {
                let style = styles.style(role);
                writeln!(table, "  {role:?} {:?} {:?}", style.fg, style.add_modifier).unwrap();
            }
        }
    }
    insta::assert_snapshot!("themes", table);
}
