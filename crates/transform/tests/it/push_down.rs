//! Steps that write themselves into the read plan give what they give as steps.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use gristmill_core::text::{Case, ColumnBuilder, ColumnPlan};
use gristmill_core::{Batch, FieldType, Mistake, Origin, ReadPlan, Reason, Stage, StepPlan};
use gristmill_transform::{Cast, CastTo, Clean, Drop, MapFields, Select};
use proptest::prelude::*;

use crate::{apply, flaws, rows};

type Texts = Vec<[Option<String>; 3]>;

fn source() -> ReadPlan {
    let column = |name| ColumnPlan::new(name, FieldType::String);
    ReadPlan { columns: vec![column("Fund Code"), column("aum"), column("asOf")] }
}

/// What a decoder of text makes of the records, by the plan.
fn decode(plan: &ReadPlan, records: &Texts) -> Batch {
    let names: Vec<String> = source().columns.into_iter().map(|column| column.source).collect();
    let mut wrong = Vec::new();
    let columns: Vec<ArrayRef> = plan
        .columns
        .iter()
        .map(|column| {
            let place = names.iter().position(|name| *name == column.source).unwrap();
            let mut builder = ColumnBuilder::new(column, records.len());
            for (row, record) in records.iter().enumerate() {
                let result = match &record[place] {
                    Some(text) => builder.push(text.as_bytes()),
                    None => builder.push_null(),
                };
                if let Err(found) = result {
                    let message = found.to_string();
                    wrong.push((
                        row,
                        Reason::field(column.name.clone(), "type", message, Some(found.value)),
                    ));
                }
            }
            builder.finish()
        })
        .collect();
    let fields: Vec<_> = plan.columns.iter().map(ColumnPlan::field).collect();
    let columns = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let origin = Arc::new(Origin::columns("test".into(), columns.clone()));
    let mut batch = Batch::whole(columns, origin).unwrap();
    for (row, reason) in wrong {
        batch.add_flaw(row, Stage::Type, reason);
    }
    batch
}

/// Schema, rows and the reasons (without the names their columns had at the time).
type Outcome = (Schema, Vec<String>, Vec<(u32, String)>);

fn run(
    steps: &[Box<dyn StepPlan>],
    plan: &ReadPlan,
    records: &Texts,
) -> Result<Outcome, Vec<Mistake>> {
    let mut batch = decode(plan, records);
    for step in steps {
        batch = apply(step.as_ref(), batch)?.0;
    }
    let mut reasons: Vec<_> =
        flaws(&batch).into_iter().map(|(row, _, message)| (row, message)).collect();
    reasons.sort();
    Ok((batch.schema().as_ref().clone(), rows(&batch), reasons))
}

fn texts() -> impl Strategy<Value = Texts> {
    let text = prop_oneof![
        Just(None),
        Just(Some(String::new())),
        "[ naN/A-]{0,4}".prop_map(Some),
        " ?-?[0-9]{1,3}(\\.[0-9]{1,3})? ?".prop_map(Some),
        "(0[1-9]/1[0-2]/20[0-9]{2}|20[0-9]{2}-0[1-9]-[0-3][0-9])".prop_map(Some),
        "\\PC{0,4}".prop_map(Some),
    ];
    prop::collection::vec([text.clone(), text.clone(), text], 1..12)
}

/// Cleaning first, then types, then names: indices of [`step`].
fn steps() -> impl Strategy<Value = Vec<usize>> {
    (
        prop::collection::vec(0usize..8, 0..3),
        prop::collection::vec(8usize..13, 0..3),
        prop::collection::vec(13usize..17, 0..2),
    )
        .prop_map(|(a, b, c)| [a, b, c].concat())
}

/// One of the steps, by the names that columns have by now.
fn step(which: usize, names: &mut Vec<String>) -> Box<dyn StepPlan> {
    let (first, second, last) =
        (names[0].clone(), names[names.len() / 2].clone(), names[names.len() - 1].clone());
    match which {
        0 => {
            *names = gristmill_transform::snake_case_all(names);
            Box::new(Clean::new().snake_case())
        }
        1 => Box::new(Clean::new().trim_all()),
        2 => Box::new(Clean::new().trim([second]).nulls(["", "n/a"])),
        3 => Box::new(Clean::new().upper([first]).nulls(["-"])),
        4 => Box::new(Clean::new().lower([first, last]).trim_all().default_value(second, " 12.50")),
        5 => Box::new(Clean::new().nulls(["NA", "na", "-"]).default_value(first, "na")),
        6 => Box::new(Clean::new().default_value(last, "01/12/2020")),
        7 => Box::new(Clean::new().trim_all().nulls(["N/A"]).upper([second])),
        8 => Box::new(Cast::new().column(second, FieldType::Decimal { precision: 8, scale: 2 })),
        9 => Box::new(
            Cast::new()
                .column(last, CastTo::from(FieldType::Date).formats(["%d/%m/%Y", "%Y-%m-%d"])),
        ),
        10 => Box::new(Cast::new().column(first, FieldType::Int).column(second, FieldType::Double)),
        11 => {
            Box::new(Cast::new().column(first, FieldType::String).column(last, FieldType::String))
        }
        12 => Box::new(Cast::new().column(first, FieldType::Json)),
        13 => {
            names[0] = "renamed".into();
            Box::new(MapFields::new([(first, "renamed")]))
        }
        14 => {
            *names = vec![last.clone(), first.clone()];
            Box::new(Select::new([last, first]))
        }
        15 => {
            names.remove(0);
            Box::new(Drop::new([first]))
        }
        _ => {
            *names = vec![second.clone()];
            Box::new(Select::new([second]))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn pushed_down_or_not_the_result_is_the_same(records in texts(), which in steps()) {
        let mut names: Vec<String> = source().columns.into_iter().map(|c| c.name).collect();
        let steps: Vec<Box<dyn StepPlan>> = which.iter().map(|&i| step(i, &mut names)).collect();
        let mut plan = source();
        let mut mistaken = false;
        let mut pushed = 0;
        for step in &steps {
            match step.push_down(&mut plan) {
                Ok(true) => pushed += 1,
                Ok(false) => break,
                Err(_) => { mistaken = true; break }
            }
        }
        // A default that does not fit the type it is cast to is a mistake when it can be seen.
        prop_assume!(!mistaken);
        let unpushed = run(&steps, &source(), &records);
        let with = run(&steps[pushed..], &plan, &records);
        prop_assert_eq!(with, unpushed, "{:?} pushed {} into {:?}", which, pushed, plan);
    }
}

#[test]
fn the_usual_pipeline_start_is_pushed_down_whole() {
    let mut plan = source();
    let steps: [Box<dyn StepPlan>; 4] = [
        Box::new(Clean::new().snake_case().trim_all().upper(["fund_code"]).nulls(["", "n/a"])),
        Box::new(
            Cast::new()
                .column("aum", FieldType::Decimal { precision: 18, scale: 2 })
                .column("as_of", CastTo::from(FieldType::Date).formats(["%d/%m/%Y"])),
        ),
        Box::new(MapFields::new([("fund_code", "code")])),
        Box::new(Select::new(["as_of", "aum", "code"])),
    ];
    for step in &steps {
        assert_eq!(step.push_down(&mut plan), Ok(true));
    }
    let [as_of, aum, code] = &plan.columns[..] else { panic!("{plan:?}") };
    assert_eq!((code.source.as_str(), code.name.as_str()), ("Fund Code", "code"));
    assert!(code.clean.trim && code.clean.case == Case::Upper && code.clean.nulls == ["", "n/a"]);
    assert_eq!((aum.declared, aum.field_type.to_string().as_str()), (true, "decimal(18, 2)"));
    assert_eq!(as_of.formats, ["%d/%m/%Y"]);
}

#[test]
fn what_the_plan_cannot_say_stays_a_step_and_leaves_the_plan_alone() {
    let upper = Clean::new().upper(["aum"]);
    for step in [
        Box::new(Clean::new().lower(["aum"])) as Box<dyn StepPlan>,
        Box::new(Clean::new().snake_case().nulls(["n/a"])),
    ] {
        let mut plan = source();
        assert_eq!(upper.push_down(&mut plan), Ok(true));
        let before = plan.clone();
        assert_eq!(step.push_down(&mut plan), Ok(false));
        assert_eq!(plan, before);
    }
    let mut plan = source();
    assert_eq!(Cast::new().column("aum", FieldType::Int).push_down(&mut plan), Ok(true));
    let before = plan.clone();
    assert_eq!(Cast::new().column("aum", FieldType::Double).push_down(&mut plan), Ok(false));
    assert_eq!(Drop::new(["aum"]).push_down(&mut plan), Ok(false)); // its values may be wrong
    assert_eq!(plan, before);
}

#[test]
fn mistakes_are_seen_in_the_plan() {
    let told = |step: &dyn StepPlan| -> Vec<String> {
        let mistakes = step.push_down(&mut source()).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        told(&Clean::new().upper(["aun"]).trim(["x"])),
        ["trim[0]: no column `x`", "upper[0]: no column `aun`"]
    );
    assert_eq!(told(&Cast::new().column("aun", FieldType::Int)), ["aun: no column `aun`"]);
    assert_eq!(
        told(&MapFields::new([("aum", "asOf")])),
        ["aum: there would be two columns `asOf`"]
    );
    let mut plan = source();
    Clean::new().default_value("aum", "none").push_down(&mut plan).unwrap();
    let mistakes = Cast::new().column("aum", FieldType::Int).push_down(&mut plan).unwrap_err();
    assert_eq!(
        mistakes[0].to_string(),
        "aum: the default of `aum` does not fit: `none` is not an int"
    );
}
