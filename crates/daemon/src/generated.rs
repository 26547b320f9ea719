//! What comes with a daemon's program and follows from its options: its manual page, and completions for shells.

use std::io::{self, Write};

use clap::{Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

/// One of them.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Generated {
    /// A manual page, for section 8.
    Man,
    Bash,
    Zsh,
    Fish,
}

impl Generated {
    /// Writes it.
    pub(crate) fn write(self, mut command: Command, out: &mut impl Write) -> io::Result<()> {
        let name = command.get_name().to_owned();
        let shell = match self {
            Self::Man => return Man::new(command).section("8").render(out),
            Self::Bash => Shell::Bash,
            Self::Zsh => Shell::Zsh,
            Self::Fish => Shell::Fish,
        };
        clap_complete::generate(shell, &mut command, name, out);
        Ok(())
    }
}
