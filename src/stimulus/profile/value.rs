//! What a step writes: a number, or a variable that gets its value when the step is done.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A number, or the name of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number as it stands.
    Number(u64),
    /// A variable of the stimulus, by its name.
    Given(Given),
    /// A variable of the profile: a buffer's I/O address, or what a `read` before has put `into` it.
    Named(String),
}

/// What a stimulus gives its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The I/O address of a transfer, cut to the register's width.
    Iova,
    /// Its upper 32 bits.
    IovaHigh,
    /// How many bytes are asked for.
    Bytes,
    /// How many microseconds later it is to happen.
    DelayUs,
    /// The same in milliseconds, rounded up.
    DelayMs,
}

/// How a value is written down, for the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Value")]
#[allow(dead_code)]
pub(super) enum ValueForm {
    /// A number as it stands.
    Number(u64),
    /// `iova`, `iova_high`, `bytes`, `delay_us` or `delay_ms`; a buffer's name, or that with `_high` behind it, for its
    /// I/O address; or the name that an earlier `read` has in its `into`.
    Variable(String),
}

impl Given {
    /// All of them.
    pub const ALL: [Given; 5] = [Given::Iova, Given::IovaHigh, Given::Bytes, Given::DelayUs, Given::DelayMs];

    /// What profiles call it.
    pub const fn name(self) -> &'static str {
        match self {
            Given::Iova => "iova",
            Given::IovaHigh => "iova_high",
            Given::Bytes => "bytes",
            Given::DelayUs => "delay_us",
            Given::DelayMs => "delay_ms",
        }
    }
}

impl Value {
    /// Whether a stimulus has a variable of that name.
    pub fn is_taken(name: &str) -> bool {
        Given::ALL.iter().any(|given| given.name() == name)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 on, or the name of a variable")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        u64::try_from(number).map(Value::Number).map_err(|_| E::custom(format!("{number} is below 0")))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Value, E> {
        let given = Given::ALL.into_iter().find(|given| given.name() == name);
        Ok(given.map_or_else(|| Value::Named(name.to_owned()), Value::Given))
    }
}
