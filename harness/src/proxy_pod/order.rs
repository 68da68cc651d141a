//! What a proxy in a pod is told and says.

use serde::{Deserialize, Serialize};

use crate::agent::Kind;

/// The kind of agent that a proxy in a pod is.
#[derive(Debug)]
pub struct ProxyPod;

impl Kind for ProxyPod {
    const NAME: &'static str = "proxy";
    type Order = Order;
    type Word = Word;
}

/// What a proxy is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Order {
    /// Where the run's axis begins. From then on all that the proxy says counts from there, and it
    /// says first what each worker goes by; before, it keeps to itself what happens.
    RunStart {
        /// What the proxy's own monotonic clock read at the start of the run.
        mono_ns: i64,
    },
}

/// What a proxy says beside lines of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Word {
    /// It hears nothing of the endpoints, and goes on with what it knew. The record's line of it
    /// follows when it hears of them again.
    Deaf {
        /// Why, in words.
        reason: String,
    },
    /// It hears of the endpoints again.
    Hears {},
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_words_keep_their_form() {
        let text = serde_json::to_string(&Order::RunStart { mono_ns: -3 }).unwrap();
        assert_eq!(text, r#"{"run-start":{"monoNs":-3}}"#);
        assert!(serde_json::from_str::<Order>(r#"{"run-start":{}}"#).is_err());
        let text = serde_json::to_string(&Word::Deaf { reason: "gone".into() }).unwrap();
        assert_eq!(text, r#"{"deaf":{"reason":"gone"}}"#);
        assert_eq!(serde_json::to_string(&Word::Hears {}).unwrap(), r#"{"hears":{}}"#);
    }
}
