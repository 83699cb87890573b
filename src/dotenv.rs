//! The file `.env` in the working directory. It decides where passwords are sent, so a file of
//! another user is refused, and parent directories are not searched.

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use taskd::config::ConfigError;

const FILE: &str = ".env";

/// Sets the variables in the file that the environment doesn't have, and returns their names.
///
/// # Errors
/// The file can't be read, belongs to another user, or has a line that can't be parsed. The error
/// names the line by its number, since the line itself may contain a password.
pub fn load() -> Result<Vec<String>, ConfigError> {
    let wrong = |problem: String| ConfigError::new(FILE, problem);
    let unreadable = |error: &dyn Display| wrong(format!("can't be read: {error}"));
    let entry = match Path::new(FILE).symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&error)),
        Ok(entry) => entry,
    };
    // Both the link and the file it leads to must not be another user's choice.
    let mut file = match entry.is_dir() || entry.is_file() || entry.is_symlink() {
        true => File::open(FILE).map_err(|error| unreadable(&error))?,
        false => return Err(wrong("is no file".into())),
    };
    let opened = file.metadata().map_err(|error| unreadable(&error))?;
    if opened.is_dir() {
        // Such as a virtual environment of Python.
        return Ok(Vec::new());
    }
    let us = taskd::ground::private::user().map_err(|error| unreadable(&error))?;
    if let Some(other) = [entry.uid(), opened.uid()].into_iter().find(|uid| ![0, us].contains(uid))
    {
        return Err(wrong(format!(
            "belongs to the user with the number {other}: it must be yours or root's, so make it yours, \
             delete it, or run taskd in another directory"
        )));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => wrong("is not UTF-8".into()),
        _ => unreadable(&error),
    })?;
    let literal = literal(&text).map_err(wrong)?;
    // Parse all of it before setting anything.
    let lines: Result<Vec<(String, String)>, _> =
        dotenvy::from_read_iter(literal.as_bytes()).collect();
    let lines = lines.map_err(|error| wrong(not_understood(&literal, &error)))?;
    let names = lines.into_iter().map(|(name, _)| name);
    let new = names.filter(|name| std::env::var_os(name).is_none()).collect();
    dotenvy::from_read(literal.as_bytes())
        .map_err(|error| wrong(not_understood(&literal, &error)))?;
    Ok(new)
}

/// Sets variables of this process, replacing their values. Call this only while no other thread
/// runs.
///
/// # Errors
/// A value can't be written as a line.
#[cfg(feature = "embedded")]
pub fn set(variables: &[(&str, &str)]) -> Result<(), ConfigError> {
    for (name, value) in variables {
        let mut line = format!("{name}=\"");
        for c in value.chars() {
            if ['\\', '"', '$'].contains(&c) {
                line.push('\\');
            }
            line.push(c);
        }
        line.push_str("\"\n");
        dotenvy::from_read_override(line.as_bytes())
            .map_err(|_| ConfigError::new("DATA_DIR", format!("{value:?} can't be used")))?;
    }
    Ok(())
}

/// Escapes each `$`. The library would substitute a variable, or nothing, and passwords with a `$`
/// are common.
fn literal(text: &str) -> Result<String, String> {
    let mut literal = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.contains('\0') {
            return Err(format!("line {number} has a NUL character"));
        }
        let mut quote = None;
        let mut characters = line.chars().peekable();
        while let Some(c) = characters.next() {
            match (c, quote) {
                ('\\', Some('"') | None) => {
                    literal.push(c);
                    literal.extend(characters.next());
                    continue;
                }
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                ('$', Some('"') | None) if characters.peek() == Some(&'{') => {
                    return Err(format!(
                        "line {number} has ${{…}}, in whose place nothing is put: write the value itself, or \
                         put it in single quotes if it has these characters"
                    ));
                }
                ('$', Some('"') | None) => literal.push('\\'),
                // The rest of the line is a comment.
                ('#', None) if literal.ends_with([' ', '\t', '\n']) || literal.is_empty() => break,
                _ => {}
            }
            literal.push(c);
        }
        if quote.is_some() {
            return Err(format!("line {number} has a quote that is not closed"));
        }
        literal.push('\n');
    }
    Ok(literal)
}

fn not_understood(text: &str, error: &dotenvy::Error) -> String {
    const FORM: &str = "is not of the form NAME=value, with a value that has spaces in quotes";
    match error {
        dotenvy::Error::LineParse(line, _) => {
            // The error contains the line, or only its value.
            let number = text.lines().position(|candidate| candidate.ends_with(line.trim_end()));
            match number {
                Some(index) => format!("line {} {FORM}", index + 1),
                None => format!("a line {FORM}"),
            }
        }
        other => format!("can't be read: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let literal = literal(text)?;
        let lines = dotenvy::from_read_iter(literal.as_bytes());
        lines.collect::<Result<_, _>>().map_err(|error| not_understood(&literal, &error))
    }

    #[test]
    fn a_dollar_is_itself_wherever_it_stands() {
        for (line, value) in [
            ("A=p$w", "p$w"),
            ("A=$w", "$w"),
            ("A=p$", "p$"),
            ("A=p$$w # it's a comment with $x", "p$$w"),
            ("A=\"p$w \\\"x\\\"\"", "p$w \"x\""),
            ("A='p$w ${x}'", "p$w ${x}"),
            ("A=p\\$w", "p$w"),
            ("export A=p#w", "p#w"),
        ] {
            let read = read(&format!("# it's ${{x}}\n\n{line}\n")).unwrap();
            assert_eq!(read, [("A".to_owned(), value.to_owned())], "{line}");
        }
    }

    #[test]
    fn the_line_that_is_wrong_is_named_and_not_repeated() {
        for line in
            ["hunter2", "A=hunter2 x", "A='hunter2", "A=${hunter2}", "=hunter2", "A=hunter2\0"]
        {
            let error = read(&format!("# a comment\nB=1\n{line}\nC=2\n")).unwrap_err();
            assert!(error.contains("line 3 ") && !error.contains("hunter2"), "{line:?}: {error}");
        }
    }
}
