//! The names that configurations use for numbers of the kernel. Unknown ones give `None`.

type Table<T> = [(&'static str, T)];

fn find<T: Copy>(table: &Table<T>, name: &str) -> Option<T> {
    table
        .iter()
        .find(|(known, _)| *known == name)
        .map(|&(_, value)| value)
}

/// All capabilities, each at its number; see capabilities(7).
pub(crate) const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Number of a capability.
pub(crate) fn capability(name: &str) -> Option<u8> {
    CAPABILITIES
        .iter()
        .position(|known| *known == name)
        .map(|number| number as u8)
}

/// Number of a resource for setrlimit(2).
pub(crate) fn rlimit(name: &str) -> Option<u32> {
    find(
        &[
            ("RLIMIT_AS", libc::RLIMIT_AS),
            ("RLIMIT_CORE", libc::RLIMIT_CORE),
            ("RLIMIT_CPU", libc::RLIMIT_CPU),
            ("RLIMIT_DATA", libc::RLIMIT_DATA),
            ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
            ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
            ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
            ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
            ("RLIMIT_NICE", libc::RLIMIT_NICE),
            ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
            ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
            ("RLIMIT_RSS", libc::RLIMIT_RSS),
            ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
            ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
            ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
            ("RLIMIT_STACK", libc::RLIMIT_STACK),
        ],
        name,
    )
}

/// Number of a policy for sched_setattr(2).
pub(crate) fn scheduler_policy(name: &str) -> Option<u32> {
    find(
        &[
            ("SCHED_OTHER", 0),
            ("SCHED_FIFO", 1),
            ("SCHED_RR", 2),
            ("SCHED_BATCH", 3),
            ("SCHED_ISO", 4),
            ("SCHED_IDLE", 5),
            ("SCHED_DEADLINE", 6),
        ],
        name,
    )
}

/// Flag for sched_setattr(2).
pub(crate) fn scheduler_flag(name: &str) -> Option<u64> {
    find(
        &[
            ("SCHED_FLAG_RESET_ON_FORK", 0x01),
            ("SCHED_FLAG_RECLAIM", 0x02),
            ("SCHED_FLAG_DL_OVERRUN", 0x04),
            ("SCHED_FLAG_KEEP_POLICY", 0x08),
            ("SCHED_FLAG_KEEP_PARAMS", 0x10),
            ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
            ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
        ],
        name,
    )
}

/// Number of a class for ioprio_set(2).
pub(crate) fn io_class(name: &str) -> Option<u32> {
    find(
        &[
            ("IOPRIO_CLASS_RT", 1),
            ("IOPRIO_CLASS_BE", 2),
            ("IOPRIO_CLASS_IDLE", 3),
        ],
        name,
    )
}

/// Number of a mode for set_mempolicy(2).
pub(crate) fn memory_policy(name: &str) -> Option<u32> {
    find(
        &[
            ("MPOL_DEFAULT", 0),
            ("MPOL_PREFERRED", 1),
            ("MPOL_BIND", 2),
            ("MPOL_INTERLEAVE", 3),
            ("MPOL_LOCAL", 4),
            ("MPOL_PREFERRED_MANY", 5),
            ("MPOL_WEIGHTED_INTERLEAVE", 6),
        ],
        name,
    )
}

/// Flag for set_mempolicy(2).
pub(crate) fn memory_policy_flag(name: &str) -> Option<u32> {
    find(
        &[
            ("MPOL_F_STATIC_NODES", 1 << 15),
            ("MPOL_F_RELATIVE_NODES", 1 << 14),
            ("MPOL_F_NUMA_BALANCING", 1 << 13),
        ],
        name,
    )
}

/// `MS_…` flags of a mount propagation.
pub(crate) fn propagation(name: &str) -> Option<u64> {
    let (flags, name) = match name.strip_prefix('r') {
        Some(name) => (libc::MS_REC, name),
        None => (0, name),
    };
    let kind = find(
        &[
            ("private", libc::MS_PRIVATE),
            ("shared", libc::MS_SHARED),
            ("slave", libc::MS_SLAVE),
            ("unbindable", libc::MS_UNBINDABLE),
        ],
        name,
    )?;
    Some(flags | kind)
}
