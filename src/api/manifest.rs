//! From bytes to objects: YAML with many documents, JSON, lists of objects. Every document keeps the place where it
//! stands. Reading files is not done here.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned, UserMessageFormatter};

use super::objects::{Decoder, Objects, Raw};

/// A file's content under the name that messages shall use (`<stdin>` for standard input).
#[derive(Debug, Clone)]
pub struct Source {
    /// The name.
    pub name: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// Decodes all objects of `sources`, strictly. What is wrong with a file or an object becomes a problem of its own and
/// leaves the others alone.
#[must_use]
pub fn decode<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Objects {
    let mut decoder = Decoder::new();
    for source in sources {
        match documents(&source.bytes) {
            Ok(documents) => {
                for document in documents {
                    let origin = format!("{}:{}", source.name, document.referenced.line());
                    object(&mut decoder, document.value, origin);
                }
            }
            Err(Broken { line, message }) => {
                decoder.objects.incomplete = true;
                decoder.problem(format!("{}:{line}", source.name), "", message);
            }
        }
    }
    decoder.objects
}

/// Why a file is not YAML, and where.
struct Broken {
    line: u64,
    message: String,
}

fn documents(bytes: &[u8]) -> Result<Vec<Spanned<Value>>, Broken> {
    let text = std::str::from_utf8(bytes).map_err(|error| Broken {
        line: 1 + bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() as u64,
        message: "not UTF-8 text".to_owned(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| Broken {
        line: error.location().map_or(1, |l| l.line()),
        message: format!("broken YAML: {}", one_line(&error)),
    })
}

/// Numbers that YAML versions read differently (`010`, `1_000`) stay text, so that they are refused where a number is
/// meant. The limits are those of a fleet of 100,000 nodes; those on nesting and aliases stay.
fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        emit_comments: false,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 100_000_000,
            max_nodes: 50_000_000,
            max_documents: 10_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
    }
}

/// The parser's message without its position, which stands before it.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.render_with_formatter(&UserMessageFormatter);
    let text = text.lines().next().unwrap_or_default();
    text.split(" at line ").next().unwrap_or(text).trim().to_owned()
}

/// Takes a document apart: nothing, one object, or a list of them.
fn object(decoder: &mut Decoder, mut value: Value, origin: String) {
    if value.is_null() {
        return;
    }
    prune_nulls(&mut value);
    let Value::Object(map) = &mut value else {
        decoder.objects.incomplete = true;
        return decoder.problem(
            origin,
            "",
            "not a Kubernetes object (a mapping with apiVersion and kind)".to_owned(),
        );
    };
    let text =
        |map: &serde_json::Map<String, Value>, key| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let (Some(api_version), Some(kind)) = (text(map, "apiVersion"), text(map, "kind")) else {
        decoder.objects.incomplete = true;
        return decoder.problem(
            origin,
            "",
            "not a Kubernetes object (apiVersion or kind is missing)".to_owned(),
        );
    };
    let Some(Value::Array(items)) = kind.ends_with("List").then(|| map.remove("items")).flatten() else {
        return decoder.add(&Raw { kind, api_version, value, origin });
    };
    for (index, mut item) in items.into_iter().enumerate() {
        // The items of a typed list (`IPPoolList`) need not repeat their kind.
        if let (Some(kind), Value::Object(item)) =
            (kind.strip_suffix("List").filter(|k| !k.is_empty()), &mut item)
        {
            item.entry("apiVersion").or_insert_with(|| api_version.clone().into());
            item.entry("kind").or_insert_with(|| kind.into());
        }
        object(decoder, item, format!("{origin} items[{index}]"));
    }
}

/// A field that is null counts as absent, as for the API server.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}
