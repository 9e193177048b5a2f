//! What a test leaves behind on the host, which must be nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::host::{Host, descendants, processes};
use super::pace::stretch;

/// The host before the test.
#[derive(Debug)]
pub struct Leftovers {
    mounts: BTreeSet<String>,
    runtime_dirs: BTreeSet<PathBuf>,
}

/// State roots that nobody asked for, and other places where runtimes put files.
const PLACES: &[&str] = &[
    "/run/runc",
    "/run/crun",
    "/run/oci-rt",
    "/run/youki",
    "/dev/shm",
    "/var/run/runc",
];

impl Leftovers {
    /// Remembers the host as it is.
    pub fn begin() -> Leftovers {
        Leftovers {
            mounts: mounts(),
            runtime_dirs: entries(),
        }
    }

    /// Lists what is there now and was not before; waits a little for what is on its way out.
    pub fn find(&self, host: &Host, prefix: &str, state_root: &Path) -> Vec<String> {
        let begin = Instant::now();
        loop {
            reap();
            let found = self.look(host, prefix, state_root);
            if found.is_empty() || begin.elapsed() > Duration::from_secs(2) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn look(&self, host: &Host, prefix: &str, state_root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for (pid, name) in descendants(std::process::id() as i32) {
            found.push(format!("process {pid} ({name})"));
        }
        for cgroup in host.cgroups(prefix) {
            found.push(format!("cgroup {}", cgroup.display()));
        }
        for mount in mounts().difference(&self.mounts) {
            found.push(format!("mount {mount}"));
        }
        for mount in self.mounts.difference(&mounts()) {
            // Whoever removes a directory takes along what others have mounted on it: not a runtime's doing.
            let at = mount.split(' ').nth(4).unwrap_or_default();
            if Path::new(at).exists() {
                found.push(format!("mount that is gone: {mount}"));
            }
        }
        for entry in fs::read_dir(state_root).into_iter().flatten().flatten() {
            found.push(format!("state {}", entry.path().display()));
        }
        for entry in entries().difference(&self.runtime_dirs) {
            // Other tests run at the same time; names carry the test's own prefix.
            if entry.to_string_lossy().contains(prefix) {
                found.push(format!("file {}", entry.display()));
            }
        }
        found
    }
}

fn mounts() -> BTreeSet<String> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .map(String::from)
        .collect()
}

fn entries() -> BTreeSet<PathBuf> {
    let places = PLACES
        .iter()
        .flat_map(|place| fs::read_dir(place).into_iter().flatten());
    places.flatten().map(|entry| entry.path()).collect()
}

/// Collects children that ended, ours by adoption included.
pub fn reap() {
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// Collects children by adoption that ended, but none of `kept`, which somebody else waits for: a pid namespace does
/// not end before its last process was collected.
pub fn reap_orphans(kept: &[i32]) {
    let own = std::process::id() as i32;
    for (pid, parent, state, _) in processes() {
        if parent == own && state == 'Z' && !kept.contains(&pid) {
            // Another thread may have been faster.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// Kills everything below a process, but not the process itself.
pub fn kill_below(root: i32) {
    let begin = Instant::now();
    while begin.elapsed() < stretch(Duration::from_secs(5)) {
        let alive = descendants(root);
        if alive.is_empty() {
            return;
        }
        for (pid, _) in alive {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if root == std::process::id() as i32 {
            reap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes the cgroups of a test, after thawing and killing what is inside.
pub fn remove_cgroups(host: &Host, prefix: &str) {
    for _ in 0..100 {
        let cgroups = host.cgroups(prefix);
        if cgroups.is_empty() {
            return;
        }
        for cgroup in &cgroups {
            // Not every cgroup has each of these files.
            let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
            if cgroup.join("cgroup.freeze").exists() {
                let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
            }
            for pid in fs::read_to_string(cgroup.join("cgroup.procs"))
                .unwrap_or_default()
                .lines()
            {
                if let Ok(pid) = pid.parse::<i32>()
                    && pid > 1
                {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            let _ = fs::remove_dir(cgroup);
        }
        reap();
        std::thread::sleep(Duration::from_millis(10));
    }
}
