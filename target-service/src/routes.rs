//! What is served: `/work`, the probes' paths, `/prestop` for a hook, `/metrics`.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue},
};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    cli::{OnCancel, WhenFull},
    duration::Distribution,
    lifecycle::{Feed, mono_ns},
    metrics::Metrics,
    misbehave::Misbehaviour,
    work::{self, Answer, Work},
    wrong::Wrong,
};

/// The largest request body that is read (and thrown away).
const REQUEST_BYTES_MAX: u64 = 64 << 20;
/// How often it is told at most that the queue is full, nanoseconds.
const FULL_TOLD_EVERY: u64 = 1_000_000_000;

/// What all connections share.
#[derive(Debug)]
pub struct App {
    /// Where the service tells of itself.
    pub feed: Feed,
    /// Its counters.
    pub metrics: Metrics,
    /// What a request costs when its query does not say.
    pub defaults: Work,
    /// The wait of such a request.
    pub latency: Distribution,
    /// For the waits.
    pub random: Mutex<Xoshiro256PlusPlus>,
    /// `x-highwater-pod`.
    pub pod: Option<HeaderValue>,
    /// The main port listens.
    pub listening: AtomicBool,
    /// `/readyz` passes.
    pub ready: AtomicBool,
    /// Every answer says `Connection: close`.
    pub closing: AtomicBool,
    /// `/work` answers 503.
    pub refusing: AtomicBool,
    /// Turns of `/work`, if only so many are worked on at once.
    pub workers: Option<Semaphore>,
    /// How many may wait for one of them, and what becomes of one more.
    pub queue: Option<(u32, WhenFull)>,
    /// How many do.
    pub waiting: AtomicU32,
    /// When it last told that its queue is full, monotonic nanoseconds; 0 for never.
    pub told_full: AtomicU64,
    /// What becomes of a request whose client is gone.
    pub on_cancel: OnCancel,
    /// The wrong behaviours.
    pub wrong: Wrong,
    /// The drain machine's state.
    pub state: Mutex<&'static str>,
}

/// A request that gets no answer: its connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct HangUp;

/// Answers one request. `on_health_port`: only probes and metrics are served there.
///
/// # Errors
/// If its connection is to be closed without an answer.
pub async fn serve(
    app: Arc<App>,
    request: Request<Incoming>,
    on_health_port: bool,
) -> Result<Response<Answer>, HangUp> {
    let began = mono_ns();
    let in_flight = (!on_health_port).then(|| app.metrics.begin());
    let under_way = (request.uri().path() == "/work").then(|| app.wrong.begin());
    let method = request.method().clone();
    let (route, mut response) = route(&app, request, on_health_port).await?;
    if let Some(pod) = &app.pod {
        response.headers_mut().insert("x-highwater-pod", pod.clone());
    }
    if app.closing.load(Ordering::Relaxed) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let took = Duration::from_nanos(mono_ns().saturating_sub(began));
    app.metrics.answered(route, method.as_str(), response.status().as_u16(), took);
    drop((in_flight, under_way));
    Ok(response)
}

async fn route(
    app: &Arc<App>,
    request: Request<Incoming>,
    on_health_port: bool,
) -> Result<(&'static str, Response<Answer>), HangUp> {
    let route = match request.uri().path() {
        "/work" if !on_health_port => "/work",
        "/healthz" => "/healthz",
        "/livez" => "/livez",
        "/readyz" => "/readyz",
        "/startupz" => "/startupz",
        "/metrics" => "/metrics",
        "/prestop" => "/prestop",
        _ => return Ok(("other", text(StatusCode::NOT_FOUND, "no such path\n"))),
    };
    if route == "/work" {
        let work = work(app.clone(), request);
        let response = match app.on_cancel {
            OnCancel::Stop => work.await?,
            // A task of its own goes on when this one is dropped with its connection. It fails only
            // when the runtime ends.
            OnCancel::Finish => tokio::spawn(work).await.map_err(|_| HangUp)??,
        };
        return Ok((route, response));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok((route, response));
    }
    if is_probe(route) && app.wrong.has(Misbehaviour::SlowProbeUnderLoad) {
        app.wrong.queue().await;
    }
    let passes = match route {
        "/livez" | "/healthz" if app.wrong.has(Misbehaviour::LivenessOnDependency) => {
            !app.wrong.is_dependency_out()
        }
        "/readyz" => app.ready.load(Ordering::Relaxed),
        "/startupz" => app.listening.load(Ordering::Relaxed) || app.ready.load(Ordering::Relaxed),
        "/metrics" => {
            let state = *app.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut response = text(StatusCode::OK, app.metrics.page(state));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            return Ok((route, response));
        }
        // A preStop hook: the kubelet waits for the answer, and sends SIGTERM then.
        "/prestop" => {
            if app.wrong.has(Misbehaviour::UnreadyTooEarly) {
                app.ready.store(false, Ordering::Relaxed);
                app.feed.tell("not-ready", json!({"reason": "preStop"}));
            }
            tokio::time::sleep(app.wrong.pre_stop).await;
            true
        }
        _ => true,
    };
    let response = if passes {
        text(StatusCode::OK, "ok\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    };
    Ok((route, response))
}

fn is_probe(route: &str) -> bool {
    matches!(route, "/healthz" | "/livez" | "/readyz" | "/startupz")
}

/// A request that waits for its turn; it does so no more when this is dropped.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    /// `None` if `most` wait already.
    fn begin(waiting: &'a AtomicU32, most: u32) -> Option<Self> {
        let more = |now: u32| (now < most).then_some(now + 1);
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A turn of a worker, if their number is bounded; what becomes of the request if there is no room.
async fn turn(app: &App) -> Result<Option<SemaphorePermit<'_>>, WhenFull> {
    let Some(workers) = &app.workers else { return Ok(None) };
    // It never overtakes who waits: a worker that is free has been offered to those first.
    if let Ok(turn) = workers.try_acquire() {
        return Ok(Some(turn));
    }
    let (most, full) = app.queue.unwrap_or((u32::MAX, WhenFull::Unavailable));
    let _waits = Waits::begin(&app.waiting, most).ok_or(full)?;
    // It is never closed, so that a turn always comes.
    Ok(workers.acquire().await.ok())
}

/// Tells that the queue is full, once per second at most.
fn tell_full(app: &App, now: u64) {
    let told = app.told_full.load(Ordering::Relaxed);
    let is_due = told == 0 || now.saturating_sub(told) >= FULL_TOLD_EVERY;
    // Of several that find this at a time, one tells.
    let swap = || app.told_full.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed);
    if is_due && swap().is_ok() {
        app.feed.tell("queue-full", json!({"waiting": app.waiting.load(Ordering::Relaxed)}));
    }
}

async fn work(app: Arc<App>, mut request: Request<Incoming>) -> Result<Response<Answer>, HangUp> {
    if app.refusing.load(Ordering::Relaxed) {
        return Ok(text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"));
    }
    let mut defaults = app.defaults;
    if defaults.wait.is_zero() {
        defaults.wait = match &app.latency {
            Distribution::Fixed(span) => *span,
            drawn => drawn.sample(&mut app.random.lock().unwrap_or_else(PoisonError::into_inner)),
        };
    }
    let work = match work::parse(request.uri().query().unwrap_or_default(), defaults) {
        Ok(work) => work,
        Err(error) => return Ok(text(StatusCode::BAD_REQUEST, format!("{error}\n"))),
    };
    let _turn = match turn(&app).await {
        Ok(turn) => turn,
        Err(full) => {
            tell_full(&app, mono_ns());
            return match full {
                WhenFull::Unavailable => {
                    Ok(text(StatusCode::SERVICE_UNAVAILABLE, "the queue is full\n"))
                }
                WhenFull::Close => Err(HangUp),
            };
        }
    };
    let more = app.wrong.at_work();
    let mut read = 0;
    while let Some(frame) = request.body_mut().frame().await {
        let Ok(frame) = frame else {
            return Ok(text(StatusCode::BAD_REQUEST, "the body was cut off\n"));
        };
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > REQUEST_BYTES_MAX {
            return Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"));
        }
    }
    let cpu = work.cpu.mul_f64(more.factor);
    if !cpu.is_zero() {
        // A thread of the blocking pool, so that the others are served meanwhile. It fails only
        // when the runtime ends, and then nobody waits for the answer.
        let _ = tokio::task::spawn_blocking(move || work::burn(cpu)).await;
    }
    let wait = work.wait.mul_f64(more.factor) + more.slowness;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let mut response = Response::new(Answer::Filler(work.bytes));
    *response.status_mut() = StatusCode::from_u16(work.status).unwrap_or(StatusCode::OK);
    Ok(response)
}

fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::text(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
