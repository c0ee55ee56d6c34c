//! Names of columns.

use std::collections::HashSet;

/// Names that are not empty and not twice: an empty one becomes `column_3`, a second `name`
/// `name_2`. Says in `notes` what was changed in the input called `source`.
pub(super) fn unique(names: Vec<String>, source: &str, notes: &mut Vec<String>) -> Vec<String> {
    let mut taken: HashSet<String> =
        names.iter().filter(|name| !name.is_empty()).cloned().collect();
    let mut seen = HashSet::new();
    let mut unique = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let position = index + 1;
        if name.is_empty() {
            let new = free(&format!("column_{position}"), &mut taken);
            notes.push(format!(
                "column {position} of `{source}` has no name in the header; it is called `{new}`"
            ));
            unique.push(new);
        } else if seen.insert(name.clone()) {
            unique.push(name);
        } else {
            let new = free(&name, &mut taken);
            notes.push(format!(
                "the header of `{source}` has `{name}` twice; column {position} is called `{new}`"
            ));
            unique.push(new);
        }
    }
    unique
}

fn free(name: &str, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.to_owned()) {
        return name.to_owned();
    }
    (2..).map(|n| format!("{name}_{n}")).find(|new| taken.insert(new.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_gets_a_name_of_its_own() {
        let mut notes = Vec::new();
        let names = ["a", "", "a", "a_2", "a", "", "column_6"].map(str::to_owned).to_vec();
        let unique = unique(names, "x.csv", &mut notes);
        assert_eq!(unique, ["a", "column_2", "a_3", "a_2", "a_4", "column_6_2", "column_6"]);
        assert_eq!(
            notes[0],
            "column 2 of `x.csv` has no name in the header; it is called `column_2`"
        );
        assert_eq!(notes[1], "the header of `x.csv` has `a` twice; column 3 is called `a_3`");
        assert_eq!(notes.len(), 4);
    }
}
