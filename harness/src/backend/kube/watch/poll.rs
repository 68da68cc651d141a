//! The pods' resource metrics, which cannot be watched.

use kube::{Client, api::ListParams, core::Request};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    super::observe::{News, Watched, metrics::PodMetricsList},
    Line,
    trouble::{Ear, Trouble},
};

/// Asks for the metrics at the plan's pace until nobody takes messages any more.
pub(super) async fn run(client: Client, namespace: String, labels: String, line: Line) {
    let mut ear = Ear::new(Watched::Metrics, &line);
    let mut ticks = interval(line.pace.metrics);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = line.sender.closed() => return,
        }
        let answer = timeout(line.pace.answer, pods(&client, &namespace, &labels)).await;
        let answer = answer.unwrap_or(Err(Trouble::Silent(line.pace.answer)));
        let is_open = match answer {
            Ok(list) => match line.send(News::Metrics(list.items)).await {
                Ok(()) => ear.caught_up().await,
                Err(closed) => Err(closed),
            },
            Err(trouble) => ear.lost(&trouble).await,
        };
        if is_open.is_err() {
            return;
        }
    }
}

/// The metrics of the pods with these labels.
///
/// # Errors
/// If the request fails, or there is no such API.
pub async fn pods(
    client: &Client,
    namespace: &str,
    labels: &str,
) -> Result<PodMetricsList, Trouble> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let params = ListParams::default().labels(labels);
    let request = Request::new(path).list(&params).map_err(kube::Error::BuildRequest)?;
    Ok(client.request(request).await?)
}
