//! Doors for other processes: the control socket.
//!
//! Sees the engine's handle, the run view and the words; nothing else. The same legal table answers here and on the
//! keyboard. Must never enter: anything that decides by itself.

mod client;
mod socket;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{Client, Watched};
pub use socket::{FILE, serve};
