//! run
pub mod judge;
