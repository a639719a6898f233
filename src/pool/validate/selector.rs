//! The checks of a node selector: Kubernetes' own for core/v1. Label values are not checked, as in nv-ipam (vector
//! `ip-sel-25`): they only show when the selector is evaluated.

use super::parts::Errors;
use crate::pool::{ErrorKind, NodeSelector, Operator, Requirement, labels};

const FIELD: &str = "spec.nodeSelectorTerms";

pub(super) fn check(errors: &mut Errors, selector: Option<&NodeSelector>) {
    let Some(selector) = selector else { return };
    if selector.terms.is_empty() {
        errors.bare(FIELD, ErrorKind::Required, "must have at least one node selector term");
    }
    for (i, term) in selector.terms.iter().enumerate() {
        for (k, requirement) in term.expressions.iter().enumerate() {
            check_expression(errors, &format!("{FIELD}[{i}].matchExpressions[{k}]"), requirement);
        }
        for (k, requirement) in term.fields.iter().enumerate() {
            check_match_field(errors, &format!("{FIELD}[{i}].matchFields[{k}]"), requirement);
        }
    }
}

fn check_expression(errors: &mut Errors, field: &str, requirement: &Requirement) {
    let values = format!("{field}.values");
    let count = requirement.values.len();
    match Operator::parse(&requirement.operator) {
        Some(Operator::In | Operator::NotIn) if count == 0 => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.bare(values, ErrorKind::Required, detail);
        }
        Some(Operator::Exists | Operator::DoesNotExist) if count > 0 => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.bare(values, ErrorKind::Forbidden, detail);
        }
        Some(Operator::Gt | Operator::Lt) if count != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.bare(values, ErrorKind::Required, detail);
        }
        Some(_) => {}
        None => unknown_operator(errors, field, requirement),
    }
    for detail in labels::key_errors(&requirement.key) {
        errors.invalid(format!("{field}.key"), requirement.key.as_str(), &detail);
    }
}

fn check_match_field(errors: &mut Errors, field: &str, requirement: &Requirement) {
    match Operator::parse(&requirement.operator) {
        Some(Operator::In | Operator::NotIn) => {
            if requirement.values.len() != 1 {
                let detail =
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.bare(format!("{field}.values"), ErrorKind::Required, detail);
            }
        }
        _ => unknown_operator(errors, field, requirement),
    }
    if requirement.key != "metadata.name" {
        errors.invalid(format!("{field}.key"), requirement.key.as_str(), "not a valid field selector key");
        return;
    }
    for (i, value) in requirement.values.iter().enumerate() {
        for detail in labels::dns_errors(value) {
            errors.invalid(format!("{field}.values[{i}]"), value.as_str(), &detail);
        }
    }
}

fn unknown_operator(errors: &mut Errors, field: &str, requirement: &Requirement) {
    errors.invalid(
        format!("{field}.operator"),
        requirement.operator.as_str(),
        "not a valid selector operator",
    );
}
