//! Whether a run can be trusted: the generator judges itself.

/// The generator's judgement of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audit {
    /// Whether the run's numbers can be believed.
    pub trusted: bool,
    /// Why not, each in a sentence.
    pub reasons: Vec<String>,
    /// What weakens the numbers without breaking them, each in a sentence.
    pub warnings: Vec<String>,
    /// What was measured, for the report's table.
    pub facts: Vec<AuditFact>,
}

/// One row of the audit.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditFact {
    /// What.
    pub name: String,
    /// The figure, with its unit.
    pub found: String,
    /// What is demanded.
    pub bound: String,
    /// Whether it holds.
    pub holds: bool,
}
