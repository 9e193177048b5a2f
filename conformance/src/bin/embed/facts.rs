//! What belongs to the program that embeds the library, and must be as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::sys::prctl;

use crate::sys;

/// Facts by name.
pub type Facts = BTreeMap<String, String>;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{path}: {error}"))
}

fn link(path: &str) -> String {
    fs::read_link(path).map_or_else(
        |error| format!("{path}: {error}"),
        |target| target.display().to_string(),
    )
}

fn status(path: &str, keys: &[&str]) -> Facts {
    let text = read(path);
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let wanted = lines.filter(|(key, _)| keys.contains(key));
    wanted
        .map(|(key, value)| (key.to_string(), value.trim().to_string()))
        .collect()
}

/// What must not change for a moment either, as other threads rely on it.
pub fn of_process() -> Facts {
    let keys = [
        "Umask",
        "SigIgn",
        "SigCgt",
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "CoreDumping",
    ];
    let mut facts = status("/proc/self/status", &keys);
    let mut add = |name: &str, value: String| facts.insert(name.to_string(), value);
    add("cwd", link("/proc/self/cwd"));
    add("root", link("/proc/self/root"));
    add("limits", read("/proc/self/limits"));
    add("oom_score_adj", read("/proc/self/oom_score_adj"));
    add("cgroup", read("/proc/self/cgroup"));
    add("personality", read("/proc/self/personality"));
    add("dumpable", format!("{:?}", prctl::get_dumpable()));
    add("subreaper", format!("{:?}", prctl::get_child_subreaper()));
    add("keyring", sys::session_keyring().to_string());
    facts
}

/// What every thread has for itself.
pub fn of_thread() -> Facts {
    let mut facts = status(
        "/proc/thread-self/status",
        &["SigBlk", "Uid", "Gid", "CapEff", "NoNewPrivs", "Seccomp"],
    );
    for kind in [
        "cgroup",
        "ipc",
        "mnt",
        "net",
        "pid",
        "pid_for_children",
        "time",
        "time_for_children",
        "user",
        "uts",
    ] {
        facts.insert(
            format!("namespace {kind}"),
            link(&format!("/proc/thread-self/ns/{kind}")),
        );
    }
    facts.insert("cwd of the thread".to_string(), link("/proc/thread-self/cwd"));
    facts.insert(
        "keyring of the thread".to_string(),
        sys::session_keyring().to_string(),
    );
    facts
}

/// What may come and go, but is back in the end.
pub fn at_rest() -> Facts {
    let mut facts = of_process();
    let env: BTreeSet<String> = std::env::vars()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    facts.insert("environment".to_string(), format!("{env:?}"));
    facts.insert("mounts".to_string(), read("/proc/self/mountinfo"));
    facts.insert("descriptors".to_string(), format!("{:?}", descriptors()));
    facts.insert("threads".to_string(), names("/proc/self/task").len().to_string());
    facts.insert("children".to_string(), format!("{:?}", children()));
    facts
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn descriptors() -> Vec<String> {
    let mut found: Vec<String> = names("/proc/self/fd")
        .iter()
        // The directory that is being read has a descriptor of its own.
        .filter_map(|fd| {
            fs::read_link(format!("/proc/self/fd/{fd}"))
                .ok()
                .map(|to| format!("{fd} {}", to.display()))
        })
        .filter(|line| !line.contains("/proc/"))
        .collect();
    found.sort();
    found
}

/// Children of all threads, ended ones that nobody waited for included.
fn children() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for thread in names("/proc/self/task") {
        for child in read(&format!("/proc/self/task/{thread}/children")).split_whitespace() {
            let facts = status(&format!("/proc/{child}/status"), &["Name", "State"]);
            found.insert(format!("{facts:?}"));
        }
    }
    found
}

/// The names of facts that differ, with both values.
pub fn differences(before: &Facts, after: &Facts) -> Vec<String> {
    let changed = before
        .iter()
        .filter(|(key, value)| after.get(*key) != Some(value));
    changed
        .map(|(key, value)| format!("{key}: {value:?} became {:?}", after.get(key)))
        .collect()
}
