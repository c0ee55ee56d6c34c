//! Column names in snake case.

use std::collections::HashSet;

/// A name in lower case with words parted by `_`: runs of anything but letters and digits become
/// one `_`, none at the ends, and words in CamelCase are parted. Empty when nothing is left.
///
/// ```
/// use gristmill_transform::snake_case;
/// assert_eq!(snake_case("Mgmt. Fee (%)"), "mgmt_fee");
/// assert_eq!(snake_case("fundCode"), "fund_code");
/// assert_eq!(snake_case("HTTPStatus"), "http_status");
/// assert_eq!(snake_case("AUM"), "aum");
/// ```
pub fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before = None;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_alphanumeric() {
            before = None;
            continue;
        }
        let upper = !c.to_lowercase().eq([c]);
        let after_lower = upper && before.is_some_and(char::is_lowercase);
        let starts_word =
            upper && before.is_some() && chars.peek().is_some_and(|next| next.is_lowercase());
        if !out.is_empty() && (before.is_none() || after_lower || starts_word) {
            out.push('_');
        }
        // A letter's lower case may bring combining marks, which are no letters: `İ`.
        out.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
        before = Some(c);
    }
    out
}

/// [`snake_case`] of all names of a table: a name without letters and digits becomes
/// `column_N`, N from 1, and a name that is taken gets `_2`, `_3` ….
///
/// ```
/// use gristmill_transform::snake_case_all;
/// assert_eq!(snake_case_all(&["Fund Code", "%", "fund-code"]), ["fund_code", "column_2", "fund_code_2"]);
/// ```
pub fn snake_case_all<S: AsRef<str>>(names: &[S]) -> Vec<String> {
    let mut taken = HashSet::new();
    let unique = names.iter().enumerate().map(|(i, name)| {
        let base = match snake_case(name.as_ref()) {
            name if name.is_empty() => format!("column_{}", i + 1),
            name => name,
        };
        let mut name = base.clone();
        let mut n = 2;
        while !taken.insert(name.clone()) {
            name = format!("{base}_{n}");
            n += 1;
        }
        name
    });
    unique.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_spreadsheets_become_names_of_columns() {
        for (name, expected) in [
            ("Fund-Name ", "fund_name"),
            ("  ISIN", "isin"),
            ("userID", "user_id"),
            ("UserID2", "user_id2"),
            ("Address2Line", "address2_line"),
            ("2024Q1", "2024q1"),
            ("already_snake__case", "already_snake_case"),
            ("Größe (m²)", "größe_m²"),
            ("a.b/c", "a_b_c"),
            ("%", ""),
            ("", ""),
        ] {
            assert_eq!(snake_case(name), expected, "{name}");
        }
        assert_eq!(
            snake_case_all(&["a", "A", "a_2", "", "?"]),
            ["a", "a_2", "a_2_2", "column_4", "column_5"]
        );
    }

    proptest! {
        #[test]
        fn snake_case_is_a_fixed_point_and_tables_have_unique_names(
            names in prop::collection::vec("\\PC{0,8}|[a-cA-C_ ]{0,6}", 0..8)
        ) {
            let renamed = snake_case_all(&names);
            for name in &renamed {
                prop_assert!(!name.is_empty() && !name.contains(' '));
            }
            for name in &names {
                let once = snake_case(name);
                prop_assert_eq!(&snake_case(&once), &once);
            }
            prop_assert_eq!(renamed.iter().collect::<HashSet<_>>().len(), names.len());
        }
    }
}
