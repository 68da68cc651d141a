//! `highwater explain`: what would the autoscaler do, and why?
//!
//! The dry run of a HorizontalPodAutoscaler. It runs the same machine that `local` and `sim` drive
//! and that the conformance tests compare with Kubernetes' own controller.
//!
//! 1. `input`: files, documents, lists
//! 2. `manifest`: the autoscaler, as `kubectl get hpa -o yaml` prints it
//! 3. `objects`, `forms`: what it finds, as objects of a cluster; `given`: the same as people write it
//! 4. `timeline`: states, one after the other; `facts`: their one form
//! 5. `world`, `play`, `metric`: the passes of the machine, and what each made of what
//! 6. [`told`]: an explanation as data, of which [`text`] and `figures` make lines

mod error;
mod facts;
mod figures;
mod forms;
mod given;
pub(crate) mod input;
mod manifest;
mod metric;
mod objects;
mod play;
mod rivals;
#[cfg(test)]
mod tests;
pub mod text;
mod timeline;
pub mod told;
mod world;

use clap::ValueEnum;
use highwater_model::{
    hpa::{Settings, Version},
    time::Nanos,
};
use schemars::generate::SchemaSettings;
use serde_json::Value;

pub use error::ExplainError;
pub use given::States;
use input::Object;

/// The address under which the schema of states is known.
pub const SCHEMA_ID: &str = "https://highwater.dev/schema/explain-v1.json";

/// What to explain.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The autoscaler, as `kubectl get hpa NAME -o yaml` prints it; `-` for the standard input
    ///
    /// Beside it, in further documents or one `kind: List`: the scaled object, pods, PodMetricsList
    /// and values of custom and external metrics, as kubectl prints them; or `states`, as
    /// `highwater schema explain` describes them.
    pub file: String,
    /// Another file with pods, metrics or states
    #[arg(long, value_name = "FILE")]
    pub state: Vec<String>,
    /// Which autoscaler, if there are several: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    pub hpa: Option<String>,
    /// When the pass is, with objects of a cluster [default: at the newest sample]
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
    /// As if it had been at work for long and recommended nothing else within any window
    ///
    /// Without this, it is as one that is seen for the first time, which keeps what it finds for
    /// the window of the way down.
    #[arg(long)]
    pub settled: bool,
    /// Whose controller
    #[arg(long, value_name = "VERSION", default_value_t = Version::STANDARD)]
    pub kubernetes: Version,
    /// A feature gate of that release: HPAScaleToZero=true, HPAConfigurableTolerance=false
    #[arg(long = "feature-gate", value_name = "GATE=BOOL")]
    pub gates: Vec<String>,
    /// kube-controller-manager's --horizontal-pod-autoscaler-sync-period
    #[arg(long, value_name = "SPAN", default_value = "15s")]
    pub sync_period: Nanos,
    /// ... -downscale-stabilization
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    pub downscale_stabilization: Nanos,
    /// ... -tolerance, a share
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub tolerance: f64,
    /// ... -cpu-initialization-period
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    pub cpu_initialization_period: Nanos,
    /// ... -initial-readiness-delay
    #[arg(long, value_name = "SPAN", default_value = "30s")]
    pub initial_readiness_delay: Nanos,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// How an explanation is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Shorter periods would make more passes than anyone reads.
const PERIOD_MIN: Nanos = Nanos::from_millis(100);

/// The command. Returns the exit code.
pub fn main(args: &Args) -> u8 {
    let explanation = match explain(args) {
        Ok(explanation) => explanation,
        Err(error) => {
            crate::cli::complain(error);
            return crate::cli::BAD_INPUT;
        }
    };
    let text = match args.format {
        Format::Text => text::render(&explanation),
        Format::Json => format!("{:#}\n", serde_json::json!(explanation)),
    };
    crate::cli::show(&text);
    crate::cli::MET
}

/// Explains what the files say.
///
/// # Errors
/// See [`ExplainError`].
pub fn explain(args: &Args) -> Result<told::Explanation, ExplainError> {
    let mut objects = input::read(&args.file)?;
    for name in &args.state {
        objects.extend(input::read(name)?);
    }
    explain_objects(&objects, args)
}

fn explain_objects(objects: &[Object], args: &Args) -> Result<told::Explanation, ExplainError> {
    let settings = settings(args)?;
    let manifest = manifest::read(chosen(objects, args)?)?;
    let mut timeline = timeline::build(&manifest, objects, args.now.as_deref(), args.kubernetes)?;
    timeline.ambiguous = rivals::find(&manifest, objects)?;
    play::play(&manifest, &timeline, play::Start { settings, is_settled: args.settled })
}

/// The autoscaler that is meant.
fn chosen<'a>(objects: &'a [Object], args: &Args) -> Result<&'a Object, ExplainError> {
    let all = || objects.iter().filter(|object| manifest::is_one(object));
    let name = |object: &Object| input::name(&manifest::full_name(object));
    let names = || error::bounded(all().map(name));
    let is_meant = |object: &&Object| match &args.hpa {
        None => true,
        Some(wanted) => *wanted == object.name() || *wanted == manifest::full_name(object),
    };
    let mut meant = all().filter(is_meant);
    match (meant.next(), meant.next(), &args.hpa) {
        (Some(object), None, _) => Ok(object),
        (Some(_), Some(_), _) => Err(ExplainError::SeveralAutoscalers { names: names() }),
        (None, _, Some(name)) if all().next().is_some() => {
            Err(ExplainError::UnknownAutoscaler { name: input::name(name), known: names() })
        }
        (None, ..) => {
            let files: Vec<&str> =
                std::iter::once(&args.file).chain(&args.state).map(String::as_str).collect();
            Err(ExplainError::NoAutoscaler { names: files.join(", ") })
        }
    }
}

fn settings(args: &Args) -> Result<Settings, ExplainError> {
    let flag = |text: &str| Err(ExplainError::Flag(text.into()));
    if args.sync_period < PERIOD_MIN {
        return flag("--sync-period must be at least 100ms");
    }
    if !(0.0..=1e6).contains(&args.tolerance) {
        return flag("--tolerance is a share such as 0.1");
    }
    let mut gates = args.kubernetes.gates();
    for gate in &args.gates {
        let (name, value) = gate.split_once('=').unwrap_or((gate, ""));
        let (Ok(is_on), Some(gate)) = (
            value.parse::<bool>(),
            match name {
                "HPAScaleToZero" => Some(&mut gates.scale_to_zero),
                "HPAConfigurableTolerance" => Some(&mut gates.configurable_tolerance),
                _ => None,
            },
        ) else {
            return flag(
                "--feature-gate takes HPAScaleToZero or HPAConfigurableTolerance, =true or =false",
            );
        };
        *gate = is_on;
    }
    Ok(Settings {
        sync_period: args.sync_period,
        downscale_stabilization: args.downscale_stabilization,
        tolerance: args.tolerance,
        cpu_initialization_period: args.cpu_initialization_period,
        initial_readiness_delay: args.initial_readiness_delay,
        kubernetes: args.kubernetes,
        gates,
    })
}

/// The JSON Schema of [`States`].
pub fn schema() -> Value {
    named(
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<States>(),
        SCHEMA_ID,
    )
}

/// The JSON Schema of what `--format json` prints.
pub fn explanation_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    named(generator.into_root_schema_for::<told::Explanation>(), told::SCHEMA_ID)
}

fn named(mut schema: schemars::Schema, id: &str) -> Value {
    schema.insert("$id".into(), id.into());
    schema.to_value()
}
