//! Other autoscalers that match the same pods: then none of them scales.
//!
//! *Source*: `horizontal.go`, `validateAndParseSelector` and `hpasControllingPodsUnderSelector`, since
//! 1.26.

use std::collections::BTreeMap;

use highwater_model::hpa::Ambiguous;
use kube::core::{Selector, SelectorExt as _};

use super::{
    error::ExplainError,
    forms::{PodObject, Scaled},
    input::Object,
    manifest::{self, Manifest},
};

type Labels = BTreeMap<String, String>;

/// The autoscalers that match a pod of this one's target, itself included, if there are others.
/// What is not among the objects (a target, its pods) is matched by none.
pub(super) fn find(
    manifest: &Manifest,
    objects: &[Object],
) -> Result<Option<Ambiguous>, ExplainError> {
    let namespace = manifest.identity.namespace.as_str();
    let is_here = |object: &&Object| ["", namespace].contains(&object.namespace());
    let here: Vec<&Object> = objects.iter().filter(is_here).collect();
    let own = (manifest.identity.kind.as_str(), manifest.identity.name.as_str());
    let Some(selector) = selector(&here, own)? else { return Ok(None) };
    let mut pods: Vec<Labels> = Vec::new();
    for object in here.iter().filter(|object| object.kind == "Pod") {
        let labels = object.read::<PodObject>()?.metadata.labels.unwrap_or_default();
        if selector.matches(&labels) {
            pods.push(labels);
        }
    }
    let mut autoscalers = vec![format!("{namespace}/{}", manifest.name)];
    for other in here.iter().filter(|object| manifest::is_one(object)) {
        if other.name() == manifest.name {
            continue;
        }
        let of = |key| other.text(&["spec", "scaleTargetRef", key]).unwrap_or_default();
        let Some(selector) = self::selector(&here, (of("kind"), of("name")))? else { continue };
        if pods.iter().any(|labels| selector.matches(labels)) {
            autoscalers.push(format!("{namespace}/{}", other.name()));
        }
    }
    autoscalers.sort_unstable();
    let selector = crate::report::clean::line(&selector.to_string());
    Ok((autoscalers.len() > 1).then_some(Ambiguous { selector, autoscalers }))
}

/// The selector of the scaled object of that kind and name, if it is given and has one.
fn selector(
    objects: &[&Object],
    (kind, name): (&str, &str),
) -> Result<Option<Selector>, ExplainError> {
    let mut scaled = objects.iter().filter(|object| object.kind == kind && object.name() == name);
    let Some(object) = scaled.next() else { return Ok(None) };
    let Some(selector) = object.read::<Scaled>()?.spec.selector else { return Ok(None) };
    let parsed = Selector::try_from(selector);
    // What it says wrongly is told by who reads the target.
    Ok(parsed.ok())
}
