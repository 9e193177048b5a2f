//! What the machine is like: the figures mean nothing without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Facts that the report shows and the contenders need.
pub struct Host {
    /// The kernel's release.
    pub kernel: String,
    /// How many processors are online.
    pub cpus: usize,
    /// `v1`, `v2` or `hybrid`.
    pub mode: &'static str,
    /// Mount point of the v2 hierarchy.
    pub unified: Option<PathBuf>,
    /// Mount points of the v1 hierarchies, memory last: what a process does after joining it is charged there.
    pub legacy: Vec<PathBuf>,
    /// The groups that containers are put below: the roots of the hierarchies and this process's own groups.
    pub parents: Vec<PathBuf>,
}

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

impl Host {
    /// Looks at the machine.
    pub fn probe() -> Result<Self, String> {
        let root = Path::new(CGROUP_ROOT);
        let is_v2 = |path: &Path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
        let lines = fs::read_to_string("/proc/self/cgroup").map_err(|e| format!("/proc/self/cgroup: {e}"))?;
        let unified = [root.to_owned(), root.join("unified")]
            .into_iter()
            .find(|path| is_v2(path));
        let (mut legacy, mut parents) = (Vec::new(), Vec::new());
        for line in lines.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else {
                continue;
            };
            let mount = match controllers {
                "" => unified.clone(),
                _ => Some(root.join(controllers.trim_start_matches("name="))).filter(|mount| mount.is_dir()),
            };
            let Some(mount) = mount else { continue };
            parents.push(mount.join(own.trim_start_matches('/')));
            if !controllers.is_empty() {
                legacy.push(mount.clone());
            }
            parents.push(mount);
        }
        legacy.sort_by_key(|mount| mount.ends_with("memory"));
        let mode = match (legacy.is_empty(), unified.is_some()) {
            (true, true) => "v2",
            (false, true) => "hybrid",
            (false, false) => "v1",
            (true, false) => return Err(format!("no control groups below {CGROUP_ROOT}")),
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            kernel,
            cpus,
            mode,
            unified,
            legacy,
            parents,
        })
    }

    /// In the form that `floor` takes.
    pub fn hierarchies(&self) -> String {
        let mut list = self
            .unified
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        for mount in &self.legacy {
            list.push(',');
            list.push_str(&mount.display().to_string());
        }
        list
    }

    /// Kills and removes the groups whose names start so; gives how many there were.
    pub fn sweep(&self, prefix: &str) -> usize {
        let groups: Vec<PathBuf> = self
            .parents
            .iter()
            .filter_map(|parent| fs::read_dir(parent).ok())
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .collect();
        groups
            .into_iter()
            .filter(|group| group.is_dir() && remove(group))
            .count()
    }

    /// The load average of the last minute.
    pub fn load() -> f64 {
        let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        text.split(' ')
            .next()
            .and_then(|first| first.parse().ok())
            .unwrap_or(0.0)
    }
}

/// Kills what is in the group and removes it; whether it is gone.
fn remove(group: &Path) -> bool {
    for _ in 0..200 {
        if fs::remove_dir(group).is_ok() {
            return true;
        }
        // A frozen process would not die.
        let _ = fs::write(group.join("freezer.state"), "THAWED");
        let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// A directory in memory, as /run is on most hosts; what is on disk would weigh heavier than the runtimes.
pub fn memory_backed() -> PathBuf {
    ["/run", "/dev/shm"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC))
        .unwrap_or_else(std::env::temp_dir)
}
