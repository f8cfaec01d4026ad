//! A run on the full screen, and what becomes of it when the screen is left.

use super::{
    args::{Settings, Theme, When},
    desk::{Desk, Front},
    headless::{self, Ended, Printer},
    print::{err, out},
    shelf::Shelf,
};
use crate::{
    command::Command,
    engine::Engine,
    error::Result,
    model::{Actor, PauseDepth, Via},
    plan::{OnHangup, Plan},
    tui::{self, GlyphChoice, Left, Setup, ThemeChoice},
    wiring::Kept,
};
use std::sync::Arc;

/// Shows the run until a person leaves the screen; it then goes on in plain mode until the engine's part is over.
///
/// # Errors
/// What keeps plain mode from working.
pub(super) async fn show(desk: &Desk, plan: &Arc<Plan>, engine: Engine, kept: &Kept) -> Result<Ended> {
    let handle = engine.handle.clone();
    let left = tui::run(handle.clone(), setup(desk, plan, kept).await).await;
    // From here on nobody is there to decide: what would hold ends, and can be resumed.
    engine.hold(false);
    let seen = handle.view().seq;
    match left {
        Ok(Left::Ended) => {}
        Ok(Left::Detached) => {
            out("The screen is left, the run goes on here: Ctrl-C is an emergency stop, and from another terminal");
            out(format!("`cutover --plan {} status` and its neighbours work.", desk.settings.plan.display()));
        }
        Ok(Left::HangUp(signal)) => {
            let by = Actor { name: desk.actor.name.clone(), via: Via::Signal };
            let command = match (signal, plan.on_hangup) {
                (tui::Signal::Term, _) => Some(Command::EmergencyStop { reason: "SIGTERM".into() }),
                (tui::Signal::Hup, OnHangup::Pause) => {
                    Some(Command::Pause { depth: PauseDepth::AfterBatch, reason: "the terminal hung up".into() })
                }
                (tui::Signal::Hup, OnHangup::Continue) => None,
            };
            if let Some(command) = command
                && let Err(refusal) = handle.order(by, command).await
            {
                tracing::warn!("the terminal hung up: {}", refusal.why);
            }
        }
        Err(fault) => {
            tracing::error!("the screen broke: {}", fault.advice());
            err(format!("cutover: the screen broke, the run goes on without it: {}", fault.chain()));
        }
    }
    headless::follow(engine, kept, Printer::after(Front::Plain, seen), plan.on_hangup).await
}

async fn setup(desk: &Desk, plan: &Arc<Plan>, kept: &Kept) -> Setup {
    let settings = &desk.settings;
    let mut setup = Setup::new(plan, desk.actor.clone());
    setup.theme = theme(settings);
    setup.mouse = settings.mouse;
    match kept.bystander(plan) {
        Ok(bystander) => setup.reader = Some(Arc::new(Shelf(bystander))),
        Err(fault) => tracing::warn!("single records and files cannot be read: {}", fault.advice()),
    }
    if settings.ascii {
        setup.glyphs = GlyphChoice::Ascii;
    }
    match kept.journal().load(&kept.run).await {
        Ok(events) => setup.history = events.into_iter().map(Arc::new).collect(),
        Err(fault) => tracing::warn!("the history is missing: {}", fault.advice()),
    }
    setup
}

const fn theme(settings: &Settings) -> ThemeChoice {
    match (settings.theme, settings.color) {
        (Theme::Dark, _) | (Theme::Auto, When::Always) => ThemeChoice::Dark,
        (Theme::Light, _) => ThemeChoice::Light,
        (Theme::Ansi16, _) => ThemeChoice::Ansi16,
        (Theme::Mono, _) | (Theme::Auto, When::Never) => ThemeChoice::Mono,
        (Theme::Auto, When::Auto) => ThemeChoice::Auto,
    }
}
