//! `explain`: shows what would be done for a bundle, in order, without doing it.

use std::path::Path;

use runtime_core::{Bundle, CreateOptions, Explained, Result};

use super::create::{NO_NEW_KEYRING, NO_PIVOT};
use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure, invalid};
use crate::output;

/// The command.
pub const COMMAND: Command = Command {
    name: "explain",
    about: "show what would be done for a bundle, step by step",
    usage: "<bundle>",
    details: "Nothing is done. A line is a step: who takes it (the runtime, or init, which then becomes the\n\
              container's process), what it is, what it works on, and how.",
    flags: &[
        Flag::text("format", "text or json (default: text)").short("f"),
        Flag::text(
            "id",
            "the container's id, where steps depend on it (default: example)",
        ),
        NO_PIVOT,
        NO_NEW_KEYRING,
    ],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

fn run(call: &Call) -> Result<u8> {
    let matches = call.matches;
    let bundle = Bundle::load(Path::new(&matches.arguments[0]))?;
    let options = CreateOptions {
        no_pivot: matches.switch("no-pivot"),
        no_new_keyring: matches.switch("no-new-keyring"),
        ..CreateOptions::default()
    };
    let id = matches.string("id").unwrap_or_else(|| "example".to_owned());
    let steps = call.globals.runtime()?.explain(&id, &bundle, &options)?;
    match matches.string("format").as_deref() {
        None | Some("text") => output::write(&text(&steps))?,
        Some("json") => output::pretty_json(&steps, "  ")?,
        Some(other) => return Err(invalid("invalid format option").operand(other)),
    }
    Ok(0)
}

/// Numbered lines in columns; what is longer than its column pushes the rest of its line along.
fn text(steps: &[Explained]) -> String {
    let number = steps.len().to_string().len();
    let by = steps.iter().map(|step| step.by.len()).max().unwrap_or(0);
    let name = steps.iter().map(|step| step.step.len()).max().unwrap_or(0);
    let operand = steps
        .iter()
        .map(|step| step.operand.len())
        .max()
        .unwrap_or(0)
        .min(36);
    let line = |(at, step): (usize, &Explained)| {
        let columns = format!(
            "{:number$}  {:by$}  {:name$}  {:operand$}  {}",
            at + 1,
            step.by,
            step.step,
            step.operand,
            step.detail
        );
        format!("{}\n", columns.trim_end())
    };
    steps.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_step() {
        let step = |by, step: &str, operand: &str, detail: &str| Explained {
            by,
            step: step.to_owned(),
            operand: operand.to_owned(),
            detail: detail.to_owned(),
        };
        let steps = [
            step("runtime", "cgroup", "/x", "pids"),
            step("init", "mount", "/proc", ""),
        ];
        assert_eq!(
            text(&steps),
            "1  runtime  cgroup  /x     pids\n2  init     mount   /proc\n"
        );
    }
}
