use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::*;
use arrow_buffer::i256;
use gristmill_core::ErrorKind;
use gristmill_parallel::{ColumnKeys, Key, KeyForm};
use proptest::prelude::*;

/// The forms of the keys in the rows of one column.
fn forms(column: ArrayRef) -> Vec<KeyForm> {
    let batch = RecordBatch::try_from_iter_with_nullable([("k", column, true)]).unwrap();
    let keys = ColumnKeys::new(&batch, &["k"]).unwrap();
    (0..keys.len())
        .map(|row| {
            let mut form = KeyForm::default();
            keys.write(row, &mut form);
            form
        })
        .collect()
}

fn form(column: impl Array + 'static) -> KeyForm {
    forms(Arc::new(column)).remove(0)
}

fn hash(key: impl Key) -> u64 {
    KeyForm::of(&key).hash()
}

/// The expected numbers were made from the documented bytes with another implementation of XXH3
/// (the C library, from Python).
#[test]
fn hashes_are_those_of_the_documented_bytes() {
    assert_eq!(hash(None::<i32>), 0xad49_cde0_68e3_a10a);
    assert_eq!(hash(true), 0x3fee_bdb4_9f3c_7546);
    assert_eq!(hash(42), 0x10a8_cd06_518f_a3f2);
    assert_eq!(hash(-1), 0xd058_4f62_8029_6ff7);
    assert_eq!(hash(u64::MAX), 0x9c07_aa71_ac2a_8021);
    assert_eq!(hash(0.0), 0x3e81_aeef_bbcc_e7c7);
    assert_eq!(hash(f64::NAN), 0x3e86_0991_f090_8107);
    assert_eq!(hash(1.5), 0x5315_e592_013a_6f1a);
    assert_eq!(hash("FND001"), 0x70af_5ad7_9892_2819);
    assert_eq!(hash(""), 0x207a_fa74_bebe_2b84);
    assert_eq!(hash("Zürich"), 0xa29f_4b6d_59ab_87de);
    assert_eq!(hash("x".repeat(1000)), 0xa7fa_736d_bea2_ebae);
    assert_eq!(hash(&[0u8, 255][..]), 0xc14b_0e70_747c_4695);
    assert_eq!(hash(("FND001", 7, None::<bool>)), 0xfa01_cf01_455c_6b6e);

    let decimal = |digits, scale| {
        Decimal128Array::from(vec![digits]).with_precision_and_scale(18, scale).unwrap()
    };
    assert_eq!(form(decimal(1_500, 3)).hash(), 0x8dc5_bffc_834d_e0bf);
    assert_eq!(form(decimal(-30_000, 2)).hash(), 0xb9e6_1505_1afc_7766);
    assert_eq!(form(Date32Array::from(vec![19_782])).hash(), 0xf9e6_b254_6f95_b569);
    assert_eq!(form(Time32SecondArray::from(vec![43_200])).hash(), 0x149f_c11b_16a6_eff3);
    let seconds = TimestampSecondArray::from(vec![1_709_208_000]);
    assert_eq!(form(seconds.clone()).hash(), 0xbe34_413a_d27b_e8e1);
    assert_eq!(form(seconds.with_timezone("UTC")).hash(), 0x790b_408a_bce9_eacd);
}

#[test]
fn how_a_value_is_stored_makes_no_difference() {
    let text = KeyForm::of("FND001");
    assert_eq!(form(StringArray::from(vec!["FND001"])), text);
    assert_eq!(form(LargeStringArray::from(vec!["FND001"])), text);
    assert_eq!(form(StringViewArray::from(vec!["FND001"])), text);
    assert_eq!(form(["FND001"].into_iter().collect::<DictionaryArray<Int8Type>>()), text);

    let bytes = KeyForm::of(&b"ab"[..]);
    assert_eq!(form(BinaryArray::from(vec![&b"ab"[..]])), bytes);
    assert_eq!(form(LargeBinaryArray::from(vec![&b"ab"[..]])), bytes);
    assert_eq!(form(BinaryViewArray::from(vec![&b"ab"[..]])), bytes);
    assert_eq!(form(FixedSizeBinaryArray::try_from_iter([b"ab"].into_iter()).unwrap()), bytes);

    let seven = KeyForm::of(&7u8);
    assert_eq!(form(Int8Array::from(vec![7])), seven);
    assert_eq!(form(Int16Array::from(vec![7])), seven);
    assert_eq!(form(Int32Array::from(vec![7])), seven);
    assert_eq!(form(Int64Array::from(vec![7])), seven);
    assert_eq!(form(UInt8Array::from(vec![7])), seven);
    assert_eq!(form(UInt16Array::from(vec![7])), seven);
    assert_eq!(form(UInt32Array::from(vec![7])), seven);
    assert_eq!(form(UInt64Array::from(vec![7])), seven);

    let half = KeyForm::of(&0.5);
    assert_eq!(form(Float32Array::from(vec![0.5])), half);
    assert_eq!(form(Float64Array::from(vec![0.5])), half);

    let day = form(Date32Array::from(vec![-1]));
    assert_eq!(form(Date64Array::from(vec![-86_400_000])), day);
    let noon = form(Time32SecondArray::from(vec![43_200]));
    assert_eq!(form(Time32MillisecondArray::from(vec![43_200_000])), noon);
    assert_eq!(form(Time64MicrosecondArray::from(vec![43_200_000_000])), noon);
    assert_eq!(form(Time64NanosecondArray::from(vec![43_200_000_000_000])), noon);
    let second = form(TimestampSecondArray::from(vec![-3]));
    assert_eq!(form(TimestampMillisecondArray::from(vec![-3_000])), second);
    assert_eq!(form(TimestampMicrosecondArray::from(vec![-3_000_000])), second);
    assert_eq!(form(TimestampNanosecondArray::from(vec![-3_000_000_000])), second);
    let instant = |zone: &str| form(TimestampSecondArray::from(vec![-3]).with_timezone(zone));
    assert_eq!(instant("UTC"), instant("+02:00"));
    assert_ne!(instant("UTC"), second);
    let length = form(DurationSecondArray::from(vec![3]));
    assert_eq!(form(DurationMillisecondArray::from(vec![3_000])), length);
    assert_eq!(form(DurationMicrosecondArray::from(vec![3_000_000])), length);
    assert_eq!(form(DurationNanosecondArray::from(vec![3_000_000_000])), length);
}

#[test]
fn null_is_a_value_of_its_own() {
    let null = KeyForm::of(&None::<i64>);
    assert_eq!(form(NullArray::new(1)), null);
    assert_eq!(form(StringViewArray::from(vec![None::<&str>])), null);
    assert_eq!(form(Int64Array::from(vec![None])), null);
    assert_eq!(form([None::<&str>].into_iter().collect::<DictionaryArray<Int8Type>>()), null);
    // A null among a dictionary's values, not among its keys.
    let values = Arc::new(StringArray::from(vec![None, Some("a")]));
    let dictionary = DictionaryArray::new(Int8Array::from(vec![0, 1]), values);
    assert_eq!(forms(Arc::new(dictionary)), [null.clone(), KeyForm::of("a")]);
    for other in [KeyForm::of(&0), KeyForm::of(""), KeyForm::of(&false), KeyForm::of("null")] {
        assert_ne!(other, null);
    }
}

#[test]
fn zeros_are_equal_and_so_are_nans() {
    assert_eq!(KeyForm::of(&-0.0), KeyForm::of(&0.0));
    assert_eq!(KeyForm::of(&-0.0f32), KeyForm::of(&0.0));
    let odd_nan = f64::from_bits(0xfff8_0000_0000_1234);
    assert!(odd_nan.is_nan());
    assert_eq!(KeyForm::of(&odd_nan), KeyForm::of(&f64::NAN));
    assert_eq!(KeyForm::of(&f32::NAN), KeyForm::of(&f64::NAN));
    assert_ne!(KeyForm::of(&f64::NAN), KeyForm::of(&f64::INFINITY));
}

#[test]
fn the_values_of_a_key_do_not_run_into_each_other() {
    assert_ne!(KeyForm::of(&("ab", "c")), KeyForm::of(&("a", "bc")));
    assert_ne!(KeyForm::of(&("", None::<i32>)), KeyForm::of(&(None::<i32>, "")));
    assert_ne!(KeyForm::of(&1), KeyForm::of("1"));
    assert_ne!(KeyForm::of(&1), KeyForm::of(&1.0));
}

#[test]
fn columns_that_cannot_be_keys_are_refused_by_name() {
    let list = ListArray::from_iter_primitive::<Int8Type, _, _>([Some(vec![Some(1)])]);
    let batch = RecordBatch::try_from_iter([
        ("tags", Arc::new(list) as ArrayRef),
        ("id", Arc::new(Int8Array::from(vec![1])) as _),
    ])
    .unwrap();
    let refused = |names: &[&str]| match ColumnKeys::new(&batch, names) {
        Ok(_) => panic!("{names:?} was accepted"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Configuration);
            (error.to_string(), error.hint_text().unwrap_or("").to_owned())
        }
    };
    assert!(refused(&["id", "tags"]).0.starts_with("column `tags` of type List"));
    let (message, hint) = refused(&["ids"]);
    assert_eq!(message, "there is no column `ids`");
    assert_eq!(hint, "the columns are tags, id");
    refused(&[]);
}

proptest! {
    #[test]
    fn decimals_of_the_same_value_are_the_same_key(
        digits in -1_000_000i64..1_000_000,
        scale in 0i8..6,
        more in 0u32..9,
    ) {
        let mut plain = KeyForm::default();
        plain.decimal(i256::from_i128(digits.into()), scale);
        let mut padded = KeyForm::default();
        let factor = 10i128.pow(more);
        padded.decimal(i256::from_i128(i128::from(digits) * factor), scale + more as i8);
        prop_assert_eq!(&plain, &padded);
        let mut other = KeyForm::default();
        other.decimal(i256::from_i128(i128::from(digits) + 1), scale);
        prop_assert_ne!(plain, other);
    }

    #[test]
    fn negative_scales_are_powers_of_ten(digits in any::<i32>(), zeros in 1u32..9) {
        let mut short = KeyForm::default();
        short.decimal(i256::from_i128(digits.into()), -(zeros as i8));
        let mut long = KeyForm::default();
        long.decimal(i256::from_i128(i128::from(digits) * 10i128.pow(zeros)), 0);
        prop_assert_eq!(short, long);
    }

    #[test]
    fn different_texts_are_different_keys(a in ".{0,12}", b in ".{0,12}", c in ".{0,12}", d in ".{0,12}") {
        prop_assert_eq!((&a, &b) == (&c, &d), KeyForm::of(&(&a, &b)) == KeyForm::of(&(&c, &d)));
    }
}
