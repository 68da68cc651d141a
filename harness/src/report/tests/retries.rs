//! What retries hid, in every report.

use super::{page, tags, testkit, text};
use crate::{
    analyze::{Analysis, Summary, retries::Retries},
    report::markdown,
};

/// A run whose retries hid the losses of `like`.
fn rescued(like: &Analysis) -> Analysis {
    let by_cause = like.losses.clone();
    let rescued = by_cause.iter().map(|loss| loss.count).sum();
    let ejected = ["v1-1", "v1-2"].map(String::from).into();
    let retries = Retries { rescued, by_cause, attempts: rescued + 3, ejections: 5, ejected };
    Analysis { retries, ..testkit::clean() }
}

#[test]
fn every_report_tells_what_retries_hid_and_by_which_cause() {
    let analysis = rescued(&testkit::lossy());
    let (count, causes) = (analysis.retries.rescued, &analysis.retries.by_cause);
    assert!(causes.len() > 1);
    let first = causes[0].cause.title();
    let told = format!(
        "{} requests were rescued by a retry: {} {}",
        crate::analyze::group_digits(count),
        first.to_lowercase(),
        crate::analyze::group_digits(causes[0].count)
    );
    let (page, markdown, text) =
        (page(&analysis), markdown::render(&analysis), text::render(&analysis));
    tags::check(&page).expect("it is well-formed");
    for report in [&page, &markdown, &text] {
        assert!(report.contains(&told), "{told}: {report}");
        assert!(report.contains("3 further retries did not decide"), "{report}");
        assert!(report.contains("2 pods, 5 times"), "{report}");
    }
    for loss in causes {
        let title = loss.cause.title();
        assert!(markdown.contains(&format!("| {title} |")), "{markdown}");
        assert!(page.contains(&format!("<th scope=\"row\">{title}</th>")), "{title}");
    }
    let summary = serde_json::to_value(Summary::of(&analysis)).expect("serialises");
    let hidden = summary["hiddenByRetries"].as_array().expect("a list");
    assert_eq!(hidden.len(), causes.len());
    assert_eq!(hidden[0]["cause"], causes[0].cause.name());
    assert_eq!(hidden[0]["count"], causes[0].count);
    assert_eq!(summary["proxy"]["retries"], count + 3);
    let again: Summary = serde_json::from_value(summary).expect("it reads back");
    assert_eq!(again, Summary::of(&analysis));
}

#[test]
fn without_retries_nothing_is_said_of_them() {
    let analysis = testkit::lossy();
    for report in [page(&analysis), markdown::render(&analysis), text::render(&analysis)] {
        assert!(!report.contains("rescued"), "{report}");
    }
    let summary = serde_json::to_value(Summary::of(&analysis)).expect("serialises");
    assert!(summary.get("hiddenByRetries").is_none() && summary.get("proxy").is_none());
}

#[test]
fn text_of_pods_that_were_rescued_stays_text() {
    let analysis = rescued(&testkit::hostile());
    let page = page(&analysis);
    tags::check(&page).expect("it is well-formed");
    for forbidden in ["<script>alert", "<img", "\u{202e}", "\u{1b}"] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
    assert!(!markdown::render(&analysis).contains("<img"));
}
