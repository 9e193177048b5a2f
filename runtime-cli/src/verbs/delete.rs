//! `delete`: removes a container that is not running.

use runtime_core::Result;

use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure};

/// The command.
pub const COMMAND: Command = Command {
    name: "delete",
    about: "delete a container and all that is held for it",
    usage: "<container-id>",
    details: "",
    flags: &[Flag::switch(
        "force",
        "kill the container first if it is running; one that does not exist is no error",
    )
    .short("f")],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

fn run(call: &Call) -> Result<u8> {
    if call.matches.switch("force") {
        call.globals.runtime()?.remove(&call.id()?)?;
    } else {
        call.container()?.delete()?;
    }
    Ok(0)
}
