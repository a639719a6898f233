//! Which nodes a pool serves: the core/v1 `NodeSelector` as data, and its evaluation.

use std::collections::BTreeMap;

/// A node as the split sees it: nothing but name and labels matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
}

/// Terms are ORed; the requirements of one term are ANDed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSelector {
    /// `nodeSelectorTerms`.
    pub terms: Vec<Term>,
}

/// One term. An empty term matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Term {
    /// `matchExpressions`, on labels.
    pub expressions: Vec<Requirement>,
    /// `matchFields`, on `metadata.name`.
    pub fields: Vec<Requirement>,
}

/// One requirement, as written (operators are checked by `validate`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Label key, or `metadata.name`.
    pub key: String,
    /// The operator's text as written.
    pub operator: String,
    /// Values as written.
    pub values: Vec<String>,
}

/// The operators of core/v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are core/v1's")]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}
