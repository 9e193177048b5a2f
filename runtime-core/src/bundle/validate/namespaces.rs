//! Which namespaces there are, and what needs which.

use super::{Place, id_mappings, sysctl};
use crate::bundle::spec::{Namespace, NamespaceType, Spec, TimeOffset};
use crate::error::Result;

/// Longest name that the kernel keeps, for the host and for the domain.
const UTS_NAME: usize = 64;

const LINUX: Place<'static> = Place::top("linux");

/// The namespaces of a configuration, one of a kind.
#[derive(Clone, Copy)]
pub(super) struct Namespaces<'a>(&'a [Namespace]);

impl<'a> Namespaces<'a> {
    fn get(self, kind: NamespaceType) -> Option<&'a Namespace> {
        self.0.iter().find(|namespace| namespace.kind == kind)
    }

    /// Whether the container does not use the runtime's own one.
    pub(super) fn has(self, kind: NamespaceType) -> bool {
        self.get(kind).is_some()
    }

    /// Whether the container joins one that exists.
    pub(super) fn joins(self, kind: NamespaceType) -> bool {
        self.get(kind).is_some_and(|namespace| namespace.path.is_some())
    }

    /// Refuses what is at `at`, which needs a namespace of its own, when there is none.
    pub(super) fn require(self, kind: NamespaceType, at: &Place<'_>) -> Result<()> {
        if self.has(kind) {
            return Ok(());
        }
        at.refuse(format!(
            "needs a namespace of type {:?} in linux.namespaces",
            name(kind)
        ))
    }
}

fn name(kind: NamespaceType) -> &'static str {
    match kind {
        NamespaceType::Pid => "pid",
        NamespaceType::Network => "network",
        NamespaceType::Mount => "mount",
        NamespaceType::Ipc => "ipc",
        NamespaceType::Uts => "uts",
        NamespaceType::User => "user",
        NamespaceType::Cgroup => "cgroup",
        NamespaceType::Time => "time",
    }
}

pub(super) fn check(spec: &Spec) -> Result<()> {
    let namespaces = list(&spec.linux.namespaces)?;
    for (field, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        if let Some(value) = value {
            let at = Place::top(field);
            namespaces.require(NamespaceType::Uts, &at)?;
            at.check_string(value)?;
            if value.len() > UTS_NAME {
                return at.refuse(format!("has {} bytes, the kernel takes {UTS_NAME}", value.len()));
            }
        }
    }
    let linux = &spec.linux;
    for (name, paths) in [
        ("maskedPaths", &linux.masked_paths),
        ("readonlyPaths", &linux.readonly_paths),
    ] {
        let at = LINUX.field(name);
        if !paths.is_empty() {
            namespaces.require(NamespaceType::Mount, &at)?;
        }
        super::each(&at, paths, |at, path| at.check_absolute(path))?;
    }
    mappings(spec, namespaces)?;
    time_offsets(spec, namespaces)?;
    for (key, value) in &linux.sysctl {
        sysctl::check(&LINUX.field("sysctl").key(key), key, value, namespaces)?;
    }
    for (device, into) in &linux.net_devices {
        let at = LINUX.field("netDevices");
        let at = at.key(device);
        namespaces.require(NamespaceType::Network, &at)?;
        interface(&at, device)?;
        if let Some(name) = into.name.as_deref().filter(|name| !name.is_empty()) {
            interface(&at.field("name"), name)?;
        }
    }
    Ok(())
}

fn list(namespaces: &[Namespace]) -> Result<Namespaces<'_>> {
    let all = LINUX.field("namespaces");
    for (index, namespace) in namespaces.iter().enumerate() {
        let at = all.index(index);
        if namespaces[..index]
            .iter()
            .any(|earlier| earlier.kind == namespace.kind)
        {
            return at
                .field("type")
                .refuse(format!("{:?} is there twice", name(namespace.kind)));
        }
        if let Some(path) = &namespace.path {
            at.field("path").check_absolute(path)?;
        }
    }
    Ok(Namespaces(namespaces))
}

/// A user namespace that is joined has mappings already; callers repeat them, and whether they are the same is for
/// who opens it to see.
fn mappings(spec: &Spec, namespaces: Namespaces<'_>) -> Result<()> {
    let both = [
        (LINUX.field("uidMappings"), &spec.linux.uid_mappings),
        (LINUX.field("gidMappings"), &spec.linux.gid_mappings),
    ];
    let is_new = namespaces.has(NamespaceType::User) && !namespaces.joins(NamespaceType::User);
    for (at, mappings) in both {
        if is_new && mappings.is_empty() {
            return at.refuse("must not be empty: a new user namespace needs mappings");
        }
        if !mappings.is_empty() {
            namespaces.require(NamespaceType::User, &at)?;
        }
        id_mappings(&at, mappings)?;
    }
    Ok(())
}

fn time_offsets(spec: &Spec, namespaces: Namespaces<'_>) -> Result<()> {
    for (clock, &TimeOffset { nanosecs, .. }) in &spec.linux.time_offsets {
        let at = LINUX.field("timeOffsets");
        let at = at.key(clock);
        namespaces.require(NamespaceType::Time, &at)?;
        if namespaces.joins(NamespaceType::Time) {
            return at.refuse("cannot be set: the time namespace is joined");
        }
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return at.refuse("must be monotonic or boottime");
        }
        at.field("nanosecs").check_range(nanosecs, 0..=999_999_999)?;
    }
    Ok(())
}

fn interface(at: &Place<'_>, name: &str) -> Result<()> {
    let odd = |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
    if name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || name.bytes().any(odd) {
        return at.refuse(format!("{name:?} is not the name of a network device"));
    }
    Ok(())
}
