//! How many system calls a command makes, with all processes that it starts.

use std::collections::HashMap;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::contender::Contender;
use crate::sys;

/// The calls of the command itself and those inside the container count alike: both are the runtime's doing, but
/// for the few of the program.
pub fn count(contender: &Contender, mut command: Command) -> Result<u64, String> {
    let fail = |errno: Errno| format!("ptrace: {errno}");
    sys::trace_from_exec(&mut command);
    let child = contender.spawn(&mut command)?;
    let first = Pid::from_raw(child.id() as i32);
    waitpid(first, None).map_err(fail)?;
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(first, options).map_err(fail)?;
    ptrace::syscall(first, None).map_err(fail)?;

    let mut calls = 0;
    // Whether the process is between the entry and the exit of a call.
    let mut inside: HashMap<Pid, bool> = HashMap::new();
    // All that it has started ends before it does.
    let code = loop {
        let status = waitpid(None, Some(WaitPidFlag::__WALL)).map_err(fail)?;
        let Some(pid) = status.pid() else { continue };
        let signal = match status {
            WaitStatus::PtraceSyscall(_) => {
                let inside = inside.entry(pid).or_default();
                *inside = !*inside;
                calls += u64::from(*inside);
                None
            }
            WaitStatus::Stopped(_, signal) if signal != nix::sys::signal::Signal::SIGSTOP => Some(signal),
            WaitStatus::Exited(_, status) if pid == first => break status,
            WaitStatus::Signaled(_, signal, _) if pid == first => break 128 + signal as i32,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            _ => None,
        };
        match ptrace::syscall(pid, signal) {
            // It was killed meanwhile; its end is still to come.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(fail(errno)),
        }
    };
    if code == 0 {
        Ok(calls)
    } else {
        Err(format!("exit code {code}: {}", contender.last_words()))
    }
}
