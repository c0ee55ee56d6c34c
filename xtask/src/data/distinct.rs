//! High cardinality: no two records share a value in any column that can tell them apart.

use super::day;
use super::random::mix;
use super::shape::{Kind, Rule, Shape, Test, columns};

pub(crate) fn shape() -> Shape {
    Shape {
        name: "distinct",
        about: "transfers, 9 columns, every field different from record to record",
        rows: 1_100_000,
        columns: columns(&[
            ("transfer_id", Kind::Text),
            ("sequence", Kind::Int),
            ("reference", Kind::Text),
            ("account", Kind::Text),
            ("booked", Kind::Timestamp),
            ("amount", Kind::Double),
            ("rate", Kind::Double),
            ("checksum", Kind::Int),
            ("memo", Kind::Text),
        ]),
        trim: &["reference", "memo"],
        upper: &["account"],
        rules: vec![
            Rule { column: "transfer_id", test: Test::Matches("^[0-9a-f]{32}$") },
            Rule { column: "sequence", test: Test::Min(1.0) },
            Rule { column: "account", test: Test::Matches("^[A-Z]{2}[0-9]{18}$") },
            Rule { column: "booked", test: Test::Present },
            Rule { column: "rate", test: Test::Between(0.0, 0.98) },
        ],
        keys: &["transfer_id", "account", "booked"],
        partition: &[],
        facts: None,
        dirty: false,
        record: |number, _, rows| {
            let [a, b, c] = [1, 2, 3].map(|salt| mix(number.wrapping_mul(4).wrapping_add(salt)));
            rows.plain(format_args!("{a:016x}{b:016x}"));
            rows.int(number as i64 * 3 + 1);
            rows.plain(format_args!("R-{:012}", (number * 7_919) % 1_000_000_000_000));
            rows.plain(format_args!("de{:018}", a % 1_000_000_000_000_000_000));
            let seconds = number * 97;
            let (year, month, day) = day(seconds / 86_400);
            rows.plain(format_args!(
                "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
                seconds / 3600 % 24,
                seconds / 60 % 60,
                seconds % 60
            ));
            rows.fixed((number * 1_031 + c % 1_031) as i64, 2);
            rows.fixed((b % 1_000_000_000_000_000) as i64, 15);
            rows.int((c >> 2) as i64);
            rows.text(&format!(
                "transfer {number} of batch {:x}, see {:08x}",
                a % 65_537,
                c as u32
            ));
            Ok(())
        },
    }
}
