//! The file's form: its fields and their types, as texts. What they mean is up to `check`.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Config, Problem, SourceConfig, duration, position::Positions};
use crate::model::{Binding, Labels, PoolChoice, PoolSelector, RoutingNumbers};

/// The whole file. A field that is left empty is one that is left out.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Source>,
    pub(super) interfaces: Option<Vec<Interface>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runtime_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quarantine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resync: Option<String>,
    pub(super) routing: Option<RoutingNumbers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nv_ipam_store: Option<String>,
}

/// `source`: exactly one of its fields.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) files: Option<Files>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kubernetes: Option<Kubernetes>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Files {
    pub(super) path: OneOrMany<String>,
}

/// Read so that a file for a later version gets a clear answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kubernetes {
    #[serde(default)]
    kubeconfig: Option<String>,
}

/// One of `interfaces`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) r#match: Match,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) service_interface: Option<ServiceInterface>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pool: Option<OneOrMany<Pool>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) isolation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) netns: Option<String>,
}

/// `match`: as [`crate::model::SfMatch`], in texts.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Match {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pci: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sfnum: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) netdev: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mac: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServiceInterface {
    #[serde(rename = "serviceID")]
    pub(super) service_id: String,
    pub(super) interface_name: String,
}

/// `pool`: exactly one of its fields.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Pool {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) match_labels: Option<Labels>,
}

/// A value, or a list of such. An untagged enum would lose the position of what is wrong inside.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![T::deserialize(serde::de::value::StrDeserializer::new(text))?]))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(OneOrMany(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(OneOrMany(items))
            }
        }
        deserializer.deserialize_any(V(std::marker::PhantomData))
    }
}

/// Reads the form. An empty file is one without fields.
pub(super) fn parse(origin: &str, text: &str) -> Result<File, Problem> {
    serde_saphyr::from_str::<Option<File>>(text).map(Option::unwrap_or_default).map_err(|e| {
        let e = e.without_snippet();
        let at = e.location().map(|at| (at.line(), at.column()));
        let positions = Positions::of(text);
        let field = at.map_or_else(String::new, |(line, column)| match e {
            serde_saphyr::Error::SerdeMissingField { .. } => positions.holder_at(line, column),
            _ => positions.path_at(line, column),
        });
        Problem { origin: origin.to_owned(), line: at.map(|(line, _)| line), field, message: message(e) }
    })
}

/// What is wrong, without the position, which the problem already carries.
fn message(e: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    match e {
        E::SerdeUnknownField { field, expected, .. } => match nearest(field, expected) {
            Some(known) => format!("unknown field `{field}`, did you mean `{known}`?"),
            None => format!("unknown field `{field}`; known are {}", expected.join(", ")),
        },
        E::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` is there twice"),
        E::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        other => {
            let text = other.to_string();
            // The library appends its own words for the position.
            text.split(" at line ").next().unwrap_or(&text).to_owned()
        }
    }
}

/// The known name that `field` is probably meant to be.
fn nearest<'a>(field: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&field.to_lowercase(), &name.to_lowercase());
    known
        .iter()
        .copied()
        .map(|name| (distance(name), name))
        .filter(|(d, _)| *d <= 2)
        .min()
        .map(|(_, name)| name)
}

impl From<&Config> for File {
    fn from(config: &Config) -> Self {
        let path = |path: &std::path::Path| path.display().to_string();
        let SourceConfig::Files { paths } = &config.source;
        Self {
            node: Some(config.node.to_string()),
            source: Some(Source {
                files: Some(Files { path: OneOrMany(paths.iter().map(|p| path(p)).collect()) }),
                kubernetes: None,
            }),
            interfaces: Some(config.bindings.iter().map(Interface::from).collect()),
            state_dir: Some(path(&config.state_dir)),
            runtime_dir: Some(path(&config.runtime_dir)),
            quarantine: Some(duration::format(config.quarantine)),
            resync: Some(duration::format(config.resync)),
            routing: Some(config.numbers),
            nv_ipam_store: Some(config.nv_ipam_store.as_deref().map_or_else(|| "none".into(), path)),
        }
    }
}

impl From<&Binding> for Interface {
    fn from(binding: &Binding) -> Self {
        let (service_interface, pool) = match &binding.pool {
            PoolChoice::ServiceInterface { service_id, interface_name } => (
                Some(ServiceInterface {
                    service_id: service_id.clone(),
                    interface_name: interface_name.clone(),
                }),
                None,
            ),
            PoolChoice::Pools(pools) => (None, Some(OneOrMany(pools.iter().map(Pool::from).collect()))),
        };
        Self {
            name: binding.name.to_string(),
            r#match: Match {
                pci: binding.sf.pci.map(|v| v.to_string()),
                sfnum: binding.sf.sfnum,
                netdev: binding.sf.netdev.as_ref().map(ToString::to_string),
                mac: binding.sf.mac.map(|v| v.to_string()),
            },
            service_interface,
            pool,
            index: binding.index,
            isolation: Some(super::check::isolation_name(binding.isolation).to_owned()),
            netns: None,
        }
    }
}

impl From<&PoolSelector> for Pool {
    fn from(selector: &PoolSelector) -> Self {
        match selector {
            PoolSelector::Name(name) => Self { name: Some(name.clone()), match_labels: None },
            PoolSelector::Labels(labels) => Self { name: None, match_labels: Some(labels.clone()) },
        }
    }
}
