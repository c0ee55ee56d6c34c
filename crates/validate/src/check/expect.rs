//! What a check expects of what was measured.

use std::fmt;

use gristmill_core::Result;

use super::metric::Op;

/// What is expected of a measured number.
#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    /// A comparison.
    Compare(Op, Operand),
    /// Between two numbers, with or without them.
    Between {
        /// The lower one.
        low: Operand,
        /// The higher one.
        high: Operand,
        /// Whether they count.
        inclusive: bool,
        /// Whether it must not be.
        not: bool,
    },
    /// One of some numbers, or none of them.
    In(Vec<Operand>, bool),
    /// Nothing: it is only measured.
    Anything,
    /// Within so many standard deviations, and at least a hundredth, of the mean of its last
    /// values. Passes while there are fewer than three.
    Usual {
        /// How many values are looked at.
        last: usize,
        /// How many standard deviations.
        deviations: f64,
    },
    /// Within a share of the mean of its last values. Passes while there is none.
    Change {
        /// How many values are looked at.
        last: usize,
        /// The share.
        most: f64,
    },
}

/// A number to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A number.
    Number(f64),
    /// A time: seconds since 1970.
    Time(f64),
    /// So many seconds before the run.
    Ago(f64),
    /// A time of the day on which the run starts, in UTC: seconds from midnight.
    Today(f64),
    /// Something about the last values of the measure.
    Last(Function, usize),
    /// A calculation.
    Calculate(Box<Operand>, char, Box<Operand>),
}

/// What is asked of the last values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it all")]
pub enum Function {
    Average,
    Minimum,
    Maximum,
    Sum,
    Median,
    StandardDeviation,
    /// The value itself, the latest one.
    Latest,
}

/// What operands may ask.
pub(crate) trait Past {
    /// The latest values, the latest first.
    fn last(&self, n: usize) -> Result<Vec<f64>>;
    /// When the run started, in seconds since 1970.
    fn now(&self) -> f64;
}

/// How an expectation was met.
pub(crate) enum Verdict {
    Passed,
    /// What was expected, with the numbers that it came to.
    Failed(String),
}

impl Expect {
    /// What a share is when nothing is said about it.
    pub(crate) const ALL: Expect = Expect::Compare(Op::Equal, Operand::Number(1.0));

    pub(crate) fn judge(&self, value: f64, past: &dyn Past) -> Result<Verdict> {
        let failed = |expected: String| Ok(Verdict::Failed(expected));
        match self {
            Expect::Anything => Ok(Verdict::Passed),
            Expect::Compare(op, operand) => match operand.value(past)? {
                Some(limit) if op.holds(value, limit) => Ok(Verdict::Passed),
                Some(limit) => failed(with(self, &[(operand, limit)])),
                None => Ok(Verdict::Passed), // there is no past to compare with
            },
            Expect::Between { low, high, inclusive, not } => {
                let (Some(from), Some(to)) = (low.value(past)?, high.value(past)?) else {
                    return Ok(Verdict::Passed);
                };
                let inside = match inclusive {
                    true => from <= value && value <= to,
                    false => from < value && value < to,
                };
                if inside != *not && !value.is_nan() {
                    return Ok(Verdict::Passed);
                }
                failed(with(self, &[(low, from), (high, to)]))
            }
            Expect::In(items, not) => {
                let mut found = false;
                for item in items {
                    found |= item.value(past)?.is_some_and(|item| item == value);
                }
                if found != *not { Ok(Verdict::Passed) } else { failed(self.to_string()) }
            }
            Expect::Usual { last, deviations } => {
                let values = past.last(*last)?;
                if values.len() < 3 {
                    return Ok(Verdict::Passed);
                }
                let mean = mean(&values);
                let room = (deviation(&values) * deviations).max(mean.abs() / 100.0);
                if (value - mean).abs() <= room {
                    return Ok(Verdict::Passed);
                }
                failed(around(mean, room, &values))
            }
            Expect::Change { last, most } => {
                let values = past.last(*last)?;
                if values.is_empty() {
                    return Ok(Verdict::Passed);
                }
                let mean = mean(&values);
                let room = mean.abs() * most;
                if (value - mean).abs() <= room {
                    return Ok(Verdict::Passed);
                }
                let change = match mean {
                    0.0 => String::new(),
                    mean => format!(
                        " (a change of {}%)",
                        number(((value - mean) / mean.abs() * 1e3).round() / 10.0)
                    ),
                };
                failed(around(mean, room, &values) + &change)
            }
        }
    }

    /// Whether it asks about earlier runs.
    pub fn is_dynamic(&self) -> bool {
        match self {
            Expect::Compare(_, operand) => operand.is_dynamic(),
            Expect::Between { low, high, .. } => low.is_dynamic() || high.is_dynamic(),
            Expect::In(items, _) => items.iter().any(Operand::is_dynamic),
            Expect::Usual { .. } | Expect::Change { .. } => true,
            Expect::Anything => false,
        }
    }
}

/// What would have been usual.
fn around(mean: f64, room: f64, values: &[f64]) -> String {
    let (low, high) = (number(mean - room), number(mean + room));
    match values.len() {
        1 => format!("{low} to {high}, as in the last run"),
        runs => format!("{low} to {high}, as in the last {runs} runs"),
    }
}

/// An expectation, and what those of its operands that are not numbers came to.
fn with(expect: &Expect, operands: &[(&Operand, f64)]) -> String {
    let mut text = expect.to_string();
    let dynamic = operands.iter().filter(|(operand, _)| operand.is_dynamic());
    let values: Vec<_> =
        dynamic.map(|(operand, value)| format!("{operand} = {}", number(*value))).collect();
    if !values.is_empty() {
        text.push_str(&format!(" ({})", values.join(", ")));
    }
    text
}

impl Operand {
    /// Its value; none if it is about a past that is not there.
    fn value(&self, past: &dyn Past) -> Result<Option<f64>> {
        Ok(match self {
            Operand::Number(number) | Operand::Time(number) => Some(*number),
            Operand::Ago(seconds) => Some(past.now() - seconds),
            Operand::Today(seconds) => Some((past.now() / 86_400.0).floor() * 86_400.0 + seconds),
            Operand::Last(function, last) => function.of(&past.last(*last)?),
            Operand::Calculate(a, op, b) => {
                let (Some(a), Some(b)) = (a.value(past)?, b.value(past)?) else { return Ok(None) };
                Some(match op {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ => a / b,
                })
            }
        })
    }

    fn is_dynamic(&self) -> bool {
        match self {
            Operand::Number(_) | Operand::Time(_) | Operand::Ago(_) | Operand::Today(_) => false,
            Operand::Last(..) => true,
            Operand::Calculate(a, _, b) => a.is_dynamic() || b.is_dynamic(),
        }
    }
}

impl Function {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Function::Average => "avg",
            Function::Minimum => "min",
            Function::Maximum => "max",
            Function::Sum => "sum",
            Function::Median => "median",
            Function::StandardDeviation => "std",
            Function::Latest => "last",
        }
    }

    fn of(self, values: &[f64]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        Some(match self {
            Function::Average => mean(values),
            Function::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
            Function::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Function::Sum => values.iter().sum(),
            Function::Median => {
                let mut sorted = values.to_vec();
                sorted.sort_by(f64::total_cmp);
                let middle = sorted.len() / 2;
                match sorted.len() % 2 {
                    0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
                    _ => sorted[middle],
                }
            }
            Function::StandardDeviation => deviation(values),
            Function::Latest => values[0],
        })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

/// A number as people read it: no more than six digits after the point.
pub fn number(value: f64) -> String {
    if !value.is_finite() || (value != 0.0 && value.abs() < 1e-4) || value.abs() >= 1e15 {
        return value.to_string();
    }
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Compare(op, operand) => write!(f, "{} {operand}", op.symbol()),
            Expect::Between { low, high, inclusive, not } => {
                let not = if *not { "not " } else { "" };
                match inclusive {
                    true => write!(f, "{not}from {low} to {high}"),
                    false => write!(f, "{not}between {low} and {high}"),
                }
            }
            Expect::In(items, not) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "{}in [{}]", if *not { "not " } else { "" }, items.join(", "))
            }
            Expect::Usual { last, .. } => write!(f, "as in the last {last} runs"),
            Expect::Change { last: 1, most } => {
                write!(f, "within {}% of the last run", number(most * 100.0))
            }
            Expect::Change { last, most } => {
                write!(f, "within {}% of the last {last} runs", number(most * 100.0))
            }
            Expect::Anything => f.write_str("measured"),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Number(value) => f.write_str(&number(*value)),
            Operand::Time(seconds) => f.write_str(&time(*seconds)),
            Operand::Ago(seconds) if *seconds == 0.0 => f.write_str("now()"),
            Operand::Ago(seconds) => write!(f, "(now() - {})", super::dqdl::length(*seconds)),
            Operand::Today(seconds) => {
                let minutes = (*seconds / 60.0) as u32;
                write!(f, "today at {:02}:{:02}", minutes / 60, minutes % 60)
            }
            Operand::Last(Function::Latest, last) => write!(f, "last({last})"),
            Operand::Last(function, last) => write!(f, "{}(last({last}))", function.name()),
            Operand::Calculate(a, op, b) => write!(f, "{a} {op} {b}"),
        }
    }
}

/// A time as people read it.
pub(crate) fn time(seconds: f64) -> String {
    let micros = (seconds * 1e6).round() as i64;
    match chrono::DateTime::from_timestamp_micros(micros) {
        Some(time) if micros.rem_euclid(86_400_000_000) == 0 => time.format("%Y-%m-%d").to_string(),
        Some(time) => time.format("%Y-%m-%dT%H:%M:%S").to_string(),
        None => number(seconds),
    }
}
