//! Cleaning of text before it is parsed.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A change of case, by Unicode's rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// Leave it.
    #[default]
    Keep,
    /// To upper case.
    Upper,
    /// To lower case.
    Lower,
}

/// What is done to a text, in this order: trim, null tokens, case, default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clean {
    /// Whether white space (Unicode's `White_Space`) at both ends is removed.
    pub trim: bool,
    /// The change of case.
    pub case: Case,
    /// Texts that mean null, compared after trimming and before the change of case.
    pub nulls: Vec<String>,
    /// The text to take where the value is null.
    pub default: Option<String>,
}

impl Clean {
    /// Whether texts come out as they went in.
    pub fn is_noop(&self) -> bool {
        !self.trim && self.case == Case::Keep && self.nulls.is_empty() && self.default.is_none()
    }

    /// The cleaned text; `None` for a null.
    pub fn apply<'a>(&'a self, text: Option<&'a str>) -> Option<Cow<'a, str>> {
        let text = text.map(|text| if self.trim { text.trim() } else { text });
        let text = text.filter(|text| !self.nulls.iter().any(|null| null == text));
        let cleaned = text.map(|text| match self.case {
            Case::Keep => Cow::Borrowed(text),
            Case::Upper if text.bytes().any(|b| !b.is_ascii()) => Cow::Owned(text.to_uppercase()),
            Case::Lower if text.bytes().any(|b| !b.is_ascii()) => Cow::Owned(text.to_lowercase()),
            Case::Upper if text.bytes().any(|b| b.is_ascii_lowercase()) => {
                Cow::Owned(text.to_ascii_uppercase())
            }
            Case::Lower if text.bytes().any(|b| b.is_ascii_uppercase()) => {
                Cow::Owned(text.to_ascii_lowercase())
            }
            Case::Upper | Case::Lower => Cow::Borrowed(text),
        });
        cleaned.or_else(|| self.default.as_deref().map(Cow::Borrowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_in_the_documented_order() {
        let clean = Clean {
            trim: true,
            case: Case::Upper,
            nulls: vec!["n/a".into(), String::new()],
            default: Some("none".into()),
        };
        assert_eq!(clean.apply(Some(" usd ")).as_deref(), Some("USD"));
        assert_eq!(clean.apply(Some(" n/a ")).as_deref(), Some("none"));
        assert_eq!(clean.apply(Some("N/A")).as_deref(), Some("N/A")); // tokens match as written
        assert_eq!(clean.apply(Some("  ")).as_deref(), Some("none"));
        assert_eq!(clean.apply(None).as_deref(), Some("none"));
        assert_eq!(clean.apply(Some("straße")).as_deref(), Some("STRASSE"));
    }
}
