//! The requests that are owed.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Phase;
use crate::time::Nanos;

/// The offered load: open loop, but for `saturate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// How requests are spaced.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// The rate over time, one phase after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// In place of `phases`: as many requests as so many connections get answered. A closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturate: Option<Saturate>,
    /// What is asked for; `GET /work` (bundled service) or `GET /` (command) if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestKind>,
    /// How long a request may take from when it is sent.
    #[serde(default = "default_timeout")]
    pub timeout: Nanos,
    /// Whether connections are used again.
    #[serde(default = "yes")]
    pub keep_alive: bool,
    /// How many connections may be open at once, over all generators.
    #[serde(default = "default_max_connections")]
    pub max_connections: u32,
    /// Where the load comes from: a number of pods (`kube`; 1 if not given), or `local`, the
    /// machine that the harness runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generators: Option<Generators>,
    /// How many threads send, each its share, where this machine is the generator; by the rate if
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
}

/// A closed loop: each connection sends its next request as soon as it has the answer to the one
/// before. It finds the highest rate of the target; its latency is not that of an open system,
/// since a slow answer holds back the requests that would have met the slowness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Saturate {
    /// How many connections, over all threads.
    pub connections: u32,
    /// How long new requests are sent.
    #[serde(rename = "for")]
    pub for_: Nanos,
}

fn default_timeout() -> Nanos {
    Nanos::from_secs(5)
}

fn yes() -> bool {
    true
}

fn default_max_connections() -> u32 {
    1000
}

/// See [`Traffic::generators`]. In files a number, or `local`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generators {
    /// The machine that the harness runs on.
    Local,
    /// So many pods, each with its share.
    Pods(u32),
}

impl Serialize for Generators {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Local => serializer.serialize_str("local"),
            Self::Pods(pods) => serializer.serialize_u32(*pods),
        }
    }
}

impl<'de> Deserialize<'de> for Generators {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::units::deserialize_scalar(deserializer)?;
        match (text.as_str(), text.parse()) {
            ("local", _) => Ok(Self::Local),
            (_, Ok(pods)) => Ok(Self::Pods(pods)),
            _ => Err(D::Error::custom(format!("`{text}` is no number of pods; or write `local`"))),
        }
    }
}

impl JsonSchema for Generators {
    fn schema_name() -> Cow<'static, str> {
        "Generators".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "integer", "minimum": 1}, {"const": "local"}],
            "description": "A number of generator pods, or `local`"
        })
    }
}

/// How requests are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// As independent users send them: exponential gaps.
    #[default]
    Poisson,
    /// Evenly.
    Constant,
}

/// One kind of request. Exactly one of the methods names the path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestKind {
    /// GET this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub get: Option<String>,
    /// POST to this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// PUT to this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<String>,
    /// PATCH this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// DELETE this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<String>,
    /// HEAD of this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Share among the kinds; 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Headers to add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Body to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What a good answer is; any 2xx if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// In place of the traffic's `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Nanos>,
}

impl RequestKind {
    /// Method and path, if exactly one is given.
    pub fn method_and_path(&self) -> Option<(&'static str, &str)> {
        let mut given = [
            ("GET", &self.get),
            ("POST", &self.post),
            ("PUT", &self.put),
            ("PATCH", &self.patch),
            ("DELETE", &self.delete),
            ("HEAD", &self.head),
        ]
        .into_iter()
        .filter_map(|(method, path)| Some((method, path.as_deref()?)));
        let first = given.next();
        if given.next().is_some() { None } else { first }
    }
}

/// A header of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// What a good answer is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expect {
    /// The status; any 2xx if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The whole body, byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}
