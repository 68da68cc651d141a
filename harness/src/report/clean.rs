//! Makes text that comes from a target or a file harmless to look at.
//!
//! Escaping for a format keeps text from becoming markup; this keeps it from deceiving the eye or
//! the terminal: control characters, escape sequences, characters that turn the direction of
//! writing and characters that cannot be seen are written out as `\u{202e}`.

use std::fmt::{self, Write};

/// Whether `c` must not reach a reader as it is. Line feed and tab may.
pub fn is_unfit(c: char) -> bool {
    if matches!(c, '\n' | '\t') {
        return false;
    }
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
        || (c as u32) & 0xfffe == 0xfffe
}

/// Writes `c`, or its number if it is unfit.
///
/// # Errors
/// Those of `out`.
pub fn write_char(out: &mut impl Write, c: char) -> fmt::Result {
    if is_unfit(c) { write!(out, "\\u{{{:x}}}", c as u32) } else { out.write_char(c) }
}

/// `text` on one line: unfit characters written out, runs of white space made one blank.
pub fn line(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if matches!(c, '\n' | '\t' | '\r' | ' ') {
            if !clean.ends_with(' ') {
                clean.push(' ');
            }
        } else if write_char(&mut clean, c).is_err() {
            // A String takes whatever is written.
            break;
        }
    }
    clean
}

/// `text` with unfit characters written out; its lines stay.
pub fn block(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        if write_char(&mut clean, c).is_err() {
            break;
        }
    }
    clean
}

/// At most `chars` characters of `text`, the last an ellipsis if something is left out.
pub fn shorten(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// At most `chars` characters of `text`; what is left out is in the middle, because the names of
/// pods differ at their ends.
pub fn shorten_middle(text: &str, chars: usize) -> String {
    let length = text.chars().count();
    if length <= chars {
        return text.to_owned();
    }
    let kept = chars.saturating_sub(1);
    let tail = kept.div_ceil(2);
    let mut short: String = text.chars().take(kept - tail).collect();
    short.push('…');
    short.extend(text.chars().skip(length - tail));
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_written_out() {
        let rows = [
            ("plain", "plain"),
            ("two\n lines\t", "two lines"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("nul\0", "nul\\u{0}"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("größe 大小", "größe 大小"),
        ];
        for (text, clean) in rows {
            assert_eq!(line(text), clean);
        }
        assert_eq!(block("a\r\n  b\u{7}"), "a\n  b\\u{7}");
    }

    #[test]
    fn names_are_shortened_where_they_are_alike() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde…");
        assert_eq!(shorten_middle("checkout-7d9f-x2x4p", 11), "check…x2x4p");
        assert_eq!(shorten_middle("größe", 0), "…");
        assert_eq!(shorten_middle("", 0), "");
    }
}
