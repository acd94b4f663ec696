//! Fields and their values: how the bytes of a record are read, and how a value is printed and parsed.

use serde::Serialize;
use serde_json::json;

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    /// A memory: a digest in records, all its bytes in the state form.
    Region,
}

impl Dtype {
    /// The type with this name.
    pub fn named(name: &str) -> Option<Self> {
        use Dtype::*;
        [U8, I8, U16, I16, U32, I32, U64, I64, F32, F64, Region].into_iter().find(|dtype| dtype.name() == name)
    }

    /// Its name in manifests and on the wire.
    pub fn name(self) -> &'static str {
        use Dtype::*;
        match self {
            U8 => "u8",
            I8 => "i8",
            U16 => "u16",
            I16 => "i16",
            U32 => "u32",
            I32 => "i32",
            U64 => "u64",
            I64 => "i64",
            F32 => "f32",
            F64 => "f64",
            Region => "region",
        }
    }

    /// Bytes of one value; of a region's digest.
    pub fn bytes(self) -> usize {
        use Dtype::*;
        match self {
            U8 | I8 => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 | Region => 8,
        }
    }

    /// Reads one value from its little-endian bytes.
    pub fn read(self, bytes: &[u8]) -> Value {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(word);
        match self {
            Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => Value::Unsigned(bits),
            Dtype::I8 => Value::Signed(i64::from(bits as u8 as i8)),
            Dtype::I16 => Value::Signed(i64::from(bits as u16 as i16)),
            Dtype::I32 => Value::Signed(i64::from(bits as u32 as i32)),
            Dtype::I64 => Value::Signed(bits as i64),
            Dtype::F32 => Value::Single(f32::from_bits(bits as u32)),
            Dtype::F64 => Value::Double(f64::from_bits(bits)),
            Dtype::Region => Value::Digest(bits),
        }
    }
}

/// One value of a field.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// u8 … u64.
    Unsigned(u64),
    /// i8 … i64.
    Signed(i64),
    /// f32.
    Single(f32),
    /// f64.
    Double(f64),
    /// The digest of a region.
    Digest(u64),
}

impl Value {
    /// As a number, for tolerances and predicates.
    pub fn number(self) -> f64 {
        match self {
            Value::Unsigned(value) | Value::Digest(value) => value as f64,
            Value::Signed(value) => value as f64,
            Value::Single(value) => f64::from(value),
            Value::Double(value) => value,
        }
    }

    /// As JSON; what JSON has no number for is a string with the bits.
    pub fn json(self) -> serde_json::Value {
        match self {
            Value::Unsigned(value) => json!(value),
            Value::Signed(value) => json!(value),
            // Through the shortest text that gives the same f32 back, so that 0.1 stays 0.1.
            Value::Single(value) if value.is_finite() && !(value == 0.0 && value.is_sign_negative()) => {
                json!(value.to_string().parse::<f64>().unwrap_or(f64::from(value)))
            }
            Value::Double(value) if value.is_finite() && !(value == 0.0 && value.is_sign_negative()) => json!(value),
            other => json!(other.to_string()),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Unsigned(value) => write!(f, "{value}"),
            Value::Signed(value) => write!(f, "{value}"),
            Value::Single(value) if value.is_nan() => write!(f, "nan:{:#010x}", value.to_bits()),
            Value::Single(value) => write!(f, "{value:?}"),
            Value::Double(value) if value.is_nan() => write!(f, "nan:{:#018x}", value.to_bits()),
            Value::Double(value) => write!(f, "{value:?}"),
            Value::Digest(value) => write!(f, "digest {value:016x}"),
        }
    }
}

/// One field of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name here.
    pub name: String,
    /// Its type.
    pub dtype: Dtype,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its group; its name where it has none.
    #[serde(skip)]
    pub group: String,
    /// Its name in the reference.
    #[serde(skip)]
    pub reference: Option<String>,
}

impl Field {
    /// How many values it has.
    pub fn count(&self) -> usize {
        if self.dtype == Dtype::Region { 1 } else { self.shape.iter().product() }
    }

    /// Bytes in a record.
    pub fn bytes(&self) -> usize {
        self.count() * self.dtype.bytes()
    }

    /// Bytes in the state form.
    pub fn state_bytes(&self) -> usize {
        if self.dtype == Dtype::Region { self.shape.iter().product() } else { self.bytes() }
    }

    /// The name of its `index`-th value, e.g. `purse[1]`.
    pub fn label(&self, index: usize) -> String {
        if self.shape.is_empty() || self.dtype == Dtype::Region {
            return self.name.clone();
        }
        let mut rest = index;
        let places: Vec<String> = self
            .shape
            .iter()
            .rev()
            .map(|size| {
                let place = rest % size;
                rest /= size;
                format!("[{place}]")
            })
            .collect();
        format!("{}{}", self.name, places.into_iter().rev().collect::<String>())
    }
}
