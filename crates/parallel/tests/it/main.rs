//! What users of the crate were promised, module by module.

mod ordered;
mod retry;
