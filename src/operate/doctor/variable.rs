//! A variable of a process, as the doctor and `/configuration` show it.

use serde::Serialize;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Source {
    /// A flag of the command.
    #[serde(rename = "flag")]
    Flag,
    /// The environment.
    #[serde(rename = "environment")]
    Environment,
    /// The file `.env`.
    #[serde(rename = ".env")]
    File,
    /// Nothing is set, and there is a default.
    #[serde(rename = "default")]
    Default,
    /// Nothing is set, and there is none.
    #[serde(rename = "unset")]
    Unset,
}

impl Source {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Flag => "flag",
            Source::Environment => "environment",
            Source::File => ".env",
            Source::Default => "default",
            Source::Unset => "unset",
        }
    }

    /// Whether somebody has set it.
    pub fn is_set(self) -> bool {
        matches!(self, Source::Flag | Source::Environment | Source::File)
    }
}

/// A variable.
#[derive(Debug, Clone, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
    /// `None` if there is none, or if it may hold a password.
    pub value: Option<String>,
    /// What it is for, in a line.
    pub description: String,
}
