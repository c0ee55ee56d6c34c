//! What users of the crate were promised, module by module.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod batches;
mod key;
mod merge;
mod ordered;
mod partition;
mod processor;
mod retry;
