//! A process that this program made: what can be done with it beyond what its container allows anybody.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::identity::has_ended;
use super::{Container, Opened, Status};
use crate::error::{At, Error, Result};
use crate::launch::Process;
use crate::sys::pidfd;

/// A container whose process waits to be started.
///
/// When it is dropped the container stays, to be started or deleted by anybody who knows its id.
///
/// ```no_run
/// use runtime_core::{Bundle, CreateOptions, Runtime};
/// # fn main() -> runtime_core::Result<()> {
/// let runtime = Runtime::new("/run/example")?;
/// let created = runtime.create("web", &Bundle::load("/bundles/web")?, CreateOptions::default())?;
/// println!("process {} waits", created.pid());
/// let status = created.start()?.wait()?;
/// println!("{status}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Created {
    pub(super) container: Container,
    pub(super) process: Process,
    pub(super) opened: Opened,
}

impl Created {
    /// The process id, as the caller's pid namespace sees it.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// A descriptor of the process, see pidfd_open(2).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }

    /// Takes the master of the console, when the process has a terminal.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.process.console.take()
    }

    /// The container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Starts the process.
    pub fn start(self) -> Result<Running> {
        let Opened { dir, saved, cgroup } = &self.opened;
        let lock = dir.lock()?;
        let now = match has_ended(self.pidfd())? {
            true => (Status::Stopped, None),
            false => super::status(dir, cgroup),
        };
        self.container.start_at(dir, lock, saved, now, || Ok(()))?;
        Ok(Running {
            container: self.container,
            process: self.process,
            opened: Some(self.opened),
        })
    }
}

/// A process that was started: the container's own, or one that was executed in it.
///
/// Only the program that made it is its parent and can wait for it. The process goes on when this is dropped.
#[derive(Debug)]
pub struct Running {
    pub(super) container: Container,
    pub(super) process: Process,
    /// For the container's own process.
    pub(super) opened: Option<Opened>,
}

impl Running {
    /// The process id, as the caller's pid namespace sees it.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// A descriptor of the process, see pidfd_open(2).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }

    /// Takes the master of the console, when the process has a terminal.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.process.console.take()
    }

    /// The container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Sends a signal to this process.
    pub fn signal(&self, signal: i32) -> Result<()> {
        pidfd::send_signal(self.pidfd(), signal).at("signal process")
    }

    /// Waits for the end of the process and reaps it. Other children of the caller are left alone.
    pub fn wait(&self) -> Result<ExitStatus> {
        loop {
            match waitid(Id::PIDFd(self.pidfd()), WaitPidFlag::WEXITED) {
                Err(Errno::EINTR) => {}
                status => return exit_status(status.at("wait for process")?),
            }
        }
    }

    /// Removes the container as [`Container::delete`] does, after its own process was waited for: that much need not
    /// be found out again. And only this container: one that got the name later stays.
    pub fn delete(self) -> Result<()> {
        match self.opened {
            Some(opened) if has_ended(self.process.pidfd.as_fd())? => self.container.remove_stopped(opened),
            _ => self.container.delete(),
        }
    }

    /// As [`wait`](Self::wait), for `timeout` at most; `None` when the process still runs then.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if pidfd::ended(self.pidfd(), Some(left)) {
                return self.wait().map(Some);
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// As [`wait`](Self::wait), without blocking the thread. Needs a tokio runtime with I/O.
    ///
    /// Nothing is lost when the future is dropped: it can be called again.
    #[cfg(feature = "tokio")]
    pub async fn wait_async(&self) -> Result<ExitStatus> {
        let pidfd = self.pidfd().try_clone_to_owned().at("duplicate pidfd")?;
        let pidfd = pidfd::registered(pidfd).at("register pidfd with tokio")?;
        // Readable once the process has ended, for good.
        let _ready = pidfd.readable().await.at("wait for process")?;
        self.wait()
    }
}

fn exit_status(status: WaitStatus) -> Result<ExitStatus> {
    match status {
        WaitStatus::Exited(_, code) => Ok(ExitStatus::from_raw((code & 0xff) << 8)),
        WaitStatus::Signaled(_, signal, core) => {
            Ok(ExitStatus::from_raw(signal as i32 | if core { 0x80 } else { 0 }))
        }
        _ => Err(Error::sys("wait for process", libc::EPROTO)),
    }
}
