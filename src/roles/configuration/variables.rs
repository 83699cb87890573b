//! Every variable that taskd knows, and where its value comes from.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::operate::doctor::{Source, Variable};

/// How this process was called.
pub struct Invocation {
    /// The definition of the command line, with every role.
    pub command: Command,
    /// What was given.
    pub matches: ArgMatches,
    /// The variables that `.env` has set.
    pub from_file: Vec<String>,
}

/// Variables that have another name besides, under which other programs set them too.
const SHARED: [(&str, &str); 3] =
    [("TASKD_HOST", "HOST"), ("TASKD_LOG", "LOG"), ("TASKD_AUTH", "AUTH")];

/// Every variable that a role reads, by name.
pub(in super::super) fn all(invocation: &Invocation) -> Vec<Variable> {
    let mut known: BTreeMap<String, &Arg> = BTreeMap::new();
    collect(&invocation.command, &mut known);
    read(invocation, known)
}

/// Every variable that this process reads, by name.
pub(super) fn of_process(invocation: &Invocation) -> Vec<Variable> {
    let mut known: BTreeMap<String, &Arg> = BTreeMap::new();
    let role = invocation.matches.subcommand_name();
    let role = role.and_then(|name| invocation.command.find_subcommand(name));
    for command in role.into_iter().chain([&invocation.command]) {
        add(command, &mut known);
    }
    read(invocation, known)
}

fn read(invocation: &Invocation, known: BTreeMap<String, &Arg>) -> Vec<Variable> {
    known.into_iter().map(|(name, arg)| variable(invocation, name, arg)).collect()
}

fn collect<'a>(command: &'a Command, known: &mut BTreeMap<String, &'a Arg>) {
    add(command, known);
    command.get_subcommands().for_each(|command| collect(command, known));
}

fn add<'a>(command: &'a Command, known: &mut BTreeMap<String, &'a Arg>) {
    for arg in command.get_arguments() {
        if let Some(name) = arg.get_env() {
            known.entry(name.to_string_lossy().into_owned()).or_insert(arg);
        }
    }
}

fn variable(invocation: &Invocation, name: String, arg: &Arg) -> Variable {
    let shared = SHARED.iter().find(|(own, _)| *own == name).map(|(_, other)| *other);
    let in_environment = [Some(name.as_str()), shared]
        .into_iter()
        .flatten()
        .find(|name| std::env::var_os(name).is_some());
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let flag = flag(invocation, arg);
    let (source, value) = match (flag, in_environment) {
        (Some(value), _) => (Source::Flag, Some(value)),
        (None, Some(set)) => {
            let from_file = invocation.from_file.iter().any(|name| name == set);
            (if from_file { Source::File } else { Source::Environment }, std::env::var(set).ok())
        }
        (None, None) if defaults.is_empty() => (Source::Unset, None),
        (None, None) => (Source::Default, Some(defaults.join(","))),
    };
    let value = value.filter(|_| !arg.is_hide_env_values_set());
    let description = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let description = description.lines().next().unwrap_or_default().to_owned();
    Variable { name, source, value, description }
}

/// The value of a flag that was given to this command.
fn flag(invocation: &Invocation, arg: &Arg) -> Option<String> {
    let (_, matches) = invocation.matches.subcommand()?;
    let id = arg.get_id().as_str();
    // Another role's argument is no argument of this command.
    let source = matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id))?;
    if source != ValueSource::CommandLine {
        return None;
    }
    let raw = matches.get_raw(id)?.map(|value| value.to_string_lossy().into_owned());
    Some(raw.collect::<Vec<_>>().join(","))
}

/// Variables in the environment that seem to be meant for taskd and are not known, each with the
/// one that may be meant.
pub(super) fn misspelt(variables: &[Variable]) -> Vec<(String, Option<String>)> {
    let known: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut found: Vec<(String, Option<String>)> = set
        .filter(|name| !known.contains(&name.as_str()) && name != "TASKD_DEFECT")
        .filter_map(|name| {
            let meant =
                known.iter().find(|known| known.len() >= SHORTEST && one_slip(known, &name));
            let meant = meant.map(|known| (*known).to_owned());
            (meant.is_some() || name.starts_with("TASKD_")).then_some((name, meant))
        })
        .collect();
    found.sort();
    found
}

/// Shorter names are too near to others by chance.
const SHORTEST: usize = 8;

/// Whether a letter was left out, added or changed, or two were swapped.
fn one_slip(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    let same = |(a, b): &(&u8, &u8)| a == b;
    let ahead = one.iter().zip(other).take_while(same).count();
    (one, other) = (one.get(ahead..).unwrap_or_default(), other.get(ahead..).unwrap_or_default());
    let behind = one.iter().rev().zip(other.iter().rev()).take_while(same).count();
    one = one.get(..one.len() - behind).unwrap_or_default();
    other = other.get(..other.len() - behind).unwrap_or_default();
    match (one, other) {
        ([], [_]) | ([_], []) | ([_], [_]) => true,
        ([a, b], [c, d]) => (a, b) == (d, c),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_of_the_pen_is_noticed() {
        for slip in ["DATABSE_URL", "DATABASE_URI", "DATABASE__URL", "DTAABASE_URL", "DATABASE_UR"]
        {
            assert!(one_slip("DATABASE_URL", slip), "{slip}");
        }
        for other in ["DATABASE_URL", "DATABASE", "DATABASE_RUI", "REDIS_URL", ""] {
            assert!(!one_slip("DATABASE_URL", other), "{other}");
        }
    }
}
