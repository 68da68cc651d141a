//! One scenario with many settings: read once, overridden as often as a search needs.

use highwater_model::spec::{Curve, Distribution, Scenario, validate};
use serde_json::Value;
use std::path::Path;

use super::{
    DataError, Loaded, ScenarioError, bounded, check, data, error, find::Origin, overrides, path,
    read_types, relation, schema, tree,
};

/// A scenario whose settings vary.
#[derive(Clone, Debug)]
pub struct Variants {
    root: tree::Node,
    origin: Origin,
    base: Scenario,
    schema: Value,
}

impl Variants {
    /// Of a scenario that was loaded.
    ///
    /// # Errors
    /// None that a loaded scenario has.
    pub fn new(loaded: &Loaded) -> Result<Self, ScenarioError> {
        let told = |faults| ScenarioError::Invalid(bounded(&loaded.origin, faults));
        Ok(Self {
            root: tree::parse(&loaded.effective_yaml).map_err(told)?,
            origin: loaded.origin.clone(),
            base: loaded.scenario.clone(),
            schema: schema(),
        })
    }

    /// The scenario itself.
    pub fn base(&self) -> &Scenario {
        &self.base
    }

    /// The scenario with these paths set to these values, in order, checked as a file is. What the
    /// traffic is made from is read again only if it is touched.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn with(&self, sets: &[(String, String)]) -> Result<Scenario, ScenarioError> {
        let told = |faults| ScenarioError::Invalid(bounded(&self.origin, faults));
        let mut root = self.root.clone();
        for (path, value) in sets {
            let argument = format!("{path}={value}");
            overrides::apply(&mut root, &argument).map_err(|problem| ScenarioError::Override {
                argument: error::shown(&argument),
                problem,
            })?;
        }
        let faults = check::check(&root, &self.schema);
        if !faults.is_empty() {
            return Err(told(faults));
        }
        let mut scenario = read_types(&root).map_err(told)?;
        let touches = |what: &str| sets.iter().any(|(path, _)| path.starts_with(what));
        if touches("traffic") || touches("target.service") {
            data::read(&mut scenario, &self.origin)?;
        } else {
            scenario.traffic = self.base.traffic.clone();
            let known = self.base.target.service.as_ref();
            if let (Some(service), Some(known)) = (&mut scenario.target.service, known)
                && matches!(service.latency, Distribution::File(_))
            {
                service.latency = known.latency.clone();
            }
        }
        let problems = validate::problems(&scenario);
        if !problems.is_empty() {
            let faults = problems.into_iter().map(|problem| relation(&root, problem));
            return Err(told(faults.collect()));
        }
        Ok(scenario)
    }
}

/// What stands at a path of a scenario, defaults filled in; `None` if nothing does.
pub fn value_at<'a>(scenario: &'a Value, at: &str) -> Option<&'a Value> {
    path::segments(at)?.into_iter().try_fold(scenario, |value, segment| match value {
        Value::Array(items) => items.get(path::index_of(segment)?),
        other => other.get(segment),
    })
}

/// Reads a file of rates as `traffic` does.
///
/// # Errors
/// As for a scenario that names the file.
pub fn read_curve(path: &Path) -> Result<Curve, DataError> {
    let mut curve = Curve { file: Some(path.display().to_string()), ..Curve::default() };
    data::read_curve(&mut curve, path)?;
    Ok(curve)
}
