//! Validation of pool specs, with nv-ipam's field paths and texts.

use super::PoolSpec;

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

/// One problem with one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The field's path, as in `spec.exclusions[0].startIP`.
    pub field: String,
    /// The kind.
    pub kind: ErrorKind,
    /// The offending value; null for `Required` and `Forbidden`.
    pub value: serde_json::Value,
    /// What is wrong.
    pub detail: String,
}

/// Every problem of the pool, in nv-ipam's order; empty = valid.
#[must_use]
pub fn validate(_name: &str, _spec: &PoolSpec) -> Vec<FieldError> {
    Vec::new()
}
