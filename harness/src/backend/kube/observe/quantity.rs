//! Kubernetes quantities as numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Suffixes and what they multiply by.
///
/// *Source*: `apimachinery/pkg/api/resource/suffix.go`.
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The number that a quantity stands for; `None` if it is none.
pub fn number(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.trim();
    let (digits, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        .unwrap_or((text, 1.0));
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value = digits.parse::<f64>().ok().filter(|_| is_plain)? * factor;
    value.is_finite().then_some(value)
}

/// A CPU quantity in billionths of a core; `None` if it is none or negative.
pub fn nano_cpu(quantity: &Quantity) -> Option<u64> {
    number(quantity).filter(|cores| *cores >= 0.0).map(|cores| (cores * 1e9).round() as u64)
}

/// A quantity of bytes; `None` if it is none or negative.
pub fn bytes(quantity: &Quantity) -> Option<u64> {
    number(quantity).filter(|bytes| *bytes >= 0.0).map(|bytes| bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_all_their_spellings() {
        let rows = [
            ("0", Some(0.0)),
            ("38m", Some(0.038)),
            ("43981071n", Some(0.043981071)),
            ("1.5", Some(1.5)),
            ("2612Ki", Some(2_674_688.0)),
            ("1k", Some(1000.0)),
            ("2E", Some(2e18)),
            ("12e6", Some(12e6)),
            ("1E3", Some(1000.0)),
            ("-5", Some(-5.0)),
            ("", None),
            ("m", None),
            ("inf", None),
            ("NaN", None),
            ("1x", None),
        ];
        for (text, value) in rows {
            let found = number(&Quantity(text.into()));
            let is_same = match (found, value) {
                (Some(found), Some(value)) => (found - value).abs() <= value.abs() * 1e-12,
                (found, value) => found == value,
            };
            assert!(is_same, "{text}: {found:?}");
        }
        assert_eq!(nano_cpu(&Quantity("43981071n".into())), Some(43_981_071));
        assert_eq!(bytes(&Quantity("-1".into())), None);
    }
}
