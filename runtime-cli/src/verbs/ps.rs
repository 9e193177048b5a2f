//! `ps`: shows the processes of a container.

use std::process::{Command as Program, Stdio};

use runtime_core::{Code, Error, Result};

use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure, invalid};
use crate::output;

/// The command.
pub const COMMAND: Command = Command {
    name: "ps",
    about: "show the processes of a container",
    usage: "<container-id> [ps options]",
    details: "The table is what ps(1) shows of them, called as `ps -ef` or with the options given; those must\n\
              keep the column PID.",
    flags: &[Flag::text("format", "table or json (default: table)").short("f")],
    arity: Arity::AtLeast(1),
    flags_end: FlagsEnd::FirstArgument,
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
    let pids = call.container()?.processes()?;
    if format == "json" {
        output::json(&pids)?;
        return Ok(0);
    }
    let mut program = Program::new("ps");
    match &call.matches.arguments[1..] {
        [] => program.arg("-ef"),
        options => program.args(options),
    };
    let failed = |error: std::io::Error| match error.raw_os_error() {
        Some(libc::ENOENT) => Error::new(Code::Executable, "run")
            .operand("ps")
            .reason("executable file not found in $PATH")
            .hint("`ps --format json` does without it"),
        errno => Error::sys("run", errno.unwrap_or(libc::EIO)).operand("ps"),
    };
    let shown = program
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed)?;
    if !shown.status.success() {
        return Err(Error::new(Code::System, "run")
            .operand("ps")
            .reason(shown.status.to_string()));
    }
    output::write(&filtered(&String::from_utf8_lossy(&shown.stdout), &pids)?)?;
    Ok(0)
}

/// The heading, and the lines of these processes.
fn filtered(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|name| name == "PID") else {
        return Err(invalid("couldn't find PID field in ps output"));
    };
    let mut text = format!("{heading}\n");
    for line in lines {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "UID        PID  PPID CMD\nroot         1     0 init\nroot        17     1 a 17\nroot       170    17 b\n";

    #[test]
    fn lines_are_chosen_by_the_pid_column() {
        let shown = filtered(TABLE, &[17]).unwrap();
        assert_eq!(shown, "UID        PID  PPID CMD\nroot        17     1 a 17\n");
        assert_eq!(filtered(TABLE, &[]).unwrap(), "UID        PID  PPID CMD\n");
        assert_eq!(filtered("  PID\n    1\n", &[1]).unwrap(), "  PID\n    1\n");
        assert!(filtered("COMMAND\nx\n", &[1]).is_err());
    }
}
