//! Events of a web shop's auctions (in the manner of Nexmark): nested as JSON, flat as CSV.

use super::day;
use super::shape::{Kind, Rule, Shape, Test, columns};

const KINDS: [&str; 6] = ["view", "view", "view", "bid", "bid", "purchase"];
const COUNTRIES: [&str; 10] = ["DE", "US", "FR", "JP", "BR", "IN", "GB", "PL", "KE", "AU"];
const BROWSERS: [&str; 4] = ["firefox", "chrome", "safari", "edge"];
const TAGS: [&str; 8] = ["new", "sale", "gift", "bulk", "used", "rare", "local", "fair"];

pub(crate) fn shape() -> Shape {
    Shape {
        name: "events",
        about: "auction events, 14 columns; as JSON with two objects and a list",
        rows: 1_300_000,
        columns: columns(&[
            ("event_id", Kind::Int),
            ("event", Kind::Text),
            ("at", Kind::Timestamp),
            ("user.id", Kind::Int),
            ("user.name", Kind::Text),
            ("user.country", Kind::Text),
            ("client.browser", Kind::Text),
            ("client.address", Kind::Text),
            ("client.mobile", Kind::Bool),
            ("auction", Kind::Int),
            ("price", Kind::Double),
            ("tags", Kind::Texts),
            ("url", Kind::Text),
            ("session", Kind::Text),
        ]),
        trim: &["event", "user_country"],
        upper: &["user_country"],
        rules: vec![
            Rule { column: "event", test: Test::OneOf(&["view", "bid", "purchase"]) },
            Rule { column: "at", test: Test::Present },
            Rule { column: "user_country", test: Test::Matches("^[A-Z]{2}$") },
            Rule { column: "auction", test: Test::Min(1.0) },
            Rule { column: "price", test: Test::Between(0.0, 9900.0) },
        ],
        keys: &["user_id", "auction", "event"],
        partition: &["event", "user_country"],
        facts: None,
        dirty: false,
        record: |number, random, rows| {
            rows.int(number as i64 + 1);
            rows.text(random.pick(&KINDS));
            let seconds = number / 20;
            let (year, month, day) = day(1461 + seconds / 86_400);
            let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
            rows.plain(format_args!(
                "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
            ));
            let user = random.below(20_000);
            rows.int(user as i64);
            rows.plain(format_args!("user-{user}@example.org"));
            rows.text(COUNTRIES[user as usize % COUNTRIES.len()]);
            rows.text(random.pick(&BROWSERS));
            let address = random.next();
            let [.., a, b, c] = address.to_le_bytes();
            rows.plain(format_args!("10.{a}.{b}.{c}"));
            rows.boolean(address.is_multiple_of(3));
            let auction = random.between(1, 5_000);
            rows.int(auction);
            rows.fixed(random.between(1, 1_000_000), 2);
            let mut tags = [""; 3];
            let many = random.below(4) as usize;
            for tag in &mut tags[..many] {
                *tag = random.pick(&TAGS);
            }
            rows.list(&tags[..many]);
            rows.plain(format_args!(
                "https://shop.example.org/auction/{auction}?page={}",
                address % 7
            ));
            rows.plain(format_args!("{:016x}", random.next()));
            Ok(())
        },
    }
}
