//! Two hundred columns of all types, a tenth of the fields empty.

use super::day;
use super::shape::{Column, Kind, Rule, Shape, Test};

const WORDS: [&str; 6] = ["north", "south", "east", "west", "open", "closed"];
const COLUMNS: usize = 200;

/// The types, in turns; the first ten columns are never empty.
const TURN: [Kind; 10] = [
    Kind::Text,
    Kind::Text,
    Kind::Int,
    Kind::Double,
    Kind::Date,
    Kind::Bool,
    Kind::Int,
    Kind::Text,
    Kind::Double,
    Kind::Timestamp,
];

pub(crate) fn shape() -> Shape {
    let columns = (0..COLUMNS).map(|at| Column { path: format!("c{at:03}"), kind: TURN[at % 10] });
    Shape {
        name: "wide",
        about: "200 columns of six types, a tenth of the fields empty",
        rows: 110_000,
        columns: columns.collect(),
        trim: &["c000", "c001", "c007", "c010"],
        upper: &["c000", "c001"],
        rules: vec![
            Rule {
                column: "c000",
                test: Test::OneOf(&["NORTH", "SOUTH", "EAST", "WEST", "OPEN", "CLOSED"]),
            },
            Rule { column: "c002", test: Test::Min(-980_000.0) },
            Rule { column: "c003", test: Test::Between(-99_000.0, 99_000.0) },
            Rule { column: "c004", test: Test::Present },
            Rule { column: "c007", test: Test::Matches("^K[0-9]{5}$") },
        ],
        keys: &["c001", "c004", "c007"],
        partition: &["c000", "c001"],
        facts: None,
        dirty: false,
        record: |_, random, rows| {
            for at in 0..COLUMNS {
                if at >= 10 && random.below(10) == 0 {
                    rows.null();
                    continue;
                }
                match (TURN[at % 10], at % 10) {
                    (Kind::Int, _) => rows.int(random.between(-1_000_000, 1_000_000)),
                    (Kind::Double, _) => rows.fixed(random.between(-100_000_000, 100_000_000), 3),
                    (Kind::Bool, _) => rows.boolean(random.below(2) == 1),
                    (Kind::Text | Kind::Texts, 7) => {
                        rows.plain(format_args!("K{:05}", random.below(1_000)));
                    }
                    (Kind::Text | Kind::Texts, _) => rows.text(random.pick(&WORDS)),
                    (Kind::Date, _) => {
                        let (year, month, day) = day(random.below(40));
                        rows.plain(format_args!("{year}-{month:02}-{day:02}"));
                    }
                    (Kind::Timestamp, _) => {
                        let (year, month, day) = day(random.below(2000));
                        let second = random.below(86_400);
                        rows.plain(format_args!(
                            "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
                            second / 3600,
                            second / 60 % 60,
                            second % 60
                        ));
                    }
                }
            }
            Ok(())
        },
    }
}
