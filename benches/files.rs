//! Files against the tools people use, in one run, on one server and the same data:
//! `cargo bench --bench files` (set `CUTOVER_TEST_TOOLS` to the folder with `s5cmd` and `rclone`, or have them in PATH).
//!
//! Prints, for 5,000 × 16 KiB and 8 × 256 MiB, wall time, CPU time and peak memory of each tool's process, medians of
//! the rounds, and the ratio to s5cmd in the same run. `cutover` here lists the files from a table of records, keeps its
//! ledger, hashes every byte and proves every object; `cutover + verify` compares all of it once more, object by object.
//! It judges nothing and never fails for being slow. `-- small` and `-- large` run one of the sets.
//!
//! `-- listing [FILES [IN ONE FOLDER]]` measures what a lane of a million files costs: listing them into the ledger, going
//! on after a kill, memory.

#[path = "files/data.rs"]
mod data;
#[path = "files/lane.rs"]
mod lane;
#[path = "files/listing.rs"]
mod listing;
#[path = "files/peers.rs"]
mod peers;
#[path = "files/server.rs"]
mod server;
#[path = "../tests/tools/step.rs"]
mod step;

use data::Set;
use peers::{Peer, Used};

/// How often each tool copies each set.
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    match argument(0) {
        Some("serve") => server::serve(argument(1).expect("a folder")),
        Some("listing") => {
            let number = |at: usize, otherwise| argument(at).map_or(otherwise, |text| text.parse().expect("a number"));
            listing::measure(number(1, 1_000_000), number(2, 1000));
        }
        Some("list") => listing::list(argument(1).expect("a folder"), argument(2).expect("a kind of target")),
        Some("copy") => lane::copy(argument(1).expect("a folder"), argument(2) == Some("verify")),
        // `cargo test --benches` runs every bench once with this flag; there is nothing to test here.
        _ if arguments.iter().any(|argument| argument == "--test") => {}
        only => compare(only.filter(|only| !only.starts_with("--"))),
    }
}

fn compare(only: Option<&str>) {
    for set in [Set::SMALL, Set::LARGE] {
        if only.is_some_and(|only| only != set.name) {
            continue;
        }
        let world = data::World::make(&set);
        let server = server::Server::start(&world.buckets());
        world.write_plan(&server.endpoint);
        let mut used: Vec<(Peer, Vec<Used>)> = Peer::ALL.iter().map(|peer| (*peer, Vec::new())).collect();
        for round in 0..ROUNDS {
            // One after the other within a round, so that a change of the machine's mood hits all of them.
            for (number, (peer, runs)) in used.iter_mut().enumerate() {
                world.empty_bucket(&set, round, number);
                runs.push(peer.copy(&world, &server.endpoint));
                world.assert_copied(&set);
            }
        }
        peers::print(&set, &used);
    }
}
