//! An error of one field, in the form and with the texts of Kubernetes' field validation.

use std::{collections::HashSet, fmt};

use serde_json::Value;

/// The kinds of errors of Kubernetes' field validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Kubernetes'")]
pub enum ErrorKind {
    Invalid,
    Required,
    Forbidden,
    Duplicate,
    NotSupported,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "Invalid value",
            Self::Required => "Required value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::NotSupported => "Unsupported value",
        })
    }
}

/// One problem with one field. Its text is Kubernetes': `field: Kind: value: detail`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The field's path, as in `spec.exclusions[0].startIP`.
    pub field: String,
    /// The kind.
    pub kind: ErrorKind,
    /// The offending value; null for `Required` and `Forbidden`.
    pub value: Value,
    /// What is wrong.
    pub detail: String,
}

impl std::error::Error for FieldError {}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.field, self.kind)?;
        if !self.value.is_null() {
            write_value(f, &self.value)?;
            f.write_str(": ")?;
        }
        f.write_str(&self.detail)
    }
}

/// The keys of the objects that appear as values, in the order in which nv-ipam writes them.
const KEYS: [&str; 8] =
    ["nodeName", "gateway", "prefix", "startIP", "endIP", "startIndex", "endIndex", "dst"];

/// Compact JSON with the keys in nv-ipam's order.
fn write_value(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Array(items) => {
            f.write_str("[")?;
            for (i, item) in items.iter().enumerate() {
                f.write_str(if i == 0 { "" } else { "," })?;
                write_value(f, item)?;
            }
            f.write_str("]")
        }
        Value::Object(fields) => {
            f.write_str("{")?;
            let present = KEYS.iter().filter_map(|key| fields.get(*key).map(|value| (key, value)));
            for (i, (key, value)) in present.enumerate() {
                write!(f, "{}\"{key}\":", if i == 0 { "" } else { "," })?;
                write_value(f, value)?;
            }
            f.write_str("}")
        }
        scalar => write!(f, "{scalar}"),
    }
}

/// All errors in one text: the only one as it is, several as `[a, b]` without doubles.
pub(super) fn aggregate(errors: &[FieldError]) -> String {
    let mut seen = HashSet::new();
    let texts: Vec<_> =
        errors.iter().map(ToString::to_string).filter(|text| seen.insert(text.clone())).collect();
    match texts.as_slice() {
        [single] => single.clone(),
        _ => format!("[{}]", texts.join(", ")),
    }
}
