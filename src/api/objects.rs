//! The objects of a set of manifests, by kind, and the table of kinds that are known. Decoding one object is done here;
//! where its text comes from is `manifest`'s business.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{CustomResourceExt, Resource};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    dpf::{
        DpuServiceChain, DpuServiceInterface, DpuServiceIpam, NodeServiceInterfaces, ServiceChain,
        ServiceChainSet, ServiceInterface, ServiceInterfaceSet,
    },
    nvipam::{CidrPool, IpPool},
    strict::{self, Unknown},
};
use crate::{engine::assignment::Problem, pool};

/// Everything that was read, in the order of the files.
#[derive(Debug, Default)]
pub struct Objects {
    /// Node objects (core/v1), as far as the split needs them.
    pub nodes: Vec<pool::Node>,
    /// DPUServiceIPAM.
    pub ipams: Vec<DpuServiceIpam>,
    /// IPPool.
    pub ip_pools: Vec<IpPool>,
    /// CIDRPool.
    pub cidr_pools: Vec<CidrPool>,
    /// DPUServiceInterface.
    pub dpu_interfaces: Vec<DpuServiceInterface>,
    /// ServiceInterfaceSet.
    pub interface_sets: Vec<ServiceInterfaceSet>,
    /// ServiceInterface.
    pub interfaces: Vec<ServiceInterface>,
    /// NodeServiceInterfaces.
    pub node_interfaces: Vec<NodeServiceInterfaces>,
    /// DPUServiceChain.
    pub dpu_chains: Vec<DpuServiceChain>,
    /// ServiceChainSet.
    pub chain_sets: Vec<ServiceChainSet>,
    /// ServiceChain.
    pub chains: Vec<ServiceChain>,
    /// What could not be used.
    pub problems: Vec<Problem>,
    /// What is of no concern here, as `Kind/name (file:line)`.
    pub skipped: Vec<String>,
    /// Objects of known kinds that could not be decoded. Nothing may be concluded from their absence.
    pub undecodable: BTreeSet<ObjectKey>,
    /// A file, or a Node object, could not be read: there may be nodes and allocations that nobody knows of.
    pub incomplete: bool,
}

/// What makes an object one and the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: String,
    /// Its namespace; `default` if it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object of `kind` with this metadata.
    #[must_use]
    pub fn new(kind: &str, meta: &ObjectMeta) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace(meta),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

/// The namespace, `default` if there is none, as the API server has it.
#[must_use]
pub fn namespace(meta: &ObjectMeta) -> String {
    meta.namespace.clone().filter(|ns| !ns.is_empty()).unwrap_or_else(|| "default".to_owned())
}

/// `Kind/name`, as problems name an object.
#[must_use]
pub fn title<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}/{}", K::kind(&()), object.meta().name.as_deref().unwrap_or_default())
}

/// One object as JSON, and where it stands.
pub(super) struct Raw {
    pub(super) kind: String,
    pub(super) api_version: String,
    pub(super) value: Value,
    /// `file:line`.
    pub(super) origin: String,
}

/// Decodes objects of files into an [`Objects`], strictly: a field that nobody knows is a problem of its object. (What an
/// API server sends was checked by it and may be newer than this program: plain serde decodes that.)
pub(super) struct Decoder {
    pub(super) objects: Objects,
    meta_schema: JSONSchemaProps,
    schemas: BTreeMap<String, JSONSchemaProps>,
    seen: BTreeMap<ObjectKey, String>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            objects: Objects::default(),
            meta_schema: schema::<ObjectMeta>().unwrap_or_default(),
            schemas: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Takes in one object; what is wrong with it becomes problems.
    pub(super) fn add(&mut self, raw: &Raw) {
        match raw.kind.as_str() {
            "DPUServiceIPAM" => self.custom(raw, |o| &mut o.ipams),
            "IPPool" => self.custom(raw, |o| &mut o.ip_pools),
            "CIDRPool" => self.custom(raw, |o| &mut o.cidr_pools),
            "DPUServiceInterface" => self.custom(raw, |o| &mut o.dpu_interfaces),
            "ServiceInterfaceSet" => self.custom(raw, |o| &mut o.interface_sets),
            "ServiceInterface" => self.custom(raw, |o| &mut o.interfaces),
            "NodeServiceInterfaces" => self.custom(raw, |o| &mut o.node_interfaces),
            "DPUServiceChain" => self.custom(raw, |o| &mut o.dpu_chains),
            "ServiceChainSet" => self.custom(raw, |o| &mut o.chain_sets),
            "ServiceChain" => self.custom(raw, |o| &mut o.chains),
            "Node" if raw.api_version == "v1" => self.node(raw),
            // `split` prints events behind the pools; its output is also its input.
            "Event" => {}
            kind => {
                let name = raw.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?");
                self.objects.skipped.push(format!("{kind}/{name} ({})", raw.origin));
            }
        }
    }

    /// A problem with a document that is no object, or with a whole file.
    pub(super) fn problem(&mut self, object: String, field: &str, message: String) {
        self.objects.problems.push(Problem { object, field: field.to_owned(), message });
    }

    fn custom<K>(&mut self, raw: &Raw, place: fn(&mut Objects) -> &mut Vec<K>)
    where
        K: Resource<DynamicType = ()> + CustomResourceExt + DeserializeOwned,
    {
        let expected = K::api_version(&());
        if raw.api_version != expected {
            let message =
                format!("{:?} is not known for {}, it must be {expected}", raw.api_version, raw.kind);
            return self.refuse(raw, vec![("apiVersion".to_owned(), message)]);
        }
        let schema = self.schemas.entry(raw.kind.clone()).or_insert_with(crd_schema::<K>);
        let mut found = envelope(&raw.value, schema);
        found.extend(metadata(&raw.value, &self.meta_schema));
        if !found.is_empty() {
            return self.refuse(raw, found);
        }
        match K::deserialize(&raw.value) {
            Ok(object) => {
                if self.first(raw, object.meta()) {
                    place(&mut self.objects).push(object);
                }
            }
            Err(error) => self.refuse(raw, vec![(String::new(), error.to_string())]),
        }
    }

    fn node(&mut self, raw: &Raw) {
        let found = metadata(&raw.value, &self.meta_schema);
        if !found.is_empty() {
            self.objects.incomplete = true;
            return self.refuse(raw, found);
        }
        match NodeMeta::deserialize(&raw.value) {
            Ok(NodeMeta { metadata }) => {
                if self.first(raw, &metadata) {
                    let name = metadata.name.unwrap_or_default();
                    self.objects.nodes.push(pool::Node { name, labels: metadata.labels.unwrap_or_default() });
                }
            }
            Err(error) => {
                self.objects.incomplete = true;
                self.refuse(raw, vec![(String::new(), error.to_string())]);
            }
        }
    }

    /// Whether this is the first object of its identity; a second one is a problem and does not count.
    fn first(&mut self, raw: &Raw, meta: &ObjectMeta) -> bool {
        let mut key = ObjectKey::new(&raw.kind, meta);
        if raw.kind == "Node" {
            key.namespace.clear();
        }
        if let Some(origin) = self.seen.get(&key) {
            let message = format!("defined again at {}; the first, at {origin}, counts", raw.origin);
            self.problem(format!("{}/{}", key.kind, key.name), "metadata.name", message);
            return false;
        }
        self.seen.insert(key, raw.origin.clone());
        true
    }

    fn refuse(&mut self, raw: &Raw, found: Vec<(String, String)>) {
        let text = |pointer| raw.value.pointer(pointer).and_then(Value::as_str).filter(|s| !s.is_empty());
        let name = text("/metadata/name");
        let object =
            name.map_or_else(|| format!("{} ({})", raw.kind, raw.origin), |n| format!("{}/{n}", raw.kind));
        if let Some(name) = name {
            self.objects.undecodable.insert(ObjectKey {
                kind: raw.kind.clone(),
                namespace: text("/metadata/namespace").unwrap_or("default").to_owned(),
                name: name.to_owned(),
            });
        }
        for (field, message) in found {
            self.problem(object.clone(), &field, message);
        }
    }
}

#[derive(Deserialize)]
struct NodeMeta {
    metadata: ObjectMeta,
}

/// Problems of a custom object's own fields: `spec` is strict, `status` is not, `metadata` comes apart.
fn envelope(value: &Value, schema: &JSONSchemaProps) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some(fields) = &schema.properties else { return found };
    for (key, value) in value.as_object().into_iter().flatten() {
        match (key.as_str(), fields.get(key)) {
            ("apiVersion" | "kind" | "metadata", _) => {}
            ("status", Some(status)) => {
                found.extend(strict::check(value, status, Unknown::Tolerated, "status"));
            }
            (_, Some(field)) => found.extend(strict::check(value, field, Unknown::Refused, key)),
            (_, None) => {
                let known = ["apiVersion", "kind", "metadata"].into_iter();
                let known = known.chain(fields.keys().map(String::as_str));
                found.push((key.clone(), format!("unknown field{}", strict::hint(key, known))));
            }
        }
    }
    if value.get("spec").is_none() {
        found.push(("spec".to_owned(), "required field is missing".to_owned()));
    }
    found
}

/// Problems of `metadata`: a name is needed, types must be right, and fields of newer servers are fine.
fn metadata(value: &Value, schema: &JSONSchemaProps) -> Vec<(String, String)> {
    let Some(metadata) = value.get("metadata") else {
        return vec![("metadata.name".to_owned(), "required field is missing".to_owned())];
    };
    let mut found = strict::check(metadata, schema, Unknown::Tolerated, "metadata");
    if metadata.is_object() && matches!(metadata.get("name").map(Value::as_str), None | Some(Some(""))) {
        found.push(("metadata.name".to_owned(), "required field is missing".to_owned()));
    }
    found
}

/// The schema that goes into the kind's CRD.
fn crd_schema<K: CustomResourceExt>() -> JSONSchemaProps {
    let version = K::crd().spec.versions.into_iter().next();
    version.and_then(|v| v.schema).and_then(|s| s.open_api_v3_schema).unwrap_or_default()
}

/// The schema of a type without references; `None` if it is none that a CRD can hold.
fn schema<T: JsonSchema>() -> Option<JSONSchemaProps> {
    let settings = SchemaSettings::openapi3().with(|s| s.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    serde_json::from_value(schema.to_value()).ok()
}
