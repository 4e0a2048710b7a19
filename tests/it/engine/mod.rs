//! The engine with stand-in rooms, mostly under a paused clock: when runs start, what becomes of them, and how all of it ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod ends;
mod forwards;
mod health;
mod isolation;
mod once;
mod reloads;
mod restarts;
mod rig;
mod rooms;
mod runs;
mod services;
mod stalls;
mod starts;
