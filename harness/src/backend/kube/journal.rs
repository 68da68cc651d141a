//! What a run changed of what is not its own, kept in the cluster before each change, so that it
//! is put back by the run's end or, if the run was killed, by `highwater cleanup`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Node},
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    error::{CALL, ClusterError, call, call_again, unless_gone},
    names,
};

/// How long putting one thing back may take; an API server that is away may come back meanwhile.
const RESTORE: std::time::Duration = std::time::Duration::from_secs(90);
/// How often a write that meets another writer is made again.
const CONFLICTS_MAX: usize = 10;

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Changed {
    /// Fields of the workload's Deployment.
    Deployment {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The workload's HorizontalPodAutoscaler.
    Autoscaler {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A node was cordoned.
    Node {
        /// Its name.
        name: String,
    },
    /// The metrics API was led nowhere.
    ApiService {
        /// Its name.
        name: String,
    },
}

impl Changed {
    /// The object's name.
    fn name(&self) -> &str {
        match self {
            Self::Deployment { name, .. }
            | Self::Autoscaler { name, .. }
            | Self::Node { name }
            | Self::ApiService { name } => name,
        }
    }

    /// The object's API. Objects are taken as they come, not by a type of ours: what a newer
    /// cluster has in them stays in them.
    fn api(&self, client: &Client) -> Api<DynamicObject> {
        let client = client.clone();
        match self {
            Self::Deployment { namespace, .. } => {
                let resource = ApiResource::erase::<Deployment>(&());
                Api::namespaced_with(client, namespace, &resource)
            }
            Self::Autoscaler { namespace, .. } => {
                let resource = ApiResource::erase::<HorizontalPodAutoscaler>(&());
                Api::namespaced_with(client, namespace, &resource)
            }
            Self::Node { .. } => Api::all_with(client, &ApiResource::erase::<Node>(&())),
            Self::ApiService { .. } => {
                Api::all_with(client, &ApiResource::erase::<APIService>(&()))
            }
        }
    }
}

/// One entry: what was changed, and the fields of its spec as they were before; null where a field
/// was not there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What.
    pub changed: Changed,
    /// Its fields, by name.
    pub before: BTreeMap<String, Value>,
}

/// The journal of a run.
#[derive(Clone)]
pub struct Journal {
    client: Client,
    namespace: String,
    entries: Vec<Entry>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl Journal {
    /// An empty one in `namespace`; nothing is written yet.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.into(), entries: Vec::new() }
    }

    /// The one that a run left in `namespace`.
    ///
    /// # Errors
    /// If it cannot be read, or holds something that this build does not know.
    pub async fn read(client: &Client, namespace: &str) -> Result<Self, ClusterError> {
        let mut journal = Self::new(client, namespace);
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let doing = "reading the journal of the run";
        let found = call_again(CALL * 3, doing, || maps.get(names::JOURNAL)).await;
        let data = unless_gone(found)?.and_then(|map| map.data).unwrap_or_default();
        for (key, text) in data {
            let entry = serde_json::from_str(&text).map_err(|error| {
                ClusterError::unfit(doing, format!("entry {key} cannot be read: {error}"))
            })?;
            journal.entries.push(entry);
        }
        Ok(journal)
    }

    /// Whether nothing is to be put back.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes the present state of `fields` of something, before they are changed. What was noted
    /// first stays.
    ///
    /// # Errors
    /// If it cannot be read, or the note cannot be written: then nothing may be changed.
    pub async fn note(&mut self, changed: Changed, fields: &[&str]) -> Result<(), ClusterError> {
        let missing: Vec<&str> = match self.entries.iter().find(|entry| entry.changed == changed) {
            Some(entry) => {
                fields.iter().copied().filter(|field| !entry.before.contains_key(*field)).collect()
            }
            None => fields.to_vec(),
        };
        if missing.is_empty() {
            return Ok(());
        }
        let spec = self.spec(&changed).await?.unwrap_or(Value::Null);
        let noted = missing
            .into_iter()
            .map(|field| (field.to_string(), spec.get(field).cloned().unwrap_or(Value::Null)));
        match self.entries.iter_mut().find(|entry| entry.changed == changed) {
            Some(entry) => entry.before.extend(noted),
            None => self.entries.push(Entry { changed, before: noted.collect() }),
        }
        self.write().await
    }

    async fn write(&self) -> Result<(), ClusterError> {
        let data: BTreeMap<String, String> = self
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let text = serde_json::to_string(entry).expect("an entry is plain data");
                (index.to_string(), text)
            })
            .collect();
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": names::JOURNAL,
                "labels": {names::MANAGED_BY: names::HIGHWATER},
            },
            "data": data,
        });
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = PatchParams::apply(names::HIGHWATER).force();
        let doing = "writing the journal of the run";
        let patch = Patch::Apply(&map);
        call_again(RESTORE, doing, || maps.patch(names::JOURNAL, &params, &patch)).await?;
        Ok(())
    }

    /// The present spec of something; `None` if it is gone.
    async fn spec(&self, changed: &Changed) -> Result<Option<Value>, ClusterError> {
        let api = changed.api(&self.client);
        let doing = format!("reading {} before it is changed", changed.name());
        let found = call_again(CALL * 3, &doing, || api.get(changed.name())).await;
        Ok(unless_gone(found)?.and_then(|mut object| object.data.get_mut("spec").map(Value::take)))
    }

    /// Keeps what is left to be put back; an empty journal is deleted. What was put back must not
    /// be put back again: by then it may be somebody's newer change.
    async fn settle(&self) -> Result<(), ClusterError> {
        if !self.entries.is_empty() {
            return self.write().await;
        }
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = DeleteParams::default();
        let deleted = call_again(RESTORE, "deleting the journal of the run", || async {
            maps.delete(names::JOURNAL, &params).await.map(|_| ())
        });
        unless_gone(deleted.await).map(|_| ())
    }

    /// Puts everything back; what could not be, with the reason. The metrics API comes first:
    /// without it a namespace cannot be deleted.
    pub async fn restore(&mut self) -> Vec<ClusterError> {
        if self.entries.is_empty() {
            return Vec::new();
        }
        self.entries.sort_by_key(|entry| match entry.changed {
            Changed::ApiService { .. } => 0,
            Changed::Node { .. } => 1,
            Changed::Autoscaler { .. } => 2,
            Changed::Deployment { .. } => 3,
        });
        let mut failures = Vec::new();
        let mut left = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            if let Err(error) = self.restore_one(&entry).await {
                failures.push(error);
                left.push(entry);
            }
        }
        self.entries = left;
        failures.extend(self.settle().await.err());
        failures
    }

    /// Puts one thing back in the middle of a run.
    ///
    /// # Errors
    /// If it cannot be; it stays in the journal.
    pub async fn restore_changed(&mut self, changed: &Changed) -> Result<(), ClusterError> {
        let Some(index) = self.entries.iter().position(|entry| entry.changed == *changed) else {
            return Ok(());
        };
        self.restore_one(&self.entries[index].clone()).await?;
        self.entries.remove(index);
        self.settle().await
    }

    async fn restore_one(&self, entry: &Entry) -> Result<(), ClusterError> {
        let (name, api) = (entry.changed.name(), entry.changed.api(&self.client));
        if matches!(entry.changed, Changed::Node { .. }) {
            // A node is the kubelet's too, and a whole write would need the right to write it all.
            let before = entry.before.get("unschedulable").cloned().unwrap_or(Value::Null);
            let patch = Patch::Merge(json!({"spec": {"unschedulable": before}}));
            let params = PatchParams::default();
            let doing = format!("making node {name} schedulable again");
            let patched = call_again(RESTORE, &doing, || api.patch(name, &params, &patch)).await;
            return unless_gone(patched).map(|_| ());
        }
        replace(&api, name, &entry.before).await
    }
}

/// Gives fields of an object's spec their earlier values: reads it, writes it whole with its
/// resource version, and again if another writer came between.
async fn replace(
    api: &Api<DynamicObject>,
    name: &str,
    before: &BTreeMap<String, Value>,
) -> Result<(), ClusterError> {
    let doing = format!("putting {name} back as it was");
    for _ in 0..CONFLICTS_MAX {
        let Some(mut object) = unless_gone(call_again(RESTORE, &doing, || api.get(name)).await)?
        else {
            return Ok(());
        };
        if !put_fields(&mut object.data, before) {
            return Ok(());
        }
        match call(doing.as_str(), api.replace(name, &PostParams::default(), &object)).await {
            Err(error) if error.code() == Some(409) || error.is_passing() => {}
            other => return unless_gone(other).map(|_| ()),
        }
    }
    Err(ClusterError::unfit(doing, "other writers came first each time"))
}

/// Sets fields of `object.spec`, removing those that were not there; whether anything changed.
fn put_fields(object: &mut Value, before: &BTreeMap<String, Value>) -> bool {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return false };
    let mut changed = false;
    for (field, value) in before {
        let old = if value.is_null() {
            spec.remove(field)
        } else {
            spec.insert(field.clone(), value.clone())
        };
        changed |= old.unwrap_or(Value::Null) != *value;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_and_others_stay() {
        let before: BTreeMap<String, Value> =
            [("template".to_string(), json!({"a": 1})), ("paused".to_string(), Value::Null)].into();
        let mut object =
            json!({"spec": {"template": {"a": 2}, "paused": true, "replicas": 7}, "status": {}});
        assert!(put_fields(&mut object, &before));
        assert_eq!(object["spec"], json!({"template": {"a": 1}, "replicas": 7}));
        assert!(!put_fields(&mut object, &before), "nothing is left to do");
    }

    #[test]
    fn entries_read_back() {
        let entry = Entry {
            changed: Changed::Deployment { namespace: "shop".into(), name: "web".into() },
            before: [("replicas".to_string(), json!(3))].into(),
        };
        let text = serde_json::to_string(&entry).expect("prints");
        assert_eq!(serde_json::from_str::<Entry>(&text).expect("reads"), entry);
    }
}
