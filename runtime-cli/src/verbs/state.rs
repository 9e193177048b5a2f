//! `state`: says as JSON what a container is.

use runtime_core::Result;

use crate::args::{Arity, FlagsEnd};
use crate::command::{Call, Command, Failure};
use crate::output;

/// The command.
pub const COMMAND: Command = Command {
    name: "state",
    about: "output the state of a container",
    usage: "<container-id>",
    details: "Writes the state as JSON, as the runtime-spec defines it.",
    flags: &[],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

fn run(call: &Call) -> Result<u8> {
    output::pretty_json(&call.container()?.state()?, "  ")?;
    Ok(0)
}
