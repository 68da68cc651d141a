//! The pages of the rules, as Markdown: `docs/lint.md` has them all.

use super::{finding::Rule, table::RULES};

/// All pages, one below the other, with a table before them.
pub fn all() -> String {
    let mut out = String::from("| rule | level | looks for |\n| --- | --- | --- |\n");
    for rule in RULES {
        let (name, level, summary) = (rule.name, rule.level.name(), rule.summary);
        out.push_str(&format!("| [`{name}`](#{name}) | {level} | {summary} |\n"));
    }
    for rule in RULES {
        out.push('\n');
        out.push_str(&one(rule));
    }
    out
}

/// The page of one rule.
pub fn one(rule: &Rule) -> String {
    format!(
        "### {}\n\n{}\n\n**Why.** {}\n\n**Then.** {}\n\n**Fix.** {}\n\n*Source: {}*\n",
        rule.name, rule.summary, rule.reason, rule.consequence, rule.fix, rule.source
    )
}
