//! The last part of every plan: from the working directory to the exec.

use runtime_init::Point;

use super::{Action, CapabilitySets};
use crate::bundle::names;
use crate::error::{Code, Error, Result};
use crate::spec::{Capabilities, Personality, Process, Seccomp};

/// What else decides about the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch<'a> {
    pub(crate) seccomp: Option<&'a Seccomp>,
    /// Whether the process starts the container.
    pub(crate) new_container: bool,
    /// Whether it waits to be started, without whoever made it.
    pub(crate) gate: bool,
    /// What to execute, where it is not the first argument.
    pub(crate) program: Option<&'a str>,
    pub(crate) personality: Option<&'a Personality>,
}

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_UMASK: u32 = 0o022;
const CAP_SYS_ADMIN: u64 = 1 << 21;
/// personality.h.
const PER_LINUX32: u64 = 8;
/// ioprio.h.
const IOPRIO_CLASS_SHIFT: i32 = 13;
/// sched/types.h: the first published version of the structure.
const SCHED_ATTR_SIZE: u32 = 48;

pub(crate) fn is_labelled(process: &Process) -> bool {
    let set = |label: &Option<String>| label.as_ref().is_some_and(|label| !label.is_empty());
    set(&process.apparmor_profile) || set(&process.selinux_label)
}

pub(crate) fn process_actions(
    actions: &mut Vec<Action>,
    process: &Process,
    launch: Launch<'_>,
) -> Result<()> {
    if process.args.is_empty() {
        return Err(Error::new(Code::InvalidConfig, "plan process")
            .operand("process.args")
            .reason("is empty"));
    }
    scheduling(actions, process, launch.personality)?;
    if !process.terminal {
        actions.push(Action::Stdio);
    }
    labels(actions, process);
    let cwd = if process.cwd.as_os_str().is_empty() {
        "/".into()
    } else {
        process.cwd.to_string_lossy()
    };
    actions.push(Action::Cwd {
        path: cwd.into_owned(),
        create: launch.new_container,
    });
    actions.push(Action::Umask {
        mask: process.user.umask.unwrap_or(DEFAULT_UMASK),
    });
    let user = &process.user;
    if !process.terminal {
        actions.push(Action::OwnStdio { uid: user.uid });
    }
    let (env, path, home) = environment(&process.env);
    if home {
        actions.push(Action::Home { uid: user.uid });
    }
    let mut groups = user.additional_gids.clone();
    groups.dedup();
    actions.push(Action::Groups { groups });
    let mut sets = capability_sets(process.capabilities.as_ref());
    actions.push(Action::BoundingSet { keep: sets.bounding });
    actions.push(Action::Rlimits);
    actions.push(Action::User {
        uid: user.uid,
        gid: user.gid,
    });
    // A filter may be loaded by those who gave up privileges for good, or by the privileged. So that it can be
    // loaded last, after every system call that it might forbid, the privilege stays up to the exec, which takes it.
    if launch.seccomp.is_some() && !process.no_new_privileges {
        sets.permitted |= CAP_SYS_ADMIN;
        sets.effective |= CAP_SYS_ADMIN;
    }
    actions.push(Action::Capabilities(sets));
    if process.no_new_privileges {
        actions.push(Action::NoNewPrivileges);
    }
    let program = launch.program.unwrap_or(&process.args[0]).to_owned();
    actions.push(Action::Find {
        candidates: candidates(&program, path.as_deref()),
        program,
    });
    actions.push(Action::Signals);
    actions.push(Action::KeepFds);
    // One that joins a container is waited for by its exec; there is only its terminal to be handed over.
    if launch.new_container || process.terminal {
        actions.push(Action::Sync(Point::Ready));
    }
    if launch.gate {
        actions.extend([Action::CloseFds { last: true }, Action::Gate]);
    }
    if let Some(profile) = launch.seccomp {
        actions.push(Action::Seccomp(Box::new(profile.clone())));
    }
    actions.push(Action::Exec {
        args: process.args.clone(),
        env,
        home,
    });
    Ok(())
}

/// Scheduling, I/O priority and execution domain.
fn scheduling(actions: &mut Vec<Action>, process: &Process, personality: Option<&Personality>) -> Result<()> {
    let unknown = |field: &str, name: &str| {
        Error::new(Code::InvalidConfig, "plan process")
            .operand(field)
            .reason(format!("unknown name {name:?}"))
    };
    if let Some(personality) = personality {
        let domain = match personality.domain.as_str() {
            "LINUX" => 0,
            "LINUX32" => PER_LINUX32,
            other => return Err(unknown("linux.personality.domain", other)),
        };
        actions.push(Action::Personality { domain });
    }
    if let Some(priority) = &process.io_priority {
        let class = names::io_class(&priority.class)
            .ok_or_else(|| unknown("process.ioPriority.class", &priority.class))?;
        actions.push(Action::IoPriority {
            value: (class as i32) << IOPRIO_CLASS_SHIFT | priority.priority,
        });
    }
    if let Some(scheduler) = &process.scheduler {
        let policy = names::scheduler_policy(&scheduler.policy)
            .ok_or_else(|| unknown("process.scheduler.policy", &scheduler.policy))?;
        let mut flags = 0;
        for flag in &scheduler.flags {
            flags |= names::scheduler_flag(flag).ok_or_else(|| unknown("process.scheduler.flags", flag))?;
        }
        // The words of struct sched_attr; the first half of the first one is its size.
        let pair = |low: u32, high: u32| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&low.to_ne_bytes());
            bytes[4..].copy_from_slice(&high.to_ne_bytes());
            u64::from_ne_bytes(bytes)
        };
        let attributes = vec![
            pair(SCHED_ATTR_SIZE, policy),
            flags,
            pair(scheduler.nice as u32, scheduler.priority as u32),
            scheduler.runtime,
            scheduler.deadline,
            scheduler.period,
        ];
        actions.push(Action::Scheduler { attributes });
    }
    if process.exec_cpu_affinity.is_some() {
        return Err(Error::new(Code::Unsupported, "plan process")
            .operand("process.execCPUAffinity")
            .reason("is not supported by this version"));
    }
    Ok(())
}

fn labels(actions: &mut Vec<Action>, process: &Process) {
    let path = "thread-self/attr/exec";
    if let Some(profile) = process
        .apparmor_profile
        .as_ref()
        .filter(|profile| !profile.is_empty())
    {
        actions.push(Action::WriteProc {
            path: path.into(),
            value: format!("exec {profile}"),
        });
    }
    if let Some(label) = process.selinux_label.as_ref().filter(|label| !label.is_empty()) {
        actions.push(Action::WriteProc {
            path: path.into(),
            value: label.clone(),
        });
    }
}

/// The environment with the last of repeated entries, its `PATH`, and whether `HOME` has to be found out.
fn environment(entries: &[String]) -> (Vec<String>, Option<String>, bool) {
    let name = |entry: &str| entry.split_once('=').map_or(entry.len(), |(name, _)| name.len());
    let mut env: Vec<String> = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = &entry[..name(entry)];
        match env.iter_mut().find(|earlier| earlier[..name(earlier)] == *key) {
            Some(earlier) => earlier.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
    let home = env
        .iter()
        .any(|entry| entry.len() > "HOME=".len() && entry.starts_with("HOME="));
    if !home {
        env.retain(|entry| !entry.starts_with("HOME="));
    }
    let path = env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .map(str::to_owned);
    (env, path, !home)
}

/// The paths at which `program` may be, best first.
fn candidates(program: &str, path: Option<&str>) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let directories = path.unwrap_or(DEFAULT_PATH).split(':');
    directories
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| format!("{directory}/{program}"))
        .collect()
}

/// Capability bits of names. Unknown ones are left out with a warning: the caller may know a newer kernel.
fn bits(names: &[String]) -> u64 {
    names.iter().fold(0, |bits, name| match names::capability(name) {
        Some(number) => bits | 1 << number,
        None => {
            tracing::warn!(capability = %name, "unknown capability ignored");
            bits
        }
    })
}

fn capability_sets(capabilities: Option<&Capabilities>) -> CapabilitySets {
    let Some(capabilities) = capabilities else {
        return CapabilitySets::default();
    };
    let mut sets = CapabilitySets {
        bounding: bits(&capabilities.bounding),
        permitted: bits(&capabilities.permitted),
        effective: bits(&capabilities.effective),
        inheritable: bits(&capabilities.inheritable),
        ambient: bits(&capabilities.ambient),
    };
    let possible = sets.permitted & sets.inheritable;
    if sets.ambient & !possible != 0 {
        tracing::warn!("ambient capabilities that are not both permitted and inheritable ignored");
        sets.ambient &= possible;
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&entry| entry.to_owned()).collect()
    }

    #[test]
    fn the_last_of_repeated_entries_wins_in_the_first_place() {
        let (env, path, home) = environment(&strings(&["A=1", "PATH=/x", "A=2", "HOME=", "odd", "odd"]));
        assert_eq!(env, ["A=2", "PATH=/x", "odd"]);
        assert_eq!((path.as_deref(), home), (Some("/x"), true));
    }

    #[test]
    fn programs_are_looked_for_in_absolute_directories() {
        assert_eq!(
            candidates("sh", Some("/bin:.::/usr/bin")),
            ["/bin/sh", "/usr/bin/sh"]
        );
        assert_eq!(candidates("./sh", Some("/bin")), ["./sh"]);
        assert_eq!(candidates("sh", None).len(), 6);
    }

    #[test]
    fn ambient_needs_permitted_and_inheritable() {
        let both = strings(&["CAP_KILL", "CAP_CHOWN"]);
        let capabilities = Capabilities {
            permitted: both.clone(),
            inheritable: strings(&["CAP_KILL", "CAP_UNKNOWN"]),
            ambient: both,
            ..Capabilities::default()
        };
        assert_eq!(capability_sets(Some(&capabilities)).ambient, 1 << 5);
        assert_eq!(capability_sets(None), CapabilitySets::default());
    }
}
