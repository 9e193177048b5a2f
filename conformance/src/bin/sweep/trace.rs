//! Runs a command up to its Nth system call, and kills it there.
//!
//! All threads of the command are followed, also through execve. Processes that it makes are not: without
//! PTRACE_O_TRACEFORK they run free, and one that looked like a thread to the kernel is let go at its first stop.

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::sys;

/// How a traced run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was killed when it was about to make this system call.
    Killed {
        /// Number of the system call.
        call: u64,
    },
    /// It ended by itself after this many system calls, with this code (128 + n after a signal).
    Finished {
        /// How many system calls it made.
        calls: usize,
        /// How it ended.
        code: i32,
    },
    /// It neither ended nor came to the point in time.
    Hung,
}

/// Runs `command` and kills it at the entry of its system call number `point`, counted from 1 after the first exec.
pub fn run(command: &mut Command, point: usize, deadline: Duration) -> Result<End, String> {
    sys::trace_me(command);
    let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let main = Pid::from_raw(child.id() as i32);
    let start = Instant::now();
    let (stop, stopped) = mpsc::channel::<()>();
    // Only a second thread can end a wait for a tracee that does nothing any more.
    let watchdog = thread::spawn(move || {
        if stopped.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(main, Signal::SIGKILL);
        }
    });
    let end = Tracer {
        main,
        point,
        calls: 0,
        known: HashSet::new(),
        killed: None,
    }
    .follow();
    drop(stop);
    let _ = watchdog.join();
    match end? {
        End::Finished { .. } if start.elapsed() >= deadline => Ok(End::Hung),
        end => Ok(end),
    }
}

struct Tracer {
    main: Pid,
    point: usize,
    calls: usize,
    known: HashSet<Pid>,
    killed: Option<u64>,
}

impl Tracer {
    fn follow(&mut self) -> Result<End, String> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Err(Errno::EINTR) => continue,
                other => other.map_err(|errno| format!("wait for the tracee: {errno}"))?,
            };
            match status {
                WaitStatus::Exited(pid, code) if pid == self.main => return Ok(self.ended(code)),
                WaitStatus::Signaled(pid, signal, _) if pid == self.main => {
                    return Ok(self.ended(128 + signal as i32));
                }
                WaitStatus::PtraceSyscall(pid) => self.at_call(pid)?,
                WaitStatus::PtraceEvent(pid, ..) => resume(pid, None)?,
                WaitStatus::Stopped(pid, signal) => self.at_signal(pid, signal)?,
                // Threads that ended, and orphans: we are the reaper of this pid namespace.
                _ => {}
            }
        }
    }

    fn ended(&self, code: i32) -> End {
        match self.killed {
            Some(call) => End::Killed { call },
            None => End::Finished {
                calls: self.calls,
                code,
            },
        }
    }

    fn at_call(&mut self, pid: Pid) -> Result<(), String> {
        match ptrace::syscall_info(pid) {
            Err(Errno::ESRCH) => return Ok(()),
            Err(errno) => return Err(format!("ask for the system call: {errno}")),
            Ok(info) => {
                if let Some(call) = sys::entered(&info) {
                    self.calls += 1;
                    if self.calls == self.point {
                        self.killed = Some(call);
                        return kill(self.main, Signal::SIGKILL)
                            .map_err(|errno| format!("kill the tracee: {errno}"));
                    }
                }
            }
        }
        resume(pid, None)
    }

    /// The first stop of the command, the first stop of a new thread, or a signal on its way.
    fn at_signal(&mut self, pid: Pid, signal: Signal) -> Result<(), String> {
        if self.known.insert(pid) {
            if pid == self.main {
                let options = Options::PTRACE_O_TRACESYSGOOD
                    | Options::PTRACE_O_TRACECLONE
                    | Options::PTRACE_O_TRACEEXEC
                    | Options::PTRACE_O_EXITKILL;
                ptrace::setoptions(pid, options).map_err(|errno| format!("trace: {errno}"))?;
                return resume(pid, None);
            }
            if thread_group(pid) != Some(self.main) {
                return match ptrace::detach(pid, None) {
                    Ok(()) | Err(Errno::ESRCH) => Ok(()),
                    Err(errno) => Err(format!("let go of {pid}: {errno}")),
                };
            }
            return resume(pid, None);
        }
        resume(pid, Some(signal))
    }
}

/// Lets a tracee go on to its next system call.
pub fn resume(pid: Pid, signal: Option<Signal>) -> Result<(), String> {
    match ptrace::syscall(pid, signal) {
        // The tracee was killed meanwhile; the wait will tell.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(format!("resume the tracee: {errno}")),
    }
}

/// The process that a thread belongs to.
pub fn thread_group(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

/// Runs `command` untraced, for `deadline` at most; its exit code (128 + n after a signal), `None` when it had to be
/// killed.
///
/// Orphans are reaped meanwhile, as any init does: a container's pid namespace does not end before that.
pub fn plain(command: &mut Command, deadline: Duration) -> Result<Option<i32>, String> {
    let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let pid = Pid::from_raw(child.id() as i32);
    let start = Instant::now();
    let mut late = false;
    let mut pause = Duration::from_micros(200);
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(ended, code)) if ended == pid => return Ok((!late).then_some(code)),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => {
                return Ok((!late).then_some(128 + signal as i32));
            }
            Ok(WaitStatus::StillAlive) => {
                if !late && start.elapsed() > deadline {
                    late = true;
                    kill(pid, Signal::SIGKILL).map_err(|errno| format!("kill {command:?}: {errno}"))?;
                }
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
            Ok(_) => {}
            Err(errno) => return Err(format!("wait for {command:?}: {errno}")),
        }
    }
}

/// Reaps every orphan that has ended.
pub fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
