//! The engine with stand-in rooms under a paused clock: when runs start, what becomes of them, and how all of it ends.

mod ends;
mod once;
mod reloads;
mod rig;
mod runs;
mod services;
mod starts;
