//! What an operator waits for, measured: `cargo bench --bench night`.
//!
//! Prints a line per figure with its aim; it judges nothing and never fails for being slow. Each figure is taken on the
//! real parts: the real engine and ledger for the stop, the real journal for appends, the real drawing for frames, the
//! real binary on a pseudo-terminal for the first frame and the idle console.

#[path = "night/console.rs"]
mod console;
#[path = "night/figures.rs"]
mod figures;
#[path = "night/journal.rs"]
mod journal;
#[path = "night/stop.rs"]
mod stop;

fn main() {
    // `cargo test --benches` runs every bench once with this flag; there is nothing to test here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    console::frames();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime needs two threads and nothing else");
    runtime.block_on(stop::stops());
    runtime.block_on(journal::appends());
    console::first_frame();
    console::idle();
}
