//! What the harness and an agent say to each other: one JSON object per line.
//!
//! The harness connects and says `hello`; the agent says `welcome` or `refused`. From then on the
//! harness sends pings, orders and acknowledgements, and the agent pongs, `took` for orders, and
//! items. Orders and items are numbered from 1 over the whole life of the agent, whatever becomes
//! of connections, and each is kept by its sender until the other side has acknowledged it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::Line;

/// The version of this protocol. Both sides are the same build of the same program, so there is
/// nothing to negotiate: another version is refused.
pub const VERSION: u32 = 1;
/// How often the harness pings. An agent that hears nothing for some of these is alone.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// The longest line, either way. A scenario of a thousand kinds of requests with bodies is below.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Lines of the record go in batches of about so many bytes, so that a pong never waits long
/// behind one. A single line may be longer.
pub const BATCH_BYTES: usize = 1 << 20;
/// Orders that may wait for their `took`.
pub const ORDERS_MAX: usize = 1024;

/// The first words of every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// [`super::Kind::NAME`] of the agent that is expected.
    #[serde(default)]
    pub kind: String,
    /// Whose agent it is: that of the first hello is the agent's for good.
    #[serde(default)]
    pub token: String,
    /// Whether the agent is expected to know the token already.
    #[serde(default)]
    pub resumes: bool,
    /// The last item that was received.
    #[serde(default)]
    pub received: u64,
}

/// From the harness to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ToAgent<O> {
    /// Who is there.
    Hello(Hello),
    /// Asks for a pong.
    Ping {
        /// Given back.
        n: u64,
    },
    /// An order.
    Order {
        /// Ascending from 1, without gaps.
        n: u64,
        /// What to do.
        order: O,
    },
    /// Items up to here need not be kept any more.
    Ack {
        /// The last one.
        seq: u64,
    },
}

/// From an agent to the harness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum FromAgent<W> {
    /// The hello was as expected.
    Welcome(Welcome),
    /// It was not; the connection ends.
    Refused {
        /// Why, in words.
        reason: String,
    },
    /// The answer to a ping.
    Pong {
        /// As in the ping.
        n: u64,
        /// The machine's monotonic clock as the pong was written.
        mono_ns: u64,
        /// Its wall clock at the same instant, since 1970.
        wall_ns: u64,
    },
    /// Orders up to here were taken.
    Took {
        /// The last one.
        n: u64,
    },
    /// Something for the record, or about the agent.
    Item {
        /// Ascending from 1, without gaps.
        seq: u64,
        /// What.
        item: Item<W>,
    },
}

/// What an agent says that must arrive exactly once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Item<W> {
    /// Lines of the record.
    Lines(Vec<Line>),
    /// About itself.
    Word(W),
    /// It cannot go on; nothing follows.
    Broken {
        /// Why, in words.
        reason: String,
    },
}

/// Who an agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// Its pod.
    pub pod: String,
    /// The pod's node; empty if it was not told.
    #[serde(default)]
    pub node: String,
    /// The index that its Job gave it (`JOB_COMPLETION_INDEX`); for a cross-check only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_index: Option<u32>,
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// [`VERSION`].
    pub version: u32,
    /// Who answers.
    pub who: Who,
    /// The last order that was taken.
    pub taken: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_and_keep_their_form() {
        let hello = ToAgent::<()>::Hello(Hello {
            version: 1,
            kind: "generator".into(),
            token: "t".into(),
            resumes: false,
            received: 0,
        });
        let rows: [(ToAgent<()>, &str); 4] = [
            (
                hello,
                r#"{"hello":{"version":1,"kind":"generator","token":"t","resumes":false,"received":0}}"#,
            ),
            (ToAgent::Ping { n: 4 }, r#"{"ping":{"n":4}}"#),
            (ToAgent::Order { n: 1, order: () }, r#"{"order":{"n":1,"order":null}}"#),
            (ToAgent::Ack { seq: 9 }, r#"{"ack":{"seq":9}}"#),
        ];
        for (frame, text) in rows {
            assert_eq!(serde_json::to_string(&frame).unwrap(), text);
            assert_eq!(serde_json::from_str::<ToAgent<()>>(text).unwrap(), frame);
        }
        let rows: [(FromAgent<()>, &str); 3] = [
            (
                FromAgent::Pong { n: 4, mono_ns: 5, wall_ns: 6 },
                r#"{"pong":{"n":4,"monoNs":5,"wallNs":6}}"#,
            ),
            (FromAgent::Refused { reason: "no".into() }, r#"{"refused":{"reason":"no"}}"#),
            (
                FromAgent::Item { seq: 3, item: Item::Broken { reason: "x".into() } },
                r#"{"item":{"seq":3,"item":{"broken":{"reason":"x"}}}}"#,
            ),
        ];
        for (frame, text) in rows {
            assert_eq!(serde_json::to_string(&frame).unwrap(), text);
            assert_eq!(serde_json::from_str::<FromAgent<()>>(text).unwrap(), frame);
        }
    }
}
