//! Markup that cannot be wrong by accident: what is not a literal of this program is escaped.

use std::fmt::{self, Write};

use serde::Serialize;

use super::super::{chart::svg::Svg, clean};

/// What a page may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// Nothing.
    None,
    /// What stands in it.
    Inline,
}

/// A page in the making.
///
/// *Behaviour*: [`lit`](Self::lit) takes literals only; everything that is computed goes through
/// [`text`](Self::text), which escapes for text and for quoted attributes alike, through
/// [`svg`](Self::svg), whose type only the drawing makes, or through [`data`](Self::data).
#[derive(Debug, Default)]
pub(crate) struct Html(String);

impl Html {
    /// The document up to its title: it loads nothing, and its content security policy forbids it to.
    pub(crate) fn begin(&mut self, script: Script) -> &mut Self {
        self.lit("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
            .lit("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ")
            .lit("style-src 'unsafe-inline'; ")
            .lit(match script {
                Script::None => "",
                Script::Inline => "script-src 'unsafe-inline'; ",
            })
            .lit(concat!(
                "img-src data:; base-uri 'none'; form-action 'none'\">\n",
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
                "<meta name=\"color-scheme\" content=\"light dark\">\n",
                "<meta name=\"referrer\" content=\"no-referrer\">\n",
                "<meta name=\"generator\" content=\"highwater\">\n",
            ))
    }

    /// Markup of this program.
    pub(crate) fn lit(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Anything else, escaped.
    pub(crate) fn text(&mut self, text: impl fmt::Display) -> &mut Self {
        escape(&mut self.0, text);
        self
    }

    /// Text between two pieces of markup.
    pub(crate) fn put(
        &mut self,
        before: &'static str,
        text: impl fmt::Display,
        after: &'static str,
    ) -> &mut Self {
        self.lit(before).text(text).lit(after)
    }

    /// A picture.
    pub(crate) fn svg(&mut self, svg: &Svg) -> &mut Self {
        self.0.push_str(svg.markup());
        self
    }

    /// JSON for the page's script, as the content of a `script` element. What could end the
    /// element or begin a comment is written as an escape of JSON. Nothing if it has no JSON.
    pub(crate) fn data(&mut self, data: &impl Serialize) -> &mut Self {
        for c in serde_json::to_string(data).unwrap_or_default().chars() {
            if matches!(c, '<' | '>' | '&' | '\'') || clean::is_unfit(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // A String takes whatever is written.
                    let _ = write!(self.0, "\\u{unit:04x}");
                }
            } else {
                self.0.push(c);
            }
        }
        self
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// Appends text, escaped for HTML and SVG text and for quoted attributes, unfit characters written
/// out.
pub(crate) fn escape(out: &mut String, text: impl fmt::Display) {
    // A String takes whatever is written; an error could only come from the text's own Display.
    let _ = write!(Escape(out), "{text}");
}

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => clean::write_char(self.0, c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let mut html = Html::default();
        html.put("<p title=\"", "a\"b'c", "\">").put("", "</p><script>&\u{202e}\0]]>", "</p>");
        assert_eq!(
            html.finish(),
            "<p title=\"a&quot;b&#39;c\">&lt;/p&gt;&lt;script&gt;&amp;\\u{202e}\\u{0}]]&gt;</p>"
        );
    }

    #[test]
    fn data_never_ends_its_element() {
        let mut html = Html::default();
        html.data(&["</script><!--", "it's", "\u{2028}\u{e0001}"]);
        assert_eq!(
            html.finish(),
            r#"["\u003c/script\u003e\u003c!--","it\u0027s","\u2028\udb40\udc01"]"#
        );
    }
}
