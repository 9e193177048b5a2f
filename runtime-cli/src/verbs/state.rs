//! `state`: says as JSON what a container is.

use runtime_core::{Result, State};

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
    // runc names the owner only in its list, and leaves the field empty here.
    let state = State {
        owner: String::new(),
        ..call.container()?.state()?
    };
    output::pretty_json(&state, "  ")?;
    Ok(0)
}
