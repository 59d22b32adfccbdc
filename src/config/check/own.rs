//! The bridge's own variables, which nothing else may set.

use super::Findings;
use crate::config::model::DecisionVariables;
use crate::config::path::Path;
use crate::config::raw;
use crate::config::variable::Variable;

/// `status_variable`, and those of `decision_variables`.
pub(super) struct Own {
    pub(super) status: Variable,
    pub(super) decision: Option<DecisionVariables>,
}

impl Own {
    pub(super) fn check(raw: &raw::Config, prefix_len: usize, findings: &mut Findings) -> Self {
        let text = raw.status_variable.as_deref().unwrap_or(raw::DEFAULT_STATUS_VARIABLE);
        let path = Path::root().key("status_variable");
        let status = findings.variable(&path, text, prefix_len).unwrap_or_else(Variable::stand_in);
        let decision = decision(raw, prefix_len, findings);
        if decision.iter().flat_map(DecisionVariables::all).any(|variable| *variable == status) {
            findings.problems.add(&path, text, "a variable other than those of decision_variables");
        }
        Self { status, decision }
    }

    /// Finds fault with `variable` at `path`, if it is one of these.
    pub(super) fn refuse(&self, variable: &Variable, path: &Path, findings: &mut Findings) {
        let key = if *variable == self.status {
            "status_variable"
        } else if self.decision.iter().flat_map(DecisionVariables::all).any(|own| own == variable) {
            "decision_variables"
        } else {
            return;
        };
        findings.problems.add(path, variable, format_args!("another variable: the bridge sets {key} itself"));
    }
}

fn decision(raw: &raw::Config, prefix_len: usize, findings: &mut Findings) -> Option<DecisionVariables> {
    let (text, path) = (raw.decision_variables.as_deref()?, Path::root().key("decision_variables"));
    // All of them fit if the longest does.
    let longest = findings.variable(&path, &format!("{text}.latency_us"), prefix_len)?;
    let (scope, name) = (longest.scope, longest.name.strip_suffix("latency_us").unwrap_or_default());
    let [cause, latency, attempts, source] =
        ["cause", "latency_us", "attempts", "source"].map(|part| Variable { scope, name: format!("{name}{part}") });
    Some(DecisionVariables { cause, latency, attempts, source })
}
