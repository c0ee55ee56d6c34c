//! Well-formed texts, read by the codec and by the `csv` crate.

use gristmill_format::csv::{Header, Level, ReadOptions};
use proptest::prelude::*;

use super::{read_as, sizes};

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9]{0,6}",
        2 => "[a-zé€😀 ]{0,12}",
        2 => "[a,\"\n\r;]{0,8}",
        1 => Just("quoted \"words\"\r\nand a line end".to_owned()),
        1 => Just("x".repeat(80)),
        1 => Just(String::new()),
    ]
}

#[derive(Debug, Clone)]
struct Table {
    text: String,
    width: usize,
}

fn table() -> impl Strategy<Value = Table> {
    let rows = (1usize..6).prop_flat_map(|width| {
        let cell = (field(), any::<bool>());
        proptest::collection::vec(proptest::collection::vec(cell, width), 0..25)
            .prop_map(move |rows| (width, rows))
    });
    (rows, prop_oneof![Just("\n"), Just("\r\n")], any::<bool>()).prop_map(
        |((width, rows), line_end, final_line_end)| {
            let mut text = String::new();
            for (index, row) in rows.iter().enumerate() {
                for (column, (field, quoted)) in row.iter().enumerate() {
                    if column > 0 {
                        text.push(',');
                    }
                    if *quoted || field.contains([',', '"', '\n', '\r']) {
                        text.push('"');
                        text.push_str(&field.replace('"', "\"\""));
                        text.push('"');
                    } else {
                        text.push_str(field);
                    }
                }
                if final_line_end || index + 1 < rows.len() {
                    text.push_str(line_end);
                }
            }
            Table { text, width }
        },
    )
}

fn by_the_csv_crate(text: &str) -> Vec<Vec<String>> {
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text.as_bytes());
    let records =
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect());
    records.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn well_formed_texts_are_read_as_the_csv_crate_reads_them(
        table in table(),
        chunk in 1usize..200,
        batch in 1usize..200,
    ) {
        let options = ReadOptions {
            header: Header::Absent,
            names: (0..table.width).map(|i| format!("c{i}")).collect(),
            nulls: Vec::new(),
            ..ReadOptions::default()
        };
        let expected = by_the_csv_crate(&table.text);
        for level in Level::supported() {
            let sizes = sizes(chunk, batch, 1 << 20);
            let outcome =
                read_as(table.text.as_bytes(), &options, sizes, level, |_| {}).unwrap();
            prop_assert_eq!(&outcome.rejects, &[]);
            let rows: Vec<Vec<String>> = outcome
                .rows
                .into_iter()
                .map(|row| row.values.into_iter().map(Option::unwrap).collect())
                .collect();
            prop_assert_eq!(&rows, &expected);
        }
    }

    #[test]
    fn escapes_and_comments_are_read_as_the_csv_crate_reads_them(
        text in "([ab,]|\"[ab,\n]{0,3}(\\\\[\\\\\"a,]){0,2}[ab]{0,2}\",|#|\n){0,60}",
        chunk in 1usize..100,
    ) {
        // Only texts in which every quote is where it belongs.
        let text = format!("\n{text}\n");
        let options: ReadOptions =
            serde_json::from_str(r##"{"escape": "\\", "comment": "#", "nulls": [],
                "header": "absent", "names": ["a", "b"]}"##).unwrap();
        let outcome = read_as(
            text.as_bytes(), &options, sizes(chunk, 30, 1 << 20), Level::Scalar, |_| {},
        ).unwrap();
        if outcome.rejects.iter().any(|reject| reject.errors[0].rule == "quote") {
            return Ok(());
        }
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .escape(Some(b'\\'))
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        let expected: Vec<Vec<String>> = reader
            .records()
            .map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        prop_assert_eq!(outcome.spans.len(), expected.len());
        let rows: Vec<Vec<String>> = outcome
            .rows
            .into_iter()
            .map(|row| row.values.into_iter().map(Option::unwrap).collect())
            .collect();
        let expected: Vec<_> = expected.into_iter().filter(|record| record.len() == 2).collect();
        prop_assert_eq!(rows, expected);
    }
}
