//! Which nodes a pool serves: the core/v1 `NodeSelector` as data, and its evaluation.

use std::collections::BTreeMap;

use super::labels;

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

impl Operator {
    /// The operator with this exact text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }
}

/// A requirement that nobody can evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("requirement on {key:?} cannot be evaluated: {problem}")]
pub struct SelectorError {
    /// The requirement's key.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

impl NodeSelector {
    /// Whether one term matches the node.
    ///
    /// # Errors
    /// No term matches, but one of them cannot be evaluated, so that the node's part is unknown. (nv-ipam takes this
    /// for "no": vector `ip-sel-bad-value-drops`.)
    pub fn matches(&self, node: &Node) -> Result<bool, SelectorError> {
        let mut unknown = None;
        for term in &self.terms {
            match term.matches(node) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => unknown = unknown.or(Some(error)),
            }
        }
        unknown.map_or(Ok(false), Err)
    }
}

impl Term {
    fn matches(&self, node: &Node) -> Result<bool, SelectorError> {
        if self.expressions.is_empty() && self.fields.is_empty() {
            return Ok(false);
        }
        let mut all = true;
        // Every requirement is looked at, so that a node's labels do not decide whether an error is seen.
        for requirement in &self.expressions {
            requirement.check_label_values()?;
            all &= requirement.holds(node.labels.get(&requirement.key).map(String::as_str))?;
        }
        for requirement in &self.fields {
            all &= requirement.holds(Some(&node.name))?;
        }
        Ok(all)
    }
}

impl Requirement {
    fn error(&self, problem: String) -> SelectorError {
        SelectorError { key: self.key.clone(), problem }
    }

    /// Only for labels: a node name may be longer than a label value.
    fn check_label_values(&self) -> Result<(), SelectorError> {
        match self.values.iter().find(|value| !labels::is_value(value)) {
            Some(value) => Err(self.error(format!("{value:?} is no label value"))),
            None => Ok(()),
        }
    }

    fn holds(&self, actual: Option<&str>) -> Result<bool, SelectorError> {
        let error = |problem| self.error(problem);
        let operator = Operator::parse(&self.operator)
            .ok_or_else(|| error(format!("unknown operator {:?}", self.operator)))?;
        let listed = || self.values.iter().any(|value| Some(value.as_str()) == actual);
        let bound = || match self.values.as_slice() {
            [value] => value.parse::<i64>().map_err(|_| error(format!("{value:?} is no 64-bit integer"))),
            _ => Err(error(format!("{} needs one value", self.operator))),
        };
        let number = actual.and_then(|value| value.parse::<i64>().ok());
        Ok(match operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => actual.is_some(),
            Operator::DoesNotExist => actual.is_none(),
            Operator::Gt => bound().map(|bound| number.is_some_and(|number| number > bound))?,
            Operator::Lt => bound().map(|bound| number.is_some_and(|number| number < bound))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: &str, values: &[&str]) -> Requirement {
        Requirement {
            key: key.into(),
            operator: operator.into(),
            values: values.iter().map(|&value| value.into()).collect(),
        }
    }

    fn term(expressions: Vec<Requirement>) -> Term {
        Term { expressions, fields: Vec::new() }
    }

    fn node() -> Node {
        Node {
            name: "n1".into(),
            labels: [("rank".into(), "007".into()), ("zone".into(), "z1".into())].into(),
        }
    }

    #[test]
    fn a_term_that_matches_outweighs_one_that_cannot_be_evaluated() {
        let bad = term(vec![requirement("zone", "In", &["z2"]), requirement("rank", "Gt", &["many"])]);
        let good = term(vec![requirement("rank", "Lt", &["8"])]);
        let matches = |terms| NodeSelector { terms }.matches(&node());
        assert_eq!(matches(vec![bad.clone(), good]), Ok(true));
        assert!(matches(vec![bad.clone()]).is_err());
        assert!(matches(vec![bad, term(vec![requirement("zone", "In", &["z3"])])]).is_err());
    }

    #[test]
    fn a_label_called_like_the_field_is_still_a_label() {
        let mut node = node();
        node.labels.insert("metadata.name".into(), "other".into());
        let on_label = term(vec![requirement("metadata.name", "In", &["n1"])]);
        assert_eq!(NodeSelector { terms: vec![on_label] }.matches(&node), Ok(false));
        let fields = vec![requirement("metadata.name", "In", &["n1"])];
        let on_field = Term { expressions: Vec::new(), fields };
        assert_eq!(NodeSelector { terms: vec![on_field] }.matches(&node), Ok(true));
    }
}
