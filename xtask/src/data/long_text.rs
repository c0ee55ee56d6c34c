//! Documents: a text of 1 to 20 KB in each record, with quotes and line ends.

use super::day;
use super::shape::{Kind, Rule, Shape, Test, columns};

const PIECES: [&str; 10] = [
    "the harvest was brought in before the rain",
    "\"weigh it twice,\" said the miller",
    "a sack, a sieve, a scale",
    "and the stones turned all night\nwithout a sound",
    "grain in, flour out",
    "it was written in the book; the book was kept",
    "\n\n",
    "seven bushels were turned away",
    "nobody asked why",
    "the wheel — slow at first — did not stop",
];
const LANGUAGES: [&str; 5] = ["en", "de", "fr", "es", "pl"];

pub(crate) fn shape() -> Shape {
    Shape {
        name: "long-text",
        about: "documents, 6 columns, one of them a text of 1 to 20 KB with quotes and line ends",
        rows: 17_000,
        columns: columns(&[
            ("doc_id", Kind::Text),
            ("lang", Kind::Text),
            ("title", Kind::Text),
            ("written", Kind::Date),
            ("body", Kind::Text),
            ("score", Kind::Double),
        ]),
        trim: &["title", "lang"],
        upper: &["lang"],
        rules: vec![
            Rule { column: "doc_id", test: Test::Matches("^DOC[0-9]{6}$") },
            Rule { column: "lang", test: Test::OneOf(&["EN", "DE", "FR", "ES", "PL"]) },
            Rule { column: "written", test: Test::Present },
            Rule { column: "body", test: Test::Present },
            Rule { column: "score", test: Test::Between(0.0, 0.98) },
        ],
        keys: &["lang", "title", "written"],
        partition: &["lang"],
        facts: None,
        dirty: false,
        record: |number, random, rows| {
            rows.plain(format_args!("DOC{number:06}"));
            rows.text(random.pick(&LANGUAGES));
            let mut text = format!("On {}, part {}", random.pick(&PIECES[4..6]), random.below(40));
            rows.text(&text);
            let (year, month, day) = day(random.below(100));
            rows.plain(format_args!("{year}-{month:02}-{day:02}"));
            let length = random.between(1_000, 20_000) as usize;
            text.clear();
            while text.len() < length {
                text.push_str(random.pick(&PIECES));
                text.push_str(if random.below(12) == 0 { ".\n" } else { ", " });
            }
            rows.text(&text);
            rows.fixed(random.between(0, 10_000), 4);
            Ok(())
        },
    }
}
