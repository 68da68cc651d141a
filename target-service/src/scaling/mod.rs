//! `self-scaling`: why a service must not scale itself.
//!
//! Every replica, by itself, reads its own load and writes `deployments/scale` of its own
//! Deployment: no leader, no tolerance, no stabilisation, no heed of the API server's throttling.
//! Replicas with different loads want different counts and overwrite each other; each write is a
//! read, a decision and a PATCH with the resource version that was read, so that those who come
//! late get 409 and try again at their next tick.
//!
//! 1. what a replica wants, pure: [`decide`]
//! 2. the two requests of a tick: [`client`]
//! 3. what became of them: [`counters`]
//! 4. the loop: [`Scaler`]
//!
//! This is the only code of the service that touches a credential, and only if the switch is on.

pub mod client;
pub mod counters;
pub mod decide;

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{duration, lifecycle::mono_ns, routes::App};
use client::{Client, SetupError};
use counters::Counters;
use decide::Wish;

/// The shortest interval: 100 ticks a second from each replica are a storm already.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The most replicas that may be asked for, whatever the settings say.
pub const REPLICAS_MAX: u32 = 1_000;
/// How often the counters are told.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Where Kubernetes mounts a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Settings of `self-scaling`; without it they mean nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct ScalingArgs {
    /// self-scaling: the Deployment of this pod
    #[arg(long, value_name = "NAME", env = "HIGHWATER_DEPLOYMENT")]
    pub scale_deployment: Option<String>,
    /// self-scaling: requests per second that one replica should serve
    #[arg(long, value_name = "RATE", default_value_t = 50.0)]
    pub scale_target: f64,
    /// self-scaling: the most replicas to ask for
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(REPLICAS_MAX)))]
    pub scale_max: u32,
    /// self-scaling: from one look at the load to the next
    #[arg(long, value_name = "SPAN", default_value = "250ms", value_parser = duration::parse)]
    pub scale_interval: Duration,
    /// self-scaling: the folder with token, ca.crt and namespace
    #[arg(long, value_name = "DIR", default_value = SERVICE_ACCOUNT, hide = true)]
    pub service_account: PathBuf,
}

/// Settings that `self-scaling` cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// Whose replicas?
    #[error("`self-scaling` needs the Deployment of this pod; give --scale-deployment")]
    NeedsDeployment,
    /// It becomes part of a path.
    #[error("--scale-deployment {0:?} is no name of a Kubernetes object")]
    Deployment(String),
    /// It is divided by.
    #[error("--scale-target must be above 0")]
    Target,
    /// It would burn the CPU.
    #[error("--scale-interval must be at least {INTERVAL_MIN:?}")]
    Interval,
}

impl ScalingArgs {
    /// The Deployment, if these settings can be followed.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn check(&self) -> Result<&str, ArgsError> {
        let name = self.scale_deployment.as_deref().ok_or(ArgsError::NeedsDeployment)?;
        if !is_object_name(name) {
            return Err(ArgsError::Deployment(name.into()));
        }
        if !(self.scale_target.is_finite() && self.scale_target > 0.0) {
            return Err(ArgsError::Target);
        }
        if self.scale_interval < INTERVAL_MIN {
            return Err(ArgsError::Interval);
        }
        Ok(name)
    }
}

/// Whether it is a DNS subdomain (RFC 1123), as names of Deployments and namespaces are: nothing in
/// it needs escaping in a path.
fn is_object_name(name: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    name.len() <= 253
        && bytes.first().is_some_and(is_plain)
        && bytes.last().is_some_and(is_plain)
        && bytes.iter().all(|byte| is_plain(byte) || matches!(byte, b'-' | b'.'))
}

/// The loop of one replica.
#[derive(Debug)]
pub struct Scaler {
    client: Client,
    wish: Wish,
    interval: Duration,
    app: Arc<App>,
    counters: Arc<Counters>,
}

impl Scaler {
    /// A loop for the pod whose service account is mounted.
    ///
    /// # Errors
    /// If the settings cannot be followed, or this is no pod of a cluster with a service account.
    pub fn new(
        args: &ScalingArgs,
        app: Arc<App>,
        counters: Arc<Counters>,
    ) -> Result<Self, SetupError> {
        let deployment = args.check()?;
        let client = Client::in_cluster(&args.service_account, deployment)?;
        let wish = Wish { target_per_s: args.scale_target, replicas_max: args.scale_max };
        Ok(Self { client, wish, interval: args.scale_interval, app, counters })
    }

    /// Looks and writes, tick by tick, until it is told to stop; then tells the counters once more.
    /// A tick is two requests at most, each with a bound of its own; ticks that would begin
    /// meanwhile are left out. A tick that the stop cuts short is not counted, though its write may
    /// have arrived.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reports = tokio::time::interval(REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first of each comes at once, with nothing to look at.
        tokio::join!(ticks.tick(), reports.tick());
        let mut meter = Meter { at_ns: mono_ns(), answered: self.app.metrics.work_answered() };
        loop {
            let is_tick = tokio::select! {
                biased;
                // The sender lives as long as the server; without it there is nothing to serve.
                _ = stop.wait_for(|stop| *stop) => break,
                _ = reports.tick() => false,
                _ = ticks.tick() => true,
            };
            if !is_tick {
                self.tell();
            } else if let Some(load) = meter.read(mono_ns(), self.app.metrics.work_answered()) {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => break,
                    () = self.tick(load) => {}
                }
            }
        }
        self.tell();
    }

    /// One read-modify-write.
    async fn tick(&mut self, load_per_s: f64) {
        let scale = self.client.read().await;
        self.counters.count(&scale);
        let Ok(scale) = scale else { return };
        let Some(replicas) = decide::decide(scale.replicas, load_per_s, self.wish) else { return };
        let written = self.client.write(&scale, replicas).await;
        self.counters.count(&written);
        if written.is_ok() {
            self.counters.count_change();
            let details = json!({"from": scale.replicas, "to": replicas, "perSecond": load_per_s});
            self.app.feed.tell("scaled", details);
        }
    }

    fn tell(&self) {
        self.app.feed.tell("self-scaling", self.counters.details());
    }
}

/// Turns counts of answered requests into rates.
#[derive(Clone, Copy, Debug)]
struct Meter {
    at_ns: u64,
    answered: u64,
}

impl Meter {
    /// Requests per second since the last reading; `None` if no time has passed.
    fn read(&mut self, now_ns: u64, answered: u64) -> Option<f64> {
        let span_ns = now_ns.saturating_sub(self.at_ns);
        let count = answered.saturating_sub(self.answered);
        if span_ns == 0 {
            return None;
        }
        *self = Self { at_ns: now_ns, answered };
        Some(count as f64 * 1e9 / span_ns as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_reads_requests_per_second_since_its_last_reading() {
        let mut meter = Meter { at_ns: 1_000, answered: 10 };
        assert_eq!(meter.read(1_000, 20), None, "no time, and nothing is lost");
        assert_eq!(meter.read(250_001_000, 35), Some(100.0));
        assert_eq!(meter.read(500_001_000, 35), Some(0.0));
    }

    #[test]
    fn settings_that_cannot_be_followed_are_named() {
        let right = ScalingArgs {
            scale_deployment: Some("shop.v2-a".into()),
            scale_target: 50.0,
            scale_max: 10,
            scale_interval: Duration::from_millis(250),
            service_account: SERVICE_ACCOUNT.into(),
        };
        assert_eq!(right.check(), Ok("shop.v2-a"));
        let missing = ScalingArgs { scale_deployment: None, ..right.clone() };
        assert_eq!(missing.check(), Err(ArgsError::NeedsDeployment));
        for name in ["", "Shop", "a/../b", "a b", "-a", "a.", &"a".repeat(254)] {
            let wrong = ScalingArgs { scale_deployment: Some(name.into()), ..right.clone() };
            assert_eq!(wrong.check(), Err(ArgsError::Deployment(name.into())));
        }
        for target in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let wrong = ScalingArgs { scale_target: target, ..right.clone() };
            assert_eq!(wrong.check(), Err(ArgsError::Target), "{target}");
        }
        let busy = ScalingArgs { scale_interval: Duration::from_millis(9), ..right };
        assert_eq!(busy.check(), Err(ArgsError::Interval));
    }
}
