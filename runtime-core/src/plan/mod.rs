//! The plan: everything that will be done for a container or a process, in order, before anything is.
//!
//! A pure function of the configuration and of what the host is. Nothing here opens, makes or changes anything,
//! so that all of it can be tested, printed ([`Runtime::explain`](crate::Runtime::explain)) and reasoned about
//! without privileges.

mod container;
mod describe;
mod exec;
mod furnish;
mod mount_options;
mod mounts;
mod process;

use std::path::PathBuf;

use runtime_init::{Attributes, PlaceFlags, Point, Target};

pub(crate) use container::{Options, plan};
pub(crate) use exec::plan_exec;
pub(crate) use mount_options::NAMES as MOUNT_OPTIONS;
pub(crate) use mounts::EMPTY_ATTRIBUTES;

use crate::spec::{NamespaceType, Resources, Rlimit, Seccomp};

/// All that is going to be done for one launch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// `CLONE_NEW*` for clone3(2).
    pub(crate) clone_flags: u64,
    /// What init does, in order.
    pub(crate) actions: Vec<Action>,
    /// What the runtime writes for a new user namespace.
    pub(crate) mappings: Option<Mappings>,
    /// `/proc/<pid>/timens_offsets` of a new time namespace.
    pub(crate) time_offsets: Option<String>,
    /// A pid namespace to be born in.
    pub(crate) pid_namespace: Option<PathBuf>,
    /// Limits of the process.
    pub(crate) rlimits: Vec<Rlimit>,
    /// `/proc/<pid>/oom_score_adj`.
    pub(crate) oom_score_adj: Option<i32>,
    /// Limits of the cgroup.
    pub(crate) resources: Resources,
    /// Additional device nodes, which the cgroup allows as well.
    pub(crate) devices: Vec<crate::spec::Device>,
    /// Descriptors of the caller that the process keeps, from 3 on; then those that it is given.
    pub(crate) preserve_fds: u32,
    pub(crate) extra_fds: u32,
}

impl Plan {
    /// Whether init waits for what only an outsider can write, before it makes the rest of its namespaces.
    pub(crate) fn is_mapped(&self) -> bool {
        self.mappings.is_some() || self.time_offsets.is_some()
    }

    /// Whether the process waits to be started.
    pub(crate) fn has_gate(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, Action::Gate))
    }
}

/// Identity mappings in the kernel's format, `inside outside count` a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mappings {
    pub(crate) uid: String,
    pub(crate) gid: String,
}

/// Who makes a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The runtime, beside init: what it allocates is not charged to the container.
    Runtime,
    /// Init: it depends on namespaces that only init is in.
    Init,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A part of the host's tree.
    Bind { path: PathBuf, recursive: bool },
    /// A new file system.
    Fs { kind: String, parameters: Vec<String> },
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) at: String,
    pub(crate) source: Source,
    pub(crate) by: By,
    /// Changes in order; those of a new file system's own mount are folded into its first entry.
    pub(crate) attributes: Vec<Attributes>,
    pub(crate) target: Target,
    pub(crate) flags: PlaceFlags,
    /// What the runtime puts into a new file system.
    pub(crate) contents: Vec<Entry>,
    /// The root file system from whose directory in the same place a new file system is filled.
    pub(crate) copy_up: Option<PathBuf>,
}

/// Something right below the root of a new file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory {
        name: String,
    },
    Node {
        name: String,
        mode: u32,
        device: u64,
        uid: u32,
        gid: u32,
    },
    Symlink {
        name: String,
        to: String,
    },
}

impl Entry {
    pub(crate) fn name(&self) -> &str {
        match self {
            Entry::Directory { name } | Entry::Node { name, .. } | Entry::Symlink { name, .. } => name,
        }
    }
}

/// A capability set for each of the kernel's five.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapabilitySets {
    pub(crate) bounding: u64,
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
}

/// One thing that init does. Most become one step; what the step needs opened, the runtime opens ahead.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Closes what is not needed: at the start what other launches left open, before the gate the rest.
    CloseFds {
        last: bool,
    },
    /// Was taken over by another action.
    Nothing,
    JoinCgroup,
    Sync(Point),
    Join {
        kind: NamespaceType,
        path: PathBuf,
        again: bool,
    },
    /// All namespaces of a running container at once.
    JoinContainer {
        flags: i32,
    },
    Unshare {
        flags: i32,
    },
    OwnTime,
    BecomeRoot,
    Undumpable,
    NewSession,
    Keyring {
        name: String,
    },
    ProcFs,
    WriteProc {
        path: String,
        value: String,
    },
    Slave,
    Root {
        path: PathBuf,
    },
    AttachRoot {
        path: PathBuf,
        attributes: Vec<Attributes>,
    },
    Mount(Mount),
    Reattribute {
        at: String,
        attributes: Attributes,
    },
    Mknod {
        at: String,
        mode: u32,
        device: u64,
        uid: u32,
        gid: u32,
    },
    Symlink {
        at: String,
        to: String,
    },
    MaskSources,
    Mask {
        at: String,
    },
    Readonly {
        at: String,
    },
    Pivot,
    MoveRoot,
    Chroot,
    Cwd {
        path: String,
        create: bool,
    },
    Hostname {
        name: String,
    },
    Domainname {
        name: String,
    },
    Umask {
        mask: u32,
    },
    Console {
        width: u16,
        height: u16,
        uid: u32,
    },
    PlaceConsole {
        at: String,
    },
    Stdio,
    /// The preserved and the given descriptors.
    KeepFds,
    OwnStdio {
        uid: u32,
    },
    Personality {
        domain: u64,
    },
    IoPriority {
        value: i32,
    },
    Scheduler {
        attributes: Vec<u64>,
    },
    Loopback,
    Reborn,
    Groups {
        groups: Vec<u32>,
    },
    BoundingSet {
        keep: u64,
    },
    User {
        uid: u32,
        gid: u32,
    },
    Capabilities(CapabilitySets),
    NoNewPrivileges,
    Home {
        uid: u32,
    },
    Find {
        program: String,
        candidates: Vec<String>,
    },
    Signals,
    Gate,
    /// Lowers the limits to [`Plan::rlimits`].
    Rlimits,
    Seccomp(Box<Seccomp>),
    Exec {
        args: Vec<String>,
        env: Vec<String>,
        home: bool,
    },
}

/// `CLONE_NEW*` of a kind of namespace.
pub(crate) fn clone_flag(kind: NamespaceType) -> i32 {
    match kind {
        NamespaceType::Pid => libc::CLONE_NEWPID,
        NamespaceType::Network => libc::CLONE_NEWNET,
        NamespaceType::Mount => libc::CLONE_NEWNS,
        NamespaceType::Ipc => libc::CLONE_NEWIPC,
        NamespaceType::Uts => libc::CLONE_NEWUTS,
        NamespaceType::User => libc::CLONE_NEWUSER,
        NamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        // Not in the libc crate; sched.h.
        NamespaceType::Time => 0x80,
    }
}
