//! What is wrong with a file, and where.

use std::fmt;

/// One remark about a file: where, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name as the user gave it.
    pub file: String,
    /// Line, from 1. Zero when the file as a whole is meant, as when it cannot be read.
    pub line: usize,
    /// Column in characters, from 1. Zero when the file as a whole is meant.
    pub column: usize,
    /// Whether it stops the file from being used.
    pub severity: Severity,
    /// What is wrong, in one line, with the nearest valid word if there is one.
    pub message: String,
    /// What to do about it, when the message does not say so already.
    pub help: Option<String>,
}

/// Whether a remark stops the file from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not do what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// `lb.yaml:12:7: error: unknown key "ballance" ...`, and the help on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}: {}", self.severity, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Why a file cannot be used: its errors and warnings in the order of the file, with at least one error.
///
/// Its [`Display`](fmt::Display) prints all of them, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// In the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
