//! What comes in from the processes while a run goes on.

use highwater_model::cluster::ContainerId;

use super::shim::News;
use crate::proxy::protocol::Report;

/// One message to the driver.
#[derive(Debug)]
pub(super) enum Message {
    /// A container's process started, failed to, or ended.
    Container {
        /// Which.
        container: ContainerId,
        /// What.
        news: News,
    },
    /// The target's own word about its life.
    Lifecycle {
        /// Which container.
        container: ContainerId,
        /// The JSON line.
        line: String,
    },
    /// Any other line of the target.
    Output(String),
    /// A probe's answer.
    Probe {
        /// Its number.
        probe: u64,
        /// Whether it passed.
        passed: bool,
        /// What it saw.
        detail: String,
    },
    /// A preStop hook's end.
    PreStop {
        /// Which container.
        container: ContainerId,
        /// Whether it did what it should.
        ok: bool,
        /// What went wrong.
        detail: String,
    },
    /// What a container told of itself.
    Scraped {
        /// Which container.
        container: ContainerId,
        /// The page.
        page: String,
    },
    /// The proxy's word.
    Proxy(Report),
    /// The proxy is gone.
    ProxyExited(String),
}
