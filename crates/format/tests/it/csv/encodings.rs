//! Text in other encodings is the same text.

use gristmill_format::csv::{Level, ReadOptions};
use proptest::prelude::*;

use super::{read_as, sizes};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn utf_16_is_read_like_utf_8(
        text in "(a,b\n)([a-cé€😀,\"\n]{0,40}\n){0,6}",
        chunk in 1usize..100,
    ) {
        let utf8 = ReadOptions::default();
        let little: ReadOptions = serde_json::from_str(r#"{"encoding": "utf16le"}"#).unwrap();
        let big: ReadOptions = serde_json::from_str(r#"{"encoding": "utf16be"}"#).unwrap();
        let sizes = sizes(chunk, 20, 500);
        let expected = read_as(text.as_bytes(), &utf8, sizes, Level::detect(), |_| {}).unwrap();
        let words = || text.encode_utf16();
        for (bytes, options) in [
            (words().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), little),
            (words().flat_map(u16::to_be_bytes).collect(), big),
        ] {
            let outcome = read_as(&bytes, &options, sizes, Level::detect(), |_| {}).unwrap();
            prop_assert_eq!(&outcome, &expected);
        }
    }
}
