//! `start`: lets the process of a created container run.

use runtime_core::Result;

use crate::args::{Arity, FlagsEnd};
use crate::command::{Call, Command, Failure};
use crate::guard;

/// The command.
pub const COMMAND: Command = Command {
    name: "start",
    about: "start the process of a created container",
    usage: "<container-id>",
    details: "",
    flags: &[],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

fn run(call: &Call) -> Result<u8> {
    // Without hooks inside the container nothing is started here that could reach for this program.
    call.container()?.start_guarded(guard::enter)?;
    Ok(0)
}
