//! Columns that were told from the beginning of an input, and what shows that they are others.

use std::sync::Arc;

use gristmill_core::{Error, ErrorKind, ReadPlan, Result};

use super::discover::Columns;
use super::finder::{self, Finder};
use super::keys::Keys;
use super::token::Token;

/// What workers compare records with.
pub(super) struct Guess {
    pub(super) columns: Arc<Columns>,
    plan: ReadPlan,
    /// By position of a key: [`KNOWN`] and the kinds of scalars that its column has seen; 0 for a
    /// key that is no column.
    kinds: Vec<u8>,
}

/// What every key adds, also one whose value is null.
const KNOWN: u8 = 1 << 7;

impl Guess {
    /// A guess of these columns, whose keys are added to `keys`.
    pub(super) fn new(columns: Arc<Columns>, keys: &mut Keys) -> Self {
        let mut kinds = vec![0; keys.len()];
        for (name, shape) in &columns.fields {
            let position = keys.add(name.as_bytes());
            kinds.resize(keys.len(), 0);
            kinds[position] = KNOWN | shape.scalars;
        }
        Self { plan: columns.plan(), columns, kinds }
    }

    /// Whether a value may add to what is known, so that its record has to be looked into.
    #[inline(always)]
    pub(super) fn is_news(&self, record: &[u8], position: usize, value: Token) -> bool {
        match self.kinds.get(position) {
            Some(kinds) => (KNOWN | finder::kind(record, value)) & !kinds != 0,
            None => true,
        }
    }

    /// Fails if what `finder` found since makes other columns of them.
    ///
    /// Records are judged chunk by chunk. That is enough: what leaves the columns as they are by
    /// itself does so together with others of its kind, since types only widen.
    pub(super) fn check(&self, source: &str, finder: &Finder) -> Result<()> {
        if finder.records() == 0 || finder.columns.plan() == self.plan {
            return Ok(());
        }
        let message = format!("the columns of `{source}` are not those of its beginning");
        Err(Error::new(ErrorKind::Schema, message))
    }
}
