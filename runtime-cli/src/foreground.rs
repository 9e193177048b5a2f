//! A process that runs in the foreground: it has our terminal and our signals, and we have its exit code.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use runtime_core::{Error, Result, Running};

use crate::signals::Signals;
use crate::terminal::{RawMode, Relay};

/// What is held while a process is in the foreground.
#[derive(Debug)]
pub struct Foreground {
    signals: Signals,
    console: Option<(Relay, Option<RawMode>)>,
}

impl Foreground {
    /// To be called before the process is made, so that no signal is lost. As `subreaper` we inherit what the
    /// process leaves behind outside of a pid namespace, and reap it.
    pub fn prepare(subreaper: bool) -> Result<Foreground> {
        let signals = Signals::hold()?;
        if subreaper {
            nix::sys::prctl::set_child_subreaper(true)
                .map_err(|errno| Error::sys("become subreaper", errno as i32))?;
        }
        Ok(Foreground {
            signals,
            console: None,
        })
    }

    /// Connects the master of the process's console with our terminal.
    pub fn connect(&mut self, console: OwnedFd) -> Result<()> {
        let relay = Relay::new(console)?;
        relay.resize();
        self.console = Some((relay, RawMode::enter()?));
        Ok(())
    }

    /// Waits for the end of the process; its exit code, or 128 and the number of the signal that ended it.
    pub fn wait(mut self, process: &Running) -> Result<u8> {
        loop {
            let watched = [self.signals.descriptor(), process.pidfd()];
            let [signalled, ended] = match &mut self.console {
                Some((relay, _)) => relay.step(watched)?,
                None => readable(watched)?,
            };
            if signalled {
                self.pass_signals(process);
            }
            if ended {
                break;
            }
        }
        let status = process.wait()?;
        if let Some((relay, _raw_mode)) = self.console {
            relay.finish();
        }
        Ok(exit_code(status))
    }

    fn pass_signals(&self, process: &Running) {
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGCHLD => reap_others(process.pid()),
                libc::SIGWINCH => {
                    if let Some((relay, _)) = &self.console {
                        relay.resize();
                    }
                }
                // Those are about our own use of pipes and terminals.
                libc::SIGPIPE | libc::SIGTTIN | libc::SIGTTOU => {}
                // It fails when the process has just ended, which is seen next.
                other => drop(process.signal(other)),
            }
        }
    }
}

fn readable<const N: usize>(watched: [BorrowedFd<'_>; N]) -> Result<[bool; N]> {
    let mut fds = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(fds.map(|fd| fd.any().unwrap_or(false))),
        Err(errno) => Err(Error::sys("wait for the process", errno as i32)),
    }
}

/// Reaps children that we inherited; the process itself is left for its own `wait`.
fn reap_others(process: i32) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Some(pid) = waitid(Id::All, flags).ok().and_then(|status| status.pid()) {
        if pid == Pid::from_raw(process) || waitpid(pid, None).is_err() {
            return;
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        for (raw, expected) in [
            (0, 0),
            (7 << 8, 7),
            (255 << 8, 255),
            (9, 137),
            (15, 143),
            (11 | 0x80, 139),
        ] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), expected);
        }
    }
}
