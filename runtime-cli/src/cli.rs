//! From the command line to a command's exit code.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use runtime_core::Error;

use crate::args::{Flag, FlagsEnd, Refusal, parse};
use crate::command::{Call, Command, options};
use crate::globals::{self, Globals};
use crate::log::{Format, Log};
use crate::{descriptors, guard, output, verbs};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Newest version of the runtime-spec that is understood.
pub const SPEC_VERSION: &str = "1.3.0";
/// The commit that this program was built from.
pub const COMMIT: &str = env!("OCI_RT_COMMIT");

/// Runs the command that `line` asks for and returns the exit code.
pub fn run(line: Vec<OsString>) -> u8 {
    let program = program_name(&line);
    let mut words = line.into_iter();
    words.next();
    let matches = match parse(globals::FLAGS, FlagsEnd::FirstArgument, words) {
        Ok(matches) => matches,
        Err(Refusal::Help) => return print(&overview(program)),
        Err(Refusal::Wrong(reason)) => {
            return misuse(
                &Log::stderr(Format::Text),
                &reason,
                Some(&reason),
                &overview(program),
            );
        }
    };
    if matches.switch("version") {
        return print(&format!("{program} version {}", version()));
    }
    let globals = match Globals::new(&matches) {
        Ok(globals) => globals,
        Err(error) => return fail(&Log::stderr(Format::Text), &error),
    };
    let mut arguments = matches.arguments.into_iter();
    let name = match arguments.next() {
        None => return print(&overview(program)),
        Some(name) if name == "help" || name == "h" => match arguments.next() {
            None => return print(&overview(program)),
            Some(about) => match find(&about) {
                Some(command) => return print(&command.help()),
                None => about,
            },
        },
        Some(name) => name,
    };
    let Some(command) = find(&name) else {
        let reason = format!("unknown command {:?}", name.to_string_lossy());
        return misuse(
            &Log::stderr(Format::Text),
            &reason,
            Some(&reason),
            &overview(program),
        );
    };
    call(program, &globals, command, arguments)
}

fn call(program: &str, globals: &Globals, command: &Command, words: impl Iterator<Item = OsString>) -> u8 {
    let parsed = parse(command.flags, command.flags_end, words);
    if parsed == Err(Refusal::Help) {
        return print(&command.help());
    }
    let guarded = if command.launches { guard::enter() } else { Ok(()) };
    // Before anything else is opened: a descriptor that is missing must not be taken for one of ours.
    let missing = parsed
        .as_ref()
        .ok()
        .and_then(|matches| descriptors::check(command, matches).err());
    let log = match &globals.log {
        None => Log::stderr(globals.format),
        Some(path) => match Log::open(path, globals.format) {
            Ok(log) => log,
            Err(error) => return fail(&Log::stderr(globals.format), &error),
        },
    };
    log.subscribe(globals.debug);
    let matches = match parsed {
        Ok(matches) => matches,
        Err(Refusal::Wrong(reason)) => return misuse(&log, &reason, Some(&reason), &command.help()),
        Err(Refusal::Help) => return print(&command.help()),
    };
    if let Err(reason) = command.check_arity(matches.arguments.len()) {
        return misuse(&log, &reason, None, &command.help());
    }
    let outcome = match (guarded, missing) {
        (Err(error), _) | (_, Some(error)) => Err(error),
        (Ok(()), None) => (command.run)(&Call {
            globals,
            matches: &matches,
        }),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            log.fatal(&format!("{}{error}", command.prefix(program)), Some(&error));
            command.failure_code()
        }
    }
}

fn find(name: &OsString) -> Option<&'static Command> {
    verbs::COMMANDS
        .iter()
        .find(|command| name.as_bytes() == command.name.as_bytes())
        .copied()
}

/// `runc` when called by that name, for callers that look at the first word of the version.
fn program_name(line: &[OsString]) -> &'static str {
    let runc = line
        .first()
        .is_some_and(|word| word.as_bytes().rsplit(|byte| *byte == b'/').next() == Some(b"runc"));
    if runc { "runc" } else { "oci-rt" }
}

fn fail(log: &Log, error: &Error) -> u8 {
    log.fatal(&error.to_string(), Some(error));
    1
}

/// Reports a wrong command line: its reason to the log, the help to standard output.
fn misuse(log: &Log, reason: &str, shown: Option<&str>, help: &str) -> u8 {
    let heading = match shown {
        Some(shown) => format!("Incorrect Usage: {shown}\n\n"),
        None => "Incorrect Usage.\n\n".to_owned(),
    };
    print(&format!("{heading}{help}"));
    log.fatal(reason, None);
    1
}

/// Writes to standard output. A reader that went away makes the command fail, without a word.
fn print(text: &str) -> u8 {
    u8::from(output::write(text).is_err())
}

fn version() -> String {
    format!("{VERSION}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n")
}

fn overview(program: &str) -> String {
    let mut text = String::from(
        "NAME:\n   oci-rt - runs containers from OCI bundles\n\n\
         USAGE:\n   oci-rt [global options] command [command options] [arguments...]\n\n\
         EXAMPLES:\n   oci-rt run BUNDLE/             run the bundle in the directory BUNDLE, then forget it\n   \
         oci-rt run -b BUNDLE ID        the same under the name ID\n   \
         oci-rt explain BUNDLE          show what would be done, step by step\n\n",
    );
    let _ = write!(text, "VERSION:\n   {program} {}\nCOMMANDS:\n", version());
    let width = verbs::COMMANDS
        .iter()
        .map(|command| command.name.len())
        .max()
        .unwrap_or(0);
    for command in verbs::COMMANDS {
        let _ = writeln!(text, "   {:width$}  {}", command.name, command.about);
    }
    let _ = writeln!(
        text,
        "   {:width$}  show this list, or the help of one command",
        "help, h"
    );
    let mut flags = globals::FLAGS.to_vec();
    flags.push(Flag::switch("help", "show help").short("h"));
    let _ = write!(text, "\nGLOBAL OPTIONS:\n{}", options(&flags));
    text
}

/// For tests: reads a command's line as `call` does.
#[cfg(test)]
pub fn matches(command: &Command, line: &[&str]) -> Result<crate::args::Matches, Refusal> {
    parse(command.flags, command.flags_end, line.iter().map(OsString::from))
}
