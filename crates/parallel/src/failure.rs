//! Why one item or batch did not go through, when the others go on.

/// What went wrong with one item or one batch: its own error, or a panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure<E> {
    /// The closure returned this error.
    #[error("{0}")]
    Failed(E),
    /// The closure panicked with this message.
    #[error("panicked: {0}")]
    Panicked(String),
}

impl<E> Failure<E> {
    /// The closure's error, unless it panicked.
    pub fn error(&self) -> Option<&E> {
        match self {
            Failure::Failed(error) => Some(error),
            Failure::Panicked(_) => None,
        }
    }
}
