//! Checks a value against the schema that its type generates: every unknown field, wrong type and missing field at once.
//! It knows no kinds and no field names of its own.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// What to make of fields that the schema does not name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A problem (specs that users write).
    Refused,
    /// Nothing (metadata and status, which servers of any version fill).
    Tolerated,
}

/// Every problem of `value`, each as field path and message. `path` is the path of `value` itself.
pub(super) fn check(
    value: &Value,
    schema: &JSONSchemaProps,
    unknown: Unknown,
    path: &str,
) -> Vec<(String, String)> {
    let mut walk = Walk { unknown, path: path.to_owned(), found: Vec::new() };
    walk.value(value, schema);
    walk.found
}

struct Walk {
    unknown: Unknown,
    path: String,
    found: Vec<(String, String)>,
}

impl Walk {
    fn value(&mut self, value: &Value, schema: &JSONSchemaProps) {
        match (schema.type_.as_deref(), value) {
            (Some("object"), Value::Object(map)) => self.object(map, schema),
            (Some("array"), Value::Array(items)) => {
                if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
                    for (index, value) in items.iter().enumerate() {
                        self.below(&format!("[{index}]"), |walk| walk.value(value, item));
                    }
                }
            }
            (Some("string"), Value::String(text)) => self.text(text, schema),
            (Some("integer"), Value::Number(number)) if number.is_i64() => {
                self.limits(number.as_f64().unwrap_or_default(), schema);
            }
            (Some("boolean"), Value::Bool(_)) | (Some("number"), Value::Number(_)) | (None, _) => {}
            (Some(expected), found) => self.problem(wrong_type(expected, found)),
        }
    }

    fn object(&mut self, map: &serde_json::Map<String, Value>, schema: &JSONSchemaProps) {
        let properties = schema.properties.as_ref();
        let any = match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(any)) => Some(&**any),
            _ => None,
        };
        let open = schema.x_kubernetes_preserve_unknown_fields == Some(true)
            || schema.additional_properties == Some(JSONSchemaPropsOrBool::Bool(true));
        for (key, value) in map {
            match (properties.and_then(|p| p.get(key)), any) {
                (Some(field), _) => self.below(&format!(".{key}"), |walk| walk.value(value, field)),
                (None, Some(any)) => self.below(&format!("[{key}]"), |walk| walk.value(value, any)),
                (None, None) if open || self.unknown == Unknown::Tolerated => {}
                (None, None) => {
                    let known = properties.iter().flat_map(|p| p.keys().map(String::as_str));
                    let message = format!("unknown field{}", hint(key, known));
                    self.below(&format!(".{key}"), |walk| walk.problem(message));
                }
            }
        }
        for field in schema.required.iter().flatten().filter(|field| !map.contains_key(*field)) {
            self.below(&format!(".{field}"), |walk| walk.problem("required field is missing".to_owned()));
        }
    }

    fn text(&mut self, text: &str, schema: &JSONSchemaProps) {
        if let Some(allowed) = &schema.enum_ {
            let allowed: Vec<_> = allowed.iter().filter_map(|v| v.0.as_str()).collect();
            if !allowed.contains(&text) {
                self.problem(format!("{text:?} is none of {}", allowed.join(", ")));
            }
        }
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if schema.min_length.is_some_and(|min| length < min) {
            self.problem("must not be empty".to_owned());
        }
        if let Some(max) = schema.max_length.filter(|max| length > *max) {
            self.problem(format!("{text:?} has {length} characters, at most {max} are possible"));
        }
    }

    fn limits(&mut self, number: f64, schema: &JSONSchemaProps) {
        if let Some(min) = schema.minimum.filter(|min| number < *min) {
            self.problem(format!("{number} is less than {min}"));
        }
        if let Some(max) = schema.maximum.filter(|max| number > *max) {
            self.problem(format!("{number} is more than {max}"));
        }
    }

    fn below(&mut self, segment: &str, step: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(if length == 0 { segment.trim_start_matches('.') } else { segment });
        step(self);
        self.path.truncate(length);
    }

    fn problem(&mut self, message: String) {
        self.found.push((self.path.clone(), message));
    }
}

fn wrong_type(expected: &str, found: &Value) -> String {
    let is = match found {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(value) => format!("the string {value:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    let expected = match expected {
        "array" => "a list".to_owned(),
        "object" | "integer" => format!("an {expected}"),
        other => format!("a {other}"),
    };
    let advice = match found {
        Value::Bool(_) if expected == "a string" => {
            "; put it in quotes (YAML reads on, off, yes, no, y, n as booleans)"
        }
        Value::Number(_) if expected == "a string" => "; put it in quotes",
        Value::Number(number) if expected == "an integer" && !number.is_f64() => " (too large)",
        _ => "",
    };
    format!("must be {expected}, not {is}{advice}")
}

/// `, did you mean "x"?` if a known name is near, else what there is.
pub(super) fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    let wanted = name.to_lowercase();
    let near = known
        .iter()
        .map(|field| (strsim::normalized_damerau_levenshtein(&wanted, &field.to_lowercase()), field))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, field)) => format!(", did you mean {field:?}?"),
        None if known.is_empty() => String::new(),
        None => format!(" (there are {})", known.join(", ")),
    }
}
