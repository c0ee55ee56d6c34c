//! Fund holdings, dirty on purpose, and the same without the dirt.

use anyhow::Result;

use super::day;
use super::random::Random;
use super::rows::Rows;
use super::shape::{Facts, Kind, Rule, Shape, Test, columns};

const NAMES: [&str; 8] = [
    "Growth Fund",
    "Value Fund",
    "Income, Balanced",
    "Global \"Alpha\" Fund",
    "Small Cap",
    "Euro Bond Fund",
    "Tech Leaders",
    "Short Duration",
];
const CURRENCIES: [&str; 6] = ["USD", "EUR", "GBP", "JPY", "CHF", "usd"];
const REGIONS: [&str; 5] = ["NA", "EMEA", "APAC", "LATAM", " emea "];
const CLASSES: [&str; 5] = ["A", "B", "C", "I", "R6"];

const STRATEGIES: [&str; 5] =
    ["Equity", "Fixed Income", "Multi-Asset", "Money Market", "Real Estate"];

/// How many codes there are.
const FUNDS: u64 = 200_000;

/// 0.5% without a key, 0.5% with a bad date, 0.3% with a bad number, 0.5% with a key in the wrong
/// case and with blanks, a sixth of the currencies in lower case, a fifth of the regions with
/// blanks, and 0.6% with a negative amount.
pub(crate) fn dirty() -> Shape {
    Shape {
        name: "funds",
        about: "fund holdings, 11 columns, 2.4% of the records dirty",
        facts: None,
        dirty: true,
        record: |_, random, rows| record(random, rows, true),
        ..clean()
    }
}

/// The same columns, every field as it should be.
pub(crate) fn clean() -> Shape {
    Shape {
        name: "funds-clean",
        about: "fund holdings, 11 columns, nothing dirty",
        rows: 2_000_000,
        columns: columns(&[
            ("fund_code", Kind::Text),
            ("fund_name", Kind::Text),
            ("share_class", Kind::Text),
            ("as_of_date", Kind::Date),
            ("aum", Kind::Double),
            ("management_fee", Kind::Double),
            ("revenue", Kind::Double),
            ("currency", Kind::Text),
            ("region", Kind::Text),
            ("advisor_id", Kind::Text),
            ("is_active", Kind::Bool),
        ]),
        trim: &["fund_code", "fund_name", "currency", "region"],
        upper: &["fund_code", "currency", "region"],
        rules: vec![
            Rule { column: "fund_code", test: Test::Matches("^FND[0-9]{6}$") },
            Rule { column: "as_of_date", test: Test::Present },
            Rule { column: "aum", test: Test::Min(0.0) },
            Rule { column: "currency", test: Test::OneOf(&["USD", "EUR", "GBP", "JPY", "CHF"]) },
            Rule { column: "management_fee", test: Test::Between(0.0, 0.05) },
        ],
        keys: &["fund_code", "share_class", "as_of_date"],
        partition: &["currency", "share_class"],
        facts: Some(Facts {
            dimension,
            key: "fund_code",
            take: "strategy",
            date: "as_of_date",
            sums: &["aum", "revenue"],
            mean: "management_fee",
        }),
        dirty: false,
        record: |_, random, rows| record(random, rows, false),
    }
}

/// One record for each fund, in no order.
fn dimension() -> Shape {
    Shape {
        name: "fund-dimension",
        about: "one record for each fund",
        rows: FUNDS,
        columns: columns(&[
            ("fund_code", Kind::Text),
            ("fund_key", Kind::Int),
            ("strategy", Kind::Text),
            ("manager", Kind::Text),
        ]),
        trim: &[],
        upper: &[],
        rules: Vec::new(),
        keys: &["fund_code"],
        partition: &[],
        facts: None,
        dirty: false,
        record: |number, random, rows| {
            // A step that shares no factor with the number of funds comes to each of them.
            rows.plain(format_args!("FND{:06}", number * 77_777 % FUNDS));
            rows.int(number as i64 + 1);
            rows.text(random.pick(&STRATEGIES));
            rows.plain(format_args!("M{:04}", random.below(2_000)));
            Ok(())
        },
    }
}

fn record(random: &mut Random, rows: &mut Rows, dirty: bool) -> Result<()> {
    let code = random.below(FUNDS);
    let name = random.pick(&NAMES);
    let class = random.pick(&CLASSES);
    let (year, month, day) = day(1461 + random.below(730));
    let cents = random.between(if dirty { -5_000_000 } else { 0 }, 900_000_000);
    let fee = random.between(5, 250);
    let currency = random.pick(&CURRENCIES[..if dirty { 6 } else { 5 }]);
    let region = random.pick(&REGIONS[..if dirty { 5 } else { 4 }]);
    let advisor = random.between(1, 50_000);
    let active = random.below(2) == 1;
    let dirt = if dirty { random.below(1000) } else { 1000 };
    match dirt {
        0..5 => rows.null(),
        13..18 => rows.plain(format_args!(" fnd{code:06} ")),
        _ => rows.plain(format_args!("FND{code:06}")),
    }
    rows.text(name);
    rows.text(class);
    match dirt {
        5..10 => rows.text("2024-13-45"),
        _ => rows.plain(format_args!("{year}-{month:02}-{day:02}")),
    }
    match dirt {
        10..13 => rows.text("n/a"),
        _ => rows.fixed(cents, 2),
    }
    rows.fixed(fee, 4);
    rows.fixed(cents * fee / 100, 4); // cents times ten-thousandths, in ten-thousandths
    rows.text(currency);
    rows.text(region);
    rows.plain(format_args!("ADV{advisor:05}"));
    rows.boolean(active);
    Ok(())
}
