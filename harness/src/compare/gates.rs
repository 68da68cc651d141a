//! Whether the scenario's gates hold.

use highwater_model::spec::{BoundOp, Gate, GateBound};

use super::{
    Options,
    judge::{Judged, shown_shift},
    measure::{Kind, Measure, QUANTILES, What},
    result::{GateResult, GateVerdict},
    run::RunFigures,
};
use crate::analyze::Cause;

/// Why a gate cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// No such cause.
    #[error("gate `{gate}`: no cause of loss is called `{cause}`; they are {}", Cause::ALL.iter().map(|cause| cause.name()).collect::<Vec<_>>().join(", "))]
    Cause {
        /// The gate.
        gate: String,
        /// What it names.
        cause: String,
    },
    /// No such phase.
    #[error("gate `{gate}`: no phase is called `{phase}`; they are {known}")]
    Phase {
        /// The gate.
        gate: String,
        /// What it names.
        phase: String,
        /// What there is.
        known: String,
    },
    /// A histogram of a run is damaged.
    #[error("gate `{gate}`: the figures of a run are damaged")]
    Damaged {
        /// The gate.
        gate: String,
    },
}

/// Judges all gates. Relative ones hold if the shift is within them with the confidence of the
/// comparison (one-sided, each for itself: all must hold), and fail if it is beyond them with the
/// same confidence corrected for how many there are (Bonferroni).
///
/// # Errors
/// If a gate names a cause or a phase that there is not.
pub fn judge(
    gates: &[Gate],
    (base, new): (&[RunFigures], &[RunFigures]),
    judged: &Judged,
    options: &Options,
) -> Result<Vec<GateResult>, GateError> {
    let mut results = Vec::new();
    let rows: Vec<(&Gate, Option<&String>)> = gates
        .iter()
        .flat_map(|gate| {
            let whole = gate.during.is_empty().then_some(None);
            whole.into_iter().chain(gate.during.iter().map(Some)).map(move |phase| (gate, phase))
        })
        .collect();
    for (gate, phase) in &rows {
        let name = match phase {
            None => format!("{} {}", gate.measure, gate.bound_text()),
            Some(phase) => format!("{} {} during {phase}", gate.measure, gate.bound_text()),
        };
        if let Some(phase) = phase
            && !new[0].phases.contains(phase)
        {
            let known = new[0].phases.join(", ");
            return Err(GateError::Phase { gate: name, phase: (*phase).clone(), known });
        }
        let row = Row { name, gate, phase: phase.map(String::as_str), many: rows.len() };
        results.push(row.judge((base, new), judged, options)?);
    }
    Ok(results)
}

struct Row<'a> {
    name: String,
    gate: &'a Gate,
    phase: Option<&'a str>,
    many: usize,
}

impl Row<'_> {
    fn judge(
        &self,
        (base, new): (&[RunFigures], &[RunFigures]),
        judged: &Judged,
        options: &Options,
    ) -> Result<GateResult, GateError> {
        let phase = self.phase.map(str::to_owned);
        let of = |what| Measure { what, phase: phase.clone() };
        let cause = self.cause()?;
        let what = match self.gate.measure.name {
            "failed" | "error-rate" => cause.map_or(What::Lost, What::LostTo),
            "unsent" => What::Unsent,
            "unexplained" => What::LostTo(Cause::Unexplained),
            "pods" => What::Pods,
            "pods.max" => What::PodsMax,
            "time-to-scale" => What::TimeToScale,
            latency => {
                let name = latency.strip_prefix("latency.").unwrap_or_default();
                What::Latency(QUANTILES.iter().position(|(_, known)| *known == name).unwrap_or(2))
            }
        };
        let measure = of(what);
        match self.gate.bound {
            GateBound::Absolute { op, limit } => self.absolute(&measure, (op, limit), new),
            GateBound::Relative(limit) => {
                self.beyond(&measure, limit.ln_1p(), (base, new), judged, options)
            }
            GateBound::Increase(limit) => {
                let limit = match what.kind() {
                    Kind::Ratio => self.as_ratio(&measure, limit, base)?,
                    Kind::Share | Kind::Difference => limit,
                };
                self.beyond(&measure, limit, (base, new), judged, options)
            }
        }
    }

    fn cause(&self) -> Result<Option<Cause>, GateError> {
        let Some(name) = self.gate.measure.cause else { return Ok(None) };
        let known = Cause::ALL.iter().copied().find(|cause| cause.name() == name);
        known
            .map(Some)
            .ok_or_else(|| GateError::Cause { gate: self.name.clone(), cause: name.into() })
    }

    /// An increase in the measure's unit as the logarithm of a ratio to the base.
    fn as_ratio(
        &self,
        measure: &Measure,
        limit: f64,
        base: &[RunFigures],
    ) -> Result<f64, GateError> {
        let damaged = |_| GateError::Damaged { gate: self.name.clone() };
        let base = measure.pooled(base).map_err(damaged)?;
        Ok(base.map_or(f64::NAN, |base| (limit / base.max(f64::MIN_POSITIVE)).ln_1p()))
    }

    /// Counts must hold in every run, the rest over all runs together, as objectives do.
    fn absolute(
        &self,
        measure: &Measure,
        (op, limit): (BoundOp, f64),
        new: &[RunFigures],
    ) -> Result<GateResult, GateError> {
        let damaged = |_| GateError::Damaged { gate: self.name.clone() };
        let value = if self.gate.measure.is_count() {
            new.iter().map(|run| measure.part(run).0 as f64).reduce(f64::max)
        } else {
            measure.pooled(new).map_err(damaged)?
        };
        let allows = |value: f64| match op {
            BoundOp::Less => value < limit,
            BoundOp::LessOrEqual => value <= limit,
        };
        let verdict = match value {
            None => GateVerdict::CannotTell,
            Some(value) if allows(value) => GateVerdict::Holds,
            Some(_) => GateVerdict::Fails,
        };
        let found = match value {
            None => "nothing to judge by".into(),
            Some(value) if self.gate.measure.is_count() => format!("{value} in the worst run"),
            Some(value) => measure.what.show(value),
        };
        Ok(GateResult { name: self.name.clone(), verdict, found, repeats: None })
    }

    /// Whether the shift is beyond `limit`.
    fn beyond(
        &self,
        measure: &Measure,
        limit: f64,
        (base, new): (&[RunFigures], &[RunFigures]),
        judged: &Judged,
        options: &Options,
    ) -> Result<GateResult, GateError> {
        let damaged = |_| GateError::Damaged { gate: self.name.clone() };
        let unknown = |found: &str| GateResult {
            name: self.name.clone(),
            verdict: GateVerdict::CannotTell,
            found: found.into(),
            repeats: None,
        };
        let values =
            (measure.pooled(base).map_err(damaged)?, measure.pooled(new).map_err(damaged)?);
        if values.0.is_none() || values.1.is_none() {
            return Ok(unknown("not measured on both sides"));
        }
        let is_share = measure.what.kind() == Kind::Share;
        let is_none = |runs| is_share && measure.pooled_part(runs).0 == 0;
        let shift = match judged.measures.iter().find(|one| one.measure == *measure) {
            Some(one) => one.shift,
            // What nobody lost to, or did not send, on either side has not become worse.
            None if is_none(base) && is_none(new) => {
                let none = unknown("none on either side");
                return Ok(GateResult { verdict: GateVerdict::Holds, ..none });
            }
            // Not all that a gate can name is told by itself: causes and p90 of a phase are not.
            None => super::judge::shift_of(measure, (base, new), options.seed).map_err(damaged)?,
        };
        let Some(shift) = shift.filter(|_| limit.is_finite()) else {
            return Ok(unknown("too few runs to know its noise"));
        };
        let surely = shift.interval(1.0 - 2.0 * options.level / self.many as f64);
        let (_, high) = shift.interval(1.0 - 2.0 * options.level);
        let verdict = match () {
            () if high <= limit => GateVerdict::Holds,
            () if surely.0 > limit => GateVerdict::Fails,
            () => GateVerdict::CannotTell,
        };
        let room = (limit - shift.value()).abs();
        let is_open = verdict == GateVerdict::CannotTell;
        let sizes = (base.len(), new.len());
        let level = 2.0 * options.level / self.many as f64;
        let repeats = is_open.then(|| {
            super::judge::repeats(measure.what, &shift, sizes, (room, level), judged.unit)
        });
        let (low, high) = shift.interval(1.0 - options.level);
        let [value, low, high] =
            [shift.value(), low, high].map(|shift| shown_shift(measure.what, shift));
        Ok(GateResult {
            name: self.name.clone(),
            verdict,
            found: format!("{value} ({low} to {high})"),
            repeats: repeats.flatten(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::spec::GateMeasure;

    #[test]
    fn the_causes_of_gates_are_those_of_the_analysis() {
        let known: Vec<&str> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(GateMeasure::CAUSES, known);
    }
}
