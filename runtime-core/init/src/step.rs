//! The steps, as the parent writes them down.

use core::ffi::c_char;

/// A string without NUL in it and a NUL after it: its offset in [`Program::arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Str(pub u32);

/// A run of strings: `len` entries of [`Program::strings`] from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// First entry.
    pub start: u32,
    /// Number of entries.
    pub len: u32,
}

/// A run of numbers: `len` entries of [`Program::numbers`] from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// First entry.
    pub start: u32,
    /// Number of entries.
    pub len: u32,
}

/// A descriptor that the parent sends after the clone: its number among those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply(pub u32);

/// Points at which the child stops until the parent has done its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Point {
    /// The new user or time namespace exists; the parent writes its mappings and offsets.
    Mapped = 1,
    /// All mounts are in place and the old root is still there; the parent runs hooks.
    Mounted = 2,
    /// All that can fail before the program is executed has been done; the parent commits.
    Ready = 3,
}

/// What the steps of one launch need, laid out by the parent before the clone.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// The steps, in order.
    pub steps: &'a [Step],
    /// NUL-terminated strings, which [`Str`] points into.
    pub arena: &'a [u8],
    /// Lists of strings.
    pub strings: &'a [Str],
    /// Lists of numbers.
    pub numbers: &'a [u64],
    /// NULL-terminated pointer tables for execve(2).
    pub pointers: *mut *const c_char,
    /// Where the numbers of the descriptors go that [`Supply`] stands for.
    pub supplies: *mut i32,
    /// Signals that may be ignored, a bit each from 1 on.
    pub ignored: u64,
}

/// Changes of mount attributes, see mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE` or 0.
    pub propagation: u64,
    /// Whether the mounts below change as well.
    pub recursive: bool,
}

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A directory, made when missing.
    Directory,
    /// Anything but a directory; an empty file is made when missing.
    File,
    /// What the mount itself is.
    LikeSource,
}

/// Details of putting a mount in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlaceFlags {
    /// The mount point may not be reached through a symbolic link, and must be a directory: for proc and sysfs.
    pub plain_directory: bool,
    /// The mount point may be inside a procfs.
    pub inside_proc: bool,
    /// What the new mount's root does with the mode of the directory that it covers.
    pub mode: DirMode,
    /// Later mounts go right below this one, which nobody but the runtime had a hand in.
    pub base: bool,
    /// Where in its path the name of a directory starts that the runtime made in the last such base; 0: it did not.
    pub below: u16,
}

/// The mode of a new mount's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirMode {
    /// Stays as it is.
    #[default]
    Own,
    /// Becomes that of the directory it covers.
    Inherit,
}

/// One thing to do. Each takes one to a few system calls; none allocates.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Closes all descriptors but these (sorted). Without the socket among them the parent is not needed from there on.
    CloseFds {
        /// What stays open.
        keep: Numbers,
    },
    /// Tells the parent that `point` is reached and waits for its answer; exits when the parent is gone.
    Sync {
        /// The point.
        point: Point,
    },
    /// Receives the descriptors that the parent has made meanwhile.
    Receive {
        /// How many.
        count: u32,
        /// The lowest number that they may have.
        base: i32,
    },
    /// Joins a cgroup by writing `0` to its `tasks` or `cgroup.procs`.
    JoinCgroup {
        /// That file.
        file: Supply,
    },
    /// Joins namespaces, see setns(2).
    SetNs {
        /// A namespace file or a pidfd.
        fd: i32,
        /// `CLONE_NEW*`.
        flags: i32,
        /// Whether this is the second attempt, for what got EPERM before the user namespace was joined.
        again: bool,
    },
    /// Leaves namespaces for new ones, see unshare(2).
    Unshare {
        /// `CLONE_NEW*`.
        flags: i32,
    },
    /// Enters the time namespace that was unshared: by itself that is for children only.
    OwnTime,
    /// Becomes user and group 0 of the user namespace.
    BecomeRoot,
    /// Makes the process unreachable for ptrace(2) by those it is about to join.
    Undumpable,
    /// Leaves the caller's session and terminal, see setsid(2).
    NewSession,
    /// Makes a session keyring of its own.
    Keyring {
        /// Its description.
        name: Str,
    },
    /// Opens a private procfs, which no mount can cover.
    ProcFs,
    /// Writes a file of that procfs.
    WriteProc {
        /// Relative to its root.
        path: Str,
        /// What to write.
        value: Str,
    },
    /// Cuts mount propagation towards the host.
    Slave,
    /// Opens the directory that paths inside the container start from.
    Root {
        /// Its absolute path in the mount namespace of the moment.
        path: Str,
    },
    /// Attaches the current mount on that directory and makes it the root of all further steps.
    AttachRoot,
    /// Makes a detached mount of the parent the current one.
    Take {
        /// The mount.
        mount: Supply,
    },
    /// Makes a detached copy of a mount of this mount namespace the current one.
    CloneTree {
        /// Absolute path, outside the container.
        path: Str,
        /// Whether mounts below are copied too.
        recursive: bool,
    },
    /// Makes a new file system the current mount.
    NewFs {
        /// Type.
        fs: Str,
        /// Parameters, as `key` or `key=value`.
        parameters: List,
        /// `MOUNT_ATTR_*`.
        attributes: u32,
    },
    /// Changes attributes of the current mount.
    SetAttr {
        /// The changes.
        attributes: Attributes,
    },
    /// Puts the current mount in place.
    Place {
        /// Path in the container.
        at: Str,
        /// What the mount point must be.
        target: Target,
        /// Details.
        flags: PlaceFlags,
    },
    /// Changes attributes of a mount that is in place.
    Reattribute {
        /// Path in the container.
        at: Str,
        /// The changes.
        attributes: Attributes,
    },
    /// Makes a device node.
    Mknod {
        /// Path in the container.
        at: Str,
        /// Type and permissions.
        mode: u32,
        /// Number, as of makedev(3).
        device: u64,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Makes a symbolic link.
    Symlink {
        /// Path in the container.
        at: Str,
        /// What it holds.
        to: Str,
    },
    /// Gets ready to mask: checks the host's `/dev/null` and takes an empty directory.
    MaskSources {
        /// A detached, empty, read-only file system.
        empty: Supply,
    },
    /// Covers a path, if it exists, with `/dev/null` or an empty directory.
    Mask {
        /// Path in the container.
        at: Str,
    },
    /// Makes a path, if it exists, read-only.
    Readonly {
        /// Path in the container.
        at: Str,
    },
    /// Makes the container's root the root and lets go of the old one, see pivot_root(2).
    Pivot,
    /// The same by moving the mount, for a root that pivot_root(2) refuses.
    MoveRoot,
    /// The same by chroot(2), for containers without a mount namespace.
    Chroot,
    /// Changes the working directory.
    Cwd {
        /// Absolute path in the container.
        path: Str,
        /// Whether it is made when missing.
        create: bool,
    },
    /// Sets the hostname.
    Hostname {
        /// The name.
        name: Str,
    },
    /// Sets the NIS domain name.
    Domainname {
        /// The name.
        name: Str,
    },
    /// Sets the file mode creation mask.
    Umask {
        /// The mask.
        mask: u32,
    },
    /// Makes a pseudo terminal of the container's devpts the standard streams and the controlling terminal.
    Console {
        /// Columns, 0 to leave them.
        width: u16,
        /// Rows, 0 to leave them.
        height: u16,
        /// Owner.
        uid: u32,
    },
    /// Binds that terminal.
    PlaceConsole {
        /// Path in the container, `/dev/console`.
        at: Str,
    },
    /// Makes `to` a copy of `from` that survives the exec.
    Dup {
        /// Existing descriptor.
        from: i32,
        /// New descriptor.
        to: i32,
    },
    /// Lets a descriptor survive the exec.
    KeepFd {
        /// The descriptor.
        fd: i32,
    },
    /// Gives the standard streams, where they are pipes, sockets or files, to the container's user.
    OwnStdio {
        /// The user.
        uid: u32,
    },
    /// Sets the execution domain, see personality(2).
    Personality {
        /// The domain.
        domain: u64,
    },
    /// Sets I/O class and priority, see ioprio_set(2).
    IoPriority {
        /// Class and priority in one.
        value: i32,
    },
    /// Sets the scheduling policy.
    Scheduler {
        /// The words of `struct sched_attr`.
        attributes: Numbers,
    },
    /// Brings the loopback interface of a new network namespace up.
    Loopback,
    /// Goes on as a new process, a sibling, in a new pid namespace that belongs to the user namespace joined before.
    Reborn,
    /// Sets a resource limit, see setrlimit(2).
    Rlimit {
        /// `RLIMIT_*`.
        resource: u32,
        /// The limit in force.
        soft: u64,
        /// Its ceiling.
        hard: u64,
    },
    /// Sets the supplementary groups.
    Groups {
        /// The groups.
        groups: Numbers,
    },
    /// Drops all but these from the capability bounding set.
    BoundingSet {
        /// Bits of what stays.
        keep: u64,
    },
    /// Becomes this user, keeping the permitted capabilities.
    User {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// Sets the capabilities.
    Capabilities {
        /// Permitted set.
        permitted: u64,
        /// Effective set.
        effective: u64,
        /// Inheritable set.
        inheritable: u64,
        /// Ambient set.
        ambient: u64,
    },
    /// Gives up gaining privileges by an exec.
    NoNewPrivileges,
    /// Fills in `HOME` from the container's `/etc/passwd`.
    Home {
        /// The user.
        uid: u32,
        /// Index in [`Program::pointers`] of the entry to fill.
        slot: u32,
    },
    /// Chooses the first of these that can be executed.
    Find {
        /// Paths in the container.
        candidates: List,
    },
    /// Sets every signal to its default action and empties the signal mask.
    Signals,
    /// Waits for a byte.
    Gate {
        /// The exec fifo, open for reading and writing.
        fifo: i32,
    },
    /// Loads the system call filter.
    Seccomp {
        /// Instructions, eight bytes each.
        program: Numbers,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u64,
    },
    /// Executes what was found.
    Exec {
        /// Index of the argument table in [`Program::pointers`].
        argv: u32,
        /// Index of the environment table.
        envp: u32,
    },
}
