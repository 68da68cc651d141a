//! Input of someone who means harm, or of a cat on a keyboard.

use proptest::prelude::*;

use super::super::*;
use super::{SOUND, load_sound, told};
use crate::clock::mono_ns;

#[test]
fn hostile_values_are_refused_with_their_place() {
    for (from, to, fragment) in [
        ("50/s", ".inf", "10:14: traffic.phases[0].hold: expected requests per second"),
        ("50/s", ".nan", "found a number that is endless or none"),
        ("50/s", "1e999", "found a number that is endless or none"),
        ("50/s", "inf", "`inf` is not a rate"),
        ("50/s", "NaN/s", "`NaN/s` is not a rate"),
        ("50/s", "-5", "`-5` is not a rate"),
        ("50/s", "99999999999999999999", "is not a rate"),
        ("for: 20s", "for: 99999999999999999999s", "is longer than can be counted"),
        ("for: 20s", "for: 5000000h5000000h", "is longer than can be counted"),
        ("for: 20s", "for: 500h", "must be 168h at most"),
        ("replicas: 3", "replicas: 99999999999999999999", "expected a whole number"),
        ("replicas: 3", "replicas: 4294967296", "between 0 and 4294967295"),
        ("name: sound", "name: sound\nseed: -1", "between 0 and 18446744073709551615"),
        ("name: sound", "name: &a sound", "anchors"),
        ("name: sound", "name: \"a\\u0000b\"", "other characters"),
        ("name: sound", "<<: {name: sound}", "unknown key `<<`"),
    ] {
        let told = told(from, to);
        assert!(told.contains(fragment), "{to}: {told}");
    }
    let roots = ["5", "[]", "null", "~", "text", "[[[[]]]]", "{}"];
    for text in roots {
        assert!(load_sound(text, &[]).is_err(), "{text}");
    }
}

#[test]
fn the_largest_durations_overflow_nothing() {
    let largest = "18446744073709551615ns";
    for set in [
        format!("path.propagation={{uniform: [0s, {largest}]}}"),
        format!("path.propagation={{uniform: [{largest}, {largest}]}}"),
        format!("path.propagation={{exponential: {{mean: {largest}}}}}"),
        format!("path.propagation={{lognormal: {{median: 1ns, p99: {largest}}}}}"),
        format!("traffic.phases[1].for={largest}"),
        format!(
            "events=[{{at: {largest}, rollout: {{}}, repeat: {{every: {largest}, times: 9}}}}]"
        ),
        format!("target.service.drain={{delay: {largest}, deadline: {largest}}}"),
        "target.deployment.template.terminationGracePeriodSeconds=4294967295".to_owned(),
    ] {
        assert!(load_sound(SOUND, &[&set]).is_err(), "{set}");
    }
}

#[test]
fn large_hostile_texts_are_refused_soon() {
    let size = FILE_BYTES_MAX as usize;
    let patterns = [
        "[", "{", "- ", "? ", "[a,", "a: ", " ", "\"", "#", "&a ", "!", "%a\n", "\t", "a\n", "-\n",
        "---\n", "a: b\n", "\u{feff}", "\0", "|\n ", "*a ", "[\n", "<<: ",
    ];
    let keys: String = (0..40_000).map(|number| format!("key-number-{number}: 1\n")).collect();
    let words = "exit-on-sigtemr, ".repeat(45_000);
    let phases = "{hold: 1/s, for: 1s}, ".repeat(8_000);
    for text in [
        keys,
        format!("name: a\ntarget: {{misbehave: [{words}]}}\ntraffic: {{phases: []}}\n"),
        format!("name: a\ntraffic: {{phases: [{phases}]}}\n"),
    ] {
        let began = mono_ns();
        assert!(load_sound(&text, &[]).is_err(), "{text:.100}");
        assert!(mono_ns() - began < 20_000_000_000, "{text:.100}");
    }
    for pattern in patterns {
        let text = pattern.repeat(size / pattern.len());
        let began = mono_ns();
        assert!(load_sound(&text, &[]).is_err(), "{pattern}");
        assert!(mono_ns() - began < 20_000_000_000, "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _ = load_sound(&text, &[]).map_err(|error| error.to_string());
    }

    #[test]
    fn yaml_like_texts_never_panic(text in "[-a-c:\\[\\]{},#&*!|>'\"%@`~?\n\t 0-9./<=]{0,200}") {
        let _ = load_sound(&text, &[]).map_err(|error| error.to_string());
    }

    #[test]
    fn broken_scenarios_never_panic(
        at in 0..SOUND.len(),
        length in 0usize..20,
        put in "[-a-z:\\[\\]{},#&*!|>'\"\n 0-9./<]{0,12}",
    ) {
        let mut text = SOUND.to_owned();
        text.replace_range(at..(at + length).min(SOUND.len()), &put);
        let _ = load_sound(&text, &[]).map_err(|error| error.to_string());
    }

    #[test]
    fn arbitrary_overrides_never_panic(set in "\\PC{0,40}", path in "[a-z.\\[\\]0-9]{0,20}") {
        for set in [set.clone(), format!("{path}={set}"), format!("traffic.{path}={set}")] {
            let _ = load_sound(SOUND, &[&set]).map_err(|error| error.to_string());
        }
    }
}
