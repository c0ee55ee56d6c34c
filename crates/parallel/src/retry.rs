//! Trying again: how often, after how long, and for which errors.

use std::error::Error as _;
use std::hash::BuildHasher;
use std::time;

use gristmill_core::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::cancel::Cancel;
use crate::duration::Duration;

/// How something that failed for a moment is tried again: with waits that grow from `backoff` by
/// `factor` up to `max_backoff`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How often it is tried in all, the first time included. 1 never tries again.
    #[serde(deserialize_with = "attempts")]
    #[schemars(range(min = 1))]
    pub attempts: u32,
    /// The wait before the second attempt.
    pub backoff: Duration,
    /// What each further wait is multiplied by; at least 1.
    #[serde(deserialize_with = "factor")]
    #[schemars(range(min = 1.0))]
    pub factor: f64,
    /// The longest wait.
    pub max_backoff: Duration,
    /// How much of each wait is left to chance, so that many who failed together do not all come
    /// back together.
    pub jitter: Jitter,
}

/// How much of a wait is left to chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Nothing: the wait is as computed.
    None,
    /// All of it: anything between no wait and the computed one.
    Full,
    /// Half of it: anything between half the computed wait and all of it.
    #[default]
    Equal,
}

impl Default for Retry {
    /// Three attempts, about one and two seconds apart.
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Duration::from_secs(1),
            factor: 2.0,
            max_backoff: Duration::from_secs(60),
            jitter: Jitter::default(),
        }
    }
}

impl Retry {
    /// One attempt.
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// The wait after the attempt with this number (from 1), before any jitter.
    pub fn wait_after(&self, attempt: u32) -> time::Duration {
        let power = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.backoff.get().as_secs_f64() * self.factor.powi(power);
        // Not a number (0 s times infinity) is no wait; too large a number is the longest.
        let wait = if seconds.is_nan() {
            time::Duration::ZERO
        } else {
            time::Duration::try_from_secs_f64(seconds).unwrap_or(time::Duration::MAX)
        };
        wait.min(self.max_backoff.get())
    }
}

impl Jitter {
    /// The wait to make of a computed one; `chance` is between 0 and 1.
    fn apply(self, wait: time::Duration, chance: f64) -> time::Duration {
        match self {
            Jitter::None => wait,
            Jitter::Full => wait.mul_f64(chance),
            Jitter::Equal => wait / 2 + (wait / 2).mul_f64(chance),
        }
    }
}

fn attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(de::Error::custom("0 attempts do nothing; write 1 to try once")),
        attempts => Ok(attempts),
    }
}

fn factor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let factor = f64::deserialize(deserializer)?;
    if factor.is_finite() && factor >= 1.0 {
        return Ok(factor);
    }
    Err(de::Error::custom(format!("{factor} would make waits shorter; write 1 or more")))
}

/// Calls `attempt` with the number of the attempt, from 1, until it succeeds, fails with an error
/// that is not [transient](Error::is_transient), or has been called [`Retry::attempts`] times.
/// [`Attempts`] has more to set.
///
/// ```
/// use gristmill_core::{Error, ErrorKind};
/// use gristmill_parallel::{Cancel, Duration, Retry, retry};
///
/// let policy = Retry { backoff: Duration::from_millis(1), ..Retry::default() };
/// let answer = retry(&policy, &Cancel::new(), |attempt| {
///     if attempt < 3 {
///         return Err(Error::new(ErrorKind::Transient, "the database is busy"));
///     }
///     Ok(attempt * 14)
/// })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// The last error, which says after how many attempts; [`ErrorKind::Cancelled`] as soon as
/// `cancel` is cancelled, also in the middle of a wait.
pub fn retry<T>(
    policy: &Retry,
    cancel: &Cancel,
    attempt: impl FnMut(u32) -> Result<T>,
) -> Result<T> {
    Attempts::new(policy, cancel).run(attempt)
}

/// An attempt that failed and will be made again.
#[derive(Debug, Clone, Copy)]
pub struct FailedAttempt<'a> {
    /// Its number, from 1.
    pub attempt: u32,
    /// How many there will be at most.
    pub of: u32,
    /// Why it failed.
    pub error: &'a Error,
    /// How long until the next one.
    pub wait: time::Duration,
}

/// Attempts at one thing: [`retry`] with a say in which errors are worth another attempt, who is
/// told, and how time passes.
///
/// ```
/// use gristmill_core::{Error, ErrorKind};
/// use gristmill_parallel::{Attempts, Cancel, Retry};
///
/// let mut told = Vec::new();
/// let result: Result<(), Error> = Attempts::new(&Retry::default(), &Cancel::new())
///     .retry_if(|error| error.kind() == ErrorKind::NotFound) // it may still arrive
///     .on_failure(|failed| told.push(format!("{} of {}: {}", failed.attempt, failed.of, failed.error)))
///     .sleep_with(|_| ()) // do not really wait
///     .run(|_| Err(Error::new(ErrorKind::NotFound, "there is no `funds.csv`")));
///
/// assert_eq!(result.unwrap_err().to_string(), "there is no `funds.csv` after 3 attempts");
/// assert_eq!(told, ["1 of 3: there is no `funds.csv`", "2 of 3: there is no `funds.csv`"]);
/// ```
pub struct Attempts<'a> {
    policy: &'a Retry,
    cancel: &'a Cancel,
    retry_if: Box<dyn Fn(&Error) -> bool + 'a>,
    on_failure: Box<dyn FnMut(FailedAttempt<'_>) + 'a>,
    sleep: Box<dyn FnMut(time::Duration) + 'a>,
    chance: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Attempts<'a> {
    /// As [`retry`]: transient errors are tried again, nobody but the log is told, waits are real.
    pub fn new(policy: &'a Retry, cancel: &'a Cancel) -> Self {
        Self {
            policy,
            cancel,
            retry_if: Box::new(Error::is_transient),
            on_failure: Box::new(|_| ()),
            sleep: Box::new(|wait| {
                cancel.wait(wait);
            }),
            chance: Box::new(chance),
        }
    }

    /// Says which errors are worth another attempt.
    #[must_use]
    pub fn retry_if(mut self, worth_it: impl Fn(&Error) -> bool + 'a) -> Self {
        self.retry_if = Box::new(worth_it);
        self
    }

    /// Is told of each attempt that failed and will be made again, before the wait.
    #[must_use]
    pub fn on_failure(mut self, tell: impl FnMut(FailedAttempt<'_>) + 'a) -> Self {
        self.on_failure = Box::new(tell);
        self
    }

    /// Waits in another way, for tests that have no time. The default wakes up when cancelled.
    #[must_use]
    pub fn sleep_with(mut self, sleep: impl FnMut(time::Duration) + 'a) -> Self {
        self.sleep = Box::new(sleep);
        self
    }

    /// Draws jitter from another source of numbers between 0 and 1.
    #[must_use]
    pub fn chance_with(mut self, mut chance: impl FnMut() -> f64 + 'a) -> Self {
        self.chance = Box::new(move || chance_between_0_and_1(chance()));
        self
    }

    /// Makes the attempts.
    ///
    /// # Errors
    /// As [`retry`].
    pub fn run<T>(mut self, mut attempt: impl FnMut(u32) -> Result<T>) -> Result<T> {
        let of = self.policy.attempts.max(1);
        let mut number = 1;
        loop {
            self.cancel.check()?;
            let error = match attempt(number) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if number == of || error.kind() == ErrorKind::Cancelled || !(self.retry_if)(&error) {
                return Err(if number == 1 {
                    error
                } else {
                    error.amend(&format!("after {number} attempts"))
                });
            }
            let wait = self.policy.wait_after(number);
            let wait = self.policy.jitter.apply(wait, (self.chance)());
            tracing::warn!(
                attempt = number,
                of,
                wait = ?wait,
                error = %error,
                cause = error.source().map(tracing::field::display),
                "will try again"
            );
            (self.on_failure)(FailedAttempt { attempt: number, of, error: &error, wait });
            (self.sleep)(wait);
            if self.cancel.is_cancelled() {
                let message = "the work was interrupted before it could be tried again";
                return Err(Error::new(ErrorKind::Cancelled, message).caused_by(error));
            }
            number += 1;
        }
    }
}

fn chance_between_0_and_1(chance: f64) -> f64 {
    if chance.is_nan() { 0.0 } else { chance.clamp(0.0, 1.0) }
}

/// A number between 0 and 1 from the standard library's own randomness: enough to keep retries
/// apart, and nothing more is asked of it.
fn chance() -> f64 {
    let random = std::hash::RandomState::new().hash_one(0u8);
    (random >> 11) as f64 / (1u64 << 53) as f64
}
