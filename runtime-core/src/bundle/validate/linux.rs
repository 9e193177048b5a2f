//! The rest of `linux`.

use super::{Place, each, resources};
use crate::bundle::names;
use crate::bundle::spec::{Device, IntelRdt, MemoryPolicy, Personality, Spec};
use crate::error::Result;

const LINUX: Place<'static> = Place::top("linux");

pub(super) fn check(spec: &Spec) -> Result<()> {
    let linux = &spec.linux;
    if let Some(path) = &linux.cgroups_path {
        cgroups_path(&LINUX.field("cgroupsPath"), path)?;
    }
    each(&LINUX.field("devices"), &linux.devices, device)?;
    if let Some(limits) = &linux.resources {
        resources::check(&LINUX.field("resources"), limits)?;
    }
    if let Some(propagation) = &linux.rootfs_propagation
        && names::propagation(propagation).is_none()
    {
        return LINUX
            .field("rootfsPropagation")
            .refuse(format!("unknown propagation {propagation:?}"));
    }
    LINUX
        .field("mountLabel")
        .check_string(linux.mount_label.as_deref().unwrap_or_default())?;
    if let Some(rdt) = &linux.intel_rdt {
        intel_rdt(&LINUX.field("intelRdt"), rdt)?;
    }
    if let Some(domain) = &linux.personality {
        personality(&LINUX.field("personality"), domain)?;
    }
    if let Some(policy) = &linux.memory_policy {
        memory_policy(&LINUX.field("memoryPolicy"), policy)?;
    }
    match &linux.seccomp {
        Some(profile) => crate::seccomp::validate(profile),
        None => Ok(()),
    }
}

/// One line of the state directory names the cgroup, and nothing outside the cgroup tree may be reached by it.
fn cgroups_path(at: &Place<'_>, path: &str) -> Result<()> {
    at.check_string(path)?;
    if path.contains('\n') {
        return at.refuse("contains a line break");
    }
    if path.split('/').any(|part| part == "..") {
        return at.refuse("must not contain ..");
    }
    Ok(())
}

fn device(at: &Place<'_>, device: &Device) -> Result<()> {
    at.field("path").check_absolute(&device.path)?;
    match device.kind.as_str() {
        // A FIFO has no number.
        "p" => return Ok(()),
        "c" | "u" | "b" => {}
        kind => {
            return at
                .field("type")
                .refuse(format!("must be c, u, b or p, is {kind:?}"));
        }
    }
    // Linux has 12 bits for one and 20 for the other.
    at.field("major").check_range(device.major, 0..=0xfff)?;
    at.field("minor").check_range(device.minor, 0..=0xf_ffff)
}

fn intel_rdt(at: &Place<'_>, rdt: &IntelRdt) -> Result<()> {
    let Some(name) = &rdt.clos_id else { return Ok(()) };
    if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\n', '\0']) {
        return at
            .field("closID")
            .refuse(format!("{name:?} is not the name of a class"));
    }
    Ok(())
}

fn personality(at: &Place<'_>, personality: &Personality) -> Result<()> {
    if !matches!(personality.domain.as_str(), "LINUX" | "LINUX32") {
        return at
            .field("domain")
            .refuse(format!("must be LINUX or LINUX32, is {:?}", personality.domain));
    }
    if !personality.flags.is_empty() {
        tracing::warn!("{}: no flag is known, ignored", at.field("flags"));
    }
    Ok(())
}

fn memory_policy(at: &Place<'_>, policy: &MemoryPolicy) -> Result<()> {
    if names::memory_policy(&policy.mode).is_none() {
        return at.field("mode").refuse(format!("unknown mode {:?}", policy.mode));
    }
    at.field("nodes").check_string(&policy.nodes)?;
    each(
        &at.field("flags"),
        &policy.flags,
        |at, flag| match names::memory_policy_flag(flag) {
            Some(_) => Ok(()),
            None => at.refuse(format!("unknown flag {flag:?}")),
        },
    )
}
