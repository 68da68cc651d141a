//! Traces among other phases.

use alloc::vec::Vec;

use super::*;
use crate::spec::{RequestKind, Trace, TraceBuilder, TraceData, TraceError};

/// Requests at these milliseconds, of two kinds in turn.
fn data(millis: &[u64], seconds: u64) -> TraceData {
    let mut builder = TraceBuilder::default();
    for (number, at) in millis.iter().enumerate() {
        builder.push(Nanos::from_millis(*at), Some(number as u32 % 2)).expect("ascending");
    }
    let kind = |path: &str| RequestKind { get: Some(path.into()), ..RequestKind::default() };
    builder.finish(Nanos::from_secs(seconds), vec![kind("/a"), kind("/b")]).expect("a trace")
}

fn trace(data: TraceData, speed: Option<f64>, scale: Option<f64>) -> Phase {
    let trace = Trace { file: "f".into(), speed, data: Some(data), ..Trace::default() };
    Phase { trace: Some(trace), scale, ..Phase::default() }
}

#[test]
fn a_trace_is_played_where_it_says_and_the_process_goes_on_behind_it() {
    let millis = [0, 10, 10, 700, 1999];
    let phases = vec![hold(10.0, 2), trace(data(&millis, 3), None, None), hold(10.0, 2)];
    let all: Vec<Arrival> = schedule(phases.clone(), Arrivals::Constant, 1).collect();
    assert_eq!(all.len(), 45);
    let played: Vec<_> = all.iter().filter(|arrival| arrival.phase == 1).collect();
    let times: Vec<u64> = played.iter().map(|arrival| arrival.at.0 / 1_000_000 - 2000).collect();
    assert_eq!(times, millis);
    let kinds: Vec<_> = played.iter().map(|arrival| arrival.kind).collect();
    assert_eq!(kinds, [Some(0), Some(1), Some(0), Some(1), Some(0)]);
    assert_eq!(all[25].at, Nanos::from_millis(5050));
    assert!(all.iter().enumerate().all(|(index, arrival)| arrival.number == index as u64));
    // The same process with and without the trace.
    let with = schedule(phases, Arrivals::Poisson, 5).filter(|arrival| arrival.phase != 1);
    let without: Vec<u64> = schedule(vec![hold(10.0, 4)], Arrivals::Poisson, 5)
        .map(
            |arrival| {
                if arrival.at.0 < 2 * SECOND { arrival.at.0 } else { arrival.at.0 + 3 * SECOND }
            },
        )
        .collect();
    let with: Vec<u64> = with.map(|arrival| arrival.at.0).collect();
    assert_eq!(with.len(), without.len());
    assert!(with.iter().zip(&without).all(|(a, b)| a.abs_diff(*b) < 10));
}

#[test]
fn speed_moves_a_trace_and_scale_thins_or_doubles_it() {
    let millis: Vec<u64> = (0..1000).map(|number| number * 10).collect();
    for (speed, scale, count, seconds) in [
        (None, None, 1000, 10),
        (Some(2.0), None, 1000, 5),
        (None, Some(0.3), 300, 10),
        (Some(0.5), Some(2.5), 2500, 20),
    ] {
        let phases = vec![trace(data(&millis, 10), speed, scale)];
        let profile = Profile::new(&traffic(phases.clone())).expect("a shape");
        assert_eq!(profile.lasts(), Nanos::from_secs(seconds));
        assert!((profile.expected() - count as f64).abs() < 1e-6, "{}", profile.expected());
        let all: Vec<Arrival> = schedule(phases, Arrivals::Poisson, 1).collect();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|arrival| arrival.at < profile.lasts()));
        let half = profile.expected_until(Nanos(profile.lasts().0 / 2));
        assert!((half - count as f64 / 2.0).abs() <= 3.0, "{half}");
    }
}

#[test]
fn kinds_of_several_traces_are_numbered_through_and_shares_add_up() {
    let millis: Vec<u64> = (0..100).map(|number| number * 10).collect();
    let phases = vec![trace(data(&millis, 1), None, None), trace(data(&millis, 1), None, None)];
    let whole: Vec<Arrival> = schedule(phases.clone(), Arrivals::Poisson, 1).collect();
    assert_eq!(whole[0].kind, Some(0));
    assert_eq!(whole[101].kind, Some(3));
    let mut parts: Vec<Arrival> = Share::all(3)
        .flat_map(|share| {
            let all = schedule(phases.clone(), Arrivals::Poisson, 1);
            all.filter(|arrival| share.owns(arrival.number)).collect::<Vec<_>>()
        })
        .collect();
    parts.sort_by_key(|arrival| arrival.number);
    assert_eq!(parts, whole);
}

#[test]
fn a_trace_survives_json_and_a_record_keeps_its_outline() {
    let all = data(&[3, 500, 2100], 9);
    let text = serde_json::to_string(&all).expect("JSON");
    let again: TraceData = serde_json::from_str(&text).expect("what we write, we read");
    assert_eq!(again, all);
    let outline = all.without_requests();
    assert!(!outline.has_requests() && outline.iter().next().is_none());
    let text = serde_json::to_string(&outline).expect("JSON");
    assert_eq!(serde_json::from_str::<TraceData>(&text).expect("JSON"), outline);
    assert_eq!(all.by_second(None), [2, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(outline.by_second(None).iter().sum::<u64>(), 3);
    let profile = Profile::new(&traffic(vec![trace(outline, None, None)])).expect("a shape");
    assert_eq!((profile.lasts(), profile.expected()), (Nanos::from_secs(9), 3.0));
}

#[test]
fn traces_that_make_no_sense_are_refused() {
    let mut builder = TraceBuilder::default();
    builder.push(Nanos(5), None).expect("the first");
    assert_eq!(builder.push(Nanos(4), None), Err(TraceError::Descends));
    builder.push(Nanos(5), Some(2)).expect("at once");
    assert_eq!(builder.clone().finish(Nanos(5), vec![]).err(), Some(TraceError::AfterEnd));
    assert_eq!(builder.finish(Nanos(6), vec![]).err(), Some(TraceError::Kind));
    for text in [
        r#"{"requests": 1, "lasts": "1s", "arrivals": [[1000000000, 0]]}"#,
        r#"{"requests": 1, "lasts": "1s", "arrivals": [[18446744073709551615, 0], [1, 0]]}"#,
        r#"{"requests": 1, "lasts": "1s", "arrivals": [[1, 7]]}"#,
        r#"{"requests": 1, "lasts": "1s", "arrivals": [[-1, 0]]}"#,
    ] {
        assert!(serde_json::from_str::<TraceData>(text).is_err(), "{text}");
    }
    let part = Phase { sum: vec![trace(data(&[1], 1), None, None)], ..Phase::default() };
    assert!(Profile::new(&traffic(vec![part])).unwrap_err().1.contains("no part"));
    let unread = Phase { trace: Some(Trace::default()), ..Phase::default() };
    assert!(Profile::new(&traffic(vec![unread])).unwrap_err().1.contains("was not read"));
}

proptest! {
    #[test]
    fn any_instants_and_kinds_come_back(
        gaps in proptest::collection::vec((any::<u64>(), 0..300u32), 0..50),
    ) {
        let mut builder = TraceBuilder::default();
        let (mut at, mut all) = (0u64, Vec::new());
        for (gap, kind) in gaps {
            at = at.saturating_add(gap >> (kind % 64)).min(u64::MAX - 1);
            let kind = kind.checked_sub(1);
            builder.push(Nanos(at), kind).expect("ascending");
            all.push((Nanos(at), kind));
        }
        let kinds = vec![RequestKind::default(); 300];
        let data = builder.finish(Nanos(u64::MAX), kinds).expect("a trace");
        prop_assert_eq!(data.iter().collect::<Vec<_>>(), all);
    }
}

#[test]
fn arrivals_are_the_same_in_blocks_and_one_by_one() {
    let phases = vec![
        hold(7.0, 3),
        ramp(200.0, 2),
        trace(data(&[0, 10, 10, 700], 1), None, None),
        hold(0.0, 1),
        hold(1_000.0, 1),
        ramp(1.0, 3),
    ];
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let single: Vec<Arrival> = schedule(phases.clone(), arrivals, 9).collect();
        for most in [1, 2, 7, 256, 5_000] {
            let (mut schedule, mut all) = (schedule(phases.clone(), arrivals, 9), Vec::new());
            loop {
                let mut block = Vec::new();
                schedule.extend(&mut block, most);
                assert!(block.len() <= most);
                if block.is_empty() {
                    break;
                }
                all.extend(block);
            }
            assert!(all == single, "{arrivals:?} in blocks of {most}");
        }
    }
}
