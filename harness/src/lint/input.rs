//! Files as documents: manifests of Kubernetes, or a scenario.

use std::{fs, io::Read as _, rc::Rc};

use super::{
    known::Given,
    read,
    world::{Origin, World},
};
use crate::{
    explain::input::{Object, unfold},
    scenario::{
        self, FAULTS_MAX, Fault, FaultKind, Faults, Overrides,
        tree::{Kind, Limits, Node, parse_all},
    },
};

/// The longest file: a large chart with its custom resource definitions is a few MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// What manifests may hold: the schemas of custom resources nest deeper than anything else.
const LIMITS: Limits = Limits { nodes: 1_000_000, is_stream: true, depth: 128, has_anchors: true };
/// The file name that means the standard input.
const STDIN: &str = "-";

/// What was read of all files.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) world: World,
    /// What could not be read, in words with file and line.
    pub(super) unreadable: Vec<String>,
    pub(super) passed_over: usize,
}

impl Read {
    /// Reads a file, the standard input (`-`), or a bundled scenario.
    pub(super) fn file(&mut self, name: &str, given: &Given) {
        let origin = if name == STDIN { "stdin" } else { name };
        let is_file = name == STDIN || fs::metadata(name).is_ok();
        if !is_file {
            return self.bundled(name, given);
        }
        match text_of(name) {
            Ok(text) => self.text(&text, origin, given),
            Err(problem) => {
                let name = crate::report::clean::line(origin);
                self.unreadable.push(format!("reading {name}: {problem}"));
            }
        }
    }

    fn bundled(&mut self, name: &str, given: &Given) {
        match scenario::load(name, &Overrides::default()) {
            Ok(loaded) => self.text(&loaded.text, &loaded.origin.to_string(), given),
            Err(error) => self.unreadable.push(error.to_string()),
        }
    }

    /// Reads a text.
    pub(super) fn text(&mut self, text: &str, origin: &str, given: &Given) {
        let mut roots = match parse_all(text, LIMITS) {
            Ok(roots) => roots,
            Err(faults) => return self.fail(origin, hinted(faults, text)),
        };
        let origin: Origin = origin.into();
        match roots.as_slice() {
            [root] if is_scenario(root) => {
                let root = roots.remove(0);
                self.scenario(text, root, &origin, given);
            }
            _ => self.documents(roots, &origin, given),
        }
    }

    fn documents(&mut self, roots: Vec<Node>, origin: &Origin, given: &Given) {
        let mut faults = Vec::new();
        for (index, root) in roots.into_iter().enumerate() {
            match &root.kind {
                Kind::Map(_) => {}
                // Nothing between two `---`.
                Kind::Scalar { text, is_plain: true } if ["", "~", "null"].contains(&&**text) => {
                    continue;
                }
                _ => {
                    let message = format!(
                        "document {} is no object of Kubernetes: a mapping with apiVersion and kind",
                        index + 1
                    );
                    let place = root.place.clone();
                    let kind = FaultKind::Syntax(message);
                    faults.push(Fault { place, path: String::new(), kind });
                    continue;
                }
            }
            let mut objects = Vec::new();
            unfold(Object::new(origin, root, "", ""), &mut objects);
            for object in objects {
                match read::add(&mut self.world, object, given) {
                    Ok(true) => {}
                    Ok(false) => self.passed_over += 1,
                    Err(found) => {
                        faults.extend(found.into_iter().map(|fault| in_document(fault, index + 1)))
                    }
                }
            }
        }
        if !faults.is_empty() {
            self.fail(origin, faults);
        }
    }

    fn scenario(&mut self, text: &str, root: Node, origin: &Origin, given: &Given) {
        let file = scenario::Origin::File(origin.to_string().into());
        match scenario::load_text(text.to_owned(), file, &Overrides::default()) {
            Ok(loaded) => {
                let root = Object::new(&Rc::clone(origin), root, "", "");
                if !read::add_scenario(&mut self.world, root, &loaded.scenario, given) {
                    self.passed_over += 1;
                }
            }
            Err(error) => self.unreadable.push(error.to_string()),
        }
    }

    fn fail(&mut self, origin: &str, mut faults: Vec<Fault>) {
        faults.sort_by(|left, right| left.place.cmp(&right.place));
        let omitted = faults.len().saturating_sub(FAULTS_MAX);
        faults.truncate(FAULTS_MAX);
        let origin = crate::report::clean::line(origin);
        self.unreadable.push(Faults { origin, faults, omitted }.to_string());
    }
}

/// Whether a document is a scenario: it has traffic, and is no object of Kubernetes.
fn is_scenario(root: &Node) -> bool {
    root.entry("traffic").is_some() && root.entry("kind").is_none()
}

/// Says of which document a fault is.
fn in_document(mut fault: Fault, number: usize) -> Fault {
    if let FaultKind::BadValue(message) = &mut fault.kind {
        message.push_str(&format!(" (document {number})"));
    }
    fault
}

/// Adds what the text looks like.
fn hinted(mut faults: Vec<Fault>, text: &str) -> Vec<Fault> {
    if text.contains("{{")
        && let Some(Fault { kind: FaultKind::Syntax(message), .. }) = faults.last_mut()
    {
        message.push_str("; this looks like a template: give the output of `helm template`");
    }
    faults
}

/// Why a file has no text.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it is a directory; give files, such as DIR/*.yaml, or `kustomize build DIR` on stdin")]
    Directory,
    #[error("it is longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    #[error("line {0} is not UTF-8 text")]
    NotText(usize),
}

fn text_of(name: &str) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    if name == STDIN {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        if fs::metadata(name)?.is_dir() {
            return Err(Problem::Directory);
        }
        fs::File::open(name)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Problem::NotText(sound.iter().filter(|byte| **byte == b'\n').count() + 1)
    })
}
