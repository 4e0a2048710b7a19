//! netjobs: a declarative runner of network jobs. Not a general-purpose scheduler, and not a shell.
//!
//! ```text
//! jobs/*.yaml ─load─► Job{Spec} ─check─► Report ✗
//!                         │ plan(now)                       pure: takes a clock reading, owns no timer
//!                         ▼
//!                      due runs ─run─► Outcome ─Event─► metrics · json log · console · junit · history
//! ```
//!
//! The modules below stand in reading order. `ARCHITECTURE.md` says who may import whom.

pub mod value;

pub mod diagnostic;
pub mod meter;
pub mod outcome;

pub mod sys;

pub mod net;

pub mod state;

pub mod context;
pub mod kind;

pub mod job;
pub mod plan;

pub mod event;
pub mod run;
pub mod sink;

pub mod cli;
pub mod exit;
pub mod http;
