use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::time::Duration as Time;

use gristmill_core::{Error, ErrorKind, Result};
use gristmill_parallel::{Attempts, Cancel, Duration, Jitter, Retry, retry};
use proptest::prelude::*;

fn busy() -> Error {
    Error::new(ErrorKind::Transient, "the database is busy")
        .hint("wait for the other writer")
        .caused_by(std::io::Error::other("locked"))
}

fn policy(attempts: u32, jitter: Jitter) -> Retry {
    Retry { attempts, jitter, ..Retry::default() }
}

/// Fails forever and gives the waits.
fn waits(policy: &Retry, chance: f64) -> Vec<Time> {
    let waits = RefCell::new(Vec::new());
    let result: Result<()> = Attempts::new(policy, &Cancel::new())
        .sleep_with(|wait| waits.borrow_mut().push(wait))
        .chance_with(|| chance)
        .run(|_| Err(busy()));
    assert!(result.is_err());
    waits.into_inner()
}

fn seconds(values: &[f64]) -> Vec<Time> {
    values.iter().copied().map(Time::from_secs_f64).collect()
}

#[test]
fn waits_grow_by_the_factor_up_to_the_longest() {
    let mut retry = policy(6, Jitter::None);
    retry.max_backoff = Duration::from_secs(5);
    assert_eq!(waits(&retry, 0.7), seconds(&[1.0, 2.0, 4.0, 5.0, 5.0]));
}

#[test]
fn jitter_shortens_waits_and_never_lengthens_them() {
    assert_eq!(waits(&policy(3, Jitter::Full), 0.0), seconds(&[0.0, 0.0]));
    assert_eq!(waits(&policy(3, Jitter::Full), 0.25), seconds(&[0.25, 0.5]));
    assert_eq!(waits(&policy(3, Jitter::Equal), 0.0), seconds(&[0.5, 1.0]));
    assert_eq!(waits(&policy(3, Jitter::Equal), 1.0), seconds(&[1.0, 2.0]));
}

proptest! {
    #[test]
    fn the_jitter_of_chance_stays_in_its_range(
        attempts in 1u32..40,
        millis in 0u64..10_000_000,
        factor in 1.0f64..1e9,
    ) {
        for (jitter, least) in [(Jitter::None, 1.0), (Jitter::Full, 0.0), (Jitter::Equal, 0.5)] {
            let retry = Retry {
                attempts, jitter, factor, backoff: Duration::from_millis(millis), ..Retry::default()
            };
            let waits = RefCell::new(Vec::new());
            let result: Result<()> = Attempts::new(&retry, &Cancel::new())
                .sleep_with(|wait| waits.borrow_mut().push(wait))
                .run(|_| Err(busy()));
            prop_assert!(result.is_err());
            let waits = waits.into_inner();
            prop_assert_eq!(waits.len() as u32, attempts - 1);
            for (wait, attempt) in waits.into_iter().zip(1..) {
                let full = retry.wait_after(attempt);
                prop_assert!(full <= Time::from_secs(60));
                prop_assert!(wait <= full && wait >= full.mul_f64(least * 0.999_999));
            }
        }
    }
}

#[test]
fn chance_differs_from_draw_to_draw() {
    let retry = Retry { attempts: 20, factor: 1.0, jitter: Jitter::Full, ..Retry::default() };
    let mut waits = {
        let waits = RefCell::new(Vec::new());
        let _: Result<()> = Attempts::new(&retry, &Cancel::new())
            .sleep_with(|wait| waits.borrow_mut().push(wait))
            .run(|_| Err(busy()));
        waits.into_inner()
    };
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 10, "{waits:?}");
}

#[test]
fn the_last_error_keeps_all_it_had_and_says_after_how_many_attempts() {
    let told = RefCell::new(Vec::new());
    let error = Attempts::new(&policy(3, Jitter::None), &Cancel::new())
        .on_failure(|failed| told.borrow_mut().push((failed.attempt, failed.of, failed.wait)))
        .sleep_with(|_| ())
        .run(|_| -> Result<()> { Err(busy()) })
        .unwrap_err();
    assert_eq!(error.to_string(), "the database is busy after 3 attempts");
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(error.hint_text(), Some("wait for the other writer"));
    assert_eq!(error.source().unwrap().to_string(), "locked");
    assert_eq!(told.into_inner(), [(1, 3, Time::from_secs(1)), (2, 3, Time::from_secs(2))]);
}

#[test]
fn an_error_that_stays_is_not_tried_again() {
    let calls = Cell::new(0);
    let error = retry(&Retry::default(), &Cancel::new(), |_| -> Result<()> {
        calls.set(calls.get() + 1);
        Err(Error::new(ErrorKind::NotFound, "there is no `funds.csv`"))
    })
    .unwrap_err();
    assert_eq!(calls.get(), 1);
    assert_eq!(error.to_string(), "there is no `funds.csv`");
}

#[test]
fn a_predicate_decides_instead() {
    let calls = Cell::new(0);
    let result: Result<()> = Attempts::new(&Retry::default(), &Cancel::new())
        .retry_if(|error| error.kind() == ErrorKind::NotFound)
        .sleep_with(|_| ())
        .run(|attempt| {
            calls.set(attempt);
            if attempt == 1 { Err(Error::new(ErrorKind::NotFound, "not yet")) } else { Err(busy()) }
        });
    let error = result.unwrap_err();
    assert_eq!(
        (calls.get(), error.to_string().as_str()),
        (2, "the database is busy after 2 attempts")
    );
}

#[test]
fn one_attempt_is_one_attempt() {
    let error = retry(&Retry::never(), &Cancel::new(), |_| -> Result<()> { Err(busy()) });
    assert_eq!(error.unwrap_err().to_string(), "the database is busy");
}

#[test]
fn cancelled_in_the_middle_of_a_long_wait_it_ends_at_once() {
    let retry_daily = Retry {
        backoff: Duration::from_secs(86_400),
        max_backoff: Duration::from_secs(86_400),
        ..Retry::default()
    };
    let cancel = Cancel::new();
    let canceller = cancel.clone();
    let error = Attempts::new(&retry_daily, &cancel)
        .on_failure(|_| {
            let cancel = canceller.clone();
            std::thread::spawn(move || cancel.cancel());
        })
        .run(|_| -> Result<()> { Err(busy()) })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.source().unwrap().to_string(), "the database is busy");
}

#[test]
fn cancelled_before_it_starts_nothing_is_tried() {
    let cancel = Cancel::new();
    cancel.cancel();
    let error = retry(&Retry::default(), &cancel, |_| -> Result<()> { panic!("tried") });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn reads_what_a_pipeline_says() {
    let parsed: Retry = serde_json::from_str(
        r#"{"attempts": 5, "backoff": "500ms", "factor": 3, "jitter": "full"}"#,
    )
    .unwrap();
    let expected = Retry {
        attempts: 5,
        backoff: Duration::from_millis(500),
        factor: 3.0,
        jitter: Jitter::Full,
        ..Retry::default()
    };
    assert_eq!(parsed, expected);
    let again: Retry = serde_json::from_str(&serde_json::to_string(&expected).unwrap()).unwrap();
    assert_eq!(again, expected);
}

#[test]
fn refuses_what_makes_no_sense() {
    for (text, says) in [
        (r#"{"attempts": 0}"#, "write 1"),
        (r#"{"factor": 0.5}"#, "1 or more"),
        (r#"{"backoff": "soon"}"#, "500ms"),
        (r#"{"tries": 3}"#, "unknown field `tries`"),
    ] {
        let error = serde_json::from_str::<Retry>(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn the_schema_says_the_same() {
    let schema = serde_json::to_value(schemars::schema_for!(Retry)).unwrap();
    let properties = &schema["properties"];
    assert_eq!(properties["attempts"]["minimum"], 1);
    assert_eq!(properties["factor"]["minimum"], 1.0);
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$defs"]["Duration"]["type"], "string");
}
