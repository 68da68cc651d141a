//! Control streams that are cut: nothing is lost, nothing is doubled.

use std::time::Duration;

use highwater::generator::What;
use highwater_model::outcome::Outcome;

use super::kit::{A_WHILE, Run, Server, pods, scenario};

fn is_exact(run: &Run, server: &Server) {
    assert_eq!(run.counts(), run.planned(), "every line once");
    assert_eq!((run.of(Outcome::Ok), server.served()), (run.owed(), run.owed()));
    assert!(run.said.iter().all(|(_, what)| !matches!(what, What::Lost { .. })), "{:?}", run.said);
}

#[tokio::test]
async fn a_cut_of_some_seconds_is_made_up_for() {
    let server = Server::start();
    let (mut pods, ways, connectors) = pods(2, &[]);
    let mut run = Run::open(scenario(3), &server, connectors);
    run.start().await;
    run.until_owed(50).await;
    ways[1].cut();
    tokio::time::sleep(2 * A_WHILE).await;
    assert!(server.served() > run.owed(), "traffic goes on without the harness");
    ways[1].mend();
    run.finish().await;
    is_exact(&run, &server);
    let cut = run.said.iter().filter(|(_, what)| matches!(what, What::Cut { .. }));
    assert!(cut.map(|(generator, _)| *generator).eq([1]), "{:?}", run.said);
    let resumed = run.said.iter().find_map(|(_, what)| match what {
        What::Resumed { gap } => Some(gap.to_std()),
        _ => None,
    });
    assert!(resumed.unwrap() >= 2 * A_WHILE);
    for pod in &mut pods {
        assert_eq!(pod.ended().await.0, Some(0));
    }
}

#[tokio::test]
async fn cuts_at_any_moment_lose_and_double_nothing() {
    let server = Server::start();
    let (_pods, ways, connectors) = pods(1, &[]);
    let mut run = Run::open(scenario(2), &server, connectors);
    let way = ways[0].clone();
    // From the first word on, through plan, start and all of the traffic.
    let cutting = tokio::spawn(async move {
        for pause in (0..).map(|n: u64| 20 + n * 37 % 190) {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            way.cut();
            way.mend();
        }
    });
    run.start().await;
    run.finish().await;
    cutting.abort();
    is_exact(&run, &server);
    let cuts = run.count(|what| matches!(what, What::Cut { .. }));
    assert!(cuts > 10, "{cuts} cuts");
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_any_more_is_replaced() {
    let server = Server::start();
    let (mut pods, ways, connectors) = pods(1, &[]);
    let mut run = Run::open(scenario(2), &server, connectors);
    run.start().await;
    run.until_owed(50).await;
    ways[0].swallow();
    run.finish().await;
    is_exact(&run, &server);
    let is_silence =
        |what: &What| matches!(what, What::Cut { reason, .. } if reason.contains("nothing came"));
    assert_eq!(run.count(is_silence), 1, "{:?}", run.said);
    assert_eq!(pods[0].ended().await.0, Some(0));
}

#[tokio::test]
async fn connections_that_break_within_every_kind_of_line_lose_and_double_nothing() {
    let server = Server::start();
    let (mut pods, ways, connectors) = pods(1, &["--orphan-after", "20s"]);
    // A welcome and the first pongs are some 1,400 bytes, a second's lines a few thousand.
    ways[0].break_within(1_300);
    let mut run = Run::open(scenario(3), &server, connectors);
    run.start().await;
    run.finish().await;
    is_exact(&run, &server);
    assert_eq!(run.count(|what| matches!(what, What::Ready { .. })), 1);
    assert_eq!(run.count(|what| matches!(what, What::Started { .. })), 1);
    assert!(ways[0].connections() > 60, "{} connections", ways[0].connections());
    // If it was the very last acknowledgement that was cut, nobody gives it any more, and the
    // generator ends as one that is left alone.
    let (code, said) = pods[0].ended().await;
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {said}");
}
