//! Where each field of a YAML text stands: from a field's path to its line, and back. Knows nothing of meanings.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// The positions of all fields of a text, in its order.
#[derive(Debug, Default)]
pub(super) struct Positions(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    path: String,
    /// Line and column of the key, or of the list's item.
    at: (u64, u64),
}

impl Positions {
    /// Those of `text`; none if it is not YAML.
    pub(super) fn of(text: &str) -> Self {
        let mut entries = Vec::new();
        if let Ok(node) = serde_saphyr::from_str::<Node>(text) {
            node.collect("", &mut entries);
        }
        Self(entries)
    }

    /// The line of the field `path`, or of the nearest field above it that is there.
    pub(super) fn line_of(&self, path: &str) -> Option<u64> {
        if let Some(entry) = self.0.iter().find(|e| e.path == path) {
            return Some(entry.at.0);
        }
        self.line_of(&path[..path.rfind(['.', '['])?])
    }

    /// The path of the field that stands at this place, or begins last before it.
    pub(super) fn path_at(&self, line: u64, column: u64) -> String {
        self.last(|e| e.at <= (line, column))
    }

    /// The path of what holds the mapping that begins at this place: its first key stands there, too, and is not meant.
    pub(super) fn holder_at(&self, line: u64, column: u64) -> String {
        let at = (line, column);
        self.last(|e| e.at < at || (e.at == at && e.path.ends_with(']')))
    }

    fn last(&self, wanted: impl Fn(&Entry) -> bool) -> String {
        self.0.iter().filter(|e| wanted(e)).max_by_key(|e| e.at).map(|e| e.path.clone()).unwrap_or_default()
    }
}

/// A value of any type.
enum Node {
    Map(Vec<(Spanned<String>, Node)>),
    List(Vec<Spanned<Node>>),
    Scalar,
}

impl Node {
    fn collect(self, path: &str, entries: &mut Vec<Entry>) {
        match self {
            Self::Map(fields) => {
                for (key, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    let path = format!("{path}{dot}{}", key.value);
                    let at = (key.referenced.line(), key.referenced.column());
                    entries.push(Entry { path: path.clone(), at });
                    value.collect(&path, entries);
                }
            }
            Self::List(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let at = (item.referenced.line(), item.referenced.column());
                    entries.push(Entry { path: path.clone(), at });
                    item.value.collect(&path, entries);
                }
            }
            Self::Scalar => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        macro_rules! scalars {
            ($($visit:ident: $ty:ty),+) => {$(
                fn $visit<E>(self, _: $ty) -> Result<Node, E> {
                    Ok(Node::Scalar)
                }
            )+};
        }
        impl<'de> Visitor<'de> for V {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            scalars!(visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128,
                visit_f64: f64, visit_str: &str);
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Node::Map(fields))
            }
        }
        deserializer.deserialize_any(V)
    }
}
