//! The proxy's pod, from the harness's side: found, linked to, told when the run began; what its
//! workers go by, and its lines for the record.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use highwater_model::{
    event::{Event, EventKind},
    time::{Nanos, Timestamp},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::{sync::mpsc, time::sleep};

use super::{error::call, manifests::CONTROL_PORT, names, port_forward::connector};
use crate::{
    agent::{
        clock::Offset,
        link::{self, Link},
        protocol::Who,
    },
    proxy_pod::{Order, ProxyPod, Word},
    record::Line,
};

/// How often the pod is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is heard of the proxy.
#[derive(Debug)]
pub enum News {
    /// It is there, and was told when the run began.
    Up {
        /// Who it is.
        who: Who,
        /// How its clocks stand to the harness's.
        clock: Offset,
    },
    /// Events for the record, on the run's axis, as exact as its clock was measured. Their numbers
    /// are its own.
    Events(Vec<Event>),
    /// The connection was cut and there is one again; what it said meanwhile follows.
    Resumed {
        /// How long there was none.
        gap: Nanos,
    },
    /// It is lost. Nothing follows.
    Lost {
        /// When it was last heard.
        since: Timestamp,
        /// Why.
        reason: String,
    },
}

/// The proxy of a run.
pub struct Proxy {
    client: Client,
    namespace: String,
    config: link::Config,
    stage: Stage,
    uncertainty: Nanos,
    known: Known,
}

enum Stage {
    /// Its pod is not ready yet.
    Sought(mpsc::Receiver<Sight>),
    Linked(Link<ProxyPod>),
    Lost,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Begins to look for the pod of `run` in `namespace`, which has so many workers, until it is
    /// found or this is dropped.
    ///
    /// *Panics*: outside a tokio runtime with I/O and time.
    pub fn open(
        client: &Client,
        namespace: &str,
        run: &str,
        workers: u32,
        config: link::Config,
    ) -> Self {
        let (tell, found) = mpsc::channel(1);
        tokio::spawn(find(client.clone(), namespace.into(), run.into(), tell));
        Self {
            client: client.clone(),
            namespace: namespace.into(),
            config,
            stage: Stage::Sought(found),
            uncertainty: Nanos::ZERO,
            known: Known { workers, ..Known::default() },
        }
    }

    /// The next news; never ready after [`News::Lost`]. Loses nothing if it is dropped before it
    /// is done.
    pub async fn next(&mut self) -> News {
        loop {
            match &mut self.stage {
                Stage::Sought(found) => {
                    let seen = found.recv().await;
                    self.seen(seen);
                }
                Stage::Linked(link) => {
                    let news = link.next().await;
                    if let Some(news) = self.heard(news) {
                        return news;
                    }
                }
                Stage::Lost => return std::future::pending().await,
            }
        }
    }

    fn seen(&mut self, seen: Option<Sight>) {
        match seen {
            Some(Sight::Ready(pod)) => {
                let way = connector(&self.client, &self.namespace, &pod, CONTROL_PORT);
                self.stage = Stage::Linked(Link::open(self.config.clone(), way));
                self.known.pod = Some(pod);
            }
            Some(Sight::NotYet(trouble)) => self.known.trouble = trouble,
            // The other end lives until it has found the pod.
            None => self.stage = Stage::Lost,
        }
    }

    fn heard(&mut self, news: Option<link::News<Word>>) -> Option<News> {
        match news {
            Some(link::News::Up { who, clock }) => {
                self.uncertainty = clock.uncertainty;
                let order = Order::RunStart { mono_ns: clock.run_start(&self.config.clock) };
                if let Stage::Linked(link) = &self.stage {
                    // It is the first order, and the only one.
                    let ordered = link.order(order);
                    debug_assert!(ordered.is_ok());
                }
                Some(News::Up { who, clock })
            }
            Some(link::News::Lines(lines)) => {
                let events = events(lines, self.uncertainty);
                events.iter().for_each(|event| self.known.take(&event.kind));
                Some(News::Events(events))
            }
            Some(link::News::Word(word)) => {
                self.known.deaf = match word {
                    Word::Deaf { reason } => Some(reason),
                    Word::Hears {} => None,
                };
                None
            }
            Some(link::News::Resumed { gap }) => Some(News::Resumed { gap }),
            // Told when it ends. The clocks of machines that are synchronised drift less than they
            // were measured wrong.
            Some(link::News::Cut { .. } | link::News::Clock { .. }) => None,
            Some(link::News::Lost { since, reason }) => {
                self.stage = Stage::Lost;
                Some(News::Lost { since, reason })
            }
            None => {
                self.stage = Stage::Lost;
                let since = self.config.clock.now();
                Some(News::Lost { since, reason: "its link ended".into() })
            }
        }
    }

    /// Whether every worker may choose each of `pods`, of which there is one at least.
    pub fn is_ready<'a>(&self, pods: impl IntoIterator<Item = &'a str>) -> bool {
        self.known.is_ready(pods)
    }

    /// What it lacks to be ready, in words.
    pub fn what_is_missing(&self) -> String {
        self.known.what_is_missing()
    }
}

/// The proxy's events, as exact as they are.
fn events(lines: Vec<Line>, uncertainty: Nanos) -> Vec<Event> {
    let events = lines.into_iter().filter_map(|line| match line {
        Line::Event(event) => Some(Event { precision: Some(uncertainty), ..event }),
        // A proxy has nothing else to record.
        _ => None,
    });
    events.collect()
}

/// What is known of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    pod: Option<String>,
    /// What the pod was seen to wait for; empty if nothing is known.
    trouble: String,
    workers: u32,
    /// The pods that each worker may choose.
    routed: BTreeMap<u32, BTreeSet<String>>,
    /// Why it hears nothing of the endpoints, if it does not.
    deaf: Option<String>,
}

impl Known {
    fn take(&mut self, kind: &EventKind) {
        if let EventKind::ViewApplied { consumer, routed, .. } = kind {
            self.routed.insert(*consumer, routed.iter().cloned().collect());
        }
    }

    fn is_ready<'a>(&self, pods: impl IntoIterator<Item = &'a str>) -> bool {
        let pods: Vec<&str> = pods.into_iter().collect();
        let knows = |worker| {
            let routed = self.routed.get(&worker);
            routed.is_some_and(|routed| pods.iter().all(|pod| routed.contains(*pod)))
        };
        !pods.is_empty() && (0..self.workers).all(knows)
    }

    fn what_is_missing(&self) -> String {
        let Some(pod) = &self.pod else {
            return format!("the proxy's pod is not ready{}", self.trouble);
        };
        if let Some(reason) = &self.deaf {
            return format!("the proxy {pod} hears nothing of the endpoints: {reason}");
        }
        let workers = self.workers;
        if self.routed.is_empty() {
            return format!("none of the {workers} workers of the proxy {pod} knows an endpoint");
        }
        let routed = self.routed.values().map(BTreeSet::len).min().unwrap_or_default();
        format!(
            "{} of {workers} workers of the proxy {pod} know endpoints, the least of them {routed}",
            self.routed.len()
        )
    }
}

/// What is seen of the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    /// There is one that can be linked to.
    Ready(String),
    /// There is none; why not, as the end of a sentence.
    NotYet(String),
}

/// Looks for a pod that is ready and stays, until there is one or nobody wants to know; tells what
/// changes.
async fn find(client: Client, namespace: String, run: String, tell: mpsc::Sender<Sight>) {
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let labels = names::component_labels(&run, names::Component::Proxy);
    let list = ListParams::default().labels(&names::selector(&labels));
    let mut last = Sight::NotYet(String::new());
    loop {
        // A list that fails tells nothing of the pod: the API server may be away.
        if let Ok(found) = call("looking for the proxy's pod", pods.list(&list)).await {
            let now = sight(&found.items);
            let is_found = matches!(now, Sight::Ready(_));
            if now != last && tell.send(now.clone()).await.is_err() || is_found {
                return;
            }
            last = now;
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = tell.closed() => return,
        }
    }
}

fn sight(pods: &[Pod]) -> Sight {
    match pods.iter().find(|pod| may_be_used(pod)) {
        Some(pod) => Sight::Ready(pod.name_any()),
        None => Sight::NotYet(pods.iter().find_map(waits_for).unwrap_or_default()),
    }
}

/// What a pod's container waits for, if it says so.
fn waits_for(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let waiting = statuses.first()?.state.as_ref()?.waiting.as_ref()?;
    Some(format!(" and waits ({})", waiting.reason.as_deref()?))
}

fn may_be_used(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use highwater_model::event::Source;
    use serde_json::json;

    use super::*;

    fn view(worker: u32, pods: &str) -> EventKind {
        let routed = pods.chars().map(String::from).collect();
        EventKind::ViewApplied { consumer: worker, version: 1, routed }
    }

    #[test]
    fn the_proxy_is_ready_once_every_worker_may_choose_every_pod() {
        // What is looked at; views as (worker, pods), in order; the ready pods; whether that is all.
        type Row = (&'static str, &'static [(u32, &'static str)], &'static str, bool);
        let rows: [Row; 8] = [
            ("nobody knows anything", &[], "ab", false),
            ("one of two", &[(0, "ab")], "ab", false),
            ("both", &[(0, "ab"), (1, "ab")], "ab", true),
            ("one lags behind", &[(0, "ab"), (1, "a")], "ab", false),
            ("one has caught up", &[(0, "ab"), (1, "a"), (1, "ba")], "ab", true),
            ("one has lost a pod", &[(0, "ab"), (1, "ab"), (0, "b")], "ab", false),
            ("one knows more", &[(0, "ab"), (1, "abc")], "ab", true),
            ("no pod to choose", &[(0, ""), (1, "")], "", false),
        ];
        for (what, views, pods, expected) in rows {
            let mut known = Known { workers: 2, ..Known::default() };
            views.iter().for_each(|(worker, pods)| known.take(&view(*worker, pods)));
            let names: Vec<String> = pods.chars().map(String::from).collect();
            assert_eq!(known.is_ready(names.iter().map(String::as_str)), expected, "{what}");
        }
    }

    #[test]
    fn what_is_missing_is_the_first_thing_that_is() {
        let mut known = Known { workers: 2, ..Known::default() };
        assert_eq!(known.what_is_missing(), "the proxy's pod is not ready");
        known.pod = Some("p".into());
        assert!(known.what_is_missing().starts_with("none of the 2 workers"));
        known.deaf = Some("403 Forbidden".into());
        assert!(known.what_is_missing().ends_with("the endpoints: 403 Forbidden"));
        known.deaf = None;
        known.take(&view(1, "a"));
        assert_eq!(
            known.what_is_missing(),
            "1 of 2 workers of the proxy p know endpoints, the least of them 1"
        );
    }

    #[test]
    fn its_events_are_as_exact_as_its_clock() {
        let event = Event {
            at: Timestamp(5),
            seq: 1,
            source: Source::Proxy,
            precision: None,
            stated: None,
            kind: view(0, "a"),
        };
        let events = events(vec![Line::Event(event.clone())], Nanos(70));
        assert_eq!(events, [Event { precision: Some(Nanos(70)), ..event }]);
    }

    #[test]
    fn a_pod_that_is_not_ready_or_goes_is_not_used_and_says_what_it_waits_for() {
        let pod = |name: &str, ready: &str, deleted: Option<&str>, waits: Option<&str>| -> Pod {
            let state = waits.map(|reason| json!({"waiting": {"reason": reason}}));
            let container = json!({
                "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            });
            serde_json::from_value(json!({
                "metadata": {"name": name, "deletionTimestamp": deleted},
                "status": {
                    "conditions": [{"type": "Ready", "status": ready}],
                    "containerStatuses": [container],
                },
            }))
            .expect("a pod")
        };
        let nothing = Sight::NotYet(String::new());
        let goes = pod("goes", "True", Some("2026-01-01T00:00:00Z"), None);
        let crashes = pod("crashes", "False", None, Some("CrashLoopBackOff"));
        let ready = pod("ready", "True", None, None);
        assert_eq!(sight(&[]), nothing);
        assert_eq!(sight(&[Pod::default(), goes.clone()]), nothing);
        assert_eq!(sight(&[pod("starts", "False", None, None)]), nothing);
        let waits = Sight::NotYet(" and waits (CrashLoopBackOff)".into());
        assert_eq!(sight(&[goes.clone(), crashes.clone()]), waits);
        assert_eq!(sight(&[goes, crashes, ready]), Sight::Ready("ready".into()));
    }
}
