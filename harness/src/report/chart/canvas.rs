//! Drawing with `plotters` in colours that the page's style sheet decides.
//!
//! `plotters` writes colours into the SVG, and a page has two sets of them, light and dark. So each
//! [`Ink`] is drawn in a colour of its own that means nothing, and [`restyle`] replaces it by a
//! class. Without font features `plotters` knows nothing of fonts: text is placed by its anchor,
//! and [`text_width`] is an estimate on the wide side.

use plotters::{
    prelude::{BLACK, DrawingBackend, IntoFont, RGBAColor, SVGBackend, ShapeStyle},
    style::{
        FontStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::model::Ink;

/// Points of the drawing per point of the page: `plotters` knows whole numbers only.
pub(super) const FINENESS: f64 = 2.0;
/// Red and green of the colours that stand for an ink; blue is its index.
const SENTINEL: (u8, u8) = (0xfa, 0xce);
/// `plotters` divides the size of fonts by this.
const FONT_RATIO: f64 = 1.24;

/// A place in points of the page.
pub(super) type At = (f64, f64);

/// Where a text stands relative to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture in the making.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
    /// The first failure, if any; writing to a string has none.
    failure: Option<String>,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(buffer: &'a mut String, (width, height): At) -> Self {
        let size = ((width * FINENESS).ceil() as u32, (height * FINENESS).ceil() as u32);
        Self { backend: SVGBackend::with_string(buffer, size), failure: None }
    }

    /// A filled rectangle; less than a point wide or high becomes one.
    pub(super) fn rect(&mut self, ink: Ink, (x0, y0): At, (x1, y1): At) {
        let (from, to) = (place((x0, y0)), place((x1, y1)));
        let to = (to.0.max(from.0 + 1), to.1.max(from.1 + 1));
        let result = self.backend.draw_rect(from, to, &style(ink, 1), true);
        self.check(result.map_err(|error| error.to_string()));
    }

    /// A line through `points`; fewer than two draw nothing.
    pub(super) fn line(&mut self, ink: Ink, width: f64, points: &[At]) {
        let mut path: Vec<_> = points.iter().copied().map(place).collect();
        path.dedup();
        if path.len() < 2 {
            return;
        }
        let style = style(ink, (width * FINENESS).round().max(1.0) as u32);
        let result = self.backend.draw_path(path, &style);
        self.check(result.map_err(|error| error.to_string()));
    }

    /// A filled area.
    pub(super) fn area(&mut self, ink: Ink, points: &[At]) {
        let mut path: Vec<_> = points.iter().copied().map(place).collect();
        path.dedup();
        let result = self.backend.fill_polygon(path, &style(ink, 1));
        self.check(result.map_err(|error| error.to_string()));
    }

    /// A text on one line, vertically centred at its place.
    pub(super) fn text(&mut self, label: Label, at: At, text: &str) {
        let anchor = match label.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let font = ("sans-serif", label.size * FONT_RATIO * FINENESS).into_font();
        let font = if label.bold { font.style(FontStyle::Bold) } else { font };
        let colour = colour(label.ink);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(anchor, VPos::Center));
        let result = self.backend.draw_text(text, &style, place(at));
        self.check(result.map_err(|error| error.to_string()));
    }

    fn check(&mut self, result: Result<(), String>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }

    /// Ends the picture.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let result = self.backend.present();
        self.check(result.map_err(|error| error.to_string()));
        self.failure.map_or(Ok(()), Err)
    }
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) ink: Ink,
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
}

impl Label {
    pub(super) const fn new(ink: Ink, size: f64) -> Self {
        Self { ink, size, bold: false, anchor: Anchor::Start }
    }

    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) const fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// About how wide a text is, rather too wide than too narrow.
pub(super) fn text_width(size: f64, text: &str) -> f64 {
    text.chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | ' ' | '|' | '\'' | 'f' | 't' | 'r' => 0.38,
            'm' | 'w' | 'M' | 'W' | '…' | '→' => 0.95,
            c if c.is_ascii_uppercase() => 0.72,
            c if c.is_ascii() => 0.62,
            _ => 1.0,
        })
        .sum::<f64>()
        * size
}

fn place((x, y): At) -> (i32, i32) {
    ((x * FINENESS).round() as i32, (y * FINENESS).round() as i32)
}

fn colour(ink: Ink) -> RGBAColor {
    let index = Ink::ALL.iter().position(|known| *known == ink);
    let mut colour = RGBAColor::from(BLACK);
    (colour.0, colour.1) = SENTINEL;
    colour.2 = index.unwrap_or_default() as u8;
    colour
}

fn style(ink: Ink, width: u32) -> ShapeStyle {
    ShapeStyle { color: colour(ink), filled: true, stroke_width: width }
}

/// The picture's inner markup with classes in place of colours and without what a page does not
/// need. `drawn` is what `plotters` wrote; in it `="` is in tags only, because text is escaped.
pub(super) fn restyle(drawn: &str) -> String {
    let body = drawn.split_once('>').map_or(drawn, |(_, body)| body);
    let body = body.trim();
    let body = body.strip_suffix("</svg>").unwrap_or(body);
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(equals) = rest.find("=\"") {
        let name_at = rest[..equals].rfind(' ').map_or(0, |blank| blank + 1);
        let value_at = equals + 2;
        let Some(length) = rest[value_at..].find('"') else {
            break;
        };
        let (name, value) = (&rest[name_at..equals], &rest[value_at..value_at + length]);
        out.push_str(rest[..name_at].trim_end_matches(' '));
        if let Some(attribute) = attribute(name, value) {
            out.push(' ');
            out.push_str(&attribute);
        }
        rest = &rest[value_at + length + 1..];
    }
    out.push_str(rest);
    out.replace(">\n", ">").replace("\n</", "</")
}

fn attribute(name: &str, value: &str) -> Option<String> {
    match (name, value) {
        ("opacity", "1") | ("stroke" | "fill", "none") | ("text-anchor", "start") => None,
        ("font-family", _) => None,
        ("fill" | "stroke", colour) => {
            let ink = ink_of(colour)?;
            let what = if name == "fill" { "f" } else { "s" };
            Some(format!("class=\"{what}-{}\"", ink.name()))
        }
        ("font-size", size) => {
            let size: f64 = size.parse().ok()?;
            Some(format!("font-size=\"{}\"", (size * 10.0).round() / 10.0))
        }
        _ => Some(format!("{name}=\"{}\"", value.trim_end())),
    }
}

fn ink_of(colour: &str) -> Option<Ink> {
    let number = u32::from_str_radix(colour.strip_prefix('#')?, 16).ok()?;
    let [_, red, green, index] = number.to_be_bytes();
    if (red, green) != SENTINEL {
        return None;
    }
    Ink::ALL.get(usize::from(index)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_text_stays_text() {
        let mut drawn = String::new();
        let mut canvas = Canvas::new(&mut drawn, (100.0, 50.0));
        canvas.rect(Ink::Lost, (1.0, 2.0), (1.0, 4.0));
        canvas.line(Ink::P99, 1.5, &[(0.0, 0.0), (10.0, 5.5)]);
        canvas.text(
            Label::new(Ink::Muted, 10.5).anchor(Anchor::End),
            (9.0, 9.0),
            "<b> fill=\"#FACE00\" \"x",
        );
        canvas.finish().expect("a string takes what is written");
        assert_eq!(
            restyle(&drawn),
            "<rect x=\"2\" y=\"4\" width=\"1\" height=\"4\" class=\"f-lost\"/>\
             <polyline class=\"s-p99\" stroke-width=\"3\" points=\"0,0 20,11\"/>\
             <text x=\"18\" y=\"18\" dy=\"0.5ex\" text-anchor=\"end\" font-size=\"21\" \
             class=\"f-muted\">&lt;b&gt; fill=&quot;#FACE00&quot; &quot;x</text>"
        );
    }

    #[test]
    fn every_ink_comes_back_from_its_colour() {
        for ink in Ink::ALL {
            let RGBAColor(red, green, blue, _) = colour(*ink);
            assert_eq!(ink_of(&format!("#{red:02X}{green:02X}{blue:02X}")), Some(*ink));
        }
        assert_eq!(ink_of("#000000"), None);
        assert_eq!(ink_of("red"), None);
    }

    #[test]
    fn places_far_outside_do_not_overflow() {
        assert_eq!(place((f64::INFINITY, f64::NEG_INFINITY)), (i32::MAX, i32::MIN));
        assert_eq!(place((f64::NAN, 0.0)), (0, 0));
    }
}
