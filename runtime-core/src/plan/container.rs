//! The plan of a container: namespaces, root, mounts, and then the process.

use std::path::{Path, PathBuf};

use runtime_init::{Attributes, Point};

use super::mounts::clean;
use super::process::{Launch, process_actions};
use super::{Action, By, Mappings, Plan, clone_flag};
use crate::bundle::names;
use crate::cgroup::{Cgroup, Mode};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::spec::{IdMapping, NamespaceType, Spec};

/// What the caller chose, beside the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Whether the process waits to be started.
    pub(crate) gate: bool,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) preserve_fds: u32,
    pub(crate) extra_fds: u32,
}

/// Everything that a plan follows from, and the actions so far.
pub(crate) struct Planner<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) host: &'a Host,
    pub(crate) bundle: &'a Path,
    pub(crate) cgroup: &'a Cgroup,
    pub(crate) actions: Vec<Action>,
    /// File systems to make read-only at the end.
    pub(crate) seals: Vec<String>,
    joined: bool,
}

/// The plan for the container `id` of a validated `spec`.
pub(crate) fn plan(
    id: &str,
    spec: &Spec,
    bundle: &Path,
    host: &Host,
    cgroup: &Cgroup,
    options: Options,
) -> Result<Plan> {
    let mut planner = Planner {
        spec,
        host,
        bundle,
        cgroup,
        actions: Vec::with_capacity(96),
        seals: Vec::new(),
        joined: false,
    };
    let mut plan = Plan {
        rlimits: spec
            .process
            .as_ref()
            .map(|process| process.rlimits.clone())
            .unwrap_or_default(),
        oom_score_adj: spec.process.as_ref().and_then(|process| process.oom_score_adj),
        resources: spec.linux.resources.clone().unwrap_or_default(),
        devices: spec.linux.devices.clone(),
        preserve_fds: options.preserve_fds,
        extra_fds: options.extra_fds,
        ..Plan::default()
    };
    planner.refuse_unsupported()?;
    planner.namespaces(&mut plan)?;
    if planner.is_new(NamespaceType::Network) {
        planner.actions.push(Action::Loopback);
    }
    planner.actions.extend([Action::Undumpable, Action::NewSession]);
    if !options.no_new_keyring {
        planner.actions.push(Action::Keyring {
            name: format!("_ses.{id}"),
        });
    }
    planner.actions.push(Action::Umask { mask: 0 });
    if host.cgroups.mode() == Mode::V2 {
        planner.join_cgroup();
    }
    planner.root(options.no_pivot)?;
    planner.names_and_parameters();
    planner.join_cgroup();
    let process = spec.process.as_ref().ok_or_else(|| {
        Error::new(Code::InvalidConfig, "plan process")
            .operand("process")
            .reason("missing from config.json")
    })?;
    let launch = Launch {
        seccomp: spec.linux.seccomp.as_ref(),
        new_container: true,
        gate: options.gate,
        program: None,
        personality: spec.linux.personality.as_ref(),
    };
    process_actions(&mut planner.actions, process, launch)?;
    super::furnish::furnish(&mut planner.actions);
    plan.actions = planner.actions;
    Ok(plan)
}

impl Planner<'_> {
    fn namespace(&self, kind: NamespaceType) -> Option<&crate::spec::Namespace> {
        self.spec
            .linux
            .namespaces
            .iter()
            .find(|namespace| namespace.kind == kind)
    }

    pub(super) fn is_new(&self, kind: NamespaceType) -> bool {
        self.namespace(kind)
            .is_some_and(|namespace| namespace.path.is_none())
    }

    pub(crate) fn in_user_namespace(&self) -> bool {
        self.host.user_namespace || self.namespace(NamespaceType::User).is_some()
    }

    /// Who copies parts of the host's tree: only a privileged runtime can do so outside of new namespaces.
    pub(crate) fn binds_by(&self) -> By {
        if self.host.privileged {
            By::Runtime
        } else {
            By::Init
        }
    }

    /// Who makes file systems: inside a user namespace they have to belong to it.
    pub(crate) fn fs_by(&self) -> By {
        let own_user_namespace = self.namespace(NamespaceType::User).is_some();
        if self.host.privileged && !own_user_namespace {
            By::Runtime
        } else {
            By::Init
        }
    }

    /// What a configuration asks for and this version does not do is refused, never left out in silence.
    fn refuse_unsupported(&self) -> Result<()> {
        let linux = &self.spec.linux;
        let asked = [
            ("linux.intelRdt", linux.intel_rdt.is_some()),
            ("linux.netDevices", !linux.net_devices.is_empty()),
            ("linux.memoryPolicy", linux.memory_policy.is_some()),
            (
                "linux.mountLabel",
                linux.mount_label.as_ref().is_some_and(|label| !label.is_empty()),
            ),
        ];
        match asked.iter().find(|(_, present)| *present) {
            Some((field, _)) => Err(Error::new(Code::Unsupported, "plan container")
                .operand(field)
                .reason("is not supported by this version")),
            None => Ok(()),
        }
    }

    fn namespaces(&mut self, plan: &mut Plan) -> Result<()> {
        self.actions.push(Action::CloseFds { last: false });
        let new: Vec<NamespaceType> = self
            .spec
            .linux
            .namespaces
            .iter()
            .filter(|namespace| namespace.path.is_none())
            .map(|namespace| namespace.kind)
            .collect();
        let flags = |kinds: &[NamespaceType]| kinds.iter().fold(0, |flags, &kind| flags | clone_flag(kind));
        self.joins(plan)?;
        use NamespaceType::{Cgroup, Mount, Pid, Time, User};
        let joins_user = self.namespace(User).is_some() && !self.is_new(User);
        if self.is_new(Time) {
            self.actions.push(Action::Unshare {
                flags: clone_flag(Time),
            });
            plan.time_offsets = Some(self.time_offsets());
        }
        let rest: Vec<NamespaceType> = new
            .iter()
            .copied()
            .filter(|kind| !matches!(kind, User | Pid | Time | Mount | Cgroup))
            .collect();
        if self.is_new(User) {
            plan.clone_flags = (flags(&[User]) | if self.is_new(Pid) { flags(&[Pid]) } else { 0 }) as u64;
            plan.mappings = Some(self.mappings()?);
            self.actions.push(Action::Sync(Point::Mapped));
            self.enter_time();
            // The root is opened by who may walk to it: the caller's user, before becoming the container's root.
            if self.is_new(Mount) {
                self.actions.push(Action::Unshare {
                    flags: flags(&[Mount]),
                });
            }
            self.actions.push(Action::Root { path: self.rootfs()? });
            self.actions.push(Action::BecomeRoot);
            self.unshare(flags(&rest));
            return Ok(());
        }
        if self.is_new(Time) {
            self.actions.push(Action::Sync(Point::Mapped));
            self.enter_time();
        }
        if joins_user {
            // The pid namespace has to belong to the user namespace, so it is made from inside.
            if self.is_new(Pid) {
                self.actions.push(Action::Reborn);
            }
        } else if self.is_new(Pid) {
            plan.clone_flags = flags(&[Pid]) as u64;
        }
        // Not at the clone: a network namespace takes as long as all that the runtime does meanwhile.
        self.unshare(flags(&rest) | if self.is_new(Mount) { flags(&[Mount]) } else { 0 });
        self.actions.push(Action::Root { path: self.rootfs()? });
        Ok(())
    }

    /// Joins the cgroup, and makes it the root of a new cgroup namespace: that is where a process is at that moment.
    ///
    /// On version 2 that is at birth. On version 1 it is as late as possible, because everything allocated from then on
    /// is charged to the container; but hooks have to see it done.
    fn join_cgroup(&mut self) {
        if std::mem::replace(&mut self.joined, true) {
            return;
        }
        self.actions.push(Action::JoinCgroup);
        if self.is_new(NamespaceType::Cgroup) {
            self.unshare(clone_flag(NamespaceType::Cgroup));
        }
    }

    /// Once the offsets are written.
    fn enter_time(&mut self) {
        if self.is_new(NamespaceType::Time) {
            self.actions.push(Action::OwnTime);
        }
    }

    fn unshare(&mut self, flags: i32) {
        if flags != 0 {
            self.actions.push(Action::Unshare { flags });
        }
    }

    /// Joins: the others first, then the user namespace, then what could not be joined without its privileges.
    fn joins(&mut self, plan: &mut Plan) -> Result<()> {
        let joined: Vec<(NamespaceType, PathBuf)> = self
            .spec
            .linux
            .namespaces
            .iter()
            .filter_map(|namespace| Some((namespace.kind, namespace.path.clone()?)))
            .collect();
        let user = joined
            .iter()
            .find(|(kind, _)| *kind == NamespaceType::User)
            .cloned();
        let mut others = Vec::new();
        for (kind, path) in joined {
            match kind {
                NamespaceType::User => {}
                NamespaceType::Pid => plan.pid_namespace = Some(path),
                kind => others.push((kind, path)),
            }
        }
        for (kind, path) in &others {
            self.actions.push(Action::Join {
                kind: *kind,
                path: path.clone(),
                again: false,
            });
        }
        if let Some((kind, path)) = user {
            self.actions.push(Action::Join {
                kind,
                path,
                again: false,
            });
            self.actions.push(Action::BecomeRoot);
            for (kind, path) in others {
                self.actions.push(Action::Join {
                    kind,
                    path,
                    again: true,
                });
            }
        }
        Ok(())
    }

    fn mappings(&self) -> Result<Mappings> {
        let linux = &self.spec.linux;
        let lines = |mappings: &[IdMapping]| -> String {
            mappings
                .iter()
                .map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size))
                .collect()
        };
        if linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty() {
            return Err(Error::new(Code::InvalidConfig, "plan namespaces")
                .operand("linux.uidMappings, linux.gidMappings")
                .reason("a new user namespace needs both"));
        }
        Ok(Mappings {
            uid: lines(&linux.uid_mappings),
            gid: lines(&linux.gid_mappings),
        })
    }

    fn time_offsets(&self) -> String {
        let offsets = self.spec.linux.time_offsets.iter();
        offsets
            .map(|(clock, offset)| format!("{clock} {} {}\n", offset.secs, offset.nanosecs))
            .collect()
    }

    /// Absolute path of the root file system.
    pub(super) fn rootfs(&self) -> Result<PathBuf> {
        rootfs(self.spec, self.bundle)
    }

    pub(crate) fn shares_mounts(&self) -> bool {
        matches!(
            self.spec.linux.rootfs_propagation.as_deref(),
            Some("shared" | "rshared")
        )
    }

    pub(crate) fn root_propagation(&self) -> Option<(u64, bool)> {
        let word = self.spec.linux.rootfs_propagation.as_deref()?;
        let flags = names::propagation(word)?;
        Some((flags & !libc::MS_REC, flags & libc::MS_REC != 0))
    }

    fn root(&mut self, no_pivot: bool) -> Result<()> {
        if self.namespace(NamespaceType::Mount).is_none() {
            self.refuse_mounts()?;
            self.hook_point();
            self.actions.push(Action::Chroot);
            return Ok(());
        }
        // Mount propagation is cut both ways first; what is prepared outside arrives by descriptor.
        self.actions.push(Action::Slave);
        let slave = Attributes {
            propagation: libc::MS_SLAVE,
            recursive: true,
            ..Attributes::default()
        };
        self.actions.push(Action::AttachRoot {
            path: self.rootfs()?,
            attributes: vec![slave],
        });
        self.mounts()?;
        self.devices();
        self.console();
        self.hook_point();
        self.masks();
        self.seal();
        self.actions
            .push(if no_pivot { Action::MoveRoot } else { Action::Pivot });
        // Not earlier: pivot_root(2) refuses a shared root.
        if let Some((propagation, recursive)) = self.root_propagation() {
            let attributes = Attributes {
                propagation,
                recursive,
                ..Attributes::default()
            };
            self.actions.push(Action::Reattribute {
                at: "/".into(),
                attributes,
            });
        }
        Ok(())
    }

    /// Without a mount namespace of its own the container has none of what is made of mounts: they would be the host's.
    fn refuse_mounts(&self) -> Result<()> {
        let asked = [
            ("mounts", !self.spec.mounts.is_empty()),
            (
                "root.readonly",
                self.spec.root.as_ref().is_some_and(|root| root.readonly),
            ),
            (
                "process.terminal",
                self.spec.process.as_ref().is_some_and(|process| process.terminal),
            ),
        ];
        match asked.iter().find(|(_, present)| *present) {
            Some((field, _)) => Err(Error::new(Code::InvalidConfig, "plan mounts")
                .operand(field)
                .reason(
                    "needs a mount namespace in linux.namespaces: without one the mounts would be the host's",
                )),
            None => Ok(()),
        }
    }

    /// Stops for the hooks of the creation, if there are any. They find the process in its cgroup.
    fn hook_point(&mut self) {
        let hooks = &self.spec.hooks;
        let due = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container];
        if due.iter().any(|hooks| !hooks.is_empty()) {
            self.join_cgroup();
            self.actions.push(Action::Sync(Point::Mounted));
        }
    }

    fn console(&mut self) {
        let Some(process) = self.spec.process.as_ref().filter(|process| process.terminal) else {
            return;
        };
        let (width, height) = process
            .console_size
            .as_ref()
            .map_or((0, 0), |size| (size.width, size.height));
        self.actions.push(Action::Console {
            width,
            height,
            uid: process.user.uid,
        });
        self.actions.push(Action::PlaceConsole {
            at: "/dev/console".into(),
        });
    }

    fn names_and_parameters(&mut self) {
        if let Some(name) = self.spec.hostname.as_ref().filter(|name| !name.is_empty()) {
            self.actions.push(Action::Hostname { name: name.clone() });
        }
        if let Some(name) = self.spec.domainname.as_ref().filter(|name| !name.is_empty()) {
            self.actions.push(Action::Domainname { name: name.clone() });
        }
        let labelled = self
            .spec
            .process
            .as_ref()
            .is_some_and(super::process::is_labelled);
        if !self.spec.linux.sysctl.is_empty() || labelled {
            self.actions.push(Action::ProcFs);
        }
        for (key, value) in &self.spec.linux.sysctl {
            let Some(path) = crate::bundle::sysctl_path(key) else {
                continue;
            };
            self.actions.push(Action::WriteProc {
                path: format!("sys/{path}"),
                value: value.clone(),
            });
        }
    }
}

/// Absolute path of the root file system of `spec` in the bundle directory `bundle`.
pub(crate) fn rootfs(spec: &Spec, bundle: &Path) -> Result<PathBuf> {
    let root = spec
        .root
        .as_ref()
        .filter(|root| !root.path.as_os_str().is_empty())
        .ok_or_else(|| {
            Error::new(Code::InvalidConfig, "plan root")
                .operand("root.path")
                .reason("missing from config.json")
        })?;
    Ok(PathBuf::from(clean(&bundle.join(&root.path))))
}
