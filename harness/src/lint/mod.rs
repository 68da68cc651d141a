//! `highwater lint`: relations between the fields of manifests, or of a scenario.
//!
//! 1. `input`, `read`: files, documents, lists, objects; a scenario as the objects that it describes
//! 2. `world`, `hpa`, `hooks`: the objects that rules are about, and how they hang together
//! 3. `known`: what is known beside them (propagation, slowest request, rate)
//! 4. [`table`]: the rules, which `docs/lint.md` is made from; `rules`: what they find
//! 5. [`finding`], `draft`, `patch`: a finding with reason, consequence in numbers and fix
//! 6. [`text`], [`sarif`], [`page`]: reports for people and programs, pages
//!
//! From documents to findings everything is a function of its input.

mod draft;
pub mod finding;
mod hooks;
mod hpa;
mod input;
mod known;
pub mod page;
mod patch;
mod read;
mod rules;
pub mod sarif;
mod subject;
pub mod table;
#[cfg(test)]
mod tests;
pub mod text;
mod world;

use clap::ValueEnum;
use highwater_model::{time::Nanos, units::RatePerSec};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use finding::{FINDINGS_MAX, Level, Report, Rule};
use input::Read;
use known::Given;

/// The address under which the schema of the report is known.
pub const SCHEMA_ID: &str = "https://highwater.dev/schema/lint-v1.json";

/// What to look at, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Manifests (YAML or JSON, several documents, lists), `-` for the standard input, or scenarios
    ///
    /// All files are looked at together: a Deployment, its Service, autoscaler and budget may stand
    /// in several. `kustomize build DIR | highwater lint -`; `helm template CHART | highwater lint -`.
    #[arg(required_unless_present = "explain")]
    pub files: Vec<String>,
    /// Leave a rule out; may be given several times
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub disable: Vec<String>,
    /// No rule but this; may be given several times
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub only: Vec<String>,
    /// The least level that is told and counts
    #[arg(long, value_enum, default_value = "warning")]
    pub level: Level,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// The longest time from a pod's deletion until no client sends to it: 4.3s behind ingress-nginx
    #[arg(long, value_name = "SPAN")]
    pub propagation: Option<Nanos>,
    /// How long the slowest request takes
    #[arg(long, value_name = "SPAN")]
    pub slowest: Option<Nanos>,
    /// Requests per second, over all pods of a workload: 200/s
    #[arg(long, value_name = "RATE")]
    pub rate: Option<RatePerSec>,
    /// Print the page of a rule, or with `all` those of all rules
    #[arg(long, value_name = "RULE", exclusive = true)]
    pub explain: Option<String>,
}

/// How findings are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: `highwater schema lint`
    Json,
    /// For code scanning: SARIF 2.1.0
    Sarif,
}

/// Why nothing can be looked at.
#[derive(Debug, thiserror::Error)]
#[error("there is no rule `{name}`{}; `highwater lint --explain all` lists them", near(nearest.as_deref()))]
pub struct UnknownRule {
    /// What was asked for.
    pub name: String,
    /// The rule whose name is nearest.
    pub nearest: Option<String>,
}

fn near(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

/// The command. Returns the exit code: 0 nothing found, 1 findings, 2 bad input.
pub fn main(args: &Args) -> u8 {
    let done = match &args.explain {
        Some(name) => pages(name).map(|text| (text, crate::cli::MET)),
        None => lint(args).map(|report| (render(&report, args.format), code(&report))),
    };
    let (text, code) = match done {
        Ok(done) => done,
        Err(error) => {
            crate::cli::complain(error);
            return crate::cli::BAD_INPUT;
        }
    };
    crate::cli::show(&text);
    code
}

fn pages(name: &str) -> Result<String, UnknownRule> {
    if name == "all" {
        return Ok(page::all());
    }
    known(name).map(page::one)
}

fn code(report: &Report) -> u8 {
    for problem in &report.unreadable {
        crate::cli::complain(problem);
    }
    let is_empty = report.objects == 0 && report.passed_over == 0;
    if !report.unreadable.is_empty() {
        crate::cli::BAD_INPUT
    } else if is_empty {
        crate::cli::complain("there is no object in these files");
        crate::cli::BAD_INPUT
    } else if report.findings.is_empty() {
        crate::cli::MET
    } else {
        crate::cli::MISSED
    }
}

/// The report in a form.
pub fn render(report: &Report, format: Format) -> String {
    match format {
        Format::Text => text::render(report),
        Format::Json => format!("{:#}\n", serde_json::json!(report)),
        Format::Sarif => format!("{:#}\n", sarif::render(report)),
    }
}

/// Looks at all files.
///
/// # Errors
/// The name of a rule that does not exist. What cannot be read is part of the report.
pub fn lint(args: &Args) -> Result<Report, UnknownRule> {
    let choice = Choice::new(args)?;
    let given = given(args);
    let mut read = Read::default();
    for name in &args.files {
        read.file(name, &given);
    }
    Ok(report(read, &choice))
}

/// Looks at one text, as if it came from the standard input.
///
/// # Errors
/// As [`lint`].
pub fn lint_text(text: &str, args: &Args) -> Result<Report, UnknownRule> {
    let choice = Choice::new(args)?;
    let mut read = Read::default();
    read.text(text, "stdin", &given(args));
    Ok(report(read, &choice))
}

fn given(args: &Args) -> Given {
    Given { propagation: args.propagation, slowest: args.slowest, rate: args.rate }
}

/// The rule of that name.
fn known(name: &str) -> Result<&'static Rule, UnknownRule> {
    table::rule(name).ok_or_else(|| UnknownRule {
        name: crate::scenario::error::shown(name),
        nearest: crate::scenario::error::nearest(name, table::RULES.iter().map(|rule| rule.name)),
    })
}

/// Which findings are told.
struct Choice {
    level: Level,
    rules: Vec<&'static str>,
}

impl Choice {
    fn new(args: &Args) -> Result<Self, UnknownRule> {
        for name in args.only.iter().chain(&args.disable) {
            known(name)?;
        }
        let is_chosen = |name: &str| {
            let is_in = |list: &[String]| list.iter().any(|given| given == name);
            (args.only.is_empty() || is_in(&args.only)) && !is_in(&args.disable)
        };
        let names = table::RULES.iter().map(|rule| rule.name);
        Ok(Self { level: args.level, rules: names.filter(|name| is_chosen(name)).collect() })
    }
}

fn report(read: Read, choice: &Choice) -> Report {
    let mut report = Report {
        schema: finding::SCHEMA.into(),
        findings: Vec::new(),
        omitted: 0,
        below_level: 0,
        suppressed: 0,
        unreadable: read.unreadable,
        objects: read.world.len(),
        passed_over: read.passed_over,
    };
    for draft in rules::find(&read.world) {
        let (finding, is_off) = draft.finish();
        if !choice.rules.contains(&finding.rule.as_str()) {
            continue;
        }
        if is_off {
            report.suppressed += 1;
        } else if finding.level < choice.level {
            report.below_level += 1;
        } else {
            report.findings.push(finding);
        }
    }
    report.findings.sort_by(|left, right| {
        let key = |finding: &finding::Finding| (finding.file.clone(), finding.line);
        (key(left), right.level, &left.rule, &left.path).cmp(&(
            key(right),
            left.level,
            &right.rule,
            &right.path,
        ))
    });
    report.findings.dedup();
    report.omitted = report.findings.len().saturating_sub(FINDINGS_MAX);
    report.findings.truncate(FINDINGS_MAX);
    report
}

/// The JSON Schema of the report.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Report>();
    schema.insert("$id".into(), SCHEMA_ID.into());
    schema.to_value()
}
