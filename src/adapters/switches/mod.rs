//! Switches: maintenance, release and deployment by HTTP or by programs, DNS by PowerDNS.
//!
//! Must never enter: waiting until a switch has moved; the engine does that by asking again.

mod command;
mod http;
mod powerdns;

pub use command::CommandSwitch;
pub use http::HttpSwitch;
pub use powerdns::PowerDnsSwitch;

use crate::{
    error::{Fault, FaultKind},
    model::Timestamp,
    ports::{Observation, Position, Witness},
};

/// Whether the plan wants the cutover to end in the severest position of a switch (maintenance), or whether that depends
/// on where the switch stands (a deployment's other colour).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The last position.
    Severest,
    /// None of its own.
    Relative,
}

impl Aim {
    fn at(self, positions: &[Position]) -> Option<Position> {
        match self {
            Self::Severest => positions.last().cloned(),
            Self::Relative => None,
        }
    }
}

/// What a switch with one voice said.
fn single(who: &str, position: Position) -> Observation {
    let witnesses = vec![Witness { who: who.to_owned(), position: Some(position.clone()) }];
    Observation { position: Some(position), witnesses, at: Timestamp::now() }
}

fn no_way_to(doing: &str, to: &Position) -> Fault {
    Fault::new(FaultKind::Refused, doing).detail(format!("the plan names no way to turn it to `{to}`"))
}
