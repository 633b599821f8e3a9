//! Istio's published schemas of the kinds that Weir prints (tests/istio/crds), with unknown fields refused, as an API server does.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The kinds that there are schemas of.
pub(crate) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    pub(crate) fn read() -> Self {
        let path = weir_tests::paths::repository().join("tests/istio/crds/schemas.json");
        let mut schemas: BTreeMap<String, Value> =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        schemas.values_mut().for_each(close);
        Self(schemas)
    }

    /// What an API server would refuse in a resource; `None` if its kind is not Istio's.
    pub(crate) fn problems(&self, resource: &Value) -> Option<Vec<String>> {
        let text = |field: &str| resource[field].as_str().unwrap_or_default();
        let name = format!("{} {}", text("apiVersion"), text("kind"));
        if !text("apiVersion").contains(".istio.io/") {
            return None;
        }
        let Some(schema) = self.0.get(&name) else { return Some(vec![format!("no such kind: {name}")]) };
        let validator = jsonschema::validator_for(&schema["properties"]["spec"]).unwrap();
        let errors = validator.iter_errors(&resource["spec"]);
        let mut problems: Vec<String> =
            errors.map(|error| format!("{name}: spec{}: {error}", error.instance_path())).collect();
        if resource["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            problems.push(format!("{name}: no name"));
        }
        let fields = resource.as_object().into_iter().flat_map(|fields| fields.keys());
        let unknown = fields.filter(|field| !["apiVersion", "kind", "metadata", "spec"].contains(&field.as_str()));
        problems.extend(unknown.map(|field| format!("{name}: unknown field `{field}`")));
        Some(problems)
    }
}

/// Refuses unknown fields wherever fields are named. Not within `oneOf` and its like, which only say which of them go together.
fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(items) = fields.get_mut("items") {
        close(items);
    }
    if let Some(values) = fields.get_mut("additionalProperties") {
        close(values);
    }
    let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) else { return };
    properties.values_mut().for_each(close);
    if fields.get("x-kubernetes-preserve-unknown-fields").is_none() {
        fields.entry("additionalProperties").or_insert(json!(false));
    }
}
