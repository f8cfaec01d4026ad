//! The real binary on a pseudo-terminal: a person who only has a keyboard, and terminals that go away.
//!
//! `desk` is the person and their terminal; waits are on what the screen shows, never on time alone.

#![expect(clippy::unwrap_used, reason = "a terminal that cannot be opened is a failed test")]

mod broken;
mod desk;
mod manners;
mod records;
mod steering;
mod watching;
