//! Suggestions for names that do not exist.

/// The name that was most likely meant, as a hint; else what there is.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there are no columns".to_owned(),
        None => {
            let shown: Vec<String> =
                known.iter().take(20).map(|name| format!("`{name}`")).collect();
            let more = if known.len() > 20 { ", …" } else { "" };
            format!("the columns are {}{more}", shown.join(", "))
        }
    }
}

/// The known name that is most like `name`, if one is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = simplify(name);
    known
        .into_iter()
        .map(|known| (likeness(&plain, &simplify(known)), known))
        .filter(|(likeness, _)| *likeness > 0.82)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// How like two names are, up to 1. Short names with one slip are like each other too.
fn likeness(a: &str, b: &str) -> f64 {
    let slip = a.chars().count() > 2 && strsim::damerau_levenshtein(a, b) <= 1;
    strsim::jaro_winkler(a, b).max(if slip { 0.9 } else { 0.0 })
}

fn simplify(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["fund_code", "fund_name", "aum"];
        assert_eq!(nearest("fundcode", known), Some("fund_code"));
        assert_eq!(nearest("amu", known), Some("aum"));
        assert_eq!(nearest("region", known), None);
        assert_eq!(hint("region", known), "the columns are `fund_code`, `fund_name`, `aum`");
    }
}
