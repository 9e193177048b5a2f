//! `kill`: sends a signal to a container.

use runtime_core::{Code, Result};

use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure};
use crate::signals;

/// The command.
pub const COMMAND: Command = Command {
    name: "kill",
    about: "send a signal to the process of a container",
    usage: "<container-id> [signal]",
    details: "The signal is a number, or a name with or without SIG, as in KILL, SIGKILL or RTMIN+3; it is TERM\n\
              when none is given.",
    flags: &[Flag::switch("all", "send it to every process of the container")
        .short("a")
        .hidden()],
    arity: Arity::AtLeast(1),
    flags_end: FlagsEnd::FirstArgument,
    failure: Failure::Plain,
    launches: false,
    run,
};

fn run(call: &Call) -> Result<u8> {
    let container = call.container()?;
    let signal = match call.matches.argument(1) {
        None => libc::SIGTERM,
        Some(name) => signals::number(&name)?,
    };
    if !call.matches.switch("all") {
        container.kill(signal)?;
        return Ok(0);
    }
    match container.kill_all(signal) {
        // Whoever asks for all of them wants none to be left, and none is.
        Err(error) if error.code() == Code::NotRunning => Ok(0),
        other => other.map(|()| 0),
    }
}
