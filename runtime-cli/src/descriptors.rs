//! Open descriptors that a container's process gets from the caller: sockets of socket activation, then those
//! that `--preserve-fds` counts.

use nix::fcntl::{FcntlArg, fcntl};
use runtime_core::{Code, Error, Result};

use crate::args::Matches;
use crate::command::{Command, Failure, invalid};

/// What the process gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// How many descriptors, from 3 on.
    pub count: u32,
    /// What tells the process about them.
    pub env: Vec<String>,
}

/// Finds out what the process of `create` or `run` gets.
pub fn for_container(matches: &Matches) -> Result<Passed> {
    let mut passed = for_exec(matches)?;
    let sockets = activated();
    if sockets > 0 {
        passed.count += sockets;
        // The process is number 1 of its own pid namespace.
        passed.env = vec![format!("LISTEN_FDS={sockets}"), "LISTEN_PID=1".to_owned()];
        if let Ok(names) = std::env::var("LISTEN_FDNAMES") {
            passed.env.push(format!("LISTEN_FDNAMES={names}"));
        }
    }
    Ok(passed)
}

/// Finds out what the process of `exec` gets.
pub fn for_exec(matches: &Matches) -> Result<Passed> {
    let count = matches.number("preserve-fds").unwrap_or(0);
    match u32::try_from(count) {
        Ok(count) if count <= 1 << 20 => Ok(Passed {
            count,
            env: Vec::new(),
        }),
        _ => Err(invalid(format!(
            "invalid number of descriptors for --preserve-fds: {count}"
        ))),
    }
}

/// Makes sure that all of them are there.
pub fn check(command: &Command, matches: &Matches) -> Result<()> {
    if !command.launches {
        return Ok(());
    }
    let passed = match command.failure {
        Failure::Exec => for_exec(matches)?,
        _ => for_container(matches)?,
    };
    for number in 3..3 + passed.count {
        if !is_open(number) {
            let step = format!("pass descriptor {number} on to the container");
            let counted = format!("{} of them from 3 on were asked for", passed.count);
            return Err(Error::new(Code::InvalidConfig, step)
                .errno(libc::EBADF)
                .hint(counted));
        }
    }
    Ok(())
}

fn is_open(number: u32) -> bool {
    i32::try_from(number).is_ok_and(|number| fcntl(crate::sys::borrow(number), FcntlArg::F_GETFD).is_ok())
}

/// How many sockets the caller activated this process with.
fn activated() -> u32 {
    let read = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u32>().ok())
    };
    if read("LISTEN_PID").is_some_and(|pid| pid == std::process::id()) {
        read("LISTEN_FDS").unwrap_or(0).min(1 << 20)
    } else {
        0
    }
}
