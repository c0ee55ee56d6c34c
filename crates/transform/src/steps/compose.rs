//! Two cleanings, one after the other, as one.

use gristmill_core::text::{Case, Clean};

/// The cleaning that does to every text what `first` and then `second` do, where there is one.
///
/// A cleaning trims, then compares with null tokens, then changes the case, then fills the
/// default. What the second does must therefore be moved before what the first does later in that
/// order, and that is not always the same.
pub(super) fn compose(first: &Clean, second: &Clean) -> Option<Clean> {
    if first.is_noop() {
        return Some(second.clone());
    }
    if second.trim && !first.trim && !first.nulls.is_empty() {
        return None; // ` n/a ` was no token for the first
    }
    let changed = first.case != Case::Keep;
    if changed && second.nulls.iter().any(|token| !is_caseless(token)) {
        return None; // the second's tokens are compared with changed text
    }
    let case = match (first.case, second.case) {
        (case, Case::Keep) | (Case::Keep, case) => case,
        (case, other) if case == other => case,
        _ => return None,
    };
    let default = match &first.default {
        None => second.default.clone(),
        Some(default) => {
            let cleaned = second.apply(Some(default)).map(|text| text.into_owned());
            if !second.nulls.is_empty() && cleaned != second.default {
                return None; // what the first fills and what the second makes null would differ
            }
            cleaned
        }
    };
    let nulls = first.nulls.iter().chain(&second.nulls);
    let mut nulls: Vec<String> = nulls.cloned().collect();
    nulls.dedup();
    Some(Clean { trim: first.trim || second.trim, case, nulls, default })
}

/// Whether no change of case makes or breaks this token.
fn is_caseless(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean() -> impl Strategy<Value = Clean> {
        let token = || prop_oneof![Just(""), Just("-"), Just("na"), Just("NA"), Just(" na")];
        (
            any::<bool>(),
            prop_oneof![Just(Case::Keep), Just(Case::Upper), Just(Case::Lower)],
            prop::collection::vec(token().prop_map(String::from), 0..3),
            proptest::option::of(
                prop_oneof![token(), Just(" x "), Just("y")].prop_map(String::from),
            ),
        )
            .prop_map(|(trim, case, nulls, default)| Clean { trim, case, nulls, default })
    }

    proptest! {
        #[test]
        fn the_composition_does_what_both_do_in_turn(
            first in clean(),
            second in clean(),
            texts in prop::collection::vec(
                proptest::option::of("[ nNaAxß-]{0,4}|\\PC{0,3}"), 1..20
            ),
        ) {
            if let Some(both) = compose(&first, &second) {
                for text in &texts {
                    let one = first.apply(text.as_deref());
                    let two = second.apply(one.as_deref());
                    prop_assert_eq!(both.apply(text.as_deref()), two, "{:?} of {:?}", both, text);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_moved_is_not_composed() {
        let upper = Clean { case: Case::Upper, ..Clean::default() };
        let lower = Clean { case: Case::Lower, ..Clean::default() };
        let nulls = Clean { nulls: vec!["NA".into()], ..Clean::default() };
        let trim = Clean { trim: true, ..Clean::default() };
        assert_eq!(compose(&upper, &lower), None);
        assert_eq!(compose(&upper, &nulls), None);
        assert_eq!(compose(&nulls, &trim), None);
        assert!(compose(&trim, &nulls).is_some_and(|both| both.trim && both.nulls == ["NA"]));
        assert_eq!(compose(&upper, &upper), Some(upper));
    }
}
