//! The command line: cheap parsing first, then work.
//!
//! Exit codes: 0 objectives met, 1 missed, 2 bad input, 3 not trustworthy or not carried out.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::{
    analyze,
    backend::{kube, local::shim},
    calibrate, compare, doctor, drain, explain, fidelity, generator, image, import, init, lint,
    proxy, proxy_pod, record, report, run, scenario, tune, watch,
};

/// Objectives met.
pub const MET: u8 = 0;
/// Objectives missed.
pub const MISSED: u8 = 1;
/// Bad usage or bad input.
pub const BAD_INPUT: u8 = 2;
/// The run cannot be trusted, or could not be carried out.
pub const NOT_CARRIED_OUT: u8 = 3;

/// Proves that a service behind a Kubernetes autoscaler loses no requests when pods come and go.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario, record it, and write the report
    ///
    /// Exit codes: 0 objectives met, 1 missed, 2 bad input, 3 the run cannot be trusted or was not
    /// carried out.
    Run(RunArgs),
    /// Render report and summary again from a run's record
    Report(ReportArgs),
    /// Is NEW worse than BASE, beyond noise? One exit code, one page, one comment
    ///
    /// Exit codes: 0 no, 1 yes, 2 bad input, or runs that must not be compared, 3 it cannot be told,
    /// or a run cannot be trusted.
    Compare(Box<compare::command::Args>),
    /// Many runs in a row: where did a measure change?
    ///
    /// Exit codes: 0 followed, 2 bad input.
    Trend(compare::command::TrendArgs),
    /// The runs that later ones are compared with, small enough to be committed
    #[command(subcommand)]
    Baseline(compare::command::BaselineCommand),
    /// Fit a scenario to a run, so that the simulator reproduces it, and say how well it does
    ///
    /// Prints the scenario, with what was fitted and how well as its comments.
    ///
    /// Exit codes: 0 fitted, 2 bad input, 3 it could not be simulated or written.
    Calibrate(calibrate::Args),
    /// Find the least preStop and grace period that lose nothing, and say why they are so long
    ///
    /// Searches on the simulator, and with --confirm lets as many pods end on processes or on a
    /// cluster.
    ///
    /// Exit codes: 0 found (and confirmed), 1 there are none or they were not confirmed, 2 bad input,
    /// 3 not carried out.
    Drain(Box<drain::Args>),
    /// Find the settings of the autoscaler that hold the objectives for the fewest pod-hours
    ///
    /// Searches on the simulator, on all cores; judges the best, the present setting and the default
    /// of Kubernetes on traffic that was not searched with; with --confirm runs these on processes or on
    /// a cluster, and says whether the simulator's promise held.
    ///
    /// Exit codes: 0 searched, 1 no setting holds the objectives, or the recommended one did not on the
    /// real backend, 2 bad input, 3 it could not be written, or a real run was not carried out or cannot
    /// be trusted.
    Tune(Box<tune::command::Args>),
    /// Print a JSON Schema: of what editors check, or of what programs read
    Schema {
        /// Which
        #[arg(value_enum, default_value = "scenario")]
        of: SchemaOf,
    },
    /// What would an autoscaler do, and why? The dry run of a HorizontalPodAutoscaler
    ///
    /// Exit codes: 0 explained, 2 bad input.
    Explain(Box<explain::Args>),
    /// Look for settings that lose requests: relations between fields of manifests or scenarios
    ///
    /// Exit codes: 0 nothing found, 1 findings, 2 bad input.
    Lint(Box<lint::Args>),
    /// Make a rate curve or a request trace for `traffic` of what others recorded
    ///
    /// Access logs (nginx, Apache, Envoy, ALB, JSON lines), CSV, range responses of Prometheus,
    /// results of k6 and vegeta. Exit codes: 0 written, 2 bad input.
    Import(Box<import::Args>),
    /// Undo what a killed run left in a cluster
    ///
    /// Exit codes: 0 nothing is left, 3 something could not be undone.
    Cleanup(CleanupArgs),
    /// Print the least rights that a run needs in a cluster, as RBAC manifests
    Rbac {
        /// The scenario [default: all that any scenario on the bundled service needs]
        scenario: Option<String>,
        /// The namespace that the run owns
        #[arg(long, default_value = kube::names::NAMESPACE)]
        namespace: String,
    },
    /// Print what the autoscalers of a namespace see, decide and say, line by line
    ///
    /// Replicas, metrics against their targets, conditions and Events, and what the metrics APIs
    /// show of each pod: which one is missing, unready or requests nothing. Only reads.
    ///
    /// Exit codes: 0 at its end or with Ctrl-C, 2 bad input, 3 the cluster cannot be reached.
    Watch(watch::Args),
    /// Is this machine fit to measure?
    Doctor,
    /// Write this program as a container image archive, for kind and containerd; needs no Docker
    Image(image::Args),
    /// List the bundled scenarios
    Scenarios,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Runs of the same scenarios on several backends, side by side on one page
    #[command(hide = true)]
    Fidelity(fidelity::Args),
    /// The bundled target service
    #[command(hide = true)]
    TargetService(Box<target_service::Args>),
    /// The L7 proxy
    #[command(hide = true)]
    Proxy(proxy::Args),
    /// The L7 proxy, as a pod of its own
    #[command(hide = true)]
    ProxyPod(Box<proxy_pod::Args>),
    /// A load generator, as a pod of its own
    #[command(hide = true)]
    Generator(generator::Args),
    /// The parent of one pod's process
    #[command(hide = true)]
    PodShim {
        /// The most bytes that the pod may have resident
        #[arg(long)]
        memory: Option<u64>,
        /// The pod's command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// PID 1 of a container whose service a scenario kills
    #[command(hide = true)]
    Init {
        /// The service's command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Send a signal to the service below `init`, from inside its container
    ///
    /// Exit codes: 0 sent, 3 there is no such process, 4 it may not be signalled.
    #[command(hide = true)]
    SignalChild {
        /// Which
        #[arg(value_enum)]
        signal: init::EndingSignal,
        /// The init's pid
        #[arg(long, value_name = "PID", default_value_t = 1, hide = true)]
        of: u32,
    },
    /// The last step before a pod's process
    #[command(hide = true)]
    PodExec {
        /// The shim's pid
        parent: u32,
        /// The pod's command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// A scenario file, or the name of a bundled one
    pub scenario: String,
    /// Where to run it
    #[arg(long, value_enum, default_value = "local")]
    pub backend: BackendArg,
    /// The run folder; must not exist [default: reports/SCENARIO-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Override a key of the scenario: target.deployment.replicas=5
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Override the seed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Run it so often, each time with the next seed: a set that `compare` takes
    ///
    /// With --out, the runs are folders in it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub repeat: u32,
    /// Show the run on the whole terminal while it goes on
    ///
    /// Rates, latency, replicas, pods, failures by outcome, and what happens. `q` and Ctrl-C end the
    /// run early. Without a terminal on stderr, plain lines tell of it as ever.
    #[arg(long)]
    pub tui: bool,
    /// Why this backend and not the one that was wanted: said first, and in the report
    #[arg(long, value_name = "TEXT", hide = true)]
    pub because: Option<String>,
    /// Print nothing at its end: the run is part of something that prints for itself
    #[arg(skip)]
    pub quiet: bool,
    /// The cluster, with `--backend kube`
    #[command(flatten)]
    pub kube: KubeArgs,
}

/// Which cluster, and how it may be used.
#[derive(Clone, Debug, clap::Args)]
pub struct KubeArgs {
    /// The kubeconfig file [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context; only kind-*, minikube and k3d-* are acted on without more words
    #[arg(long)]
    pub context: Option<String>,
    /// Act on the cluster named by --context although it does not look like a test cluster
    #[arg(long)]
    pub i_know_this_is_not_a_test_cluster: bool,
    /// The namespace that the run owns
    #[arg(long, default_value = kube::names::NAMESPACE)]
    pub namespace: String,
    /// The image with highwater in it, as `just image` makes it [default: of this version]
    #[arg(long)]
    pub image: Option<String>,
}

impl KubeArgs {
    /// As the backend takes them.
    pub fn options(&self) -> kube::Options {
        kube::Options {
            access: self.access(),
            namespace: self.namespace.clone(),
            image: self.image.clone().unwrap_or_else(image::default_name),
        }
    }

    fn access(&self) -> kube::client::Access {
        kube::client::Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            confirmed: self.i_know_this_is_not_a_test_cluster,
        }
    }
}

/// A backend by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendArg {
    /// Processes on this machine
    Local,
    /// A cluster
    Kube,
    /// Virtual time: seconds for a day
    Sim,
}

#[derive(Debug, clap::Args)]
struct CleanupArgs {
    #[command(flatten)]
    kube: KubeArgs,
    /// Clean up although a run seems to be under way
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// The run folder, or a record file
    run: PathBuf,
    /// Where to write [default: into the run folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print this instead of writing files
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// What `run` prints at its end
    Text,
    /// The summary
    Json,
    /// A short report for a pull request
    Markdown,
    /// The page
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SchemaOf {
    /// Scenario files
    Scenario,
    /// summary.json
    Summary,
    /// comparison.json
    Comparison,
    /// The states that `explain` takes
    Explain,
    /// What `explain --format json` prints
    Explanation,
    /// What `lint --format json` prints
    Lint,
    /// What `calibrate --format json` prints
    Calibration,
    /// What `drain --format json` prints
    Drain,
    /// tune.json
    Tune,
}

/// The program.
pub fn main() -> ExitCode {
    // clap itself ends with 2 for bad usage.
    let cli = Cli::parse();
    match cli.command {
        Command::Run(args) => ExitCode::from(run::run(&args)),
        Command::Report(args) => ExitCode::from(report_again(&args)),
        Command::Compare(args) => ExitCode::from(compare::command::main(&args)),
        Command::Trend(args) => ExitCode::from(compare::command::trend(&args)),
        Command::Baseline(command) => ExitCode::from(compare::command::baseline(&command)),
        Command::Schema { of } => print(&pretty(&match of {
            SchemaOf::Scenario => scenario::schema(),
            SchemaOf::Summary => schemars::schema_for!(analyze::Summary).to_value(),
            SchemaOf::Comparison => schemars::schema_for!(compare::result::Comparison).to_value(),
            SchemaOf::Explain => explain::schema(),
            SchemaOf::Explanation => explain::explanation_schema(),
            SchemaOf::Lint => lint::schema(),
            SchemaOf::Drain => schemars::schema_for!(drain::Drain).to_value(),
            SchemaOf::Calibration => schemars::schema_for!(calibrate::Calibration).to_value(),
            SchemaOf::Tune => schemars::schema_for!(tune::Tuning).to_value(),
        })),
        Command::Tune(args) => ExitCode::from(tune::command::main(&args)),
        Command::Calibrate(args) => ExitCode::from(calibrate::main(&args)),
        Command::Drain(args) => ExitCode::from(drain::main(&args)),
        Command::Explain(args) => ExitCode::from(explain::main(&args)),
        Command::Import(args) => ExitCode::from(import::main(&args)),
        Command::Lint(args) => ExitCode::from(lint::main(&args)),
        Command::Cleanup(args) => ExitCode::from(clean_up(&args)),
        Command::Rbac { scenario, namespace } => rbac(scenario.as_deref(), &namespace),
        Command::Watch(args) => ExitCode::from(watch::main(&args)),
        Command::Doctor => {
            let checks = doctor::examine();
            let is_fit = checks.iter().all(|check| check.status != doctor::Status::Fail);
            print(&doctor::render(&checks));
            if is_fit { ExitCode::SUCCESS } else { ExitCode::from(NOT_CARRIED_OUT) }
        }
        Command::Image(args) => ExitCode::from(image::main(&args)),
        Command::Scenarios => {
            let lines = scenario::BUNDLED.iter().map(|(name, text)| {
                let first = text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
                format!("{name:<24}{first}\n")
            });
            print(&lines.collect::<String>())
        }
        Command::Completions { shell } => {
            // Into memory first: what it writes to must not fail.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "highwater", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Command::Fidelity(args) => ExitCode::from(fidelity::main(&args)),
        Command::TargetService(args) => target_service::main_with(*args),
        Command::Proxy(args) => proxy::main_with(args),
        Command::ProxyPod(args) => proxy_pod::main_with(*args),
        Command::Init { command } => init::main(&command),
        Command::SignalChild { signal, of } => init::signal_child(signal, of),
        Command::Generator(args) => generator::main_with(args),
        Command::PodShim { memory, command } => shim::main(&command, memory),
        Command::PodExec { parent, command } => shim::exec(parent, &command),
    }
}

fn clean_up(args: &CleanupArgs) -> u8 {
    match kube::cleanup::run(&args.kube.access(), &args.kube.namespace, args.force) {
        Ok(done) => {
            for line in done {
                print(&format!("{line}\n"));
            }
            MET
        }
        Err(error) => {
            complain(error);
            NOT_CARRIED_OUT
        }
    }
}

fn rbac(scenario: Option<&str>, namespace: &str) -> ExitCode {
    let needs = match scenario {
        None => kube::rights::Needs::all(namespace, None),
        Some(name) => match scenario::load(name, &scenario::Overrides::default()) {
            Ok(loaded) => kube::rights::Needs::of(&loaded.scenario, namespace, false),
            Err(error) => {
                complain(error);
                return ExitCode::from(BAD_INPUT);
            }
        },
    };
    print(&kube::rights::manifests(namespace, &needs.rights()))
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

fn print(text: &str) -> ExitCode {
    show(text);
    ExitCode::SUCCESS
}

/// Prints to stdout; a reader that went away is no error.
pub(crate) fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    // `highwater schema | head` closes the pipe early, as it may.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints an error to stderr; where nobody reads it, the exit code still tells.
pub(crate) fn complain(error: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "highwater: {error}");
}

fn report_again(args: &ReportArgs) -> u8 {
    let analysis = record::read(&args.run)
        .map_err(|error| error.to_string())
        .and_then(|record| analyze::analyze(&record).map_err(|error| error.to_string()));
    let analysis = match analysis {
        Ok(analysis) => analysis,
        Err(error) => {
            complain(error);
            return BAD_INPUT;
        }
    };
    let folder = if args.run.is_dir() {
        args.run.clone()
    } else {
        args.run.parent().unwrap_or(&args.run).to_owned()
    };
    let provenance = run::read_provenance(&folder);
    let text = match args.format {
        None => {
            let out = args.out.as_ref().unwrap_or(&folder);
            return match run::write_reports(out, &analysis, provenance.as_ref()) {
                Ok(()) => {
                    print(&report::text::render(&analysis));
                    MET
                }
                Err(error) => {
                    complain(error);
                    NOT_CARRIED_OUT
                }
            };
        }
        Some(Format::Text) => report::text::render(&analysis),
        Some(Format::Markdown) => report::markdown::render(&analysis),
        Some(Format::Html) => {
            report::html::render(&analysis, provenance.as_ref(), &report::RenderOptions::default())
        }
        Some(Format::Json) => run::summary_json(&analysis),
    };
    print(&text);
    MET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_to_be_confirmed_needs_a_backend_that_is_real() {
        let tune = |args: &str| {
            let line = ["highwater", "tune", "spike"].into_iter().chain(args.split_whitespace());
            Cli::try_parse_from(line).is_ok()
        };
        for (args, is_taken) in [
            ("--confirm local", true),
            ("--confirm kube --repeat 5 --namespace mine", true),
            ("--confirm local --from reports/spike-tune-1", true),
            ("--confirm sim", false),
            ("--confirm", false),
            ("--repeat 3", false),
            ("--from reports/spike-tune-1", false),
            ("--confirm local --repeat 0", false),
            ("--confirm local --repeat 51", false),
            ("--confirm local --from a --out b", false),
            ("--confirm local --from a --settings 9", false),
        ] {
            assert_eq!(tune(args), is_taken, "{args}");
        }
    }

    #[test]
    fn pods_are_started_with_arguments_that_their_programs_take() {
        let overrides = scenario::Overrides {
            sets: vec!["path.propagation={lognormal: {median: 100ms, p99: 1s}}".into()],
            seed: None,
        };
        let loaded = scenario::load("rolling-update", &overrides).expect("a bundled scenario");
        let making = kube::manifests::Making {
            scenario: &loaded.scenario,
            namespace: "highwater",
            run: "ab12",
            image: "example.test/highwater:1",
        };
        let (proxy, target) = (making.proxy().spec, making.deployment().spec);
        let generators = making.generators(2, 60).spec.map(|spec| spec.template);
        let templates = [proxy, target].map(|spec| spec.map(|spec| spec.template));
        for template in templates.into_iter().chain([generators]) {
            let pod = template.and_then(|template| template.spec).expect("a pod");
            let args = pod.containers[0].args.clone().expect("has arguments");
            let mut line = vec!["highwater".to_string()];
            line.extend(args);
            // What comes by the environment of the pod.
            if line[1] == "proxy-pod" {
                line.extend(["--namespace".into(), "highwater".into()]);
            }
            let parsed = Cli::try_parse_from(&line).unwrap_or_else(|error| panic!("{error}"));
            match parsed.command {
                Command::ProxyPod(args) => {
                    assert_eq!(args.propagation, loaded.scenario.path.propagation);
                    assert_eq!(args.seed, loaded.scenario.seed);
                    assert_eq!(args.proxy.listen.port(), kube::manifests::HTTP_PORT);
                    assert_eq!(args.control.port(), kube::manifests::CONTROL_PORT);
                }
                Command::TargetService(_) | Command::Generator(_) => {}
                other => panic!("no pod runs {other:?}"),
            }
        }
    }
}
