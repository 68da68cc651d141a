//! What a finding is about: an object of a file, or the part of a scenario that becomes one.

use std::rc::Rc;

use super::world::Origin;
use crate::{
    explain::input::Object,
    scenario::{
        Place, path,
        tree::{Kind, Node},
    },
};

/// The annotation that switches rules off for its object.
pub(super) const DISABLE: &str = "highwater.dev/lint-disable";

/// How keys of the object are found in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// As they are.
    Manifest,
    /// The Deployment that a scenario describes.
    Target,
    /// The autoscaler that a scenario describes.
    Autoscaler,
    /// The disruption budget that a scenario describes.
    Budget,
}

/// An object, or what stands for it in a scenario.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    object: Rc<Object>,
    view: View,
    kind: &'static str,
    /// The rules that its annotation switches off.
    pub(super) disabled: Vec<String>,
}

impl Subject {
    /// An object of a file.
    pub(super) fn manifest(object: Object, kind: &'static str) -> Self {
        let disabled = annotation(&object, DISABLE).map(names).unwrap_or_default();
        Self { object: Rc::new(object), view: View::Manifest, kind, disabled }
    }

    /// A part of a scenario; `name` is the scenario's.
    pub(super) fn scenario(root: &Rc<Object>, view: View) -> Self {
        let kind = match view {
            View::Autoscaler => "HorizontalPodAutoscaler",
            View::Budget => "PodDisruptionBudget",
            View::Target | View::Manifest => "Deployment",
        };
        Self { object: Rc::clone(root), view, kind, disabled: Vec::new() }
    }

    pub(super) fn kind(&self) -> &str {
        self.kind
    }

    pub(super) fn api_version(&self) -> &str {
        &self.object.api_version
    }

    pub(super) fn view(&self) -> View {
        self.view
    }

    pub(super) fn name(&self) -> &str {
        match self.view {
            View::Manifest => self.object.name(),
            _ => self.object.text(&["name"]).unwrap_or_default(),
        }
    }

    /// Empty if the object does not say.
    pub(super) fn namespace(&self) -> &str {
        match self.view {
            View::Manifest => self.object.namespace(),
            _ => "",
        }
    }

    pub(super) fn file(&self) -> &Origin {
        &self.object.origin
    }

    /// As a finding names it.
    pub(super) fn title(&self) -> String {
        let name = crate::report::clean::line(self.name());
        match (self.view, self.namespace()) {
            (View::Manifest, "") => format!("{}/{name}", self.kind),
            (View::Manifest, space) => {
                format!("{}/{}/{name}", self.kind, crate::report::clean::line(space))
            }
            _ => name,
        }
    }

    /// Whether the two may be in one namespace: both say the same, or one says nothing, as where
    /// `kubectl -n` decides. An object of a scenario is near to those of its file only.
    pub(super) fn is_near(&self, other: &Self) -> bool {
        match (self.view, other.view) {
            (View::Manifest, View::Manifest) => {
                let (own, theirs) = (self.namespace(), other.namespace());
                own == theirs || own.is_empty() || theirs.is_empty()
            }
            (View::Manifest, _) | (_, View::Manifest) => false,
            _ => Rc::ptr_eq(&self.object, &other.object),
        }
    }

    /// The key as the file spells it, and where it, or the innermost key around it, stands.
    pub(super) fn locate(&self, key: &str) -> (String, (usize, usize)) {
        let key = match self.view {
            View::Manifest => key.to_owned(),
            View::Target => scenario_key(key),
            View::Autoscaler => key.replacen("spec", "autoscaler", 1),
            View::Budget => key.replacen("spec", "target.podDisruptionBudget", 1),
        };
        let place = match place(&self.object.node, &key) {
            Place::File { line, column } => (*line, *column),
            Place::Override { .. } => (1, 1),
        };
        (key, place)
    }
}

/// The place of the key itself if it is there, else of what is around it.
fn place<'a>(root: &'a Node, key: &str) -> &'a Place {
    if let Some((parent, last)) = key.rsplit_once('.')
        && let Some(entry) = path::find(root, parent).entry(last)
    {
        return &entry.place;
    }
    &path::find(root, key).place
}

fn scenario_key(key: &str) -> String {
    const CONTAINER: &str = "spec.template.spec.containers[0]";
    const TEMPLATE: &str = "target.deployment.template";
    match key.strip_prefix(CONTAINER).or_else(|| key.strip_prefix("spec.template.spec")) {
        Some(rest) => format!("{TEMPLATE}{rest}"),
        None => key.replacen("spec", "target.deployment", 1),
    }
}

/// An annotation of an object, or of the pods that it makes.
fn annotation<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    let own = object.node.entry("metadata").map(|entry| &entry.value);
    let pods = path::find(&object.node, "spec.template.metadata");
    [own, Some(pods)].into_iter().flatten().find_map(|metadata| {
        match &metadata.entry("annotations")?.value.entry(key)?.value.kind {
            Kind::Scalar { text, .. } => Some(text.as_str()),
            _ => None,
        }
    })
}

/// `a, b c` as names; bounded, since every one is compared with every finding.
fn names(text: &str) -> Vec<String> {
    const NAMES_MAX: usize = 100;
    let names = text.split([',', ' ', '\n', '\t']).filter(|name| !name.is_empty());
    names.take(NAMES_MAX).map(str::to_owned).collect()
}
