//! Single requests: comma-separated values, or a JSON object a line.

use std::{borrow::Cow, collections::HashMap, path::Path};

use highwater_model::{
    spec::{RequestKind, TRACE_KINDS_MAX, TRACE_REQUESTS_MAX, Trace, TraceBuilder},
    time::{Nanos, SECOND},
};
use serde_json::Value;

use super::{
    DataProblem, Found,
    text::{Clock, Field, Lines, column, field, fields, time},
};
use crate::scenario::error::shown;

/// The longest file: what the most requests take at a hundred bytes each.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 30;
/// The longest body of a request.
const BODY_BYTES_MAX: u64 = 1 << 20;
/// All bodies together, since they are held in memory.
const BODIES_BYTES_MAX: u64 = 64 << 20;

/// Reads the trace's file.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn read(trace: &mut Trace, path: &Path) -> Result<(), Found> {
    let mut lines = Lines::open(path, FILE_BYTES_MAX)?;
    let mut reader = Reader::new(trace)?;
    while let Some(line) = lines.next()? {
        let line = line.to_owned();
        let at = |(column, problem)| (Some((lines.number, column)), problem);
        if !reader.line(&line).map_err(at)? {
            break;
        }
    }
    let end = reader.end();
    let data = reader.builder.finish(end, reader.kinds);
    trace.data = Some(data.map_err(|error| (None, DataProblem::Trace(error)))?);
    Ok(())
}

/// Something wrong in a column of the present line.
type Wrong = (usize, DataProblem);

struct Reader<'t> {
    trace: &'t Trace,
    method: Template,
    path: Option<Template>,
    body: Option<Template>,
    form: Form,
    clock: Clock,
    builder: TraceBuilder,
    kinds: Vec<RequestKind>,
    known: HashMap<(String, String, u64), u32>,
    body_bytes: u64,
}

/// What lines look like.
enum Form {
    /// Not known before the first line.
    Unknown,
    /// Comma-separated values: the names of the columns, and where the times are.
    Columns(Vec<String>, usize),
    /// JSON objects.
    Objects,
}

impl<'t> Reader<'t> {
    fn new(trace: &'t Trace) -> Result<Self, Found> {
        let template = |text: &Option<String>| text.as_deref().map(Template::new).transpose();
        let all = (template(&trace.method), template(&trace.path), template(&trace.body));
        let whole = |problem| (None, problem);
        Ok(Self {
            trace,
            method: all.0.map_err(whole)?.unwrap_or_default(),
            path: all.1.map_err(whole)?,
            body: all.2.map_err(whole)?,
            form: Form::Unknown,
            clock: Clock::default(),
            builder: TraceBuilder::default(),
            kinds: Vec::new(),
            known: HashMap::new(),
            body_bytes: 0,
        })
    }

    /// Where the trace ends, from where it begins: the full second after its last request.
    fn end(&self) -> Nanos {
        let from = self.trace.from.unwrap_or_default().0;
        let after = Nanos((self.builder.last().0 / SECOND + 1).saturating_mul(SECOND));
        self.trace.until.map_or(after, |until| Nanos(until.0.saturating_sub(from)))
    }

    /// Takes a line; false behind the end of what is played.
    fn line(&mut self, line: &str) -> Result<bool, Wrong> {
        if let Form::Unknown = self.form
            && line.trim_start().starts_with('{')
        {
            self.form = Form::Objects;
        }
        if let Form::Objects = self.form {
            return self.object(line);
        }
        let fields = fields(line)?;
        if let Form::Unknown = self.form {
            let is_header = self.trace.time.is_some()
                || fields.first().is_some_and(|field| time(&field.text).is_none());
            let times = match &self.trace.time {
                Some(name) => column(&fields, name).map_err(|problem| (1, problem))?,
                None => 0,
            };
            let names = fields.iter().enumerate().map(|(index, field)| match is_header {
                true => field.text.clone().into_owned(),
                false => (index + 1).to_string(),
            });
            self.form = Form::Columns(names.collect(), times);
            if is_header {
                return Ok(true);
            }
        }
        self.fields(&fields)
    }

    fn fields(&mut self, fields: &[Field<'_>]) -> Result<bool, Wrong> {
        let Form::Columns(names, times) = &self.form else { return Ok(true) };
        let time = field(fields, *times)?;
        let at = self.clock.read(&time.text).map_err(|problem| (time.column, problem))?;
        let names = names.clone();
        self.request(at, &|name| {
            let index = names.iter().position(|known| known == name);
            let index = index.ok_or_else(|| {
                let known = names.join(", ");
                (1, DataProblem::NoColumn { name: shown(name), known: shown(&known) })
            })?;
            let field = field(fields, index)?;
            Ok((field.column, field.text.clone()))
        })
    }

    fn object(&mut self, line: &str) -> Result<bool, Wrong> {
        let object: HashMap<String, Value> = serde_json::from_str(line)
            .map_err(|error| (error.column().max(1), DataProblem::Json(error.to_string())))?;
        let text = |name: &str| match object.get(name) {
            Some(Value::String(text)) => Ok((1, Cow::Borrowed(text.as_str()))),
            Some(Value::Number(number)) => Ok((1, Cow::Owned(number.to_string()))),
            _ => Err((1, DataProblem::NoKey(shown(name)))),
        };
        let (_, at) = text(self.trace.time.as_deref().unwrap_or("at"))?;
        let at = self.clock.read(&at).map_err(|problem| (1, problem))?;
        self.request(at, &text)
    }

    fn request<'a>(&mut self, at: Nanos, get: &Get<'_, 'a>) -> Result<bool, Wrong> {
        if self.trace.until.is_some_and(|until| at >= until) {
            return Ok(false);
        }
        let Some(at) = at.0.checked_sub(self.trace.from.unwrap_or_default().0) else {
            return Ok(true);
        };
        let kind = self.kind(get)?;
        if self.builder.requests() == TRACE_REQUESTS_MAX {
            return Err((1, DataProblem::TooMany(TRACE_REQUESTS_MAX as usize)));
        }
        self.builder.push(Nanos(at), kind).map_err(|error| (1, DataProblem::Trace(error)))?;
        Ok(true)
    }

    /// Which kind the line asks for; a new one the first time.
    fn kind(&mut self, get: &Get<'_, '_>) -> Result<Option<u32>, Wrong> {
        let Some(path) = &self.path else { return Ok(None) };
        let digits = self.trace.digits;
        let (path, at) = path.fill(get, digits)?;
        let (method, method_at) = self.method.fill(get, None)?;
        let (body, body_at) = match &self.body {
            None => (0, 1),
            Some(body) => {
                let (text, at) = body.fill(get, digits)?;
                let what = "size of a body from 0 to 1048576 bytes";
                let number = text.parse().ok().filter(|size| *size <= BODY_BYTES_MAX);
                let wrong = || (at, DataProblem::Number { value: shown(&text), what });
                (number.ok_or_else(wrong)?, at)
            }
        };
        let key = (method, path, body);
        if let Some(known) = self.known.get(&key) {
            return Ok(Some(*known));
        }
        if self.kinds.len() == TRACE_KINDS_MAX {
            return Err((at, DataProblem::TooManyKinds(TRACE_KINDS_MAX)));
        }
        self.body_bytes += body;
        if self.body_bytes > BODIES_BYTES_MAX {
            return Err((body_at, DataProblem::TooManyBytes(BODIES_BYTES_MAX)));
        }
        let kind = request(&key).ok_or_else(|| {
            let what = "method; there are GET, POST, PUT, PATCH, DELETE and HEAD";
            (method_at, DataProblem::Number { value: shown(&key.0), what })
        })?;
        let index = self.kinds.len() as u32;
        self.kinds.push(kind);
        self.known.insert(key, index);
        Ok(Some(index))
    }
}

fn request((method, path, body): &(String, String, u64)) -> Option<RequestKind> {
    let body = (*body > 0).then(|| "x".repeat(*body as usize));
    let mut kind = RequestKind { body, ..RequestKind::default() };
    let place = match method.to_ascii_uppercase().as_str() {
        "" | "GET" => &mut kind.get,
        "POST" => &mut kind.post,
        "PUT" => &mut kind.put,
        "PATCH" => &mut kind.patch,
        "DELETE" => &mut kind.delete,
        "HEAD" => &mut kind.head,
        _ => return None,
    };
    *place = Some(path.clone());
    Some(kind)
}

/// What the present line says in a column, and where it stands.
type Get<'g, 'a> = dyn Fn(&str) -> Result<(usize, Cow<'a, str>), Wrong> + 'g;

/// Text with `{COLUMN}` in it.
#[derive(Default)]
struct Template {
    /// What stands before each column, and its name.
    parts: Vec<(String, String)>,
    rest: String,
}

impl Template {
    fn new(text: &str) -> Result<Self, DataProblem> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('{') {
            let wrong = || DataProblem::Template(shown(text));
            let (name, after) = behind.split_once('}').ok_or_else(wrong)?;
            parts.push((before.to_owned(), name.to_owned()));
            rest = after;
        }
        Ok(Self { parts, rest: rest.to_owned() })
    }

    /// The text for a line, and the column of the first field that is in it.
    fn fill(&self, get: &Get<'_, '_>, digits: Option<u32>) -> Result<(String, usize), Wrong> {
        let (mut text, mut place) = (String::new(), None);
        for (before, name) in &self.parts {
            let (at, value) = get(name)?;
            place.get_or_insert(at);
            text.push_str(before);
            text.push_str(&rounded(&value, digits));
        }
        text.push_str(&self.rest);
        let at = place.unwrap_or(1);
        let is_fit = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if is_fit { Ok((text, at)) } else { Err((at, DataProblem::Unfit(shown(&text)))) }
    }
}

/// A whole number with no more than so many digits that are not 0; other text as it is.
fn rounded(text: &str, digits: Option<u32>) -> Cow<'_, str> {
    let (Some(digits), Ok(number)) = (digits, text.parse::<u64>()) else {
        return Cow::Borrowed(text);
    };
    let has = number.checked_ilog10().map_or(1, |log| log + 1);
    let Some(unit) = has.checked_sub(digits).map(|more| 10u64.pow(more)) else {
        return Cow::Borrowed(text);
    };
    let (down, rest) = (number / unit * unit, number % unit);
    let up = if rest * 2 >= unit && unit > 1 { unit } else { 0 };
    Cow::Owned(down.saturating_add(up).to_string())
}
