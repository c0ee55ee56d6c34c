//! Metrics of one stage of a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a stage did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StageMetrics {
    /// Records that came in.
    pub records_in: u64,
    /// Records passed on.
    pub records_out: u64,
    /// Bytes read or written; 0 for steps.
    pub bytes: u64,
    /// Time spent working, added up over workers, in seconds.
    #[serde(with = "seconds")]
    pub busy: Duration,
    /// Time from its first to its last record, in seconds.
    #[serde(with = "seconds")]
    pub wall: Duration,
}

/// Lengths of time as seconds with six digits after the point, for `#[serde(with = "…")]`.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes a number of seconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((value.as_secs_f64() * 1e6).round() / 1e6)
    }

    /// Reads a number of seconds.
    ///
    /// # Errors
    /// When it is negative, not finite or no number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| de::Error::custom(format!("{seconds} is not a number of seconds")))
    }
}
