//! `check`: what is wrong with configuration files, before a daemon reads them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use config::{Checked, Content, Diagnostic, Instance, Invalid, Severity};
use wire::human::things;

use crate::failure::Failure;

/// How much of a file is read to show its lines: as much as a configuration may have.
const FILE_MAX: u64 = 1 << 20;
/// How much of a line is shown.
const LINE_MAX: usize = 120;

/// Checks each file, and all together: errors and warnings to `err`, and to `out` that a file can be used or, if `effective`,
/// its text with every default.
pub(crate) fn run(
    files: &[PathBuf],
    effective: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<(), Failure> {
    let mut checked = Vec::new();
    let load = |file| Checked::load(file).map(|one| checked.push(one)).err();
    let refused: Vec<Option<Invalid>> = files.iter().map(PathBuf::as_path).map(load).collect();
    let remarks = config::compare(&checked);
    let mut usable = checked.iter();
    for (file, refused) in files.iter().zip(&refused) {
        if let Some(invalid) = refused {
            show(&invalid.diagnostics, file, err)?;
            writeln!(err, "{}: cannot be used", file.display())?;
        } else if let Some(one) = usable.next() {
            let together = remarks.iter().filter(|remark| remark.file == one.file());
            let about: Vec<Diagnostic> = one.warnings.iter().chain(together).cloned().collect();
            show(&about, file, err)?;
            if effective {
                write!(out, "{}", one.effective_yaml())?;
            } else {
                writeln!(out, "{}: {}", file.display(), summary(one, &about))?;
            }
        }
    }
    let unfit = remarks.iter().any(|remark| remark.severity == Severity::Error);
    if unfit {
        writeln!(err, "these files cannot be used together")?;
    } else if checked.len() > 1 && checked.len() == files.len() && remarks.is_empty() && !effective {
        writeln!(out, "they fit together")?;
    }
    if unfit || checked.len() < files.len() { Err(Failure::Configuration) } else { Ok(()) }
}

fn summary(checked: &Checked, about: &[Diagnostic]) -> String {
    let mut parts = match &checked.content {
        Content::Lb(config) => {
            let servers: usize = config.backends.iter().map(|backend| backend.servers.len()).sum();
            let found = config.backends.iter().filter(|backend| backend.discover.is_some()).count();
            let mut parts = vec![
                things(config.frontends.len(), "frontend"),
                things(config.backends.len(), "backend"),
                things(servers, "server"),
            ];
            if found > 0 {
                parts.push(format!("servers of {} that only healthd can find", things(found, "backend")));
            }
            parts
        }
        Content::Vrrp(config) => {
            let moved = |instance: &Instance| instance.addresses.len() + instance.excluded.len();
            let addresses: usize = config.instances.iter().map(moved).sum();
            let shared: usize = config.anycast.iter().map(|service| service.addresses.len()).sum();
            let instances =
                [things(config.instances.len(), "instance"), things(addresses, "virtual address")];
            let services =
                [things(config.anycast.len(), "anycast service"), things(shared, "anycast address")];
            let parts = [(config.instances.is_empty(), instances), (config.anycast.is_empty(), services)];
            parts.into_iter().filter(|(is_empty, _)| !is_empty).flat_map(|(_, parts)| parts).collect()
        }
    };
    let warnings = about.iter().filter(|one| one.severity == Severity::Warning).count();
    if warnings > 0 {
        parts.push(things(warnings, "warning"));
    }
    format!("can be used: {}", parts.join(", "))
}

/// Prints each diagnostic, with the line it is about and a mark under the place.
fn show(diagnostics: &[Diagnostic], file: &Path, err: &mut impl Write) -> Result<(), Failure> {
    if diagnostics.is_empty() {
        return Ok(());
    }
    let text = read(file);
    let lines: Vec<&str> = text.lines().collect();
    for diagnostic in diagnostics {
        let mut told = diagnostic.clone();
        let help = told.help.take();
        writeln!(err, "{told}")?;
        let source = diagnostic.line.checked_sub(1).and_then(|index| lines.get(index));
        if let Some(source) = source {
            write!(err, "{}", excerpt(diagnostic.line, diagnostic.column, source))?;
        }
        if let Some(help) = help {
            writeln!(err, "  help: {help}")?;
        }
    }
    Ok(())
}

/// The text of a file, or nothing: why it cannot be read is told by its diagnostics.
fn read(file: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    if read.is_ok() { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() }
}

/// A line of the file, and a caret under one of its columns. Of a long line, what is around the column.
fn excerpt(number: usize, column: usize, source: &str) -> String {
    let at = column.saturating_sub(1);
    let skipped = at.saturating_sub(LINE_MAX * 2 / 3);
    let shown: String = source.chars().skip(skipped).take(LINE_MAX).map(printable).collect();
    let gutter = number.to_string();
    let blank = " ".repeat(gutter.len());
    let indent = " ".repeat(at - skipped);
    format!("  {gutter} | {shown}\n  {blank} | {indent}^\n")
}

/// Tabs take one column, so that the caret stands right; what could command a terminal is not shown.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_column() {
        assert_eq!(excerpt(7, 5, "    ballance: x"), "  7 |     ballance: x\n    |     ^\n");
        assert_eq!(excerpt(12, 3, "\t\u{1b}bad"), "  12 |  \u{fffd}bad\n     |   ^\n");
        assert_eq!(excerpt(1, 0, ""), "  1 | \n    | ^\n");
    }

    #[test]
    fn long_lines_are_cut_around_the_column() {
        let line = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let shown = excerpt(1, 5001, &line);
        let (source, caret) = shown.split_once('\n').unwrap();
        assert!(source.len() < 140);
        assert_eq!(source.find('X'), caret.find('^'));
    }
}
