//! What a command is: its name, its flags, its help, and the function behind it.

use std::fmt::Write as _;

use runtime_core::{Code, Error, Result};

use crate::args::{Arity, Flag, FlagsEnd, Kind, Matches};
use crate::globals::Globals;

/// One verb of the command line.
pub struct Command {
    /// Name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Its arguments.
    pub usage: &'static str,
    /// What is to be known besides.
    pub details: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
    /// How many arguments it takes.
    pub arity: Arity,
    /// Where its flags end.
    pub flags_end: FlagsEnd,
    /// How its failures are reported.
    pub failure: Failure,
    /// Whether it starts processes, which then could reach for this program's own file.
    pub launches: bool,
    /// Does it, and says with which code to exit.
    pub run: fn(&Call) -> Result<u8>,
}

/// How a command's failures are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The bare error, exit code 1.
    Plain,
    /// `<program> <verb> failed: …`, exit code 1.
    Named,
    /// `exec failed: …`, exit code 255.
    Exec,
}

/// One call of a command.
pub struct Call<'a> {
    /// Flags before the command.
    pub globals: &'a Globals,
    /// Flags and arguments of the command.
    pub matches: &'a Matches,
}

impl Call<'_> {
    /// The container id, the first argument of most commands.
    pub fn id(&self) -> Result<String> {
        match self.matches.argument(0) {
            Some(id) if !id.is_empty() => Ok(id),
            _ => Err(Error::new(Code::InvalidId, "container id cannot be empty")),
        }
    }
    /// The container of that id.
    pub fn container(&self) -> Result<runtime_core::Container> {
        self.globals.runtime()?.container(&self.id()?)
    }
}

/// A refusal of what the command line asks for.
pub fn invalid(reason: impl Into<String>) -> Error {
    Error::new(Code::InvalidConfig, reason)
}

impl Command {
    /// Says what is wrong with the number of arguments.
    pub fn check_arity(&self, arguments: usize) -> Result<(), String> {
        let name = self.name;
        match self.arity {
            Arity::Exactly(count) if arguments != count => {
                Err(format!("oci-rt: \"{name}\" requires exactly {count} argument(s)"))
            }
            Arity::AtLeast(count) if arguments < count => Err(format!(
                "oci-rt: \"{name}\" requires a minimum of {count} argument(s)"
            )),
            _ => Ok(()),
        }
    }

    /// What goes before the text of an error.
    pub fn prefix(&self, program: &str) -> String {
        match self.failure {
            Failure::Plain => String::new(),
            Failure::Named => format!("{program} {} failed: ", self.name),
            Failure::Exec => "exec failed: ".to_owned(),
        }
    }

    /// Exit code of an error.
    pub fn failure_code(&self) -> u8 {
        if self.failure == Failure::Exec { 255 } else { 1 }
    }

    /// The text of `--help`.
    pub fn help(&self) -> String {
        let mut text = format!(
            "NAME:\n   oci-rt {} - {}\n\nUSAGE:\n   oci-rt {}",
            self.name, self.about, self.name
        );
        if self.flags.iter().any(|flag| !flag.hidden) {
            text.push_str(" [command options]");
        }
        let _ = writeln!(text, " {}", self.usage);
        if !self.details.is_empty() {
            let _ = write!(text, "\nDESCRIPTION:\n{}\n", indented(self.details));
        }
        let options = options(self.flags);
        if !options.is_empty() {
            let _ = write!(text, "\nOPTIONS:\n{options}");
        }
        text
    }
}

fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.is_empty() {
            String::new()
        } else {
            format!("   {line}")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A line for every flag that is shown, in two columns.
pub fn options(flags: &[Flag]) -> String {
    let left = |flag: &Flag| {
        let value = if flag.kind == Kind::Switch { "" } else { " value" };
        let short = flag
            .short
            .map(|short| format!(", -{short}{value}"))
            .unwrap_or_default();
        format!("--{}{value}{short}", flag.name)
    };
    let shown: Vec<&Flag> = flags.iter().filter(|flag| !flag.hidden).collect();
    let width = shown.iter().map(|flag| left(flag).len()).max().unwrap_or(0);
    let mut text = String::new();
    for flag in shown {
        let mut help = flag.help.lines();
        let _ = writeln!(
            text,
            "   {:width$}  {}",
            left(flag),
            help.next().unwrap_or_default()
        );
        for line in help {
            let _ = writeln!(text, "   {:width$}  {line}", "");
        }
    }
    text
}
