//! Records the system calls of every process that a command makes, from its birth up to its first exec.

use std::collections::{BTreeMap, HashSet};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::sys;
use crate::trace::{resume, thread_group};

/// System calls by process, in the order in which the processes were made.
pub type Calls = BTreeMap<i32, Vec<u64>>;

/// Runs `command` to its end; the calls of its children, the exec included, which is where each is let go.
pub fn children(command: &mut Command) -> Result<Calls, String> {
    sys::trace_me(command);
    let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let main = Pid::from_raw(child.id() as i32);
    let mut recorder = Recorder {
        main,
        calls: Calls::new(),
        known: HashSet::new(),
        free: HashSet::new(),
    };
    let code = recorder.follow()?;
    // Whoever has not come to an exec by now is not waited for.
    for pid in recorder.calls.keys().filter(|pid| !recorder.free.contains(pid)) {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    if code != 0 {
        return Err(format!("{command:?} ended with {code}"));
    }
    Ok(recorder.calls)
}

struct Recorder {
    main: Pid,
    calls: Calls,
    known: HashSet<Pid>,
    free: HashSet<i32>,
}

impl Recorder {
    fn follow(&mut self) -> Result<i32, String> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Err(Errno::EINTR) => continue,
                other => other.map_err(|errno| format!("wait for the tracee: {errno}"))?,
            };
            match status {
                WaitStatus::Exited(pid, code) if pid == self.main => return Ok(code),
                WaitStatus::Signaled(pid, signal, _) if pid == self.main => return Ok(128 + signal as i32),
                WaitStatus::PtraceSyscall(pid) => self.at_call(pid)?,
                WaitStatus::PtraceEvent(pid, ..) => resume(pid, None)?,
                WaitStatus::Stopped(pid, signal) => self.at_signal(pid, signal)?,
                _ => {}
            }
        }
    }

    fn at_call(&mut self, pid: Pid) -> Result<(), String> {
        let call = match ptrace::syscall_info(pid) {
            Ok(info) => sys::entered(&info),
            Err(Errno::ESRCH) => return Ok(()),
            Err(errno) => return Err(format!("ask for the system call: {errno}")),
        };
        if let (Some(call), Some(calls)) = (call, self.calls.get_mut(&pid.as_raw())) {
            calls.push(call);
            if [libc::SYS_execve, libc::SYS_execveat].contains(&(call as i64)) {
                self.free.insert(pid.as_raw());
                return detach(pid);
            }
        }
        resume(pid, None)
    }

    fn at_signal(&mut self, pid: Pid, signal: Signal) -> Result<(), String> {
        if !self.known.insert(pid) {
            return resume(pid, Some(signal));
        }
        if pid == self.main {
            let options = Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_EXITKILL;
            ptrace::setoptions(pid, options).map_err(|errno| format!("trace: {errno}"))?;
        } else if thread_group(pid) == Some(pid) {
            self.calls.insert(pid.as_raw(), Vec::new());
        }
        resume(pid, None)
    }
}

fn detach(pid: Pid) -> Result<(), String> {
    match ptrace::detach(pid, None) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(format!("let go of {pid}: {errno}")),
    }
}
