//! What a container can leave behind: processes, cgroups, mounts, state, files.
//!
//! Everything is looked at from inside the sweep's own pid and mount namespace, so that nothing of the host or of
//! another test is seen, let alone touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::trace;

/// How long what was killed may take to go away.
const GRACE: Duration = Duration::from_secs(1);

/// The places that are watched.
#[derive(Debug)]
pub struct Places {
    /// The state root.
    pub root: PathBuf,
    /// The bundle.
    pub bundle: PathBuf,
    /// Directories under which every container's cgroups are, one a hierarchy.
    pub groups: Vec<PathBuf>,
}

/// What is there at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    processes: BTreeMap<i32, String>,
    groups: BTreeSet<String>,
    mounts: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Traces {
    /// Looks.
    pub fn look(places: &Places) -> Traces {
        trace::reap();
        let mut groups = BTreeSet::new();
        for group in &places.groups {
            groups.extend(directories(group).iter().map(|dir| dir.display().to_string()));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut files = BTreeSet::new();
        for dir in [
            &places.root,
            &places.bundle,
            Path::new("/run"),
            Path::new("/dev/shm"),
        ] {
            files.extend(names(dir).iter().map(|name| dir.join(name).display().to_string()));
        }
        Traces {
            processes: processes().into_iter().map(|pid| (pid, describe(pid))).collect(),
            groups,
            mounts: mounts.lines().map(String::from).collect(),
            files,
        }
    }

    /// What is there now that was not there before, or the other way round, in words; waits a moment for it to settle.
    pub fn changes(&self, places: &Places) -> Vec<String> {
        let start = Instant::now();
        loop {
            let changes = self.compare(&Traces::look(places));
            if changes.is_empty() || start.elapsed() > GRACE {
                return changes;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn compare(&self, now: &Traces) -> Vec<String> {
        let new = now
            .processes
            .iter()
            .filter(|(pid, _)| !self.processes.contains_key(pid));
        let mut found: Vec<String> = new.map(|(pid, what)| format!("process {pid} {what}")).collect();
        // The bystander's must outlive everything.
        let gone = self
            .processes
            .iter()
            .filter(|(pid, _)| !now.processes.contains_key(pid));
        found.extend(gone.map(|(pid, what)| format!("gone: process {pid} {what}")));
        let kinds = [
            ("cgroup", &self.groups, &now.groups),
            ("mount", &self.mounts, &now.mounts),
            ("file", &self.files, &now.files),
        ];
        for (kind, before, after) in kinds {
            found.extend(after.difference(before).map(|what| format!("{kind} {what}")));
            found.extend(
                before
                    .difference(after)
                    .map(|what| format!("gone: {kind} {what}")),
            );
        }
        found
    }
}

/// Removes what is left, so that the next round begins clean. Everything in reach is ours.
pub fn clear(places: &Places, before: &Traces) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        thaw(places);
        let now = Traces::look(places);
        for pid in now
            .processes
            .keys()
            .filter(|pid| !before.processes.contains_key(pid))
        {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        trace::reap();
        // The deepest come last in the order of their names.
        for group in now
            .groups
            .difference(&before.groups)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let _ = fs::remove_dir(group);
        }
        for mount in now.mounts.difference(&before.mounts) {
            if let Some(point) = mount.split(' ').nth(4) {
                let _ = umount2(point, MntFlags::MNT_DETACH);
            }
        }
        for file in now.files.difference(&before.files) {
            let _ = fs::remove_dir_all(file).or_else(|_| fs::remove_file(file));
        }
        if !before
            .compare(&Traces::look(places))
            .iter()
            .any(|change| !change.starts_with("gone: "))
        {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn thaw(places: &Places) {
    for dir in places.groups.iter().flat_map(|group| directories(group)) {
        for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            let file = dir.join(file);
            if file.exists() {
                let _ = fs::write(file, value);
            }
        }
    }
}

/// All processes of this pid namespace but this one.
fn processes() -> Vec<i32> {
    names(Path::new("/proc"))
        .iter()
        .filter_map(|name| name.parse().ok())
        .filter(|pid| *pid != 1)
        .collect()
}

fn describe(pid: i32) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default();
        line.trim().to_string()
    };
    let command = read("cmdline").replace('\0', " ");
    format!(
        "{} {} parent {} [{}]",
        field("Name:"),
        field("State:"),
        field("PPid:"),
        command.trim()
    )
}

/// Directories below `dir`, the deepest first.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(directories(&entry.path()));
            found.push(entry.path());
        }
    }
    found
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
