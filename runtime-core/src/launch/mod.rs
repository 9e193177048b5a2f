//! From program to process: clone3, the points at which the child waits, and what an error of a step means.

mod failure;
mod limits;
mod socket;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use runtime_init::Point;

use crate::error::{At, Code, Error, Result};
use crate::plan::Plan;
use crate::prepare::Prepared;
use crate::sys::process::{Births, CloneError, Cloned, SharedPage, clone_init, join_pid_namespace};

pub(crate) use failure::after_commit;
pub(crate) use limits::resource;
pub(crate) use socket::pair;

/// How long a child may take from one point to the next.
const POINT_LIMIT: Duration = Duration::from_secs(120);

/// A process between clone and exec. Unless it is committed it is killed and reaped when this is dropped.
pub(crate) struct Child<'a> {
    plan: &'a Plan,
    prepared: Prepared<'a>,
    page: SharedPage,
    socket: OwnedFd,
    pid: i32,
    pidfd: Option<OwnedFd>,
    console: Option<OwnedFd>,
}

/// A process whose creation is complete.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// Master of its terminal.
    pub(crate) console: Option<OwnedFd>,
}

impl<'a> Child<'a> {
    /// Makes the process. `pid_namespace` is one to be born in; `socket` the parent's end.
    pub(crate) fn launch(
        plan: &'a Plan,
        mut prepared: Prepared<'a>,
        page: SharedPage,
        socket: OwnedFd,
        pid_namespace: Option<BorrowedFd<'_>>,
    ) -> Result<Child<'a>> {
        let births = pid_namespace.and_then(Births::new);
        let cloned = match pid_namespace {
            None => clone(plan, &mut prepared, &page, None),
            Some(_) if births.is_some() => clone(plan, &mut prepared, &page, births.as_ref()),
            // Which pid namespace children get is a property of the thread: where there is no way back, a thread of
            // its own leaves the caller's as it is.
            Some(namespace) => {
                let job = Job {
                    plan,
                    prepared: &mut prepared,
                    page: &page,
                    namespace,
                };
                std::thread::scope(|scope| {
                    let thread = std::thread::Builder::new().stack_size(LAUNCHER_STACK);
                    match thread.spawn_scoped(scope, move || job.run()) {
                        Ok(launcher) => launcher.join().unwrap_or_else(|_| {
                            Err(Error::new(Code::System, "clone").reason("the launching thread panicked"))
                        }),
                        Err(error) => Err(error).at("start launching thread"),
                    }
                })
            }
        }?;
        prepared.release();
        let Cloned {
            pid,
            pidfd,
            inherited,
        } = cloned;
        prepared.umask = inherited.umask;
        tracing::debug!(pid, "cloned");
        let child = Child {
            plan,
            prepared,
            page,
            socket,
            pid,
            pidfd: Some(pidfd),
            console: None,
        };
        limits::raise(plan, pid)?;
        Ok(child)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn pidfd(&self) -> Result<BorrowedFd<'_>> {
        let gone = || Error::new(Code::NotRunning, "find process").operand(self.pid.to_string());
        self.pidfd.as_ref().map(AsFd::as_fd).ok_or_else(gone)
    }

    /// Waits until the child stops at a point; an error is what stopped it instead.
    pub(crate) fn next_point(&mut self) -> Result<Point> {
        match socket::receive(self.socket.as_fd(), POINT_LIMIT) {
            Ok(Some((point, console))) => {
                self.follow()?;
                self.console = console.or(self.console.take());
                Ok(point)
            }
            Ok(None) => Err(self.failure()),
            Err(Errno::ETIMEDOUT) => Err(Error::new(Code::Timeout, self.step_name())
                .reason(format!("did not finish within {} s", POINT_LIMIT.as_secs()))),
            Err(errno) => Err(Error::sys("wait for init", errno as i32)),
        }
    }

    /// Takes up the process that has taken over, if one has. It is this program's child as well, so its pid cannot be
    /// anybody else's before it is reaped.
    fn follow(&mut self) -> Result<()> {
        let Some(pid) = self.page.get().successor().filter(|pid| *pid != self.pid) else {
            return Ok(());
        };
        let pidfd = crate::sys::pidfd::open(pid).at("open process")?;
        if let Some(first) = self.pidfd.replace(pidfd) {
            reap(&first);
        }
        self.pid = pid;
        Ok(())
    }

    /// Writes what only an outsider can write for a new user or time namespace.
    pub(crate) fn map(&self, privileged: bool) -> Result<()> {
        limits::map(self.plan, self.pid, privileged)
    }

    /// Makes what init waits for beside it, and sends it. `tasks` are the files of the cgroup.
    pub(crate) fn supply(&mut self, tasks: Vec<OwnedFd>) -> Result<()> {
        let supplies = self.prepared.make_supplies(tasks)?;
        let sent = socket::supply(self.socket.as_fd(), &supplies);
        crate::sys::fd::close_all(supplies);
        match sent {
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.failure()),
            Err(errno @ Errno::ETOOMANYREFS) => {
                Err(Error::sys("send descriptors to init", errno as i32).hint("raise RLIMIT_NOFILE"))
            }
            sent => sent.at("send descriptors to init"),
        }
    }

    /// Sets what is adjusted from outside. Nothing of the caller's is touched.
    pub(crate) fn limit(&self) -> Result<()> {
        limits::adjust(self.plan, self.pid)
    }

    /// Lets the child go on from `point`.
    pub(crate) fn answer(&mut self, point: Point) -> Result<()> {
        match socket::answer(self.socket.as_fd(), point) {
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.failure()),
            answered => answered.at("answer init"),
        }
    }

    /// Takes the master of its terminal, which it has sent.
    pub(crate) fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// The process is complete and on its own.
    pub(crate) fn commit(mut self) -> Result<Process> {
        let pidfd = self
            .pidfd
            .take()
            .ok_or_else(|| Error::new(Code::NotRunning, "commit"))?;
        Ok(Process {
            pid: self.pid,
            pidfd,
            console: self.console.take(),
        })
    }

    /// Waits until the process, which has been answered for the last time, has executed its program.
    pub(crate) fn executed(mut self) -> Result<Process> {
        match socket::receive(self.socket.as_fd(), POINT_LIMIT) {
            // The socket closes with the exec, and with the end of a process that failed to.
            Ok(None) if self.page.get().failure().is_none() && !self.died_before_exec() => self.commit(),
            Ok(_) => Err(self.failure()),
            Err(Errno::ETIMEDOUT) => Err(Error::new(Code::Timeout, self.step_name())
                .reason(format!("did not finish within {} s", POINT_LIMIT.as_secs()))),
            Err(errno) => Err(Error::sys("wait for exec", errno as i32)),
        }
    }

    /// Whether the last step was not begun when the process ended.
    fn died_before_exec(&self) -> bool {
        let last = self.prepared.origin(self.page.get().step());
        last.is_none_or(|action| action + 1 != self.plan.actions.len())
    }

    fn failure(&mut self) -> Error {
        if let Err(error) = self.follow() {
            return error;
        }
        let status = self.pidfd.take().and_then(|pidfd| reap(&pidfd));
        failure::explain(self.plan, &self.prepared, self.page.get(), status)
    }

    fn step_name(&self) -> String {
        failure::step_name(self.plan, &self.prepared, self.page.get())
    }
}

impl Drop for Child<'_> {
    fn drop(&mut self) {
        let _ = self.follow();
        let Some(pidfd) = self.pidfd.take() else { return };
        if crate::sys::pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL).is_ok() {
            reap(&pidfd);
        }
    }
}

/// Waits for a child to end and takes its status.
fn reap(pidfd: &OwnedFd) -> Option<WaitStatus> {
    loop {
        match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED) {
            Err(Errno::EINTR) => {}
            result => return result.ok(),
        }
    }
}

/// The launching thread needs little.
const LAUNCHER_STACK: usize = 128 * 1024;

/// What the launching thread works with.
struct Job<'a, 'p> {
    plan: &'a Plan,
    prepared: &'a mut Prepared<'p>,
    page: &'a SharedPage,
    namespace: BorrowedFd<'a>,
}

impl Job<'_, '_> {
    fn run(self) -> Result<Cloned> {
        join_pid_namespace(self.namespace).at("join pid namespace")?;
        clone(self.plan, self.prepared, self.page, None)
    }
}

fn clone(
    plan: &Plan,
    prepared: &mut Prepared<'_>,
    page: &SharedPage,
    births: Option<&Births<'_>>,
) -> Result<Cloned> {
    let (socket, cgroup) = (prepared.socket, prepared.cgroup.as_ref().map(AsRawFd::as_raw_fd));
    let cgroup = cgroup.map(crate::sys::fd::borrowed);
    let program = &prepared.program();
    clone_init(plan.clone_flags, cgroup, births, program, page, socket).map_err(|error| {
        let errno = match error {
            CloneError::Join(errno) => return Error::sys("join pid namespace", errno as i32),
            CloneError::Clone(errno) => errno,
        };
        let error = Error::sys("clone process", errno as i32);
        match errno {
            Errno::EAGAIN => error.hint("the pids limit of a cgroup or RLIMIT_NPROC is reached"),
            Errno::ENOSPC => error.hint("a limit in /proc/sys/user is reached"),
            Errno::EPERM => error.hint("new namespaces need CAP_SYS_ADMIN"),
            Errno::EBUSY => error.hint("the cgroup has controllers enabled for its children"),
            _ => error,
        }
    })
}
