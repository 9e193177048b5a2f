//! `create` and `start`: the path from a bundle to a process, in two halves with the gate between them.
//!
//! Nothing is made that the state directory does not name already, and whatever fails takes back what was made.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use runtime_init::{Page, Point};

use super::dir::{STATE, StateDir};
use super::identity::ProcessIdentity;
use super::lock::Lock;
use super::remove::clear_cgroup;
use super::state::{self, FORMAT, Saved};
use super::{
    CGROUP_FILE, CONFIG_FILE, CgroupDriver, Container, CreateOptions, Created, Explained, Opened, PAGE_FILE,
    Running, Runtime, START_LIMIT, State, Status,
};
use crate::bundle::Bundle;
use crate::cgroup::Cgroup;
use crate::error::{At, Code, Error, Result};
use crate::host::Host;
use crate::launch::{self, Child};
use crate::plan::{self, Options, Plan};
use crate::prepare::{Inputs, Prepared};
use crate::spec::{Hooks, NamespaceType, Spec};
use crate::sys::process::SharedPage;
use crate::{hooks, seccomp};

impl Runtime {
    /// Makes the container `id` of `bundle`; its process waits for [`Created::start`].
    ///
    /// On an error nothing is left. The caller's working directory, umask, environment, signal mask and limits stay
    /// as they are, and it may have any number of threads.
    pub fn create(&self, id: &str, bundle: &Bundle, options: CreateOptions) -> Result<Created> {
        let host = self.host()?;
        let (cgroup, plan) = self.plan(host, id, bundle, &options, true)?;
        let mut creation = Creation::new(self, host, id, bundle, (cgroup, &plan))?;
        let child = creation.launch(options)?;
        creation.commit(child)
    }

    /// Makes the container `id` of `bundle` and starts it, which takes less than to make it wait in between.
    ///
    /// `report` learns of the process before that executes its program: of its pid, a descriptor of it, and the master
    /// of its terminal if it has one. On an error, also on one of `report`, nothing is left.
    pub fn run(
        &self,
        id: &str,
        bundle: &Bundle,
        options: CreateOptions,
        report: impl FnOnce(i32, BorrowedFd<'_>, Option<OwnedFd>) -> Result<()>,
    ) -> Result<Running> {
        if has_later_hooks(&bundle.spec().hooks) {
            // They are told of a container that waits.
            let mut created = self.create(id, bundle, options)?;
            let console = created.take_console();
            return report(created.pid(), created.pidfd(), console)
                .and_then(|()| created.start())
                .map_err(|error| match self.remove(id) {
                    Ok(()) => error,
                    Err(left) => error.hint(format!("the container cannot be removed either: {left}")),
                });
        }
        let host = self.host()?;
        let (cgroup, plan) = self.plan(host, id, bundle, &options, false)?;
        let mut creation = Creation::new(self, host, id, bundle, (cgroup, &plan))?;
        let child = creation.launch(options)?;
        creation.execute(child, report)
    }

    /// What init would do for `bundle`, in order, without doing it.
    pub fn explain(&self, id: &str, bundle: &Bundle, options: &CreateOptions) -> Result<Vec<Explained>> {
        let (cgroup, plan) = self.plan(self.host()?, id, bundle, options, true)?;
        let mut lines = vec![Explained {
            by: "runtime",
            step: "make cgroup".into(),
            operand: cgroup
                .path("")
                .or_else(|| cgroup.path("pids"))
                .unwrap_or_default()
                .to_owned(),
            detail: String::new(),
        }];
        lines.extend(plan.explain());
        Ok(lines)
    }

    fn plan(
        &self,
        host: &Host,
        id: &str,
        bundle: &Bundle,
        options: &CreateOptions,
        gate: bool,
    ) -> Result<(Cgroup, Plan)> {
        super::dir::valid_id(id)?;
        if self.driver == CgroupDriver::Systemd {
            return Err(Error::new(Code::Unsupported, "choose cgroup driver")
                .reason("the systemd driver is not supported by this version"));
        }
        if !host.privileged {
            return Err(Error::new(Code::Privilege, "create container")
                .operand(id)
                .reason("operation not permitted without CAP_SYS_ADMIN")
                .hint("run it as root; containers of ordinary users are not supported by this version"));
        }
        let spec = bundle.spec();
        if let Some(profile) = &spec.linux.seccomp {
            seccomp::validate(profile)?;
        }
        let cgroup = Cgroup::resolve(&host.cgroups, spec.linux.cgroups_path.as_deref(), id)?;
        let options = Options {
            gate,
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserve_fds: options.preserve_fds,
            extra_fds: options.extra_fds.len() as u32,
        };
        let plan = plan::plan(id, spec, bundle.dir(), host, &cgroup, options)?;
        Ok((cgroup, plan))
    }
}

/// A container in the making. Dropped before the end it takes everything back.
struct Creation<'a> {
    bundle: &'a Bundle,
    host: &'a Host,
    plan: &'a Plan,
    container: Container,
    cgroup: Cgroup,
    /// Whether the cgroup is ours to remove: one that was there before belongs to somebody else.
    cgroup_made: bool,
    /// Until the container is complete.
    dir: Option<StateDir>,
    /// Held until the container is complete or gone.
    _lock: Lock,
    /// What is written, but not known yet.
    saved: Option<Saved>,
    /// What hooks were told, if any ran.
    hooked: Option<State>,
}

impl<'a> Creation<'a> {
    /// Takes the name.
    fn new(
        runtime: &Runtime,
        host: &'a Host,
        id: &str,
        bundle: &'a Bundle,
        (cgroup, plan): (Cgroup, &'a Plan),
    ) -> Result<Creation<'a>> {
        let (dir, lock) = runtime.root.claim(id)?;
        let container = Container {
            runtime: runtime.clone(),
            id: id.to_owned(),
            path: dir.path().to_owned(),
        };
        Ok(Creation {
            bundle,
            host,
            plan,
            container,
            cgroup,
            dir: Some(dir),
            cgroup_made: false,
            _lock: lock,
            saved: None,
            hooked: None,
        })
    }

    fn dir(&self) -> Result<&StateDir> {
        self.dir.as_ref().ok_or_else(|| Error::new(Code::State, "create"))
    }

    /// Makes everything, up to where init is ready.
    fn launch(&mut self, options: CreateOptions) -> Result<Child<'a>> {
        check_rootfs(self.bundle)?;
        let dir = self.dir()?;
        dir.write_new(CGROUP_FILE, self.cgroup.to_line().as_bytes(), 0o600)?;
        // What `start` needs, when that is left to another program.
        let (file, fifo) = match self.plan.has_gate() {
            true => (Some(page_file(dir)?), Some(dir.make_fifo()?)),
            false => (None, None),
        };
        let page = SharedPage::map(file.as_ref().map(AsFd::as_fd)).at("map page of init")?;
        // Closed before there is a child that would get a copy.
        drop(file);
        self.cgroup.create_birthplace(&self.plan.resources)?;
        let (socket, child_socket) = launch::pair()?;
        let inputs = Inputs {
            stdio: options.stdio,
            extra_fds: options.extra_fds,
            birthplace: self.cgroup.birthplace()?,
            tasks: self.cgroup.tasks(),
            fifo,
            container: None,
            socket: child_socket,
        };
        let prepared = Prepared::new(self.plan, inputs)?;
        let pid_namespace = match &self.plan.pid_namespace {
            None => None,
            Some(path) => {
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
                Some(nix::fcntl::open(path, flags, Mode::empty()).at_path("open namespace", path)?)
            }
        };
        let namespace = pid_namespace.as_ref().map(AsFd::as_fd);
        let mut child = Child::launch(self.plan, prepared, page, socket, namespace)?;
        if self.plan.is_mapped() {
            self.attend(&mut child)?;
        }
        // From here on init makes its namespaces, and the runtime everything else.
        self.cgroup.create(&self.plan.resources)?;
        self.cgroup_made = true;
        self.cgroup.apply(&self.plan.resources, &self.plan.devices)?;
        child.supply(self.cgroup.entrance()?.tasks)?;
        // Nobody needs these files yet, so they are written while init works.
        let json = self.bundle.json()?;
        self.dir()?.write_new(CONFIG_FILE, &json, 0o600)?;
        self.stage(&child)?;
        while self.attend(&mut child)? != Point::Ready {}
        child.limit()?;
        Ok(child)
    }

    /// Does what is due at the next point, and lets init go on unless it is the last.
    fn attend(&mut self, child: &mut Child<'_>) -> Result<Point> {
        let point = child.next_point()?;
        match point {
            Point::Mapped => child.map(self.host.privileged)?,
            Point::Mounted => self.hooks(child)?,
            Point::Ready => return Ok(point),
        }
        child.answer(point)?;
        Ok(point)
    }

    /// The state that hooks get and that is saved.
    fn saved(&self, pid: i32, identity: ProcessIdentity) -> Saved {
        let spec = self.bundle.spec();
        Saved {
            format: FORMAT,
            id: self.container.id.clone(),
            init_process_pid: pid,
            init_process: identity,
            created: state::now(),
            oci_version: spec.oci_version.clone(),
            bundle: self.bundle.dir().to_owned(),
            rootfs: self.bundle.rootfs(),
            annotations: spec.annotations.clone(),
            owner_uid: nix::unistd::getuid().as_raw(),
            cgroup: self.cgroup.to_line(),
            own_pid_namespace: has_own(spec, NamespaceType::Pid),
            later_hooks: has_later_hooks(&spec.hooks),
            program: spec
                .process
                .as_ref()
                .and_then(|process| process.args.first())
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// Writes the state, once for each process that init has been.
    fn stage(&mut self, child: &Child<'_>) -> Result<&Saved> {
        let saved = match self
            .saved
            .take()
            .filter(|saved| saved.init_process_pid == child.pid())
        {
            Some(saved) => saved,
            None => {
                let identity = ProcessIdentity::of(child.pid(), child.pidfd()?)?;
                let saved = self.saved(child.pid(), identity);
                saved.stage(self.dir()?)?;
                saved
            }
        };
        Ok(self.saved.insert(saved))
    }

    fn hooks(&mut self, child: &Child<'_>) -> Result<()> {
        let state = self.stage(child)?.clone().report(Status::Creating);
        self.hooked = Some(state.clone());
        let hooks = &self.bundle.spec().hooks;
        let runtime = hooks::Place::Runtime;
        hooks::run("hooks.prestart", &hooks.prestart, &state, &runtime)?;
        hooks::run("hooks.createRuntime", &hooks.create_runtime, &state, &runtime)?;
        let kinds = self
            .bundle
            .spec()
            .linux
            .namespaces
            .iter()
            .map(|namespace| namespace.kind);
        let flags = kinds
            .filter(|kind| *kind != NamespaceType::Pid)
            .fold(0, |flags, kind| flags | plan::clone_flag(kind));
        let container = hooks::Place::Container {
            pidfd: child.pidfd()?,
            flags,
        };
        hooks::run(
            "hooks.createContainer",
            &hooks.create_container,
            &state,
            &container,
        )
    }

    /// Makes the container known.
    fn publish(&mut self, child: &Child<'_>) -> Result<()> {
        self.stage(child)?;
        self.dir()?.publish(STATE)
    }

    /// Makes the container known, then lets its process off the leash.
    fn commit(mut self, mut child: Child<'_>) -> Result<Created> {
        self.publish(&child)?;
        child.answer(Point::Ready)?;
        Ok(Created {
            container: self.container.clone(),
            opened: self.complete()?,
            process: child.commit()?,
        })
    }

    /// Makes the container known, and sees its process execute the program.
    fn execute(
        mut self,
        mut child: Child<'_>,
        report: impl FnOnce(i32, BorrowedFd<'_>, Option<OwnedFd>) -> Result<()>,
    ) -> Result<Running> {
        self.publish(&child)?;
        let console = child.take_console();
        report(child.pid(), child.pidfd()?, console)?;
        child.answer(Point::Ready)?;
        Ok(Running {
            container: self.container.clone(),
            process: child.executed()?,
            opened: Some(self.complete()?),
        })
    }

    /// From here on it is a container like any other, and not taken back any more.
    fn complete(&mut self) -> Result<Opened> {
        let lost = || Error::new(Code::State, "create");
        Ok(Opened {
            saved: self.saved.take().ok_or_else(lost)?,
            dir: self.dir.take().ok_or_else(lost)?,
            cgroup: self.cgroup.clone(),
        })
    }
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        // The child, if there was one, is gone by now: it is dropped first.
        if !self.cgroup_made {
            self.cgroup.undo();
        } else if let Err(error) = clear_cgroup(&self.cgroup) {
            tracing::warn!("{error}");
            return;
        }
        if let Some(state) = self.hooked.take() {
            let state = State {
                status: Status::Stopped,
                pid: 0,
                ..state
            };
            for hook in &self.bundle.spec().hooks.poststop {
                let hook = std::slice::from_ref(hook);
                if let Err(error) = hooks::run("hooks.poststop", hook, &state, &hooks::Place::Runtime) {
                    tracing::warn!("{error}");
                }
            }
        }
        if let Err(error) = dir.remove_all() {
            tracing::warn!("{error}");
        }
    }
}

/// Whether hooks are left for `start` and `delete`.
fn has_later_hooks(hooks: &Hooks) -> bool {
    [&hooks.start_container, &hooks.poststart, &hooks.poststop]
        .iter()
        .any(|hooks| !hooks.is_empty())
}

/// Whether `spec` gives the container a new namespace of this kind.
fn has_own(spec: &Spec, kind: NamespaceType) -> bool {
    spec.linux
        .namespaces
        .iter()
        .any(|namespace| namespace.kind == kind && namespace.path.is_none())
}

fn check_rootfs(bundle: &Bundle) -> Result<()> {
    let rootfs = bundle.rootfs();
    let failed = |errno: i32| {
        Error::new(Code::Rootfs, "open rootfs")
            .operand(&rootfs)
            .errno(errno)
            .hint("root.path in config.json")
    };
    match std::fs::metadata(&rootfs) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(failed(libc::ENOTDIR)),
        Err(error) => Err(failed(error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

/// The file of the page that init shares, so that `start` learns what it left there.
fn page_file(dir: &StateDir) -> Result<OwnedFd> {
    let path = || dir.path().join(PAGE_FILE);
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(dir.fd(), PAGE_FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR).at_path("make", path())?;
    // Written, not only made as long: a full file system has to fail here, and not in the mapping.
    nix::unistd::write(&file, &[0; Page::SIZE]).at_path("write", path())?;
    Ok(file)
}

impl Container {
    /// Starts the waiting process of a created container.
    ///
    /// Returns once the program was seen to be executed; an error of the execution is this call's error.
    pub fn start(&self) -> Result<()> {
        self.start_guarded(|| Ok(()))
    }

    /// As [`start`](Self::start). Should it have to run hooks inside the container, `guard` is called before, to keep
    /// them from whatever of this program they could reach; nothing is done by then, and `guard` need not return.
    pub fn start_guarded(&self, guard: impl FnOnce() -> Result<()>) -> Result<()> {
        let dir = self.open()?;
        let lock = dir.lock()?;
        let known = self.ready(&dir)?;
        self.start_at(&dir, lock, &known.saved, (known.status, known.gate), guard)
    }

    /// Starts what `saved` is about, if it waits at the gate.
    pub(super) fn start_at(
        &self,
        dir: &StateDir,
        lock: Lock,
        saved: &Saved,
        now: (Status, Option<OwnedFd>),
        guard: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let gate = match now {
            (Status::Created, Some(gate)) => gate,
            (Status::Stopped, _) => {
                return Err(Error::new(Code::NotRunning, "start container")
                    .operand(&self.id)
                    .reason("cannot start a container that has stopped"));
            }
            (Status::Running, _) => {
                return Err(Error::new(Code::WrongState, "start container")
                    .operand(&self.id)
                    .reason("cannot start an already running container"));
            }
            (status, _) => return Err(self.wrong_state("start container", status)),
        };
        // Most containers have no hooks here: then there is no need to read the configuration again.
        let hooked = match saved.later_hooks {
            true => Some((self.config_of(dir)?, saved.clone().report(Status::Created))),
            false => None,
        };
        if let Some((spec, state)) = &hooked {
            if !spec.hooks.start_container.is_empty() {
                guard()?;
            }
            self.start_container_hooks(spec, state)
                .inspect_err(|_| self.give_up())?;
        }
        nix::unistd::write(&gate, &[0]).at("open the gate")?;
        self.await_exec(dir, &gate, &saved.program)?;
        dir.remove_fifo()?;
        drop(lock);
        let Some((spec, state)) = hooked else {
            return Ok(());
        };
        let state = State {
            status: Status::Running,
            ..state
        };
        hooks::run(
            "hooks.poststart",
            &spec.hooks.poststart,
            &state,
            &hooks::Place::Runtime,
        )
        .inspect_err(|_| self.give_up())
    }

    /// Init's end of the gate closes with the exec, or with the end of a process that failed to.
    fn await_exec(&self, dir: &StateDir, gate: &OwnedFd, program: &str) -> Result<()> {
        use nix::poll::{PollFd, PollFlags, poll};
        let end = Instant::now() + START_LIMIT;
        loop {
            let mut fds = [PollFd::new(gate.as_fd(), PollFlags::empty())];
            // POLLERR is what a pipe without readers reports, whatever was asked for.
            match poll(&mut fds, 1000u16) {
                Ok(1) => break,
                Err(error) if error != nix::errno::Errno::EINTR => return Err(error).at("wait for exec"),
                _ if Instant::now() > end => {
                    return Err(Error::new(Code::Timeout, "start container")
                        .operand(&self.id)
                        .reason(format!(
                            "its program was not executed within {} s",
                            START_LIMIT.as_secs()
                        ))
                        .hint("its file system may not answer, or its cgroup may be frozen"));
                }
                _ => {}
            }
        }
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = || dir.path().join(PAGE_FILE);
        let file = openat(dir.fd(), PAGE_FILE, flags, Mode::empty()).at_path("open", path())?;
        let page = SharedPage::map(Some(file.as_fd())).at_path("map", path())?;
        match launch::after_commit(page.get(), program) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn start_container_hooks(&self, spec: &Spec, state: &State) -> Result<()> {
        for (number, hook) in spec.hooks.start_container.iter().enumerate() {
            self.exec_hook(spec, hook, state).map_err(|error| {
                let reason = format!("{} {error}", hook.path.display());
                Error::new(Code::Hook, "run hook")
                    .operand(format!("hooks.startContainer[{number}]"))
                    .reason(reason)
            })?;
        }
        Ok(())
    }

    /// A hook of the start failed: the container must not run.
    fn give_up(&self) {
        if let Err(error) = self.kill(libc::SIGKILL) {
            tracing::warn!("{error}");
        }
    }
}
