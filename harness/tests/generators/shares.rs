//! What several generators do together.

use highwater::{
    agent::link,
    clock::{RunClock, mono_ns},
    generator::What,
};
use highwater_model::{
    outcome::Outcome,
    time::{Nanos, SECOND, Timestamp},
};

use super::kit::{LONG, Pod, Run, Server, Way, pods, scenario, sum};

#[tokio::test]
async fn two_generators_owe_and_send_what_one_does() {
    for count in [1, 2] {
        let server = Server::start();
        let (mut pods, _ways, connectors) = pods(count, &[]);
        let mut run = Run::open(scenario(2), &server, connectors);
        run.start().await;
        run.finish().await;
        // The same plan, whoever carries it out.
        assert_eq!(run.counts(), run.planned(), "{count} generators");
        assert_eq!(run.of(Outcome::Ok), run.owed());
        assert_eq!(server.served(), run.owed());
        let latencies = run.record.windows.values().flat_map(|window| {
            window.outcomes[&Outcome::Ok].latency.iter().map(|part| part.count().unwrap())
        });
        assert_eq!(latencies.sum::<u64>(), run.owed(), "histograms add up");
        for generator in 0..count as u32 {
            let samples = || run.record.samples.iter().filter(|one| one.generator == generator);
            let last = samples().next_back().unwrap();
            let part = run.owed() / count as u64;
            assert!(last.owed.abs_diff(part) <= 1, "{} of {part}", last.owed);
            assert!(samples().all(|one| one.descriptors > 0 && one.process_cpu > 0));
        }
        for pod in &mut pods {
            assert_eq!(pod.ended().await, (Some(0), String::new()), "it ends by itself");
        }
    }
}

#[tokio::test]
async fn clocks_are_measured_and_all_times_are_on_the_harnesss_axis() {
    let server = Server::start();
    let (_pods, _ways, connectors) = pods(2, &["--pod", "load-x", "--completion-index", "7"]);
    let mut run = Run::open(scenario(1), &server, connectors);
    run.start().await;
    run.finish().await;
    let mut ready = 0;
    for (_, what) in &run.said {
        match what {
            What::Ready { who, clock, address, limits } => {
                ready += 1;
                assert_eq!((who.pod.as_str(), who.node.as_str()), ("load-x", "here"));
                assert_eq!((who.completion_index, *address), (Some(7), server.address));
                assert!(limits.descriptors > 0);
                // Both processes have the same clock.
                assert!(clock.mono_ns.unsigned_abs() <= clock.uncertainty.0, "{clock:?}");
                assert!(clock.uncertainty < Nanos::from_secs(1));
                let now = clock.at_wall(&run.clock, highwater::clock::wall_ns());
                assert!(run.clock.now().since(now) < LONG && now > Timestamp::ZERO, "{now:?}");
            }
            What::Started { late } => assert!(*late < LONG, "{late}"),
            _ => {}
        }
    }
    assert_eq!(ready, 2);
    let end = run.clock.now();
    assert!(run.record.samples.iter().all(|sample| sample.at >= run.start && sample.at <= end));
}

#[tokio::test]
async fn a_machine_with_another_clock_is_on_the_same_axis() {
    // Far ahead; and one that was booted in the middle of a run that began 100 s ago.
    let uptime = i64::try_from(mono_ns() / SECOND).unwrap();
    for ahead in [5_000, 5 - uptime] {
        let Some(pod) = Pod::start_ahead(ahead) else {
            eprintln!("skipped: time cannot be unshared here");
            return;
        };
        let server = Server::start();
        let start_mono_ns = i64::try_from(mono_ns()).unwrap() - 100 * SECOND as i64;
        let clock = RunClock::with_start(start_mono_ns);
        let link = link::Config::new(clock, link::new_token().unwrap());
        let way = Way::default();
        let mut run = Run::open_with(link, scenario(1), &server, vec![way.to(pod.address)]);
        run.start().await;
        run.finish().await;
        let offset = run.said.iter().find_map(|(_, what)| match what {
            What::Ready { clock, .. } => Some(*clock),
            _ => None,
        });
        let offset = offset.unwrap();
        let error = offset.mono_ns - ahead * SECOND as i64;
        assert!(error.unsigned_abs() <= offset.uncertainty.0, "{ahead}: {offset:?}");
        assert!(ahead > 0 || offset.run_start(&clock) < 0, "{offset:?}");
        assert_eq!(run.counts(), run.planned());
        assert_eq!(run.of(Outcome::Ok), run.owed());
        let (start, end) = (run.start, run.clock.now());
        assert!(run.record.samples.iter().all(|one| one.at >= start && one.at <= end));
    }
}

#[tokio::test]
async fn stopping_ends_the_schedule_everywhere() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(2, &[]);
    let mut run = Run::open(scenario(600), &server, connectors);
    run.start().await;
    run.until_owed(100).await;
    run.generators.stop();
    run.finish().await;
    assert_eq!(run.of(Outcome::Ok), run.owed());
    assert!(run.owed() < sum(&run.planned()) / 10);
    for pod in &mut pods {
        assert_eq!(pod.ended().await.0, Some(0));
    }
}

#[tokio::test]
async fn a_stop_before_the_start_owes_nothing() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(1, &[]);
    let mut run = Run::open(scenario(600), &server, connectors);
    run.generators.stop();
    run.finish().await;
    assert_eq!((run.owed(), server.served()), (0, 0));
    assert_eq!(pods[0].ended().await.0, Some(0));
}
