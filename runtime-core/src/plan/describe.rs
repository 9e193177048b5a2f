//! The plan in words: one line an action, for `explain` and for the errors of a step.

use std::fmt::Write;

use super::{Action, By, Mount, Source};
use crate::container::Explained;

/// Names of namespaces in `CLONE_NEW*` flags.
fn namespaces(flags: i32) -> String {
    const KINDS: &[(i32, &str)] = &[
        (libc::CLONE_NEWUSER, "user"),
        (libc::CLONE_NEWPID, "pid"),
        (libc::CLONE_NEWNS, "mount"),
        (libc::CLONE_NEWNET, "network"),
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWUTS, "uts"),
        (libc::CLONE_NEWCGROUP, "cgroup"),
        (0x80, "time"),
    ];
    let names: Vec<&str> = KINDS
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|&(_, name)| name)
        .collect();
    names.join(" ")
}

/// Names of capabilities.
fn capabilities(bits: u64) -> String {
    let names = crate::bundle::names::CAPABILITIES.iter().enumerate();
    let names: Vec<&str> = names
        .filter(|(number, _)| bits & 1 << number != 0)
        .map(|(_, name)| &name[4..])
        .collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(",").to_lowercase()
    }
}

impl super::Plan {
    /// The whole plan, the runtime's own part first.
    pub(crate) fn explain(&self) -> Vec<Explained> {
        let mut lines = vec![Explained {
            by: "runtime",
            step: "clone".into(),
            operand: namespaces(self.clone_flags as i32),
            detail: if self.clone_flags == 0 {
                "no new namespaces at birth".into()
            } else {
                "new namespaces".into()
            },
        }];
        lines.extend(self.actions.iter().map(Action::explain));
        lines
    }
}

impl Action {
    fn explain(&self) -> Explained {
        let (step, operand) = self.label();
        let by = match self {
            Action::Mount(Mount { by: By::Runtime, .. }) | Action::AttachRoot { .. } => "runtime, init",
            Action::Sync(_) => "both",
            _ => "init",
        };
        Explained {
            by,
            step: step.into(),
            operand,
            detail: self.detail(),
        }
    }

    /// What it does, and to what: the words that an error begins with.
    pub(crate) fn label(&self) -> (&'static str, String) {
        let none = String::new;
        match self {
            Action::CloseFds { .. } => ("close descriptors", none()),
            Action::Nothing => ("nothing", none()),
            Action::JoinCgroup => ("join cgroup", none()),
            Action::Sync(point) => ("wait for the runtime at", format!("{point:?}").to_lowercase()),
            Action::Join { path, .. } => ("join namespace", path.display().to_string()),
            Action::JoinContainer { flags } => ("join namespaces of the container", namespaces(*flags)),
            Action::Unshare { flags } => ("unshare namespaces", namespaces(*flags)),
            Action::OwnTime => ("enter time namespace", none()),
            Action::BecomeRoot => ("become root of the user namespace", none()),
            Action::Undumpable => ("hide from ptrace", none()),
            Action::NewSession => ("make a session", none()),
            Action::Keyring { name } => ("make session keyring", name.clone()),
            Action::ProcFs => ("open a private procfs", none()),
            Action::WriteProc { path, .. } => ("write /proc/", path.clone()),
            Action::Slave => ("cut mount propagation to the host", none()),
            Action::Root { path } => ("open rootfs", path.display().to_string()),
            Action::AttachRoot { path, .. } => ("attach rootfs", path.display().to_string()),
            Action::Mount(mount) => match &mount.source {
                Source::Bind { .. } => ("bind mount on", mount.at.clone()),
                Source::Fs { .. } => ("mount on", mount.at.clone()),
            },
            Action::Reattribute { at, .. } => ("change mount", at.clone()),
            Action::Mknod { at, .. } => ("make device", at.clone()),
            Action::Symlink { at, .. } => ("make symlink", at.clone()),
            Action::MaskSources => ("check host's", "/dev/null".into()),
            Action::Mask { at } => ("mask", at.clone()),
            Action::Readonly { at } => ("make read-only", at.clone()),
            Action::Pivot => ("pivot root", none()),
            Action::MoveRoot => ("move root", none()),
            Action::Chroot => ("change root", none()),
            Action::Cwd { path, .. } => ("change directory to process.cwd", path.clone()),
            Action::Hostname { name } => ("set hostname", name.clone()),
            Action::Domainname { name } => ("set domainname", name.clone()),
            Action::Umask { mask } => ("set umask", format!("{mask:04o}")),
            Action::Console { .. } => ("open console in", "/dev/pts".into()),
            Action::PlaceConsole { at } => ("bind console on", at.clone()),
            Action::Stdio => ("set standard streams", none()),
            Action::KeepFds => ("keep descriptors", none()),
            Action::OwnStdio { uid } => ("give standard streams to user", uid.to_string()),
            Action::Personality { domain } => ("set personality", format!("{domain:#x}")),
            Action::IoPriority { value } => ("set I/O priority", value.to_string()),
            Action::Scheduler { .. } => ("set scheduler", none()),
            Action::Groups { groups } => ("set groups", format!("{groups:?}")),
            Action::BoundingSet { keep } => ("limit capabilities to", capabilities(*keep)),
            Action::User { uid, gid } => ("set user", format!("{uid}:{gid}")),
            Action::Capabilities(sets) => ("set capabilities", capabilities(sets.permitted)),
            Action::NoNewPrivileges => ("set no_new_privs", none()),
            Action::Home { uid } => ("find home of user", uid.to_string()),
            Action::Find { program, .. } => ("exec:", program.clone()),
            Action::Signals => ("reset signals", none()),
            Action::Loopback => ("bring up interface", "lo".into()),
            Action::Reborn => ("go on in new pid namespace", none()),
            Action::Rlimits => ("set resource limits", none()),
            Action::Gate => ("wait for start", none()),
            Action::Seccomp(_) => ("load seccomp filter", none()),
            Action::Exec { args, .. } => ("exec", args.first().cloned().unwrap_or_default()),
        }
    }

    fn detail(&self) -> String {
        match self {
            Action::Mount(mount) => mount.detail(),
            Action::Symlink { to, .. } => format!("to {to}"),
            Action::WriteProc { value, .. } => value.clone(),
            Action::Mknod { mode, device, .. } => {
                format!("mode {mode:o}, {}:{}", libc::major(*device), libc::minor(*device))
            }
            Action::Reattribute { attributes, .. } => changes(attributes),
            Action::Capabilities(sets) => format!(
                "effective {}; inheritable {}; ambient {}",
                capabilities(sets.effective),
                capabilities(sets.inheritable),
                capabilities(sets.ambient)
            ),
            Action::Find { candidates, .. } => format!("in {}", candidates.join(" ")),
            Action::Exec { args, .. } => args.join(" "),
            Action::Cwd { create: true, .. } => "made when missing".into(),
            _ => String::new(),
        }
    }
}

impl Mount {
    fn detail(&self) -> String {
        let mut text = match &self.source {
            Source::Bind { path, recursive } => {
                format!(
                    "{} of {}",
                    if *recursive { "whole tree" } else { "bind" },
                    path.display()
                )
            }
            Source::Fs { kind, parameters } => format!("{kind} {}", parameters.join(",")),
        };
        if self.copy_up.is_some() {
            text.push_str(" with a copy of the image's directory");
        }
        for attributes in &self.attributes {
            let _ = write!(text, " {}", changes(attributes));
        }
        text.trim_end().to_owned()
    }
}

/// Attribute changes in the words of mount(8).
fn changes(attributes: &runtime_init::Attributes) -> String {
    const NAMES: &[(u64, &str)] = &[
        (0x1, "ro"),
        (0x2, "nosuid"),
        (0x4, "nodev"),
        (0x8, "noexec"),
        (0x10, "noatime"),
        (0x20, "strictatime"),
        (0x80, "nodiratime"),
        (0x20_0000, "nosymfollow"),
    ];
    let mut words: Vec<String> = Vec::new();
    let recursive = if attributes.recursive { "r" } else { "" };
    for &(bit, name) in NAMES {
        if attributes.set & bit != 0 {
            words.push(format!("{recursive}{name}"));
        } else if attributes.clear & bit != 0 {
            words.push(format!("{recursive}-{name}"));
        }
    }
    let kinds = [
        (libc::MS_PRIVATE, "private"),
        (libc::MS_SLAVE, "slave"),
        (libc::MS_SHARED, "shared"),
        (libc::MS_UNBINDABLE, "unbindable"),
    ];
    words.extend(
        kinds
            .iter()
            .filter(|(kind, _)| attributes.propagation == *kind)
            .map(|(_, name)| format!("{recursive}{name}")),
    );
    words.join(",")
}
