//! `delete`: nothing of a container stays, whatever state it is in.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::dir::{self, StateDir};
use super::state::Saved;
use super::{CGROUP_FILE, CGROUP_LIMIT, Container, Known, Opened, Status};
use crate::cgroup::Cgroup;
use crate::error::{Code, Error, Result};
use crate::hooks;

/// How long killing and removing may take before the error says what is in the way.
const REMOVE_LIMIT: Duration = Duration::from_secs(9);
/// How long a forced removal waits for others who work on the container.
const FORCED_LOCK_LIMIT: Duration = Duration::from_secs(4);
/// How long to wait for a process to end before looking what may keep it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Container {
    /// Removes a stopped or created container.
    pub fn delete(&self) -> Result<()> {
        self.remove(false)
    }

    /// Removes the container; with `force` whatever its state, and as far as it was made.
    pub(super) fn remove(&self, force: bool) -> Result<()> {
        let dir = match self.open() {
            Err(error) if force && error.code() == Code::NotFound => return Ok(()),
            dir => dir?,
        };
        let limit = if force { FORCED_LOCK_LIMIT } else { dir::LOCK_LIMIT };
        let _lock = match dir.lock_within(limit) {
            // Another one removed it while this one waited.
            Err(error) if force && error.code() == Code::NotFound => return Ok(()),
            // Its creator hangs: nobody is going to finish it.
            Err(error) if force && error.code() == Code::Timeout => {
                tracing::warn!("{error}; going on without the lock");
                None
            }
            lock => Some(lock?),
        };
        let known = match self.known(&dir) {
            Ok(known) => Some(known),
            Err(_) if force => None,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
            Err(error) => return Err(error),
        };
        if let Some(known) = &known {
            if !force && !matches!(known.status, Status::Stopped | Status::Created) {
                return Err(Error::new(Code::WrongState, "delete")
                    .operand(&self.id)
                    .reason(format!(
                        "cannot delete container {} that is not stopped: {}",
                        self.id,
                        known.status.as_str()
                    )));
            }
            self.end(known)?;
        }
        let cgroup = match self.cgroup_to_clear(&dir, known.as_ref()) {
            Err(error) if force => {
                tracing::warn!("{error}");
                None
            }
            cgroup => cgroup?,
        };
        self.clear(dir, known.map(|known| known.saved), cgroup)
    }

    /// Removes the container by what its maker has open, after its process has ended.
    pub(super) fn remove_stopped(&self, opened: Opened) -> Result<()> {
        let Opened { dir, saved, cgroup } = opened;
        let _lock = dir.lock()?;
        self.clear(dir, Some(saved), Some(cgroup))
    }

    /// Removes what is left when the container's process is gone. Needs the lock.
    fn clear(&self, dir: StateDir, saved: Option<Saved>, cgroup: Option<Cgroup>) -> Result<()> {
        if let Some(cgroup) = cgroup {
            clear_cgroup(&cgroup)?;
        }
        self.poststop(&dir, saved);
        dir.remove_all()
    }

    /// The cgroup by its own file, which is there first; by the saved state if that file is damaged.
    fn cgroup_to_clear(&self, dir: &StateDir, known: Option<&Known>) -> Result<Option<Cgroup>> {
        let saved = known
            .map(|known| known.saved.cgroup.as_str())
            .filter(|line| !line.is_empty());
        let line = dir
            .read(CGROUP_FILE, CGROUP_LIMIT)
            .ok()
            .filter(|line| !line.is_empty());
        let by_file = line.map(|line| self.cgroup(&String::from_utf8_lossy(&line)));
        match (by_file, saved) {
            (Some(Ok(cgroup)), _) => Ok(Some(cgroup)),
            (_, Some(saved)) => self.cgroup(saved).map(Some),
            (by_file, None) => by_file.transpose(),
        }
    }

    /// Makes sure that the container's process is gone.
    fn end(&self, known: &Known) -> Result<()> {
        let Some(process) = &known.process else {
            return Ok(());
        };
        let process = process.as_fd();
        match crate::sys::pidfd::send_signal(process, libc::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(errno) => return Err(Error::sys("kill", errno as i32).operand(&self.id)),
        }
        let cgroup = self.cgroup(&known.saved.cgroup)?;
        let end = Instant::now() + REMOVE_LIMIT;
        let mut frozen = known.status == Status::Paused;
        loop {
            // Frozen processes do not end; and somebody may freeze them at any time.
            if frozen {
                cgroup.thaw()?;
            }
            let left = end.saturating_duration_since(Instant::now());
            if crate::sys::pidfd::ended(process, Some(left.min(LOOK_AGAIN))) {
                break;
            }
            if left.is_zero() {
                let error = Error::new(Code::Timeout, "kill")
                    .operand(&self.id)
                    .reason("its process does not end");
                return Err(match cgroup.obstacle() {
                    Some(obstacle) => error.hint(obstacle),
                    None => error,
                });
            }
            frozen = cgroup.is_frozen();
        }
        Ok(())
    }

    /// Runs the poststop hooks. The container is gone by then, so their failures are only worth a warning.
    fn poststop(&self, dir: &StateDir, saved: Option<Saved>) {
        if saved.as_ref().is_some_and(|saved| !saved.later_hooks) {
            return;
        }
        let Ok(spec) = self.config_of(dir) else { return };
        if spec.hooks.poststop.is_empty() {
            return;
        }
        let state = match saved {
            Some(saved) => saved.report(Status::Stopped),
            None => self.unfinished(dir, Status::Stopped),
        };
        for hook in &spec.hooks.poststop {
            let hook = std::slice::from_ref(hook);
            if let Err(error) = hooks::run("hooks.poststop", hook, &state, &hooks::Place::Runtime) {
                tracing::warn!("{error}");
            }
        }
    }
}

/// Removes a cgroup; whatever still runs in it is killed.
pub(super) fn clear_cgroup(cgroup: &Cgroup) -> Result<()> {
    // Most are empty by now. To ask first would cost more than to try.
    match cgroup.remove(Duration::ZERO) {
        Err(error) if error.code() == Code::Timeout => {
            cgroup.kill(REMOVE_LIMIT)?;
            cgroup.remove(REMOVE_LIMIT)
        }
        removed => removed,
    }
}
