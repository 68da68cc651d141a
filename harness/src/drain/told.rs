//! The answer as data: the settings, why they are so long, and the patch.

use std::collections::BTreeMap;

use highwater_model::spec::Scenario;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    search::{Failure, Found},
    trial::{Endings, Setting, Trial},
};
use crate::{analyze::Cause, record::BackendKind};

/// The version of the format.
pub const SCHEMA: &str = "highwater.drain/v1";

/// What `drain --format json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// [`SCHEMA`].
    pub schema: String,
    /// The scenario.
    pub scenario: String,
    /// Which share of endings may lose a request, at 95 % confidence, was asked for.
    pub bound: f64,
    /// Requests per second under which pods ended.
    pub rate: f64,
    /// The least settings that lose nothing; null if there are none.
    pub settings: Option<Settings>,
    /// Why there are none; absent if there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Why the settings are so long; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// All that was tried on the simulator, in order.
    pub tried: Vec<Tried>,
    /// The settings as YAML: a strategic merge patch of a Deployment's pod template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// The settings for `--set`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// What came of them on a real backend; absent if that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
}

/// Whole seconds, as Kubernetes has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// `preStop: {sleep: {seconds}}`; none is needed if 0.
    pub pre_stop_seconds: u32,
    /// `terminationGracePeriodSeconds`.
    pub termination_grace_period_seconds: u32,
}

impl From<Settings> for Setting {
    fn from(settings: Settings) -> Self {
        Self {
            pre_stop: settings.pre_stop_seconds,
            grace: settings.termination_grace_period_seconds,
        }
    }
}

/// What the settings are made of, milliseconds. preStop = propagation + margin, but for a service
/// that serves on after its stop signal; grace period = preStop + drain + margin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The longest that a client or proxy chose a pod after its deletion was asked for; null if that
    /// was not seen.
    pub propagation: Option<f64>,
    /// Whether the scenario's propagation has an end: without one no preStop is long enough for
    /// certain.
    pub propagation_ends: bool,
    /// The slowest good answer, from its sending.
    pub slowest_request: f64,
    /// What preStop has above the propagation; below 0 where the service itself serves on.
    pub pre_stop_margin: Option<f64>,
    /// The longest from the stop signal to the process's end; null if that was not seen.
    pub drain: Option<f64>,
    /// What the grace period has above preStop and drain.
    pub grace_margin: Option<f64>,
}

/// What came of a setting on the simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// preStop, seconds.
    pub pre_stop_seconds: u32,
    /// The grace period, seconds.
    pub termination_grace_period_seconds: u32,
    /// Pods that ended under load.
    pub endings: u64,
    /// Requests that were lost.
    pub lost: u64,
    /// Pods that were killed at the end of the grace period.
    pub killed: u64,
    /// Lost requests by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub causes: BTreeMap<Cause, u64>,
}

/// What came of the settings on a real backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confirmed {
    /// Where.
    pub backend: BackendKind,
    /// The run folder.
    pub run: String,
    /// Whether the run can be trusted and as many pods ended as were wanted, without a lost request
    /// or a SIGKILL.
    pub held: bool,
    /// Why it cannot be trusted; absent if it can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// What came of the settings.
    pub tried: Tried,
    /// Endings that were wanted.
    pub wanted: u64,
    /// The longest propagation there, milliseconds; null if that was not seen.
    pub propagation: Option<f64>,
    /// The slowest good answer there, milliseconds.
    pub slowest_request: f64,
    /// The longest drain there, milliseconds; null if that was not seen.
    pub drain: Option<f64>,
}

impl Tried {
    pub(super) fn of(trial: &Trial) -> Self {
        Self {
            pre_stop_seconds: trial.setting.pre_stop,
            termination_grace_period_seconds: trial.setting.grace,
            endings: trial.endings,
            lost: trial.lost,
            killed: trial.killed,
            causes: trial.causes.clone(),
        }
    }
}

/// The answer.
pub(super) fn tell(
    scenario: &Scenario,
    bound: f64,
    max: u32,
    endings: &Endings,
    found: Found,
) -> Drain {
    let settings = found.answer.as_ref().map(|trial| Settings {
        pre_stop_seconds: trial.setting.pre_stop,
        termination_grace_period_seconds: trial.setting.grace,
    });
    Drain {
        schema: SCHEMA.into(),
        scenario: scenario.name.clone(),
        bound,
        rate: endings.rate(),
        settings,
        failure: found
            .failure
            .map(|failure| failed(failure, (max, endings.allowance()), &found.tried)),
        why: found.answer.as_ref().map(|trial| why(scenario, trial)),
        tried: found.tried.iter().map(Tried::of).collect(),
        patch: settings.map(patch),
        sets: settings.map(sets).unwrap_or_default(),
        confirmed: None,
    }
}

fn failed(failure: Failure, (max, allowance): (u32, u32), tried: &[Trial]) -> String {
    let last = tried.last();
    match failure {
        Failure::Endless => format!(
            "pods do not end by themselves within {allowance} s after preStop: SIGKILL ends them \
             whatever the grace period is; give the service a deadline of its own"
        ),
        Failure::Lost => {
            let causes = last.map(|trial| trial.causes.keys().map(|cause| cause.name()).collect());
            let causes: Vec<&str> = causes.unwrap_or_default();
            let lost = last.map_or(0, |trial| trial.lost);
            let pre_stop = last.map_or(max, |trial| trial.setting.pre_stop);
            format!(
                "with a preStop of {pre_stop} s {lost} requests are lost, too ({}): it is not for \
                 lack of time; `highwater run` tells what it is",
                if causes.is_empty() { "not sent".into() } else { causes.join(", ") }
            )
        }
    }
}

fn why(scenario: &Scenario, trial: &Trial) -> Why {
    let seconds = |seconds: u32| f64::from(seconds) * 1e3;
    let (pre_stop, grace) = (seconds(trial.setting.pre_stop), seconds(trial.setting.grace));
    let propagation = trial.propagation.map(|span| millis(span.as_millis_f64()));
    let drain = trial.drain.map(|span| millis(span.as_millis_f64()));
    Why {
        propagation,
        propagation_ends: scenario.path.propagation.upper_bound().is_some(),
        slowest_request: millis(trial.slowest.as_millis_f64()),
        pre_stop_margin: propagation.map(|propagation| millis(pre_stop - propagation)),
        drain,
        grace_margin: drain.map(|drain| millis(grace - pre_stop - drain)),
    }
}

/// Microseconds are fine enough.
pub(super) fn millis(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

/// The settings as a patch of a Deployment with one container, whose name is to be put in.
fn patch(settings: Settings) -> String {
    let Settings { pre_stop_seconds, termination_grace_period_seconds } = settings;
    let mut patch = format!(
        "spec:\n  template:\n    spec:\n      terminationGracePeriodSeconds: \
         {termination_grace_period_seconds}\n"
    );
    if pre_stop_seconds > 0 {
        patch.push_str(&format!(
            "      containers:\n        - name: CONTAINER # the name of yours\n          lifecycle:\n            preStop:\n              sleep:\n                seconds: {pre_stop_seconds}\n"
        ));
    }
    patch
}

fn sets(settings: Settings) -> Vec<String> {
    let Settings { pre_stop_seconds, termination_grace_period_seconds } = settings;
    let template = "target.deployment.template";
    let pre_stop = match pre_stop_seconds {
        0 => format!("{template}.lifecycle="),
        seconds => format!("{template}.lifecycle={{preStop: {{sleep: {{seconds: {seconds}}}}}}}"),
    };
    let grace =
        format!("{template}.terminationGracePeriodSeconds={termination_grace_period_seconds}");
    vec![grace, pre_stop]
}
