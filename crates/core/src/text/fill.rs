//! Vectors that grow by what is told of items, up to the first of which nothing is.
#![expect(unsafe_code, reason = "the length of a vector is set once, behind what was written")]

/// Appends what `value` makes of each item and its place among them, up to the first of which it
/// makes nothing. Answers how many those are.
#[inline(always)]
pub(super) fn extend_while<T, I>(
    column: &mut Vec<T>,
    items: &[I],
    mut value: impl FnMut(usize, &I) -> Option<T>,
) -> usize {
    column.reserve(items.len());
    let mut filled = 0;
    for (item, slot) in items.iter().zip(column.spare_capacity_mut()) {
        let Some(value) = value(filled, item) else { break };
        slot.write(value);
        filled += 1;
    }
    // SAFETY: the first `filled` of the spare slots were written, each before it was counted.
    unsafe { column.set_len(column.len() + filled) };
    filled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_appends_as_a_loop_does(
            items in prop::collection::vec(prop::option::weighted(0.9, "[a-z]{0,3}"), 0..20),
            mut column in prop::collection::vec("[A-Z]", 0..5),
        ) {
            let mut expected = column.clone();
            expected.extend(items.iter().map_while(Clone::clone));
            let before = column.len();
            let told = extend_while(&mut column, &items, |place, item| {
                assert!(std::ptr::eq(&raw const items[place], item));
                item.clone()
            });
            prop_assert_eq!(&column, &expected);
            prop_assert_eq!(told, expected.len() - before);
        }
    }
}
