//! The generated funds CSV: deterministic, dirty on purpose.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

const NAMES: [&str; 8] = [
    "Growth Fund",
    "Value Fund",
    "\"Income, Balanced\"",
    "\"Global \"\"Alpha\"\" Fund\"",
    "Small Cap",
    "Euro Bond Fund",
    "Tech Leaders",
    "Short Duration",
];
const CURRENCIES: [&str; 6] = ["USD", "EUR", "GBP", "JPY", "CHF", "usd"];
const REGIONS: [&str; 5] = ["NA", "EMEA", "APAC", "LATAM", " emea "];
const CLASSES: [&str; 5] = ["A", "B", "C", "I", "R6"];
const DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Writes `rows` records: 0.5% without a key, 0.5% with a bad date, 0.3% with a bad number, 0.5%
/// with a key in the wrong case and with blanks, and about 0.6% with a negative amount.
pub(crate) fn write(rows: u64, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    writeln!(
        out,
        "fund_code,fund_name,share_class,as_of_date,aum,management_fee,revenue,currency,region,\
         advisor_id,is_active"
    )?;
    let mut random = Random(7);
    for _ in 0..rows {
        let mut code = format!("FND{:06}", random.below(200_000));
        let name = random.pick(&NAMES);
        let class = random.pick(&CLASSES);
        let mut date = day(random.below(730) as u32);
        let cents = random.below(900_500_000) as i64 - 500_000 * 10;
        let mut aum = format!("{}{}.{:02}", sign(cents), cents.abs() / 100, cents.abs() % 100);
        let fee = random.below(245) as i64 + 5;
        let revenue = cents * fee; // in units of 0.000001
        let revenue = format!(
            "{}{}.{:04}",
            sign(revenue),
            revenue.abs() / 1_000_000,
            revenue.abs() % 1_000_000 / 100
        );
        let currency = random.pick(&CURRENCIES);
        let region = random.pick(&REGIONS);
        let advisor = random.below(49_999) + 1;
        let active = if random.below(2) == 1 { "true" } else { "false" };
        match random.below(1000) {
            0..5 => code.clear(),
            5..10 => date = "2024-13-45".to_owned(),
            10..13 => aum = "n/a".to_owned(),
            13..18 => code = format!(" {} ", code.to_lowercase()),
            _ => {}
        }
        writeln!(
            out,
            "{code},{name},{class},{date},{aum},0.{fee:04},{revenue},{currency},{region},\
             ADV{advisor:05},{active}"
        )?;
    }
    out.flush()?;
    Ok(())
}

fn sign(number: i64) -> &'static str {
    if number < 0 { "-" } else { "" }
}

/// The day this many days after 2024-01-01, within 2024 and 2025.
fn day(mut days: u32) -> String {
    for (year, leap) in [(2024, 1), (2025, 0)] {
        for (month, length) in DAYS.iter().enumerate() {
            let length = length + if month == 1 { leap } else { 0 };
            if days < length {
                return format!("{year}-{:02}-{:02}", month + 1, days + 1);
            }
            days -= length;
        }
    }
    "2025-12-31".to_owned()
}
