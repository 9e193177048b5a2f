//! What a container's first process, and every process executed in a container, does between clone and exec.
//!
//! The parent decides everything and writes it down as a [`Program`]: a list of [`Step`]s, the strings that they
//! name and the pointer tables for execve(2). [`run`] goes through the list. It does not allocate, lock, format
//! or log: it runs in a copy of a process that may have had any number of threads, of which only this one was
//! copied, so a lock that another thread held then is held forever. That is why this crate has neither `std` nor
//! `alloc`.
//!
//! A step that fails writes its number, the system call and the errno to the shared [`Page`] and the process
//! exits. The parent, which holds the labels, renders them.
#![no_std]
#![deny(missing_docs)]

mod context;
mod files;
mod mounts;
mod page;
mod process;
mod step;
pub mod sys;

pub use page::Page;
pub use step::{Attributes, DirMode, List, Numbers, PlaceFlags, Point, Program, Step, Str, Supply, Target};
pub use sys::{Call, Fail};

use context::Context;

/// Runs the steps of `program` and does not return: the last step executes the container's program.
///
/// `socket` is the child's end of the socket pair, on which the parent answers at each [`Point`].
///
/// # Safety
/// Must be called in a fresh, single-threaded child process whose parent prepared `program` for it: every
/// descriptor number, string offset and pointer in it is used as it stands. `page` points to a mapped page that
/// the parent shares.
pub unsafe fn run(program: &Program<'_>, page: *mut Page, socket: i32) -> ! {
    let mut context = Context::new(program, socket, page);
    for (number, step) in program.steps.iter().enumerate() {
        context.page().begin(number as u32);
        if let Err(fail) = context.take(step) {
            context.page().fail(fail.call, fail.errno);
            sys::exit(1)
        }
    }
    // The list ends with `Exec`; one that does not is a mistake of the parent.
    context.page().fail(Call::Execve, libc::ENOEXEC);
    sys::exit(1)
}

impl Context<'_> {
    fn take(&mut self, step: &Step) -> Result<(), Fail> {
        match *step {
            Step::CloseFds { keep } => self.close_fds(keep),
            Step::Sync { point } => self.sync(point),
            Step::Receive { count, base } => self.receive(count, base),
            Step::JoinCgroup { file } => sys::write_all(self.supply(file), b"0"),
            Step::SetNs { fd, flags, again } => self.set_ns(fd, flags, again),
            Step::Unshare { flags } => sys::unshare(flags),
            Step::OwnTime => process::own_time(),
            Step::BecomeRoot => process::become_root(),
            Step::Undumpable => sys::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0),
            Step::NewSession => sys::setsid(),
            Step::Keyring { name } => self.keyring(name),
            Step::ProcFs => self.proc_fs(),
            Step::WriteProc { path, value } => self.write_proc(path, value),
            Step::Slave => sys::make_slave(),
            Step::Root { path } => self.open_root(path),
            Step::AttachRoot => self.attach_root(),
            Step::Take { mount } => self.take_mount(mount),
            Step::CloneTree { path, recursive } => self.clone_tree(path, recursive),
            Step::NewFs {
                fs,
                parameters,
                attributes,
            } => self.new_fs(fs, parameters, attributes),
            Step::SetAttr { attributes } => self.set_attr(attributes),
            Step::Place { at, target, flags } => self.place(at, target, flags),
            Step::Reattribute { at, attributes } => self.reattribute(at, attributes),
            Step::Mknod {
                at,
                mode,
                device,
                uid,
                gid,
            } => self.mknod(at, mode, device, uid, gid),
            Step::Symlink { at, to } => self.symlink(at, to),
            Step::MaskSources { empty } => self.mask_sources(empty),
            Step::Mask { at } => self.mask(at),
            Step::Readonly { at } => self.readonly(at),
            Step::Pivot => self.pivot(),
            Step::MoveRoot => self.move_root(),
            Step::Chroot => self.chroot(),
            Step::Cwd { path, create } => self.cwd(path, create),
            Step::Hostname { name } => sys::sethostname(self.str(name)),
            Step::Domainname { name } => sys::setdomainname(self.str(name)),
            Step::Umask { mask } => sys::umask(mask),
            Step::Console { width, height, uid } => self.console(width, height, uid),
            Step::PlaceConsole { at } => self.place_console(at),
            Step::Dup { from, to } => sys::dup2(from, to),
            Step::KeepFd { fd } => sys::clear_cloexec(fd),
            Step::OwnStdio { uid } => process::own_stdio(uid),
            Step::Personality { domain } => sys::personality(domain),
            Step::IoPriority { value } => sys::ioprio_set(value),
            Step::Scheduler { attributes } => self.scheduler(attributes),
            Step::Loopback => sys::loopback_up(),
            Step::Reborn => self.reborn(),
            Step::Rlimit { resource, soft, hard } => sys::setrlimit(resource, soft, hard),
            Step::Groups { groups } => self.groups(groups),
            Step::BoundingSet { keep } => process::bounding_set(keep),
            Step::User { uid, gid } => process::user(uid, gid),
            Step::Capabilities {
                permitted,
                effective,
                inheritable,
                ambient,
            } => process::capabilities(permitted, effective, inheritable, ambient),
            Step::NoNewPrivileges => sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0),
            Step::Home { uid, slot } => self.home(uid, slot),
            Step::Find { candidates } => self.find(candidates),
            Step::Signals => process::default_signals(self.program.ignored),
            Step::Gate { fifo } => process::gate(fifo),
            Step::Seccomp { program, flags } => self.seccomp(program, flags),
            Step::Exec { argv, envp } => self.exec(argv, envp),
        }
    }
}
