//! Facts about the host that tests depend on.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Outcome, Stop};

/// A cgroup hierarchy that is mounted.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    /// The controllers, or `name=x`; empty for version 2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Whether it is of version 2.
    pub v2: bool,
    /// The controllers that version 2 offers at its root.
    pub offered: Vec<String>,
}

/// What the host has.
#[derive(Debug, Clone)]
pub struct Host {
    /// All hierarchies.
    pub hierarchies: Vec<Hierarchy>,
}

impl Host {
    /// Looks at the host.
    pub fn probe() -> Result<Host, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("mountinfo: {e}"))?;
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mounts.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let (left, right): (Vec<&str>, Vec<&str>) =
                (left.split(' ').collect(), right.split(' ').collect());
            let v2 = right[0] == "cgroup2";
            if !v2 && right[0] != "cgroup" {
                continue;
            }
            let mount = PathBuf::from(left[4]);
            let controllers = if v2 {
                Vec::new()
            } else {
                let known = |option: &&str| {
                    option.starts_with("name=") || Path::new("/sys/fs/cgroup").join(option).exists()
                };
                right[2]
                    .split(',')
                    .filter(|o| !["rw", "ro"].contains(o))
                    .filter(known)
                    .map(String::from)
                    .collect()
            };
            let offered = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
            let offered = offered.split_whitespace().map(String::from).collect();
            hierarchies.push(Hierarchy {
                controllers,
                mount,
                v2,
                offered,
            });
        }
        Ok(Host { hierarchies })
    }

    /// Whether all controllers are in the one hierarchy of version 2.
    pub fn pure_v2(&self) -> bool {
        self.hierarchies.iter().all(|hierarchy| hierarchy.v2)
    }

    /// The hierarchy of a controller; `""` is the one of version 2.
    pub fn hierarchy(&self, controller: &str) -> Option<&Hierarchy> {
        let v1 = |h: &&Hierarchy| !h.v2 && h.controllers.iter().any(|c| c == controller);
        // Version 2 calls it otherwise.
        let name = if controller == "blkio" { "io" } else { controller };
        let v2 = |h: &&Hierarchy| h.v2 && (name.is_empty() || h.offered.iter().any(|c| c == name));
        self.hierarchies
            .iter()
            .find(v1)
            .or_else(|| self.hierarchies.iter().find(v2))
    }

    /// The hierarchy of a controller, without which the test is skipped.
    pub fn need(&self, controller: &str) -> Outcome<&Hierarchy> {
        self.hierarchy(controller)
            .ok_or_else(|| Stop::Skipped(format!("this host has no cgroup controller {controller:?}")))
    }

    /// All cgroups whose name starts with `prefix`, in every hierarchy, children first.
    pub fn cgroups(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for hierarchy in &self.hierarchies {
            find(&hierarchy.mount, prefix, false, &mut found);
        }
        found
    }
}

fn find(dir: &Path, prefix: &str, inside: bool, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let ours = inside || entry.file_name().to_string_lossy().starts_with(prefix);
            find(&entry.path(), prefix, ours, found);
            if ours {
                found.push(entry.path());
            }
        }
    }
}

/// The program of this name on the search path.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/local/sbin"]);
    dirs.map(|dir| Path::new(dir).join(name))
        .find(|candidate| candidate.is_file())
}

/// Processes as `/proc` shows them: id, parent, state, name.
pub fn processes() -> Vec<(i32, i32, char, String)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let name = head.split_once('(')?.1.to_string();
        let mut fields = tail.split(' ');
        let state = fields.next()?.chars().next()?;
        Some((pid, fields.next()?.parse().ok()?, state, name))
    })
    .collect()
}

/// The living descendants of a process, and how each is called.
pub fn descendants(root: i32) -> Vec<(i32, String)> {
    let all = processes();
    let mut known = vec![root];
    let mut found = Vec::new();
    let mut grew = true;
    while grew {
        grew = false;
        for (pid, parent, state, name) in &all {
            if known.contains(parent) && !known.contains(pid) {
                known.push(*pid);
                grew = true;
                if *state != 'Z' && *state != 'X' {
                    found.push((*pid, name.clone()));
                }
            }
        }
    }
    found
}
