//! A state as what a pass reads and writes.

use highwater_model::{
    hpa::{self, Ambiguous, Moment, Requests, Sample, Scale},
    spec::{MetricIdentifier, ObjectReference},
};

use super::facts::{Pod, SampledAt, State};

/// The key of [`State::errors`] that stands for the scale.
const SCALE: &str = "scale";

/// What one pass sees.
pub(super) struct World<'a> {
    state: &'a State,
    ambiguous: Option<&'a Ambiguous>,
    now: Moment,
    scale: Scale,
    pods: Vec<hpa::Pod<'a>>,
    pub(super) written: Option<u32>,
}

impl<'a> World<'a> {
    pub(super) fn new(
        state: &'a State,
        ambiguous: Option<&'a Ambiguous>,
        now: Moment,
        scale: Scale,
    ) -> Self {
        let pods = state.pods.iter().enumerate().map(|(place, pod)| hpa::Pod {
            id: place as u32,
            name: &pod.name,
            phase: pod.phase,
            is_deleted: pod.is_deleted,
            ready: pod.ready,
            started: pod.started,
            requests: &pod.requests,
            whole: pod.whole.as_ref(),
        });
        Self { state, ambiguous, now, scale, pods: pods.collect(), written: None }
    }

    fn fails(&self, metric: &str) -> Result<(), String> {
        match self.state.errors.get(metric) {
            Some(words) => Err(words.clone()),
            None => Ok(()),
        }
    }

    fn sample(&self, place: usize, pod: &Pod, milli: i64) -> Sample {
        let at = match pod.sampled.at {
            SampledAt::At(at) => at,
            SampledAt::Ago(age) => self.now.minus(age),
        };
        Sample { pod: place as u32, milli, at, window: pod.sampled.window }
    }
}

/// What a pod uses of a resource, in one container or in all; `None` if one of them has no figure.
fn used(usage: &[Requests], resource: &str, container: Option<&str>) -> Option<i64> {
    let of = |known: &Requests| {
        let found = known.resources.iter().find(|(name, _)| name == resource);
        found.map(|(_, milli)| *milli)
    };
    match container {
        Some(wanted) => of(usage.iter().find(|known| known.container == wanted)?),
        None => usage.iter().map(of).reduce(|sum, one| Some(sum?.saturating_add(one?)))?,
    }
}

impl hpa::World for World<'_> {
    fn scale(&mut self) -> Result<Scale, String> {
        self.fails(SCALE).map(|()| self.scale)
    }

    fn write(&mut self, replicas: u32) -> Result<(), String> {
        self.written = Some(replicas);
        Ok(())
    }

    fn pods(&self) -> &[hpa::Pod<'_>] {
        &self.pods
    }

    fn ambiguous(&self) -> Option<Ambiguous> {
        self.ambiguous.cloned()
    }

    fn resource(
        &self,
        resource: &str,
        container: Option<&str>,
        into: &mut Vec<Sample>,
    ) -> Result<usize, String> {
        self.fails(resource)?;
        let mut known = 0;
        for (place, pod) in self.state.pods.iter().enumerate() {
            let Some(usage) = &pod.usage else { continue };
            known += 1;
            if let Some(milli) = used(usage, resource, container) {
                into.push(self.sample(place, pod, milli));
            }
        }
        Ok(known)
    }

    fn pods_metric(
        &self,
        metric: &MetricIdentifier,
        into: &mut Vec<Sample>,
    ) -> Result<usize, String> {
        self.fails(&metric.name)?;
        let before = into.len();
        for (place, pod) in self.state.pods.iter().enumerate() {
            if let Some(milli) = pod.values.get(&metric.name) {
                into.push(self.sample(place, pod, *milli));
            }
        }
        Ok(into.len() - before)
    }

    fn object(&self, metric: &MetricIdentifier, object: &ObjectReference) -> Result<i64, String> {
        self.fails(&metric.name)?;
        let is_meant = |known: &Option<(String, String)>| {
            known.as_ref().is_none_or(|(kind, name)| *kind == object.kind && *name == object.name)
        };
        let mut values = self.state.objects.iter();
        let found = values.find(|value| value.metric == metric.name && is_meant(&value.object));
        found.map(|value| value.milli).ok_or_else(|| {
            format!("no value of {} for {} {} is given", metric.name, object.kind, object.name)
        })
    }

    fn external(&self, metric: &MetricIdentifier) -> Result<Vec<i64>, String> {
        self.fails(&metric.name)?;
        let wanted = metric.selector.as_ref().map(|selector| &selector.match_labels);
        let fits = |value: &&super::facts::ExternalValue| {
            let mut wanted = wanted.into_iter().flatten();
            value.metric == metric.name
                && wanted.all(|(key, label)| value.labels.get(key).is_none_or(|is| is == label))
        };
        Ok(self.state.external.iter().filter(fits).map(|value| value.milli).collect())
    }
}
