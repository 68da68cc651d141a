//! The same scenarios on several backends, side by side: one page and a picture per scenario.
//!
//! 1. the runs of each scenario, by backend: [`group`]
//! 2. what differs between two of them, as numbers: [`difference`], put into words by `against`
//! 3. the page: [`render`]; the pictures: [`mod@super::chart::compare`]
//!
//! The numbers are computed here; the words that explain them are written by hand and are taken
//! over as they are.

mod against;
pub mod difference;
pub mod group;
mod page;

use super::chart::{ChartModel, compare, svg};
use crate::analyze::Analysis;

pub use group::{Group, GroupError, Run, groups};

/// Width of the pictures' plots in points.
const COLUMNS: u32 = 760;

/// The page and its pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Markdown; it refers to the pictures as `images/NAME`.
    pub markdown: String,
    /// The pictures, in the order of the page.
    pub pictures: Vec<Picture>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its file name: letters, digits, dashes and `.svg`.
    pub name: String,
    /// SVG that needs no style sheet.
    pub svg: String,
}

/// Renders the page.
///
/// *Behaviour*: `notes` stand between the overview and the scenarios, as they are. The same groups
/// give the same page, whatever the order in which their runs were given.
///
/// # Errors
/// If a picture cannot be drawn.
pub fn render(groups: &[Group], notes: &str) -> Result<Page, svg::DrawError> {
    let names = picture_names(groups);
    let mut pictures = Vec::new();
    for (group, name) in groups.iter().zip(&names) {
        let svg = svg::draw(&picture(group, COLUMNS))?.alone(compare::STYLE);
        pictures.push(Picture { name: name.clone(), svg });
    }
    Ok(Page { markdown: page::write(groups, &names, notes), pictures })
}

/// The model of a group's picture.
pub(super) fn picture(group: &Group, columns: u32) -> ChartModel {
    let runs: Vec<(String, &Analysis)> =
        group.labelled().map(|(label, run)| (label, &run.analysis)).collect();
    compare::build(&group.scenario, &runs, columns)
}

/// A file name for each group's picture; no two are the same.
fn picture_names(groups: &[Group]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for group in groups {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let plain: String =
            group.scenario.chars().map(|c| if is_plain(c) { c } else { '-' }).take(63).collect();
        let mut name = format!("fidelity-{plain}.svg");
        if names.contains(&name) {
            name = format!("fidelity-{plain}-{}.svg", names.len());
        }
        names.push(name);
    }
    names
}
