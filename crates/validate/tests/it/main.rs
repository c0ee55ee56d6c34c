//! The `validate` step, judged by what its users were promised.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conditions;
mod definition;
mod fixture;
mod given;
mod offenders;
mod profile;
mod quality;
mod rules;
mod severity;
mod unique;
