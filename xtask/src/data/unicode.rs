//! Names and places in many scripts: two to four bytes a character.

use super::day;
use super::shape::{Kind, Rule, Shape, Test, columns};

const NAMES: [&str; 12] = [
    "Ольга Ковальчук",
    "Γιώργος Παπαδόπουλος",
    "山田太郎",
    "김민준",
    "محمد الأحمد",
    "Łukasz Wójcik",
    "Nguyễn Thị Hương",
    "José Ñandú",
    "सुनीता शर्मा",
    "Ünal Çelik",
    "王小明",
    "דוד כהן",
];
const CITIES: [&str; 8] =
    ["київ", "αθήνα", "東京", "서울", "القاهرة", "kraków", "hà nội", "são paulo"];
const NOTES: [&str; 6] =
    ["оплачено", "πληρώθηκε", "支払い済み 🎌", "결제 완료", "🚚 en route", "„płatne, później”"];
const STATES: [&str; 3] = ["новый", "готов", "закрыт"];

pub(crate) fn shape() -> Shape {
    Shape {
        name: "unicode",
        about: "orders in a dozen scripts, 9 columns",
        rows: 1_200_000,
        columns: columns(&[
            ("order_id", Kind::Text),
            ("customer", Kind::Text),
            ("city", Kind::Text),
            ("note", Kind::Text),
            ("state", Kind::Text),
            ("ordered", Kind::Date),
            ("quantity", Kind::Int),
            ("price", Kind::Double),
            ("paid", Kind::Bool),
        ]),
        trim: &["customer", "city"],
        upper: &["city", "state"],
        rules: vec![
            Rule { column: "order_id", test: Test::Matches("^№[0-9]{7}$") },
            Rule { column: "customer", test: Test::Present },
            Rule {
                column: "state", test: Test::OneOf(&["НОВЫЙ", "ГОТОВ", "ЗАКРЫТ"])
            },
            Rule { column: "quantity", test: Test::Min(2.0) },
            Rule { column: "price", test: Test::Between(1.0, 9_900.0) },
        ],
        keys: &["customer", "city", "price"],
        partition: &["state", "paid"],
        facts: None,
        dirty: false,
        record: |number, random, rows| {
            rows.plain(format_args!("№{number:07}"));
            let (customer, house) = (random.pick(&NAMES), random.below(300));
            rows.plain(format_args!("{customer} {house}"));
            rows.text(random.pick(&CITIES));
            rows.text(&format!("{} — {}", random.pick(&NOTES), random.pick(&NOTES)));
            rows.text(random.pick(&STATES));
            let (year, month, day) = day(random.below(1500));
            rows.plain(format_args!("{year}-{month:02}-{day:02}"));
            rows.int(random.between(1, 100));
            rows.fixed(random.between(1, 1_000_000), 2);
            rows.boolean(random.below(2) == 1);
            Ok(())
        },
    }
}
