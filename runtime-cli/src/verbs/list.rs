//! `list`: shows the containers of the state root.

use std::io::Write;

use runtime_core::{Result, State};

use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure, invalid};
use crate::output;

/// The command.
pub const COMMAND: Command = Command {
    name: "list",
    about: "list the containers of the state root",
    usage: "",
    details: "",
    flags: &[
        Flag::text("format", "table or json (default: table)").short("f"),
        Flag::switch("quiet", "only the ids").short("q"),
    ],
    arity: Arity::Exactly(0),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

fn run(call: &Call) -> Result<u8> {
    let format = call
        .matches
        .string("format")
        .unwrap_or_else(|| "table".to_owned());
    if !["table", "json"].contains(&format.as_str()) {
        return Err(invalid("invalid format option").operand(format));
    }
    let mut states = Vec::new();
    for (id, state) in call.globals.runtime()?.list()? {
        match state {
            Ok(state) => states.push(state),
            // The others are listed nevertheless. Standard error that is closed cannot be helped.
            Err(error) => drop(writeln!(std::io::stderr(), "load container {id}: {error}")),
        }
    }
    if call.matches.switch("quiet") {
        output::write(
            &states
                .iter()
                .map(|state| format!("{}\n", state.id))
                .collect::<String>(),
        )?;
    } else if format == "json" {
        // Without containers Go programs write null, which others have learnt to expect.
        output::json(&(!states.is_empty()).then_some(states))?;
    } else {
        output::write(&table(&states))?;
    }
    Ok(0)
}

fn table(states: &[State]) -> String {
    let row = |state: &State| {
        let bundle = state.bundle.to_string_lossy().into_owned();
        let (pid, status) = (state.pid.to_string(), state.status.as_str().to_owned());
        vec![
            state.id.clone(),
            pid,
            status,
            bundle,
            state.created.clone(),
            state.owner.clone(),
        ]
    };
    let rows: Vec<_> = states.iter().map(row).collect();
    output::table(&["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], &rows)
}
