//! The command line, read as callers of runc write it.
//!
//! Long flags may have one dash or two, a value follows after `=` or as the next argument, a flag that is given
//! twice counts as given last. Flags and arguments mix freely, except in commands that run someone else's
//! command line (`exec`, `ps`, `kill`): there the first argument ends the flags.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::units;

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true` and `=false`.
    Switch,
    /// Any text.
    Text,
    /// A decimal number.
    Number,
    /// A time span such as `5s` or `1m30s`.
    Span,
}

/// One flag of a command.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Name, without dashes.
    pub name: &'static str,
    /// Name of one letter, if it has one.
    pub short: Option<&'static str>,
    /// What follows it.
    pub kind: Kind,
    /// What `--help` says about it.
    pub help: &'static str,
    /// Accepted, but not shown by `--help`.
    pub hidden: bool,
}

impl Flag {
    /// A flag without a value.
    pub const fn switch(name: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Switch, help)
    }
    /// A flag with a text.
    pub const fn text(name: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Text, help)
    }
    /// A flag with a number.
    pub const fn number(name: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Number, help)
    }
    /// A flag with a time span.
    pub const fn span(name: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Span, help)
    }
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Flag {
        Flag {
            name,
            short: None,
            kind,
            help,
            hidden: false,
        }
    }
    /// Gives it a name of one letter.
    pub const fn short(mut self, short: &'static str) -> Flag {
        self.short = Some(short);
        self
    }
    /// Keeps it out of `--help`.
    pub const fn hidden(mut self) -> Flag {
        self.hidden = true;
        self
    }
    fn is(&self, name: &[u8]) -> bool {
        name == self.name.as_bytes() || self.short.is_some_and(|short| name == short.as_bytes())
    }
}

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
}

/// Where flags end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagsEnd {
    /// At `--`, or nowhere.
    Never,
    /// At the first argument.
    FirstArgument,
}

/// Why a command line could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It asks for help.
    Help,
    /// It is wrong, for this reason.
    Wrong(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Switch(bool),
    Text(OsString),
    Number(i64),
    Span(Duration),
}

/// A command line that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matches {
    flags: Vec<(&'static str, Value)>,
    /// What is no flag.
    pub arguments: Vec<OsString>,
}

impl Matches {
    fn last(&self, name: &str) -> Option<&Value> {
        self.flags
            .iter()
            .rev()
            .find(|(flag, _)| *flag == name)
            .map(|(_, value)| value)
    }
    /// Whether the switch is on.
    pub fn switch(&self, name: &str) -> bool {
        matches!(self.last(name), Some(Value::Switch(true)))
    }
    /// The text of a flag. An empty text counts as not given, since callers pass those through.
    pub fn text(&self, name: &str) -> Option<&OsStr> {
        match self.last(name) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
    /// The text of a flag, for the values that can only be ASCII; anything else in it turns up in the error
    /// that the value causes.
    pub fn string(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| text.to_string_lossy().into_owned())
    }
    /// The path that a flag names.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }
    /// The number of a flag.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.last(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }
    /// The time span of a flag.
    pub fn span(&self, name: &str) -> Option<Duration> {
        match self.last(name) {
            Some(Value::Span(span)) => Some(*span),
            _ => None,
        }
    }
    /// Every text of a flag that may be given more than once, in order.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a OsStr> {
        self.flags
            .iter()
            .filter(move |(flag, _)| *flag == name)
            .filter_map(|(_, value)| match value {
                Value::Text(text) => Some(text.as_os_str()),
                _ => None,
            })
    }
    /// Every number of a flag that may be given more than once, in order.
    pub fn numbers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = i64> {
        self.flags
            .iter()
            .filter(move |(flag, _)| *flag == name)
            .filter_map(|(_, value)| match value {
                Value::Number(number) => Some(*number),
                _ => None,
            })
    }
    /// The argument at `index`, as text.
    pub fn argument(&self, index: usize) -> Option<String> {
        self.arguments
            .get(index)
            .map(|argument| argument.to_string_lossy().into_owned())
    }
}

/// Reads `line` by the table `flags`. What follows the end of the flags is taken literally.
pub fn parse(
    flags: &[Flag],
    end: FlagsEnd,
    line: impl IntoIterator<Item = OsString>,
) -> Result<Matches, Refusal> {
    let mut matches = Matches::default();
    let mut line = line.into_iter();
    while let Some(word) = line.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            matches.arguments.extend(line);
            break;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            matches.arguments.push(word);
            if end == FlagsEnd::FirstArgument {
                matches.arguments.extend(line);
                break;
            }
            continue;
        }
        let body = bytes.strip_prefix(b"--").unwrap_or(&bytes[1..]);
        let (name, given) = match body.iter().position(|byte| *byte == b'=') {
            Some(at) => (&body[..at], Some(OsString::from_vec(body[at + 1..].to_vec()))),
            None => (body, None),
        };
        let Some(flag) = flags.iter().find(|flag| flag.is(name)) else {
            return Err(unknown(name, &word));
        };
        let value = value_of(flag, name, given, &mut line)?;
        matches.flags.push((flag.name, value));
    }
    Ok(matches)
}

fn unknown(name: &[u8], word: &OsStr) -> Refusal {
    match name {
        b"h" | b"help" => Refusal::Help,
        [] | [b'-', ..] => Refusal::Wrong(format!("bad flag syntax: {}", word.to_string_lossy())),
        _ => Refusal::Wrong(format!("flag provided but not defined: {}", dashed(name))),
    }
}

fn value_of(
    flag: &Flag,
    name: &[u8],
    given: Option<OsString>,
    line: &mut impl Iterator<Item = OsString>,
) -> Result<Value, Refusal> {
    if flag.kind == Kind::Switch {
        return match given.as_deref().map(OsStr::as_bytes) {
            None | Some(b"true" | b"TRUE" | b"True" | b"t" | b"T" | b"1") => Ok(Value::Switch(true)),
            Some(b"false" | b"FALSE" | b"False" | b"f" | b"F" | b"0") => Ok(Value::Switch(false)),
            Some(other) => Err(invalid(other, name, "neither true nor false")),
        };
    }
    let Some(text) = given.or_else(|| line.next()) else {
        return Err(Refusal::Wrong(format!(
            "flag needs an argument: {}",
            dashed(name)
        )));
    };
    let bytes = text.as_bytes();
    match flag.kind {
        Kind::Switch | Kind::Text => Ok(Value::Text(text)),
        Kind::Number => match text.to_str().and_then(|number| number.trim().parse().ok()) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(invalid(bytes, name, "not a number")),
        },
        Kind::Span => match text.to_str().and_then(units::span) {
            Some(span) => Ok(Value::Span(span)),
            None => Err(invalid(bytes, name, "not a time span such as 5s or 1m30s")),
        },
    }
}

fn invalid(value: &[u8], name: &[u8], reason: &str) -> Refusal {
    let value = String::from_utf8_lossy(value);
    Refusal::Wrong(format!(
        "invalid value {value:?} for flag {}: {reason}",
        dashed(name)
    ))
}

fn dashed(name: &[u8]) -> String {
    let dashes = if name.len() == 1 { "-" } else { "--" };
    format!("{dashes}{}", String::from_utf8_lossy(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::text("bundle", "").short("b"),
        Flag::switch("force", "").short("f"),
        Flag::number("gid", "").short("g"),
        Flag::span("interval", ""),
        Flag::text("env", "").short("e"),
    ];

    fn read(end: FlagsEnd, line: &[&str]) -> Result<Matches, Refusal> {
        parse(FLAGS, end, line.iter().map(OsString::from))
    }

    fn wrong(line: &[&str]) -> String {
        match read(FlagsEnd::Never, line) {
            Err(Refusal::Wrong(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_spelling_of_a_value() {
        for line in [
            &["--bundle", "/x"][..],
            &["--bundle=/x"],
            &["-bundle", "/x"],
            &["-bundle=/x"],
            &["-b", "/x"],
            &["-b=/x"],
        ] {
            let matches = read(FlagsEnd::Never, line).unwrap();
            assert_eq!(matches.path("bundle"), Some("/x".into()), "{line:?}");
            assert!(matches.arguments.is_empty(), "{line:?}");
        }
    }

    #[test]
    fn a_value_is_taken_whatever_it_looks_like() {
        let matches = read(FlagsEnd::Never, &["-b", "--force", "--env", "-", "id"]).unwrap();
        assert_eq!(matches.path("bundle"), Some("--force".into()));
        assert_eq!(matches.string("env").as_deref(), Some("-"));
        assert!(!matches.switch("force"));
        assert_eq!(matches.arguments, ["id"]);
    }

    #[test]
    fn repeated_flags() {
        let matches = read(
            FlagsEnd::Never,
            &["-b", "1", "-b=2", "-e", "A=1", "--env=B=2", "-g", "7", "-g", "8"],
        )
        .unwrap();
        assert_eq!(matches.path("bundle"), Some("2".into()));
        assert_eq!(matches.texts("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(matches.numbers("gid").collect::<Vec<_>>(), [7, 8]);
        assert!(
            !read(FlagsEnd::Never, &["-f", "--force=false"])
                .unwrap()
                .switch("force")
        );
    }

    #[test]
    fn where_flags_end() {
        let mixed = read(FlagsEnd::Never, &["id", "-f", "--", "-b"]).unwrap();
        assert!(mixed.switch("force"));
        assert_eq!(mixed.arguments, ["id", "-b"]);
        let first = read(FlagsEnd::FirstArgument, &["-f", "id", "ls", "-b", "--", "-h"]).unwrap();
        assert!(first.switch("force"));
        assert_eq!(first.arguments, ["id", "ls", "-b", "--", "-h"]);
        let dash = read(FlagsEnd::Never, &["-", "-f"]).unwrap();
        assert_eq!(dash.arguments, ["-"]);
    }

    #[test]
    fn help_wherever_it_stands() {
        for line in [
            &["-h"][..],
            &["--help"],
            &["id", "--help"],
            &["-f", "-b", "x", "-h"],
        ] {
            assert_eq!(read(FlagsEnd::Never, line), Err(Refusal::Help), "{line:?}");
        }
        assert_eq!(read(FlagsEnd::Never, &["--", "-h"]).unwrap().arguments, ["-h"]);
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(wrong(&["--bundle"]), "flag needs an argument: --bundle");
        assert_eq!(wrong(&["-b"]), "flag needs an argument: -b");
        assert_eq!(wrong(&["--nope"]), "flag provided but not defined: --nope");
        assert_eq!(wrong(&["-fb"]), "flag provided but not defined: --fb");
        assert_eq!(wrong(&["---force"]), "bad flag syntax: ---force");
        assert_eq!(
            wrong(&["-g", "x"]),
            "invalid value \"x\" for flag -g: not a number"
        );
        assert!(wrong(&["--force=maybe"]).starts_with("invalid value \"maybe\" for flag --force"));
        assert!(wrong(&["--interval", "5"]).starts_with("invalid value \"5\" for flag --interval"));
    }

    #[test]
    fn values_that_are_not_utf8() {
        let path = OsString::from_vec(b"/\xff".to_vec());
        let matches = parse(FLAGS, FlagsEnd::Never, [OsString::from("-b"), path.clone()]).unwrap();
        assert_eq!(matches.text("bundle"), Some(path.as_os_str()));
    }

    #[test]
    fn an_empty_text_is_no_text() {
        assert_eq!(
            read(FlagsEnd::Never, &["--bundle="]).unwrap().text("bundle"),
            None
        );
    }
}
