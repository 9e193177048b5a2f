//! The processes in the cgroup: who they are, signals to them, freezing and killing them.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode as Permissions;
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, lseek};

use super::remove::Pause;
use super::{Cgroup, Place, file, tree};
use crate::error::{Code, Error, Result};
use crate::sys::{kernel_file, pidfd};

/// How long a cgroup may take to freeze.
const FREEZE: Duration = Duration::from_secs(10);
/// How long killed processes have to be gone before they are killed again.
const ROUND: Duration = Duration::from_millis(50);
/// After which time a version 1 freezer that is stuck is thawed to start over, for it may have missed a new process.
const REFREEZE: Duration = Duration::from_millis(50);

impl Cgroup {
    /// All processes in it and below it, as this process's pid namespace numbers them; those that it does not show
    /// are left out.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let Some(place) = ["pids", "freezer", "devices"]
            .iter()
            .find_map(|name| self.place(name))
            .or(self.places.first())
        else {
            return Ok(Vec::new());
        };
        let mut pids = listed(place)?;
        pids.retain(|pid| *pid > 0);
        Ok(pids)
    }

    /// Sends `signal` to all processes. None is reached that has left the cgroup or taken the number of one that did.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        if signal == libc::SIGKILL {
            self.kill_round(true)
        } else {
            self.signal_each(signal)
        }
    }

    /// Kills all processes and waits until none is left. The error says what is in the way.
    pub fn kill(&self, deadline: Duration) -> Result<()> {
        let mut pause = Pause::within(deadline);
        let mut again = false;
        while !self.everywhere()?.is_empty() {
            self.kill_round(again)?;
            again = true;
            // Most end in less time than another round takes.
            let next_round = Instant::now() + ROUND;
            while Instant::now() < next_round {
                match pause.next() {
                    Some(sleep) => self.wait_for_change(sleep),
                    None if self.everywhere()?.is_empty() => return Ok(()),
                    None => return Err(self.timeout("kill processes")),
                }
                if self.everywhere()?.is_empty() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Kills what is there now. Where the kernel does it in version 2, version 1 is looked at only to be `thorough`:
    /// for processes that are not in both.
    fn kill_round(&self, thorough: bool) -> Result<()> {
        let by_kernel = match self.v2() {
            Some(place) => kill_v2(place)?,
            None => false,
        };
        let freezer = self.place("freezer").filter(|place| !place.is_v2());
        let state = freezer.map(|place| place.dir().join("freezer.state"));
        // A fork bomb is faster than its list, unless it stands still.
        if let Some(state) = state.as_deref().filter(|_| !by_kernel) {
            let _ = file::write(state, "FROZEN");
        }
        let sent = if by_kernel && !thorough {
            Ok(())
        } else {
            self.signal_each(libc::SIGKILL)
        };
        // What is frozen in version 1 cannot end.
        if let Some(state) = state {
            let _ = file::write(&state, "THAWED");
        }
        sent
    }

    /// Freezes all processes and waits until they are; if that takes too long they are thawed again.
    pub fn freeze(&self) -> Result<()> {
        let place = self.freezer("freeze processes")?;
        let frozen = if place.is_v2() {
            freeze_v2(place)
        } else {
            freeze_v1(place)
        };
        match frozen {
            Ok(true) => Ok(()),
            Ok(false) => {
                let error = self.timeout("freeze processes");
                let _ = self.thaw();
                Err(error)
            }
            Err(errno) => {
                let _ = self.thaw();
                Err(file::failed("freeze processes", &place.dir(), errno))
            }
        }
    }

    /// Thaws all processes.
    pub fn thaw(&self) -> Result<()> {
        let place = self.freezer("thaw processes")?;
        let (name, value) = if place.is_v2() {
            ("cgroup.freeze", "0")
        } else {
            ("freezer.state", "THAWED")
        };
        let path = place.dir().join(name);
        file::write(&path, value).map_err(|errno| file::failed("thaw processes", &path, errno))
    }

    /// Whether it is frozen, or about to be. One that stands still with a cgroup above it is not.
    pub fn is_frozen(&self) -> bool {
        let name = |place: &Place| {
            if place.is_v2() {
                "cgroup.freeze"
            } else {
                "freezer.self_freezing"
            }
        };
        self.freezer("").is_ok_and(|place| {
            kernel_file::text(&place.dir().join(name(place))).is_ok_and(|state| state.trim() == "1")
        })
    }

    /// What keeps the processes from ending or from getting on, for the error of a wait that took too long.
    pub fn obstacle(&self) -> Option<String> {
        if self.is_frozen() {
            return Some("the cgroup is frozen".into());
        }
        if self.frozen_from_above() {
            return Some("a cgroup above it is frozen".into());
        }
        let pids = self.everywhere().ok()?;
        for pid in pids.iter().filter(|pid| **pid > 0) {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
            if let Some((name, _)) = name.filter(|(_, rest)| rest.trim_start().starts_with('D')) {
                let name: String = name
                    .chars()
                    .map(|c| if c.is_control() { '?' } else { c })
                    .collect();
                return Some(format!("process {pid} ({name}) is in uninterruptible sleep"));
            }
        }
        match (pids.first()?, pids.len()) {
            (0, _) => Some("a process in it is in a pid namespace that is not seen from here".into()),
            (pid, 1) => Some(format!("process {pid} is still in it")),
            (pid, count) => Some(format!("{count} processes are still in it, {pid} for one")),
        }
    }

    fn frozen_from_above(&self) -> bool {
        self.freezer("").is_ok_and(|place| {
            if place.is_v2() {
                let events = file::read(&place.dir().join("cgroup.events")).unwrap_or_default();
                return file::number_of(&events, "frozen") == Some(1);
            }
            file::read(&place.dir().join("freezer.parent_freezing")).is_ok_and(|state| state.trim() == "1")
        })
    }

    /// Processes in any of the hierarchies: one can have left some of them. 0 stands for those that are not shown.
    fn everywhere(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        for place in self.present() {
            pids.extend(listed(place)?);
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// A process that is listed again after its descriptor was opened is the one that the descriptor is of: had it
    /// ended before, its number would belong to a process that is not in the list.
    fn signal_each(&self, signal: i32) -> Result<()> {
        let open = |pid: i32| pidfd::open(pid).ok().map(|process| (pid, process));
        let processes: Vec<(i32, OwnedFd)> = self
            .everywhere()?
            .into_iter()
            .filter(|pid| *pid > 0)
            .filter_map(open)
            .collect();
        if processes.is_empty() {
            return Ok(());
        }
        let still = self.everywhere()?;
        for (pid, process) in processes
            .iter()
            .filter(|(pid, _)| still.binary_search(pid).is_ok())
        {
            match pidfd::send_signal(process.as_fd(), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    let code = if errno == Errno::EPERM {
                        Code::Privilege
                    } else {
                        Code::System
                    };
                    return Err(Error::new(code, "send signal")
                        .operand(pid.to_string())
                        .errno(errno as i32));
                }
            }
        }
        Ok(())
    }

    /// Sleeps; less long when version 2 tells that the last process has gone.
    fn wait_for_change(&self, sleep: Duration) {
        let events = self.v2().and_then(|place| {
            let path = place.dir().join("cgroup.events");
            open(&path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Permissions::empty()).ok()
        });
        match events {
            Some(events) => {
                // Only what changes after a read is told.
                let populated =
                    file::rest(events.as_fd()).is_ok_and(|now| file::number_of(&now, "populated") == Some(1));
                if populated {
                    wait(&events, sleep);
                }
            }
            None => thread::sleep(sleep),
        }
    }

    fn freezer(&self, step: &str) -> Result<&Place> {
        self.place("freezer").or_else(|| self.v2()).ok_or_else(|| {
            Error::new(Code::Cgroup, step)
                .reason("controller freezer not available")
                .hint("it is not mounted, or denied")
        })
    }

    fn timeout(&self, step: &str) -> Error {
        let error = Error::new(Code::Timeout, step);
        let error = match self.freezer("").ok().or(self.places.first()) {
            Some(place) => error.operand(place.dir()),
            None => error,
        };
        error.reason("timed out").hint(
            self.obstacle()
                .unwrap_or_else(|| "new processes keep appearing".into()),
        )
    }
}

fn listed(place: &Place) -> Result<Vec<i32>> {
    let dir = place.dir();
    tree::processes(&dir).map_err(|errno| file::failed("list processes", &dir, errno))
}

/// Lets the kernel kill all, also those that are being born; `false` where it cannot (in threaded cgroups).
fn kill_v2(place: &Place) -> Result<bool> {
    let path = place.dir().join("cgroup.kill");
    match file::write(&path, "1") {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(file::failed("kill processes", &path, errno)),
    }
}

fn wait(events: &OwnedFd, timeout: Duration) {
    let mut watched = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
    let _ = ppoll(
        &mut watched,
        Some(TimeSpec::from_duration(timeout)),
        None::<SigSet>,
    );
}

fn freeze_v2(place: &Place) -> std::result::Result<bool, Errno> {
    let dir = place.dir();
    let events = open(
        &dir.join("cgroup.events"),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Permissions::empty(),
    )?;
    file::write(&dir.join("cgroup.freeze"), "1")?;
    let mut pause = Pause::within(FREEZE);
    loop {
        lseek(&events, 0, Whence::SeekSet)?;
        if file::number_of(&file::rest(events.as_fd())?, "frozen") == Some(1) {
            return Ok(true);
        }
        match pause.next() {
            Some(sleep) => wait(&events, sleep),
            None => return Ok(false),
        }
    }
}

/// Version 1 can miss a process that is born at that moment and then stays half frozen for ever.
fn freeze_v1(place: &Place) -> std::result::Result<bool, Errno> {
    let state = place.dir().join("freezer.state");
    let end = Instant::now() + FREEZE;
    loop {
        let mut pause = Pause::within(REFREEZE);
        loop {
            file::write(&state, "FROZEN")?;
            if file::read(&state)?.trim() == "FROZEN" {
                return Ok(true);
            }
            match pause.next() {
                Some(sleep) => thread::sleep(sleep),
                None => break,
            }
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        file::write(&state, "THAWED")?;
        thread::sleep(Duration::from_millis(1));
    }
}
