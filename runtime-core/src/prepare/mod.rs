//! From plan to program: opens what init has to have from the start and freezes all strings. Everything else that the
//! steps need is made beside init ([`Prepared::make_supplies`]) and sent to it. What was opened is closed again when a
//! [`Prepared`] is dropped; nothing else has happened by then.

mod copy_up;
mod mounts;
mod strings;
mod supplies;

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use runtime_init::{Numbers, Program, Step, Supply};

use crate::container::{Stdio, Stream};
use crate::error::{At, Code, Error, Result};
use crate::plan::{Action, By, Mount, Plan, Source, clone_flag};
use strings::Strings;
use supplies::Supplies;

/// Descriptors that come from elsewhere.
pub(crate) struct Inputs<'a> {
    pub(crate) stdio: Stdio,
    pub(crate) extra_fds: Vec<OwnedFd>,
    /// Directory for `CLONE_INTO_CGROUP`.
    pub(crate) birthplace: Option<OwnedFd>,
    /// How many files of the cgroup init is going to write to.
    pub(crate) tasks: usize,
    /// The exec fifo, for a container that waits to be started.
    pub(crate) fifo: Option<OwnedFd>,
    /// The container's process, for one that joins it.
    pub(crate) container: Option<BorrowedFd<'a>>,
    /// The child's end of the socket pair.
    pub(crate) socket: OwnedFd,
}

/// A program and all that it refers to.
pub(crate) struct Prepared<'a> {
    steps: Vec<Step>,
    /// For each step, the action that it comes from.
    origins: Vec<usize>,
    strings: Strings,
    /// Addresses in the arena, for execve(2).
    pointers: Vec<usize>,
    pub(crate) socket: i32,
    /// Directory for `CLONE_INTO_CGROUP`.
    pub(crate) cgroup: Option<OwnedFd>,
    /// Kept open until the child has its copies.
    fds: Vec<OwnedFd>,
    supplies: Supplies<'a>,
    /// Their numbers in the child, once it has them.
    numbers: Vec<i32>,
    /// What the runtime makes may lack these permissions at first.
    pub(crate) umask: u32,
}

/// The first descriptor that no process gets on purpose.
fn first_free(plan: &Plan) -> i32 {
    (3 + plan.preserve_fds + plan.extra_fds) as i32
}

impl<'a> Prepared<'a> {
    /// Opens what `plan` needs from the start.
    pub(crate) fn new(plan: &'a Plan, mut inputs: Inputs<'_>) -> Result<Prepared<'a>> {
        let socket = inputs.socket.as_raw_fd();
        let mut builder = Builder {
            base: first_free(plan),
            preserve: plan.preserve_fds as i32,
            steps: Vec::with_capacity(plan.actions.len() + 16),
            origins: Vec::with_capacity(plan.actions.len() + 16),
            strings: Strings::default(),
            rlimits: plan.rlimits.clone(),
            fds: Vec::new(),
            keep: Vec::new(),
            fifo: None,
            empty: None,
            supplies: Supplies::default(),
            receives: false,
        };
        builder.check_preserved()?;
        builder.fifo = inputs.fifo.take().map(|fifo| builder.hold(fifo)).transpose()?;
        let birthplace = inputs.birthplace.take();
        for (number, action) in plan.actions.iter().enumerate() {
            builder.add(action, &mut inputs)?;
            builder.origins.resize(builder.steps.len(), number);
        }
        let socket_fd = builder.hold(inputs.socket)?;
        debug_assert!(socket_fd >= builder.base || socket_fd == socket);
        builder.finish(socket_fd, birthplace)
    }

    /// The program for init.
    pub(crate) fn program(&mut self) -> Program<'_> {
        Program {
            steps: &self.steps,
            arena: &self.strings.arena,
            strings: &self.strings.lists,
            numbers: &self.strings.numbers,
            pointers: self.pointers.as_mut_ptr().cast(),
            supplies: self.numbers.as_mut_ptr(),
            ignored: u64::MAX,
        }
    }

    /// The action that a step comes from.
    pub(crate) fn origin(&self, step: usize) -> Option<usize> {
        self.origins.get(step).copied()
    }

    /// Makes what init waits for: `tasks` are the files of the cgroup.
    pub(crate) fn make_supplies(&self, tasks: Vec<OwnedFd>) -> Result<Vec<OwnedFd>> {
        self.supplies.make(tasks, self.umask)
    }

    /// Lets go of everything that the child has its own copy of.
    pub(crate) fn release(&mut self) {
        crate::sys::fd::close_all(
            std::mem::take(&mut self.fds)
                .into_iter()
                .chain(self.cgroup.take()),
        );
    }
}

/// A program in the making.
struct Builder<'a> {
    base: i32,
    preserve: i32,
    steps: Vec<Step>,
    origins: Vec<usize>,
    strings: Strings,
    rlimits: Vec<crate::spec::Rlimit>,
    fds: Vec<OwnedFd>,
    keep: Vec<i32>,
    fifo: Option<i32>,
    empty: Option<Supply>,
    /// Whether the steps so far receive the supplies.
    receives: bool,
    supplies: Supplies<'a>,
}

/// Stands for a list that is only known at the end.
const LATER: Numbers = Numbers { start: 0, len: 0 };

impl<'a> Builder<'a> {
    /// Keeps `fd` for the child, above the numbers that the process is going to get.
    fn hold(&mut self, fd: OwnedFd) -> Result<i32> {
        let fd = if fd.as_raw_fd() < self.base {
            let raw = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(self.base)).at("duplicate descriptor")?;
            crate::sys::fd::owned(raw)
        } else {
            fd
        };
        let number = fd.as_raw_fd();
        self.keep.push(number);
        self.fds.push(fd);
        Ok(number)
    }

    /// The caller promised these descriptors; a missing one would be filled by whatever is opened next.
    fn check_preserved(&self) -> Result<()> {
        for fd in 3..3 + self.preserve {
            crate::sys::fd::is_open(fd).map_err(|errno| {
                Error::sys("preserve descriptor", errno as i32)
                    .operand(fd.to_string())
                    .with_code(Code::InvalidConfig)
                    .hint("--preserve-fds counts from 3 and needs all of them open")
            })?;
        }
        Ok(())
    }

    fn path(&mut self, path: &Path) -> Result<runtime_init::Str> {
        use std::os::unix::ffi::OsStrExt;
        self.strings.bytes(path.as_os_str().as_bytes())
    }

    /// What follows needs something that is made beside init, so init has to have it by then.
    fn receive(&mut self) {
        if !std::mem::replace(&mut self.receives, true) {
            self.steps.push(Step::Receive {
                count: 0,
                base: self.base,
            });
        }
    }

    fn add(&mut self, action: &'a Action, inputs: &mut Inputs<'_>) -> Result<()> {
        let step = match action {
            Action::CloseFds { .. } => Step::CloseFds { keep: LATER },
            Action::Nothing => return Ok(()),
            Action::JoinCgroup => {
                self.receive();
                for _ in 0..inputs.tasks {
                    let file = self.supplies.task();
                    self.steps.push(Step::JoinCgroup { file });
                }
                return Ok(());
            }
            Action::Sync(point) => Step::Sync { point: *point },
            Action::Join { kind, path, again } => {
                let fd = self.namespace(path)?;
                Step::SetNs {
                    fd,
                    flags: clone_flag(*kind),
                    again: *again,
                }
            }
            Action::JoinContainer { flags } => {
                let pidfd = inputs
                    .container
                    .ok_or_else(|| Error::new(Code::NotRunning, "join container"))?;
                let fd = self.hold(pidfd.try_clone_to_owned().at("duplicate pidfd")?)?;
                Step::SetNs {
                    fd,
                    flags: *flags,
                    again: false,
                }
            }
            Action::Unshare { flags } => Step::Unshare { flags: *flags },
            Action::OwnTime => Step::OwnTime,
            Action::BecomeRoot => Step::BecomeRoot,
            Action::Undumpable => Step::Undumpable,
            Action::NewSession => Step::NewSession,
            Action::Keyring { name } => Step::Keyring {
                name: self.strings.str(name)?,
            },
            Action::ProcFs => Step::ProcFs,
            Action::WriteProc { path, value } => Step::WriteProc {
                path: self.strings.str(path)?,
                value: self.strings.str(value)?,
            },
            Action::Slave => Step::Slave,
            Action::Root { path } => Step::Root {
                path: self.path(path)?,
            },
            Action::AttachRoot { path, attributes } => {
                self.tree(path, true, attributes);
                Step::AttachRoot
            }
            Action::Mount(mount) => return self.mount(mount),
            Action::Reattribute { at, attributes } => Step::Reattribute {
                at: self.strings.str(at)?,
                attributes: *attributes,
            },
            Action::Mknod {
                at,
                mode,
                device,
                uid,
                gid,
            } => {
                let at = self.strings.str(at)?;
                Step::Mknod {
                    at,
                    mode: *mode,
                    device: *device,
                    uid: *uid,
                    gid: *gid,
                }
            }
            Action::Symlink { at, to } => Step::Symlink {
                at: self.strings.str(at)?,
                to: self.strings.str(to)?,
            },
            Action::MaskSources => Step::MaskSources { empty: self.empty() },
            Action::Mask { at } => Step::Mask {
                at: self.strings.str(at)?,
            },
            Action::Readonly { at } => Step::Readonly {
                at: self.strings.str(at)?,
            },
            Action::Loopback => Step::Loopback,
            Action::Reborn => Step::Reborn,
            Action::Pivot => Step::Pivot,
            Action::MoveRoot => Step::MoveRoot,
            Action::Chroot => Step::Chroot,
            other => return self.add_process(other, inputs),
        };
        self.steps.push(step);
        Ok(())
    }

    /// The second half of [`Self::add`]: what is about the process.
    fn add_process(&mut self, action: &Action, inputs: &mut Inputs<'_>) -> Result<()> {
        let step = match action {
            Action::Cwd { path, create } => Step::Cwd {
                path: self.strings.str(path)?,
                create: *create,
            },
            Action::Hostname { name } => Step::Hostname {
                name: self.strings.str(name)?,
            },
            Action::Domainname { name } => Step::Domainname {
                name: self.strings.str(name)?,
            },
            Action::Umask { mask } => Step::Umask { mask: *mask },
            Action::Console { width, height, uid } => Step::Console {
                width: *width,
                height: *height,
                uid: *uid,
            },
            Action::PlaceConsole { at } => Step::PlaceConsole {
                at: self.strings.str(at)?,
            },
            Action::Stdio => return self.stdio(std::mem::take(&mut inputs.stdio)),
            Action::KeepFds => return self.keep_fds(std::mem::take(&mut inputs.extra_fds)),
            Action::OwnStdio { uid } => Step::OwnStdio { uid: *uid },
            Action::Personality { domain } => Step::Personality { domain: *domain },
            Action::IoPriority { value } => Step::IoPriority { value: *value },
            Action::Scheduler { attributes } => Step::Scheduler {
                attributes: self.strings.numbers(attributes.iter().copied()),
            },
            Action::Groups { groups } => Step::Groups {
                groups: self.strings.numbers(groups.iter().map(|&group| group.into())),
            },
            Action::BoundingSet { keep } => Step::BoundingSet { keep: *keep },
            Action::User { uid, gid } => Step::User { uid: *uid, gid: *gid },
            Action::Capabilities(sets) => Step::Capabilities {
                permitted: sets.permitted,
                effective: sets.effective,
                inheritable: sets.inheritable,
                ambient: sets.ambient,
            },
            Action::NoNewPrivileges => Step::NoNewPrivileges,
            // The slot is the first entry of the environment, which the exec at the end lays out.
            Action::Home { uid } => Step::Home {
                uid: *uid,
                slot: HOME_SLOT,
            },
            Action::Find { candidates, .. } => Step::Find {
                candidates: self.strings.list(candidates)?,
            },
            Action::Signals => Step::Signals,
            Action::Rlimits => return self.rlimits(),
            Action::Gate => match self.fifo {
                Some(fifo) => Step::Gate { fifo },
                None => return Ok(()),
            },
            Action::Seccomp(profile) => return self.seccomp(profile),
            Action::Exec { args, env, home } => {
                let envp = self.strings.table(env, *home)?;
                let argv = self.strings.table(args, false)?;
                debug_assert_eq!(envp, HOME_SLOT);
                Step::Exec { argv, envp }
            }
            _ => return Ok(()),
        };
        self.steps.push(step);
        Ok(())
    }

    fn rlimits(&mut self) -> Result<()> {
        for limit in std::mem::take(&mut self.rlimits) {
            let resource = crate::launch::resource(&limit)?;
            self.steps.push(Step::Rlimit {
                resource,
                soft: limit.soft,
                hard: limit.hard,
            });
        }
        Ok(())
    }

    fn namespace(&mut self, path: &Path) -> Result<i32> {
        let fd =
            open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).at_path("open namespace", path)?;
        self.hold(fd)
    }

    fn stdio(&mut self, stdio: Stdio) -> Result<()> {
        for (to, stream) in [stdio.stdin, stdio.stdout, stdio.stderr].into_iter().enumerate() {
            let fd = match stream {
                Stream::Inherit => continue,
                Stream::Null => open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
                    .at_path("open", "/dev/null")?,
                Stream::Fd(fd) => fd,
            };
            let from = self.hold(fd)?;
            self.steps.push(Step::Dup { from, to: to as i32 });
        }
        Ok(())
    }

    fn keep_fds(&mut self, extra: Vec<OwnedFd>) -> Result<()> {
        self.steps
            .extend((3..3 + self.preserve).map(|fd| Step::KeepFd { fd }));
        for (number, fd) in extra.into_iter().enumerate() {
            let from = self.hold(fd)?;
            self.steps.push(Step::Dup {
                from,
                to: 3 + self.preserve + number as i32,
            });
        }
        Ok(())
    }

    fn seccomp(&mut self, profile: &crate::spec::Seccomp) -> Result<()> {
        let Some(filter) = crate::seccomp::compile(profile)? else {
            return Ok(());
        };
        if filter.notify {
            return Err(Error::new(Code::Unsupported, "plan seccomp")
                .operand("linux.seccomp")
                .reason("SCMP_ACT_NOTIFY is not supported by this version"));
        }
        for warning in &filter.warnings {
            tracing::warn!("seccomp: {warning}");
        }
        let instructions = filter.program.iter().map(|instruction| {
            let mut bytes = [0u8; 8];
            bytes[..2].copy_from_slice(&instruction.code.to_ne_bytes());
            bytes[2] = instruction.jt;
            bytes[3] = instruction.jf;
            bytes[4..].copy_from_slice(&instruction.k.to_ne_bytes());
            u64::from_ne_bytes(bytes)
        });
        let program = self.strings.numbers(instructions);
        self.steps.push(Step::Seccomp {
            program,
            flags: filter.flags.into(),
        });
        Ok(())
    }

    /// Fills in what had to wait: which descriptors stay open, and how many follow.
    fn finish(mut self, socket: i32, cgroup: Option<OwnedFd>) -> Result<Prepared<'a>> {
        let standard = 0..self.base;
        let mut first: Vec<i32> = standard.clone().chain(self.keep.iter().copied()).collect();
        first.sort_unstable();
        first.dedup();
        let last: Vec<i32> = standard.chain(self.fifo).collect();
        let mut lists = [first, last].into_iter();
        for step in &mut self.steps {
            match step {
                Step::CloseFds { keep } => {
                    let list = lists.next().unwrap_or_default();
                    *keep = self.strings.numbers(list.into_iter().map(|fd| fd as u64));
                }
                Step::Receive { count, .. } => *count = self.supplies.len() as u32,
                _ => {}
            }
        }
        let pointers = self.strings.pointers();
        let (steps, origins, strings, fds) = (self.steps, self.origins, self.strings, self.fds);
        let numbers = vec![-1; self.supplies.len()];
        Ok(Prepared {
            steps,
            origins,
            strings,
            pointers,
            socket,
            cgroup,
            fds,
            supplies: self.supplies,
            numbers,
            umask: 0o777,
        })
    }
}

/// Where the environment starts among the pointers.
const HOME_SLOT: u32 = 0;

impl<'a> Builder<'a> {
    fn mount(&mut self, mount: &'a Mount) -> Result<()> {
        match (&mount.source, mount.by) {
            (Source::Bind { path, recursive }, By::Runtime) => self.tree(path, *recursive, &mount.attributes),
            (Source::Bind { path, recursive }, By::Init) => {
                let path = self.path(path)?;
                self.steps.push(Step::CloneTree {
                    path,
                    recursive: *recursive,
                });
                self.steps.extend(
                    mount
                        .attributes
                        .iter()
                        .map(|&attributes| Step::SetAttr { attributes }),
                );
            }
            (Source::Fs { .. }, By::Runtime) => {
                self.receive();
                let mount = self.supplies.fs(mount);
                self.steps.push(Step::Take { mount });
            }
            (Source::Fs { kind, parameters }, By::Init) => {
                let (fs, parameters) = (self.strings.str(kind)?, self.strings.list(parameters)?);
                let (own, others) = mount
                    .attributes
                    .split_first()
                    .map_or((0, &[][..]), |(own, others)| (own.set, others));
                self.steps.push(Step::NewFs {
                    fs,
                    parameters,
                    attributes: own as u32,
                });
                self.steps
                    .extend(others.iter().map(|&attributes| Step::SetAttr { attributes }));
            }
        }
        let at = self.strings.str(&mount.at)?;
        self.steps.push(Step::Place {
            at,
            target: mount.target,
            flags: mount.flags,
        });
        Ok(())
    }

    /// A copy of a part of the host's tree, as the current mount.
    fn tree(&mut self, path: &'a Path, recursive: bool, attributes: &'a [runtime_init::Attributes]) {
        self.receive();
        let mount = self.supplies.tree(path, recursive, attributes);
        self.steps.push(Step::Take { mount });
    }

    fn empty(&mut self) -> Supply {
        if let Some(empty) = self.empty {
            return empty;
        }
        self.receive();
        let empty = self.supplies.empty();
        self.empty = Some(empty);
        empty
    }
}
