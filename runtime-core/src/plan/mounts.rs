//! The mounts of a configuration, device nodes and links, masked and read-only paths.

use std::path::{Path, PathBuf};

use runtime_init::{Attributes, DirMode, PlaceFlags, Target};

use super::container::Planner;
use super::mount_options::{MountOptions, NODEV, NOEXEC, NOSUID, RDONLY};
use super::{Action, By, Mount, Source};
use crate::cgroup::Mode;
use crate::error::{Code, Error, Result};
use crate::spec::{self, NamespaceType};

/// Files of a procfs that something may be mounted on: what lxcfs and its like replace.
const INSIDE_PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Device nodes that every container has: name and number.
const DEVICES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that every container has.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

const MS_SLAVE: u64 = libc::MS_SLAVE;

/// A path inside the container, absolute, without dots or doubled slashes.
pub(crate) fn clean(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    format!("/{}", parts.join("/"))
}

impl Planner<'_> {
    pub(crate) fn mounts(&mut self) -> Result<()> {
        for (index, mount) in self.spec.mounts.iter().enumerate() {
            let place = format!("mounts[{index}] {}", mount.destination.display());
            let at = clean(&mount.destination);
            if at == "/" {
                return Err(Error::new(Code::InvalidConfig, "plan mount")
                    .operand(&place)
                    .reason("a mount on the root itself is not possible; set root.path instead"));
            }
            if !(mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty()) {
                return Err(Error::new(Code::Unsupported, "plan mount")
                    .operand(&place)
                    .reason("uidMappings and gidMappings (idmapped mounts) are not supported yet"));
            }
            let options = MountOptions::parse(&mount.options, &place)?;
            let copy_up = if options.copy_up {
                self.copy_up(mount, &options, &at, &place)?
            } else {
                None
            };
            match mount.kind.as_deref() {
                _ if options.bind.is_some() => self.bind(mount, at, options, &place)?,
                Some("bind") => self.bind(mount, at, options, &place)?,
                Some("cgroup") => self.cgroup_mount(at, options),
                Some(kind) => self.file_system(kind, mount, at, options, copy_up),
                None => {
                    return Err(Error::new(Code::InvalidConfig, "plan mount")
                        .operand(&place)
                        .reason("neither a type nor the option bind or rbind"));
                }
            }
        }
        Ok(())
    }

    fn bind(&mut self, mount: &spec::Mount, at: String, options: MountOptions, place: &str) -> Result<()> {
        let Some(source) = &mount.source else {
            return Err(Error::new(Code::InvalidConfig, "plan mount")
                .operand(place)
                .reason("a bind mount has no source"));
        };
        // An absolute source replaces the bundle.
        let path = self.bundle.join(source);
        let recursive = options.bind.unwrap_or(false);
        // A copy of a shared mount is its peer: without this the container's mounts would show on the host.
        let mut attributes = vec![];
        if !self.shares_mounts() {
            attributes.push(Attributes {
                propagation: MS_SLAVE,
                recursive,
                ..Attributes::default()
            });
        }
        push_attributes(&mut attributes, &options);
        let flags = PlaceFlags {
            inside_proc: INSIDE_PROC.contains(&at.as_str()),
            ..PlaceFlags::default()
        };
        let source = Source::Bind { path, recursive };
        self.push_mount(Mount {
            at,
            source,
            by: self.binds_by(),
            attributes,
            target: Target::LikeSource,
            flags,
            contents: Vec::new(),
            copy_up: None,
        });
        Ok(())
    }

    /// Where a tmpfs with the option `tmpcopyup` gets its contents from: the root file system, or nowhere.
    fn copy_up(
        &self,
        mount: &spec::Mount,
        options: &MountOptions,
        at: &str,
        place: &str,
    ) -> Result<Option<PathBuf>> {
        let refuse = |code: Code, reason: String| {
            let reason = format!("option \"tmpcopyup\" {reason}");
            Err(Error::new(code, "plan mount").operand(place).reason(reason))
        };
        if options.bind.is_some() || mount.kind.as_deref() != Some("tmpfs") {
            return refuse(Code::InvalidConfig, "is for mounts of type tmpfs only".into());
        }
        if self.fs_by() == By::Init {
            return refuse(
                Code::Unsupported,
                "is not supported yet for containers with a user namespace, nor for an unprivileged runtime"
                    .into(),
            );
        }
        // What the container would see in that place is what an earlier mount has, if there is one above.
        let above = self.actions.iter().rev().find_map(|action| match action {
            Action::Mount(other) if Path::new(at).starts_with(&other.at) => Some(other),
            _ => None,
        });
        match above.map(|other| (&other.source, &other.copy_up, &other.at)) {
            None => self.rootfs().map(Some),
            Some((Source::Fs { kind, .. }, rootfs, _)) if kind == "tmpfs" => Ok(rootfs.clone()),
            Some((.., other)) => refuse(
                Code::Unsupported,
                format!("is not supported below the mount on {other}"),
            ),
        }
    }

    fn file_system(
        &mut self,
        kind: &str,
        mount: &spec::Mount,
        at: String,
        options: MountOptions,
        copy_up: Option<PathBuf>,
    ) {
        let in_namespace = matches!(kind, "proc" | "sysfs" | "mqueue" | "cgroup2");
        let by = if in_namespace { By::Init } else { self.fs_by() };
        let mut attributes = fs_attributes(&options);
        let mut parameters = Vec::with_capacity(options.parameters.len() + 2);
        let source = mount.source.as_deref().and_then(Path::to_str).unwrap_or(kind);
        parameters.push(format!("source={source}"));
        parameters.extend(options.parameters.iter().cloned());
        let mut flags = PlaceFlags {
            plain_directory: matches!(kind, "proc" | "sysfs"),
            inside_proc: kind == "proc",
            ..PlaceFlags::default()
        };
        if kind == "tmpfs" {
            if !options
                .parameters
                .iter()
                .any(|parameter| parameter.starts_with("mode="))
            {
                flags.mode = DirMode::Inherit;
            }
            // What goes into it has to be made first.
            if attributes[0].set & RDONLY != 0 {
                attributes[0].set &= !RDONLY;
                self.seals.push(at.clone());
            }
        } else if !in_namespace && attributes[0].set & RDONLY != 0 {
            // The medium may not allow more.
            parameters.push("ro".to_owned());
        }
        let source = Source::Fs {
            kind: kind.to_owned(),
            parameters,
        };
        self.push_mount(Mount {
            at,
            source,
            by,
            attributes,
            target: Target::Directory,
            flags,
            contents: Vec::new(),
            copy_up,
        });
    }

    /// `type: cgroup` means whatever the host has: the v2 tree, or a directory with one mount a v1 hierarchy.
    fn cgroup_mount(&mut self, at: String, options: MountOptions) {
        let attributes = fs_attributes(&options);
        if self.host.cgroups.mode() == Mode::V2 {
            self.cgroup2_mount(at, attributes, &options);
            return;
        }
        let top = Attributes {
            set: attributes[0].set & !RDONLY,
            ..attributes[0]
        };
        let parameters = ["source=tmpfs", "mode=755"].map(str::to_owned).to_vec();
        let source = Source::Fs {
            kind: "tmpfs".into(),
            parameters,
        };
        let flags = PlaceFlags::default();
        let by = self.fs_by();
        self.push_mount(Mount {
            at: at.clone(),
            source,
            by,
            attributes: vec![top],
            target: Target::Directory,
            flags,
            contents: Vec::new(),
            copy_up: None,
        });
        if attributes[0].set & RDONLY != 0 {
            self.seals.push(at.clone());
        }
        for hierarchy in self.host.cgroups.hierarchies() {
            let (Some(name), Some(path)) = (
                hierarchy.mount.file_name(),
                self.cgroup.dir(&hierarchy.controllers),
            ) else {
                continue;
            };
            let name = name.to_string_lossy();
            let mut attributes = vec![Attributes {
                propagation: MS_SLAVE,
                ..Attributes::default()
            }];
            push_attributes(&mut attributes, &options);
            let inside = format!("{at}/{name}");
            // A bind of the container's own group: the kernel shows it as the root to those in the namespace.
            let source = Source::Bind {
                path,
                recursive: false,
            };
            let target = Target::Directory;
            self.push_mount(Mount {
                at: inside,
                source,
                by: self.binds_by(),
                attributes,
                target,
                flags,
                contents: Vec::new(),
                copy_up: None,
            });
            for controller in hierarchy
                .controllers
                .split(',')
                .filter(|_| hierarchy.controllers.contains(','))
            {
                self.actions.push(Action::Symlink {
                    at: format!("{at}/{controller}"),
                    to: name.clone().into_owned(),
                });
            }
        }
    }

    fn cgroup2_mount(&mut self, at: String, attributes: Vec<Attributes>, options: &MountOptions) {
        let (target, flags) = (Target::Directory, PlaceFlags::default());
        if self.is_new(NamespaceType::Cgroup) {
            let source = Source::Fs {
                kind: "cgroup2".into(),
                parameters: vec!["source=cgroup".into()],
            };
            self.push_mount(Mount {
                at,
                source,
                by: By::Init,
                attributes,
                target,
                flags,
                contents: Vec::new(),
                copy_up: None,
            });
            return;
        }
        // In the host's cgroup namespace a new mount would change the options of the host's own one.
        let Some(hierarchy) = self.host.cgroups.hierarchies().first() else {
            return;
        };
        let source = Source::Bind {
            path: hierarchy.mount.clone(),
            recursive: false,
        };
        let mut attributes = vec![Attributes {
            propagation: MS_SLAVE,
            ..Attributes::default()
        }];
        push_attributes(&mut attributes, options);
        self.push_mount(Mount {
            at,
            source,
            by: self.binds_by(),
            attributes,
            target,
            flags,
            contents: Vec::new(),
            copy_up: None,
        });
    }

    fn push_mount(&mut self, mount: Mount) {
        self.actions.push(Action::Mount(mount));
    }

    /// Device nodes and links, unless the configuration brings a `/dev` of its own along.
    pub(crate) fn devices(&mut self) {
        let linux = &self.spec.linux;
        let brings_dev = |mount: &spec::Mount| {
            let bind = mount.kind.as_deref() == Some("bind")
                || mount
                    .options
                    .iter()
                    .any(|option| option == "bind" || option == "rbind");
            bind && clean(&mount.destination) == "/dev"
        };
        if self.spec.mounts.iter().any(brings_dev) {
            return;
        }
        for &(path, major, minor) in DEVICES {
            if linux.devices.iter().all(|device| clean(&device.path) != path) {
                self.device(
                    path.to_owned(),
                    libc::S_IFCHR | 0o666,
                    libc::makedev(major, minor),
                    0,
                    0,
                );
            }
        }
        for device in &linux.devices {
            let kind = match device.kind.as_str() {
                "b" => libc::S_IFBLK,
                "p" => libc::S_IFIFO,
                _ => libc::S_IFCHR,
            };
            let number = if kind == libc::S_IFIFO {
                0
            } else {
                libc::makedev(device.major as u32, device.minor as u32)
            };
            let mode = kind | device.file_mode.unwrap_or(0o666) & 0o7777;
            self.device(
                clean(&device.path),
                mode,
                number,
                device.uid.unwrap_or(0),
                device.gid.unwrap_or(0),
            );
        }
        let links = LINKS.iter().copied().chain([("/dev/ptmx", "pts/ptmx")]);
        for (at, to) in links.chain(self.host.kcore.then_some(("/dev/core", "/proc/kcore"))) {
            self.actions.push(Action::Symlink {
                at: at.to_owned(),
                to: to.to_owned(),
            });
        }
    }

    /// Where nodes cannot be made, in a user namespace, the host's own is bound.
    fn device(&mut self, at: String, mode: u32, device: u64, uid: u32, gid: u32) {
        if mode & libc::S_IFMT == libc::S_IFIFO || !self.in_user_namespace() {
            self.actions.push(Action::Mknod {
                at,
                mode,
                device,
                uid,
                gid,
            });
            return;
        }
        let source = Source::Bind {
            path: PathBuf::from(&at),
            recursive: false,
        };
        let attributes = vec![Attributes {
            propagation: MS_SLAVE,
            ..Attributes::default()
        }];
        let (target, flags) = (Target::File, PlaceFlags::default());
        self.push_mount(Mount {
            at,
            source,
            by: self.binds_by(),
            attributes,
            target,
            flags,
            contents: Vec::new(),
            copy_up: None,
        });
    }

    pub(crate) fn masks(&mut self) {
        let linux = &self.spec.linux;
        if !linux.masked_paths.is_empty() {
            self.actions.push(Action::MaskSources);
        }
        for path in &linux.readonly_paths {
            self.actions.push(Action::Readonly { at: clean(path) });
        }
        let mut masked: Vec<String> = linux.masked_paths.iter().map(|path| clean(path)).collect();
        let mut seen = std::collections::BTreeSet::new();
        masked.retain(|path| seen.insert(path.clone()));
        self.actions
            .extend(masked.into_iter().map(|at| Action::Mask { at }));
    }

    /// Makes read-only what had to be written to until now.
    pub(crate) fn seal(&mut self) {
        let readonly = Attributes {
            set: RDONLY,
            ..Attributes::default()
        };
        for at in std::mem::take(&mut self.seals) {
            self.actions.push(Action::Reattribute {
                at,
                attributes: readonly,
            });
        }
        if self.spec.root.as_ref().is_some_and(|root| root.readonly) {
            self.actions.push(Action::Reattribute {
                at: "/".into(),
                attributes: readonly,
            });
        }
    }
}

/// Attributes of a bind mount, in the order in which mount(8) applies them.
fn push_attributes(attributes: &mut Vec<Attributes>, options: &MountOptions) {
    for change in [options.recursive, options.top] {
        if change.set | change.clear == 0 {
            continue;
        }
        match attributes.last_mut() {
            // One call can do both.
            Some(last) if last.recursive == change.recursive && last.set | last.clear == 0 => {
                *last = Attributes {
                    propagation: last.propagation,
                    ..change
                };
            }
            _ => attributes.push(change),
        }
    }
    for &(propagation, recursive) in &options.propagation {
        attributes.push(Attributes {
            propagation,
            recursive,
            ..Attributes::default()
        });
    }
}

/// Attributes of a new file system: it has no mounts below, so recursive ones are its own.
fn fs_attributes(options: &MountOptions) -> Vec<Attributes> {
    let set = options.top.set | options.recursive.set;
    let mut attributes = vec![Attributes {
        set,
        ..Attributes::default()
    }];
    for &(propagation, recursive) in &options.propagation {
        attributes.push(Attributes {
            propagation,
            recursive,
            ..Attributes::default()
        });
    }
    attributes
}

/// Attributes of the empty directory that covers masked ones.
pub(crate) const EMPTY_ATTRIBUTES: u64 = RDONLY | NOSUID | NODEV | NOEXEC;
