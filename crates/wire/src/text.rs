//! The text dialect, in HAProxy's style: one line of commands separated by `;`, answered in text, then closed.

/// A command as `help` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// What to type: words, and placeholders in capitals.
    pub usage: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
}

/// The commands of a line. Empty ones are left out.
pub fn commands(line: &str) -> impl Iterator<Item = &str> {
    line.split(';').map(str::trim).filter(|command| !command.is_empty())
}

/// The answer to `help`.
pub fn help(commands: &[Command]) -> String {
    let width = commands.iter().map(|command| command.usage.len()).max().unwrap_or(0);
    let lines = commands.iter().map(|Command { usage, help }| format!("  {usage:width$}  {help}\n"));
    format!(
        "The following commands are known, several on a line separated by `;`:\n{}",
        lines.collect::<String>()
    )
}

/// The answer to a command that is not known: the usages that begin like it or almost like it, or where to find all.
pub fn unknown(command: &str, commands: &[Command]) -> String {
    let first = command.split_whitespace().next().unwrap_or_default();
    let verb = |known: &Command| known.usage.split_whitespace().next().unwrap_or_default();
    let meant = config::nearest(first, commands.iter().map(verb));
    let usages: Vec<_> =
        commands.iter().filter(|known| Some(verb(known)) == meant).map(|known| known.usage).collect();
    // What came may be anything: a terminal must not take it for its own commands.
    let command: String = command.chars().take(ECHOED_MAX).flat_map(char::escape_debug).collect();
    if usages.is_empty() {
        format!("Unknown command: '{command}'. Try 'help'.\n")
    } else {
        format!(
            "Unknown command: '{command}', but maybe one of the following is a better match:\n  {}\n",
            usages.join("\n  ")
        )
    }
}

/// The most characters of an unknown command that the answer repeats.
const ECHOED_MAX: usize = 80;

/// The answer to somebody who may not change anything.
pub const DENIED: &str =
    "Permission denied: only root, the daemon's user, its group and the group tandem may change something.\n";

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Command; 2] = [
        Command { usage: "show info", help: "The daemon." },
        Command { usage: "show stat [json]", help: "Statistics." },
    ];

    #[test]
    fn lines_are_split_into_commands() {
        assert_eq!(commands(" show info ;; show stat;").collect::<Vec<_>>(), ["show info", "show stat"]);
    }

    #[test]
    fn unknown_commands_are_answered_with_those_that_begin_alike() {
        assert!(unknown("show stats", &KNOWN).contains("show stat [json]"));
        assert!(unknown("shwo stat", &KNOWN).contains("show stat [json]"));
        assert!(unknown("quit", &KNOWN).contains("Try 'help'"));
        let strange = unknown(&format!("\u{1b}[2J{}", "x".repeat(10_000)), &KNOWN);
        assert!(!strange.contains('\u{1b}') && strange.len() < 200, "{strange}");
        assert!(help(&KNOWN).contains("  show info         The daemon.\n"));
    }
}
