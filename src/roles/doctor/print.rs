//! Prints a report on a terminal: what is wrong comes last, nearest to the prompt.

use crate::ground::output::{self, OutputError};
use crate::operate::doctor::{Report, State, Verdict};

/// The variables that are set, or all; the checks; and for each fault the command that mends it.
pub(super) fn report(report: &Report, all_variables: bool) -> Result<(), OutputError> {
    output::print(format_args!("{:22}  {:11}  VALUE", "VARIABLE", "SET BY"))?;
    let shown = report.variables.iter().filter(|v| all_variables || v.source.is_set());
    for variable in shown {
        let value = match &variable.value {
            Some(value) => value.as_str(),
            None if variable.source.is_set() => "(set)",
            None => "-",
        };
        let source = variable.source.as_str();
        output::print(format_args!("{:22}  {source:11}  {value}", variable.name))?;
    }
    output::print(format_args!("\n{:14}  {:5}  FOUND", "CHECK", "STATE"))?;
    for Verdict { name, state, found, .. } in &report.checks {
        output::print(format_args!("{name:14}  {:5}  {found}", state.as_str()))?;
    }
    let faults: Vec<&Verdict> =
        report.checks.iter().filter(|verdict| verdict.state != State::Ok).collect();
    for verdict in faults.iter().filter(|verdict| verdict.mend.is_some()) {
        let about = verdict.about.as_deref().unwrap_or(&verdict.name);
        let mend = verdict.mend.as_deref().unwrap_or_default();
        let found = &verdict.found;
        let about = match found.starts_with(about) {
            true => String::new(),
            false => format!("{about}: "),
        };
        output::print(format_args!("\n{}  {about}{found}\n  {mend}", verdict.state.as_str()))?;
    }
    output::print(match (report.ok, faults.is_empty()) {
        (true, true) => "\nall is well",
        (true, false) => "\neverything works; the warnings above are worth a look",
        (false, _) => "\nsomething doesn't work: see above",
    })
}
