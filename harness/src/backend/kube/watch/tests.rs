//! Watches of an API server that goes by a script.

use std::{collections::BTreeSet, collections::VecDeque, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use super::{
    super::observe::{News, Seen, Watched},
    Message, Pace, Plan, Watches,
};
use crate::clock::RunClock;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// What the server does with the next request, which must be of the same kind.
#[derive(Clone, Debug)]
enum Step {
    /// Answers a list: version and names.
    List(&'static str, &'static [&'static str]),
    /// Answers a list with one page and the promise of more.
    Page(&'static [&'static str]),
    /// Answers a watch: events, and then an end.
    Watch(Vec<Value>, End),
    /// Answers anything with an error.
    Refuse(u16, &'static str, u32),
    /// Says nothing.
    Freeze,
    /// Closes the connection.
    Cut,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Proper,
    Cut,
    Never,
}

fn pod(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "resourceVersion": version}
    })
}

fn event(kind: &str, name: &str, version: &str) -> Value {
    json!({"type": kind, "object": pod(name, version)})
}

fn bookmark(version: &str) -> Value {
    event("BOOKMARK", "", version)
}

fn expired() -> Value {
    json!({"type": "ERROR", "object": {
        "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "old"
    }})
}

struct Server {
    steps: Mutex<VecDeque<Step>>,
    /// `list` or `watch` with the version asked for.
    asked: Mutex<Vec<String>>,
}

/// Starts a server and a watch of its pods.
async fn start(steps: Vec<Step>, pace: Pace) -> (Arc<Server>, Watches) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has one");
    let server = Arc::new(Server { steps: Mutex::new(steps.into()), asked: Mutex::default() });
    let shared = Arc::clone(&server);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&shared).serve(stream));
        }
    });
    let uri = format!("http://{address}").parse().expect("is one");
    let mut config = kube::Config::new(uri);
    config.default_retry = false;
    let client = kube::Client::try_from(config).expect("is complete");
    let plan = Plan {
        namespace: "ns".into(),
        pods: "app=web".into(),
        deployment: None,
        service: None,
        autoscaler: None,
        kinds: BTreeSet::from([Watched::Pods]),
        pace,
    };
    (server, Watches::start(client, RunClock::start(), &plan))
}

fn pace() -> Pace {
    Pace {
        watch: LONG,
        silence: LONG,
        answer: LONG,
        wait_min: Duration::from_millis(1),
        wait_max: Duration::from_millis(4),
        throttled_max: Duration::from_millis(4),
        ..Pace::default()
    }
}

impl Server {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Some(target) = head(&mut stream).await {
            if !self.answer(&target, &mut stream).await {
                return;
            }
        }
    }

    /// Returns whether the connection goes on.
    async fn answer(&self, target: &str, stream: &mut TcpStream) -> bool {
        assert!(target.contains("labelSelector=app%3Dweb"), "{target}");
        let is_watch = target.contains("watch=true");
        let version = target.split('&').find_map(|word| word.strip_prefix("resourceVersion="));
        self.asked.lock().await.push(match (is_watch, version) {
            (true, version) => format!("watch {}", version.unwrap_or_default()),
            (false, _) => "list".into(),
        });
        let step = self.steps.lock().await.pop_front().unwrap_or(Step::Freeze);
        let sent = match step {
            Step::List(version, names) => {
                assert!(!is_watch, "a list was expected");
                send(stream, 200, &list(names, json!({"resourceVersion": version}))).await
            }
            Step::Page(names) => {
                assert!(!is_watch, "a list was expected");
                let more = json!({"resourceVersion": "0", "continue": "more"});
                send(stream, 200, &list(names, more)).await
            }
            Step::Watch(events, end) => {
                assert!(is_watch, "a watch was expected");
                return watch(stream, &events, end).await;
            }
            Step::Refuse(code, reason, after) => {
                let status = json!({
                    "kind": "Status", "status": "Failure", "code": code, "reason": reason,
                    "message": "no", "details": {"retryAfterSeconds": after}
                });
                send(stream, code, &status).await
            }
            Step::Freeze => std::future::pending().await,
            Step::Cut => return false,
        };
        sent.is_ok()
    }
}

/// The target of the next request.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8_lossy(&head).split(' ').nth(1).map(Into::into)
}

fn list(names: &[&str], metadata: Value) -> Value {
    let items: Vec<Value> = names.iter().map(|name| pod(name, "1")).collect();
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": items})
}

async fn send(stream: &mut TcpStream, code: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await
}

async fn watch(stream: &mut TcpStream, events: &[Value], end: End) -> bool {
    let mut text = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n".to_string();
    for event in events {
        let line = format!("{event}\n");
        text.push_str(&format!("{:x}\r\n{line}\r\n", line.len()));
    }
    if matches!(end, End::Proper) {
        text.push_str("0\r\n\r\n");
    }
    let sent = stream.write_all(text.as_bytes()).await;
    if matches!(end, End::Never) {
        std::future::pending::<()>().await;
    }
    sent.is_ok() && matches!(end, End::Proper)
}

/// A message in words: `all a b`, `all since a`, `changed a`, `gone a`, `gap: reason`, `heard`.
fn words(message: &Message) -> String {
    match &message.what {
        News::Pods(Seen::All { objects, since }) => {
            let names = objects.iter().filter_map(|pod| pod.metadata.name.as_deref());
            let since = since.map_or("all", |_| "all since");
            std::iter::once(since).chain(names).collect::<Vec<_>>().join(" ")
        }
        News::Pods(Seen::Changed(pod)) => {
            format!("changed {}", pod.metadata.name.as_deref().unwrap_or_default())
        }
        News::Pods(Seen::Gone(pod)) => {
            format!("gone {}", pod.metadata.name.as_deref().unwrap_or_default())
        }
        News::GapBegan { reason, from, .. } => {
            assert!(*from <= message.at);
            format!("gap: {}", reason.split([':', ',']).next().unwrap_or_default())
        }
        News::GapEnded { .. } => "heard".into(),
        other => format!("{other:?}"),
    }
}

async fn take(watches: &mut Watches, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let message = tokio::time::timeout(LONG, watches.next()).await;
        found.push(words(&message.expect("in time").expect("goes on")));
    }
    found
}

#[tokio::test]
async fn a_watch_goes_on_through_all_kinds_of_trouble() {
    let never = || Step::Watch(vec![], End::Never);
    let begin = || Step::List("5", &["a"]);
    let again = || Step::List("9", &["b"]);
    let rows = [
        (
            "a proper end is resumed where it was",
            vec![
                begin(),
                Step::Watch(
                    vec![event("ADDED", "b", "6"), event("DELETED", "a", "7"), bookmark("8")],
                    End::Proper,
                ),
                Step::Watch(vec![event("MODIFIED", "b", "9")], End::Never),
            ],
            vec!["all a", "changed b", "gone a", "changed b"],
            vec!["list", "watch 5", "watch 8"],
        ),
        (
            "a list in pages",
            vec![Step::Page(&["x"]), begin(), never()],
            vec!["all x a"],
            vec!["list", "list", "watch 5"],
        ),
        (
            "a version that is forgotten while watching",
            vec![begin(), Step::Watch(vec![expired()], End::Never), again(), never()],
            vec!["all a", "gap: 410 Expired", "all since b", "heard"],
            vec!["list", "watch 5", "list", "watch 9"],
        ),
        (
            "a version that is forgotten when the watch is asked for",
            vec![begin(), Step::Refuse(410, "Expired", 0), again(), never()],
            vec!["all a", "gap: 410 Expired", "all since b", "heard"],
            vec!["list", "watch 5", "list", "watch 9"],
        ),
        (
            "throttling",
            vec![
                begin(),
                Step::Refuse(429, "TooManyRequests", 1),
                Step::Refuse(429, "TooManyRequests", 3600),
                again(),
                never(),
            ],
            vec!["all a", "gap: 429 TooManyRequests", "all since b", "heard"],
            vec!["list", "watch 5", "list", "list", "watch 9"],
        ),
        (
            "a server that is not there at first",
            vec![Step::Cut, Step::Refuse(503, "ServiceUnavailable", 0), begin(), never()],
            vec!["gap: ServiceError", "all a", "heard"],
            vec!["list", "list", "list", "watch 5"],
        ),
        (
            "a server that goes away in a watch",
            vec![
                begin(),
                Step::Watch(vec![event("ADDED", "b", "6")], End::Cut),
                Step::Cut,
                Step::Cut,
                again(),
                never(),
            ],
            vec!["all a", "changed b", "gap: ServiceError", "all since b", "heard"],
            vec!["list", "watch 5", "watch 6", "list", "list", "watch 9"],
        ),
        (
            "a right that is missing",
            vec![Step::Refuse(403, "Forbidden", 0), Step::Refuse(403, "Forbidden", 0), begin()],
            vec!["gap: 403 Forbidden", "all a", "heard"],
            vec!["list", "list", "list"],
        ),
    ];
    for (case, steps, told, asked) in rows {
        let (server, mut watches) = start(steps, pace()).await;
        assert_eq!(take(&mut watches, told.len()).await, told, "{case}");
        // The last watch is asked for after the last message.
        let last = async {
            while server.asked.lock().await.len() < asked.len() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, last).await.expect("in time");
        assert_eq!(server.asked.lock().await[..asked.len()], asked, "{case}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let quick = Duration::from_millis(50);
    let rows = [
        (
            "in a watch",
            Pace { watch: quick, silence: quick, ..pace() },
            vec![
                Step::List("5", &["a"]),
                Step::Watch(vec![event("ADDED", "b", "6")], End::Never),
                Step::List("9", &["b"]),
            ],
            vec![
                "all a",
                "changed b",
                "gap: the API server says nothing for 0.1 s",
                "all since b",
                "heard",
            ],
        ),
        (
            "when asked for a list",
            Pace { answer: quick, ..pace() },
            vec![Step::Freeze, Step::Freeze, Step::List("5", &["a"])],
            vec!["gap: the API server says nothing for 0.1 s", "all a", "heard"],
        ),
    ];
    for (case, pace, steps, told) in rows {
        let (_, mut watches) = start(steps, pace).await;
        // A loaded machine may be late once more, which only repeats the gap.
        assert_eq!(take(&mut watches, told.len()).await, told, "{case}");
    }
}

#[tokio::test]
async fn a_server_that_ends_every_watch_at_once_is_not_asked_without_end() {
    let end = || Step::Watch(vec![], End::Proper);
    let steps = vec![Step::List("5", &["a"]), end(), Step::List("6", &["a"]), end()];
    let pace = Pace { wait_min: LONG, wait_max: LONG, ..pace() };
    let (server, mut watches) = start(steps, pace).await;
    let told = take(&mut watches, 2).await;
    assert_eq!(told, ["all a", "gap: the API server ended the watch"]);
    assert_eq!(server.asked.lock().await.len(), 2);
}

#[tokio::test]
async fn a_watch_ends_with_its_receiver() {
    let (server, watches) = start(vec![Step::List("5", &["a"])], pace()).await;
    drop(watches);
    assert!(server.asked.lock().await.len() <= 1);
}
