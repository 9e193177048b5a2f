//! What a configuration may say. All of it is decided here, from the configuration alone, before anything is made.
//!
//! Where runc only warns we do as well: unknown capabilities, relative mount destinations, personality flags.

mod linux;
mod namespaces;
mod place;
mod process;
mod resources;
mod sysctl;
#[cfg(test)]
mod tests;

use std::path::{Component, Path};

use super::spec::{Hook, IdMapping, Mount, Process, Spec};
use crate::error::Result;
use place::Place;

pub(crate) use sysctl::sysctl_path;

/// Checks a configuration for a container that is to be made.
pub(crate) fn validate(spec: &Spec) -> Result<()> {
    version(&Place::top("ociVersion"), &spec.oci_version)?;
    match &spec.root {
        Some(root) if root.path.as_os_str().is_empty() => {
            return Place::top("root").field("path").refuse("is missing or empty");
        }
        Some(root) => {
            Place::top("root")
                .field("path")
                .check_string(root.path.as_os_str().as_encoded_bytes())?;
        }
        None => return Place::top("root").refuse("is missing"),
    }
    match &spec.process {
        Some(process) => validate_process(process)?,
        None => return Place::top("process").refuse("is missing"),
    }
    each(&Place::top("mounts"), &spec.mounts, mount)?;
    hooks(spec)?;
    namespaces::check(spec)?;
    linux::check(spec)
}

/// Checks a process that is to be executed in a container.
pub(crate) fn validate_process(process: &Process) -> Result<()> {
    process::check(&Place::top("process"), process)
}

/// Checks every element of a list.
fn each<T>(at: &Place<'_>, list: &[T], check: impl Fn(&Place<'_>, &T) -> Result<()>) -> Result<()> {
    list.iter()
        .enumerate()
        .try_for_each(|(index, element)| check(&at.index(index), element))
}

/// Minor versions only add fields, so any 1.x is readable. runc does not look at it at all, and some bundles that
/// it runs have none.
fn version(at: &Place<'_>, version: &str) -> Result<()> {
    let rest = match version {
        "" => return Ok(()),
        _ => version.strip_prefix("1."),
    };
    match rest {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_digit()) => Ok(()),
        _ => at.refuse(format!("must be 1.x, is {version:?}")),
    }
}

fn mount(at: &Place<'_>, mount: &Mount) -> Result<()> {
    let destination = at.field("destination");
    let path = mount.destination.as_path();
    if path.as_os_str().is_empty() {
        return destination.refuse("is missing or empty");
    }
    destination.check_string(path.as_os_str().as_encoded_bytes())?;
    if !path.is_absolute() {
        tracing::warn!("{destination} {path:?} is not absolute and is taken as one from the root");
    }
    if is_root(path) {
        return destination
            .refuse("must not be the root of the container, whose file system root.path names");
    }
    at.field("type")
        .check_string(mount.kind.as_deref().unwrap_or_default())?;
    at.field("options").check_strings(&mount.options)?;
    let is_bind = mount.kind.as_deref() == Some("bind")
        || mount
            .options
            .iter()
            .any(|option| matches!(option.as_str(), "bind" | "rbind"));
    match &mount.source {
        Some(source) => at
            .field("source")
            .check_string(source.as_os_str().as_encoded_bytes())?,
        None if is_bind => {
            return at
                .field("source")
                .refuse("is missing, and a bind mount needs one");
        }
        None => {}
    }
    if mount.kind.is_none() && !is_bind {
        return at
            .field("type")
            .refuse("is missing, and no option makes this a bind mount");
    }
    let (uids, gids) = (&mount.uid_mappings, &mount.gid_mappings);
    if uids.is_empty() && gids.is_empty() {
        return Ok(());
    }
    let both = [(at.field("uidMappings"), uids), (at.field("gidMappings"), gids)];
    for (at, mappings) in both {
        if !is_bind {
            return at.refuse("only bind mounts can have mapped ids");
        }
        if mappings.is_empty() {
            return at.refuse("must not be empty when the other mapping is not");
        }
        id_mappings(&at, mappings)?;
    }
    Ok(())
}

/// Whether a path inside the container names its root, by its letters.
fn is_root(path: &Path) -> bool {
    let depth = path
        .components()
        .fold(0usize, |depth, component| match component {
            Component::Normal(_) => depth + 1,
            Component::ParentDir => depth.saturating_sub(1),
            _ => depth,
        });
    depth == 0
}

/// What the kernel would refuse without a word: see user_namespaces(7).
fn id_mappings(at: &Place<'_>, mappings: &[IdMapping]) -> Result<()> {
    const MOST: usize = 340;
    if mappings.len() > MOST {
        return at.refuse(format!("has {} entries, the kernel takes {MOST}", mappings.len()));
    }
    let end = |first: u32, size: u32| u64::from(first) + u64::from(size);
    let overlap = |one: (u32, u32), other: (u32, u32)| {
        u64::from(one.0) < end(other.0, other.1) && u64::from(other.0) < end(one.0, one.1)
    };
    for (index, mapping) in mappings.iter().enumerate() {
        let at = at.index(index);
        let &IdMapping {
            container_id,
            host_id,
            size,
        } = mapping;
        if size == 0 {
            return at.field("size").refuse("must not be 0");
        }
        for (name, first) in [("containerID", container_id), ("hostID", host_id)] {
            // The last number of all stands for no id.
            if end(first, size) > u64::from(u32::MAX) {
                return at
                    .field(name)
                    .refuse(format!("{first} and {size} in a row go beyond the last id"));
            }
        }
        for (other_index, other) in mappings[..index].iter().enumerate() {
            if overlap((container_id, size), (other.container_id, other.size))
                || overlap((host_id, size), (other.host_id, other.size))
            {
                return at.refuse(format!("overlaps entry {other_index}"));
            }
        }
    }
    Ok(())
}

fn hooks(spec: &Spec) -> Result<()> {
    let all = Place::top("hooks");
    let hooks = &spec.hooks;
    let points = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    points
        .into_iter()
        .try_for_each(|(name, hooks)| each(&all.field(name), hooks, hook))
}

fn hook(at: &Place<'_>, hook: &Hook) -> Result<()> {
    at.field("path").check_absolute(&hook.path)?;
    at.field("args").check_strings(&hook.args)?;
    at.field("env").check_strings(&hook.env)?;
    match hook.timeout {
        Some(seconds) if seconds <= 0 => at
            .field("timeout")
            .refuse(format!("must be greater than 0, is {seconds}")),
        _ => Ok(()),
    }
}
