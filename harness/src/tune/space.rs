//! What may be changed: parameters with their values, and the relations between them.

use highwater_model::{
    coarse::Station,
    spec::{
        Autoscaler, MetricSource, Scenario, TargetType,
        tune::{Choice, ChoiceError, LEVELS_MAX, PARAMETERS_MAX, Text, Tune},
    },
};
use serde_json::Value;

use crate::scenario::{ScenarioError, Variants, value_at};

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameter {
    /// How it is spoken of: a short name, or its path.
    pub(super) name: String,
    /// Where it stands in a scenario.
    pub(super) path: String,
    /// The values that it may have, as they are set.
    pub(super) levels: Vec<String>,
    /// Which of them the scenario has now.
    pub(super) present: Option<usize>,
}

/// The values of one setting: for each parameter the index of its level.
pub(super) type Setting = Vec<u8>;

/// What may be changed.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub(super) parameters: Vec<Parameter>,
    constraints: Vec<Relation>,
    /// The scenario itself, for the constraints.
    base: Value,
}

/// `left <= right`.
#[derive(Clone, Debug, PartialEq)]
struct Relation {
    left: String,
    strict: bool,
    right: String,
}

/// What is wrong with a search space.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// A parameter without usable values.
    #[error("{place}: {problem}")]
    Choice {
        /// Where it is given.
        place: String,
        /// What is wrong.
        problem: ChoiceError,
    },
    /// An argument of `--param` that cannot be read.
    #[error("--param {0}: write PATH=from..to, PATH=a,b,c, or a short name alone")]
    Argument(String),
    /// A short name that there is not.
    #[error("{place}: `{name}` is neither a path nor one of {known}")]
    Unknown {
        /// Where it is given.
        place: String,
        /// The name.
        name: String,
        /// The names.
        known: String,
    },
    /// A name for something that the scenario does not have.
    #[error("{place}: the scenario has no {what}")]
    Missing {
        /// Where it is given.
        place: String,
        /// What is missing.
        what: &'static str,
    },
    /// A value that the scenario refuses.
    #[error("the value `{value}` of {name}: {source}")]
    Refused {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
        /// Why.
        #[source]
        source: Box<ScenarioError>,
    },
    /// A relation that cannot be read.
    #[error("tune.constraints[{index}]: `{text}` is no relation such as `min <= max`")]
    Relation {
        /// Which.
        index: usize,
        /// What is written.
        text: String,
    },
    /// A relation with something that is no number.
    #[error(
        "tune.constraints[{index}]: `{operand}` is neither a number nor a parameter or a path with one"
    )]
    Operand {
        /// Which.
        index: usize,
        /// What is written.
        operand: String,
    },
    /// Too many parameters.
    #[error("there are {0} parameters; {PARAMETERS_MAX} are the most")]
    TooMany(usize),
    /// There is nothing to tune.
    #[error("the scenario has no autoscaler: there is nothing to tune; give it one, or --param")]
    NothingToTune,
    /// No value is left.
    #[error("no setting keeps the constraints")]
    Empty,
}

/// The short names, with what they mean.
const NAMES: [(&str, &str); 17] = [
    ("target", "the metric's target"),
    ("metric", "which metric, with its target"),
    ("min", "autoscaler.minReplicas"),
    ("max", "autoscaler.maxReplicas"),
    ("up-window", "autoscaler.behavior.scaleUp.stabilizationWindowSeconds"),
    ("up-policies", "autoscaler.behavior.scaleUp.policies"),
    ("up-select", "autoscaler.behavior.scaleUp.selectPolicy"),
    ("up-tolerance", "autoscaler.behavior.scaleUp.tolerance"),
    ("down-window", "autoscaler.behavior.scaleDown.stabilizationWindowSeconds"),
    ("down-policies", "autoscaler.behavior.scaleDown.policies"),
    ("down-select", "autoscaler.behavior.scaleDown.selectPolicy"),
    ("down-tolerance", "autoscaler.behavior.scaleDown.tolerance"),
    ("cpu-request", "target.deployment.template.resources.requests.cpu"),
    ("pre-stop", "target.deployment.template.lifecycle.preStop.sleep.seconds"),
    ("grace", "target.deployment.template.terminationGracePeriodSeconds"),
    ("readiness-period", "target.deployment.template.readinessProbe.periodSeconds"),
    ("readiness-delay", "target.deployment.template.readinessProbe.initialDelaySeconds"),
];

/// What is varied if nothing is given. `select` policies and bounds matter where there are several
/// policies only; CPU requests move with the target.
const DEFAULT: [&str; 9] = [
    "target",
    "min",
    "max",
    "up-window",
    "up-policies",
    "up-tolerance",
    "down-window",
    "down-policies",
    "down-tolerance",
];

const UP_POLICIES: [&str; 5] = [
    "[{type: Percent, value: 100, periodSeconds: 15}, {type: Pods, value: 4, periodSeconds: 15}]",
    "[{type: Percent, value: 100, periodSeconds: 15}]",
    "[{type: Percent, value: 100, periodSeconds: 60}]",
    "[{type: Pods, value: 2, periodSeconds: 60}]",
    "[{type: Percent, value: 900, periodSeconds: 15}]",
];
const DOWN_POLICIES: [&str; 5] = [
    "[{type: Percent, value: 100, periodSeconds: 15}]",
    "[{type: Percent, value: 50, periodSeconds: 60}]",
    "[{type: Percent, value: 10, periodSeconds: 60}]",
    "[{type: Pods, value: 2, periodSeconds: 60}]",
    "[{type: Pods, value: 1, periodSeconds: 60}]",
];

impl Space {
    /// The space of a scenario: what `--param` gives, else its `tune:`, else what its autoscaler has.
    pub(super) fn new(variants: &Variants, arguments: &[String]) -> Result<Self, SpaceError> {
        let scenario = variants.base();
        let tune = scenario.tune.clone().unwrap_or_default();
        let base = serde_json::to_value(scenario).unwrap_or_default();
        let mut given: Vec<(String, Option<Choice>, String)> = Vec::new();
        for argument in arguments {
            let (name, choice) = parse_argument(argument)?;
            given.push((name, choice, format!("--param {argument}")));
        }
        if given.is_empty() {
            given.extend(tune.parameters.iter().map(|(name, choice)| {
                (name.clone(), Some(choice.clone()), format!("tune.parameters.{name}"))
            }));
        }
        if given.is_empty() {
            if scenario.autoscaler.is_none() {
                return Err(SpaceError::NothingToTune);
            }
            given.extend(DEFAULT.map(|name| (name.to_owned(), None, name.to_owned())));
        }
        if given.len() > PARAMETERS_MAX {
            return Err(SpaceError::TooMany(given.len()));
        }
        let mut parameters = Vec::new();
        for (name, choice, place) in given {
            let parameter = parameter(scenario, &base, name, choice, place)?;
            parameters.push(parameter);
        }
        let mut space = Self { parameters, constraints: Vec::new(), base };
        space.add_constraints(&tune)?;
        space.check(variants)?;
        Ok(space)
    }

    fn add_constraints(&mut self, tune: &Tune) -> Result<(), SpaceError> {
        let min_max = ["autoscaler.minReplicas <= autoscaler.maxReplicas".to_owned()];
        let implied = if self.base.get("autoscaler").is_some() { &min_max[..] } else { &[] };
        for (index, text) in tune.constraints.iter().chain(implied).enumerate() {
            let relation = parse_relation(text)
                .ok_or_else(|| SpaceError::Relation { index, text: text.clone() })?;
            for operand in [&relation.left, &relation.right] {
                let first: Setting = vec![0; self.parameters.len()];
                if self.operand(operand, &first).is_none() {
                    return Err(SpaceError::Operand { index, operand: operand.clone() });
                }
            }
            self.constraints.push(relation);
        }
        Ok(())
    }

    /// Tries each value alone, so that none is refused in the middle of the search.
    fn check(&self, variants: &Variants) -> Result<(), SpaceError> {
        for (place, parameter) in self.parameters.iter().enumerate() {
            for level in 0..parameter.levels.len() {
                // What another parameter makes good again is no fault of the value.
                let mut setting = self.anywhere(place, level);
                if !self.allows(&setting) {
                    continue;
                }
                setting[place] = level as u8;
                let sets = self.sets(&setting);
                if let Err(source) = variants.with(&sets) {
                    return Err(self.refused(variants, &sets, place, source));
                }
            }
        }
        Ok(())
    }

    /// Whose fault a refusal is: of a value that is refused alone, or else of the one at `place`.
    fn refused(
        &self,
        variants: &Variants,
        sets: &[(String, String)],
        place: usize,
        source: ScenarioError,
    ) -> SpaceError {
        let alone = sets.iter().enumerate().find_map(|(place, set)| {
            Some((place, variants.with(std::slice::from_ref(set)).err()?))
        });
        let (place, source) = alone.unwrap_or((place, source));
        let (name, value) = (self.parameters[place].name.clone(), sets[place].1.clone());
        SpaceError::Refused { name, value, source: Box::new(source) }
    }

    /// A setting with this level that keeps the constraints, if the others' present or outermost
    /// levels make one.
    fn anywhere(&self, place: usize, level: usize) -> Setting {
        let with = |of: fn(&Parameter) -> usize| -> Setting {
            let mut setting: Setting =
                self.parameters.iter().map(|parameter| of(parameter) as u8).collect();
            setting[place] = level as u8;
            setting
        };
        let tries = [
            with(|parameter| parameter.present.unwrap_or(0)),
            with(|_| 0),
            with(|parameter| parameter.levels.len() - 1),
        ];
        tries.iter().find(|setting| self.allows(setting)).unwrap_or(&tries[0]).clone()
    }

    /// How many settings there are, constraints aside; saturates.
    pub(super) fn size(&self) -> u64 {
        let sizes = self.parameters.iter().map(|parameter| parameter.levels.len() as u64);
        sizes.fold(1, u64::saturating_mul)
    }

    /// Whether a setting keeps the constraints.
    pub(super) fn allows(&self, setting: &[u8]) -> bool {
        self.constraints.iter().all(|relation| {
            let sides =
                (self.operand(&relation.left, setting), self.operand(&relation.right, setting));
            match sides {
                (Some(left), Some(right)) if relation.strict => left < right,
                (Some(left), Some(right)) => left <= right,
                _ => true,
            }
        })
    }

    /// The number that an operand stands for.
    fn operand(&self, operand: &str, setting: &[u8]) -> Option<f64> {
        let of = |parameter: &&Parameter| parameter.name == operand || parameter.path == operand;
        let place = self.parameters.iter().position(|parameter| of(&parameter));
        if let Some(place) = place {
            let parameter = &self.parameters[place];
            return amount(&parameter.levels[usize::from(setting[place])]);
        }
        if let Some(number) = amount(operand) {
            return Some(number);
        }
        let path = NAMES.iter().find(|(name, _)| *name == operand).map_or(operand, |name| name.1);
        match value_at(&self.base, path)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => amount(text),
            _ => None,
        }
    }

    /// The overrides of a setting, as `--set` takes them.
    pub(super) fn sets(&self, setting: &[u8]) -> Vec<(String, String)> {
        let sets = self.parameters.iter().zip(setting);
        sets.map(|(parameter, level)| {
            (parameter.path.clone(), parameter.levels[usize::from(*level)].clone())
        })
        .collect()
    }
}

fn parse_argument(argument: &str) -> Result<(String, Option<Choice>), SpaceError> {
    let Some((name, values)) = argument.split_once('=') else {
        return Ok((argument.trim().to_owned(), None));
    };
    let bad = || SpaceError::Argument(argument.to_owned());
    let (name, values) = (name.trim().to_owned(), values.trim());
    if name.is_empty() || values.is_empty() {
        return Err(bad());
    }
    if let Some((from, to)) = values.split_once("..") {
        let (to, step) = to.split_once(':').map_or((to, None), |(to, step)| (to, Some(step)));
        let text = |value: &str| Text(value.trim().to_owned());
        let range = highwater_model::spec::tune::Range {
            from: text(from),
            to: text(to),
            step: step.map(text),
            scale: Default::default(),
        };
        return Ok((name, Some(Choice::Range(range))));
    }
    let values = split(values).into_iter().map(|value| Text(value.trim().to_owned()));
    Ok((name, Some(Choice::Values(values.collect()))))
}

/// At commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0_i32, 0);
    for (place, c) in text.char_indices() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn parse_relation(text: &str) -> Option<Relation> {
    for (sign, strict, swaps) in
        [("<=", false, false), (">=", false, true), ("<", true, false), (">", true, true)]
    {
        if let Some((left, right)) = text.split_once(sign) {
            let (left, right) = (left.trim().to_owned(), right.trim().to_owned());
            if left.is_empty() || right.is_empty() {
                return None;
            }
            let (left, right) = if swaps { (right, left) } else { (left, right) };
            return Some(Relation { left, strict, right });
        }
    }
    None
}

/// A number with the unit that times and quantities have.
pub(super) fn amount(text: &str) -> Option<f64> {
    let text = text.trim().trim_matches('"');
    if let Ok(number) = text.parse::<f64>() {
        return Some(number);
    }
    if let Ok(span) = text.parse::<highwater_model::time::Nanos>() {
        // `5m` is five thousandths as a quantity and five minutes as a time; the latter are written
        // in seconds here.
        if !text.ends_with('m') {
            return Some(span.as_secs_f64());
        }
    }
    highwater_model::spec::Quantity::parse(text).map(|quantity| quantity.milli() as f64 / 1000.0)
}

fn parameter(
    scenario: &Scenario,
    base: &Value,
    name: String,
    choice: Option<Choice>,
    place: String,
) -> Result<Parameter, SpaceError> {
    let known = NAMES.iter().find(|(short, _)| *short == name);
    let is_path = name.contains('.') || name.contains('[') || base.get(&name).is_some();
    if known.is_none() && !is_path {
        let known: Vec<&str> = NAMES.iter().map(|(short, _)| *short).collect();
        return Err(SpaceError::Unknown { place, name, known: known.join(", ") });
    }
    let path = match (known, name.as_str()) {
        (None, path) => path.to_owned(),
        (Some(_), "target") => target_path(scenario.autoscaler.as_ref())
            .ok_or(SpaceError::Missing { place: place.clone(), what: "metric with a target" })?,
        (Some(_), "metric") => "autoscaler.metrics".into(),
        (Some((_, path)), _) => (*path).to_owned(),
    };
    let now = value_at(base, &path).map(shown);
    let mut levels = match choice {
        Some(choice) => choice.values().map_err(|problem| SpaceError::Choice { place, problem })?,
        None => default_levels(scenario, &name, now.as_deref())
            .ok_or(SpaceError::Missing { place, what: "value to begin with; give its values" })?,
    };
    let is_now = |level: &String| now.as_deref().is_some_and(|now| is_same(level, now));
    if !levels.iter().any(is_now)
        && let (Some(now), true) = (&now, levels.len() < LEVELS_MAX && known.is_some())
        && let Some(number) = amount(now)
    {
        // What it has now is always tried.
        let after = levels.iter().position(|level| amount(level).is_some_and(|one| one > number));
        levels.insert(after.unwrap_or(levels.len()), now.clone());
    }
    let present = levels.iter().position(is_now);
    Ok(Parameter { name, path, levels, present })
}

fn is_same(level: &str, now: &str) -> bool {
    level == now || (amount(level).is_some() && amount(level) == amount(now))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Where the first metric's target stands.
fn target_path(autoscaler: Option<&Autoscaler>) -> Option<String> {
    let source = autoscaler?.metrics.first()?.source()?;
    let kind = match source {
        MetricSource::Resource(_) => "resource",
        MetricSource::ContainerResource(_) => "containerResource",
        MetricSource::Pods(_) => "pods",
        MetricSource::Object(_) => "object",
        MetricSource::External(_) => "external",
    };
    let value = match source.target().kind {
        TargetType::Utilization => "averageUtilization",
        TargetType::AverageValue => "averageValue",
        TargetType::Value => "value",
    };
    Some(format!("autoscaler.metrics[0].{kind}.target.{value}"))
}

fn default_levels(scenario: &Scenario, name: &str, now: Option<&str>) -> Option<Vec<String>> {
    let autoscaler = scenario.autoscaler.as_ref();
    let texts = |values: &[u32]| values.iter().map(u32::to_string).collect::<Vec<String>>();
    let yaml = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let around = |shares: &[f64], number: f64, unit: &str| {
        let mut values: Vec<String> =
            shares.iter().map(|share| round(number * share, unit)).collect();
        values.dedup();
        values
    };
    Some(match name {
        "target" => {
            let target = autoscaler?.metrics.first()?.source()?.target();
            if target.kind == TargetType::Utilization {
                texts(&[20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95])
            } else {
                let shares = [0.25, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0];
                let now = amount(now?)?;
                around(&shares, now * 1000.0, "m")
            }
        }
        "metric" => metrics(scenario),
        "min" => {
            let most = autoscaler?.max_replicas;
            let values = [1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50];
            texts(&values.into_iter().filter(|min| *min <= most).collect::<Vec<_>>())
        }
        "max" => {
            let max = f64::from(autoscaler?.max_replicas);
            let least = f64::from(autoscaler?.min_replicas);
            let values = [0.5, 0.75, 1.0, 1.5, 2.0].map(|share| (max * share).ceil().max(least));
            let mut values: Vec<u32> = values.into_iter().map(|max| max as u32).collect();
            values.dedup();
            texts(&values)
        }
        "up-window" => texts(&[0, 15, 30, 60]),
        "down-window" => texts(&[0, 15, 30, 60, 120, 180, 300, 600]),
        "up-policies" => yaml(&UP_POLICIES),
        "down-policies" => yaml(&DOWN_POLICIES),
        "up-select" | "down-select" => yaml(&["Max", "Min"]),
        "up-tolerance" | "down-tolerance" => yaml(&["0.02", "0.05", "0.1", "0.2"]),
        "cpu-request" => around(&[0.5, 0.75, 1.0, 1.5, 2.0, 3.0], amount(now?)? * 1000.0, "m"),
        "pre-stop" => texts(&[0, 2, 5, 10, 15, 20]),
        "grace" => texts(&[10, 20, 30, 45, 60, 90]),
        "readiness-period" => texts(&[1, 2, 5, 10]),
        "readiness-delay" => texts(&[0, 2, 5, 10, 20]),
        _ => return None,
    })
}

/// A number of thousandths to two digits.
fn round(value: f64, unit: &str) -> String {
    let magnitude = 10_f64.powf(value.max(1e-9).log10().floor() - 1.0);
    format!("{}{unit}", ((value / magnitude).round() * magnitude).max(1.0).round())
}

/// CPU, requests per second and requests in flight, each with targets up to what a pod can do.
fn metrics(scenario: &Scenario) -> Vec<String> {
    let station = Station::new(scenario);
    let mut values: Vec<String> = [30, 50, 60, 70, 80, 90]
        .iter()
        .map(|target| {
            format!(
                "[{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, \
                 averageUtilization: {target}}}}}}}]"
            )
        })
        .collect();
    if !station.capacity().is_finite() {
        return values;
    }
    let pods = |name: &str, target: f64| {
        let target = round(target * 1000.0, "m");
        format!(
            "[{{type: Pods, pods: {{metric: {{name: {name}}}, target: {{type: AverageValue, \
             averageValue: {target}}}}}}}]"
        )
    };
    for share in [0.1, 0.2, 0.35, 0.5, 0.65, 0.8] {
        values.push(pods("http_requests_per_second", station.capacity() * share));
    }
    for share in [0.1, 0.2, 0.35, 0.5, 0.65, 0.8] {
        let rate = station.capacity() * share;
        values.push(pods("http_requests_in_flight", rate * station.mean_latency(share)));
    }
    values
}
