//! The integration tests, one binary: an index with a sentence a module.

// The house rules: heads, sizes, imports, closed sets, one job file a kind.
mod tidy;
