//! `linux.resources`: names that become names of files, and device rules. What numbers a controller takes is for the
//! kernel to say.

use super::{Place, each};
use crate::bundle::spec::{DeviceRule, Resources};
use crate::error::Result;

pub(super) fn check(at: &Place<'_>, resources: &Resources) -> Result<()> {
    each(&at.field("devices"), &resources.devices, device_rule)?;
    each(
        &at.field("hugepageLimits"),
        &resources.hugepage_limits,
        |at, limit| file_name(&at.field("pageSize"), &limit.page_size),
    )?;
    for name in resources.unified.keys() {
        file_name(&at.field("unified").key(name), name)?;
    }
    Ok(())
}

fn device_rule(at: &Place<'_>, rule: &DeviceRule) -> Result<()> {
    let kind = rule.kind.as_deref().unwrap_or("a");
    if !matches!(kind, "" | "a" | "b" | "c") {
        return at.field("type").refuse(format!("must be a, b or c, is {kind:?}"));
    }
    let access = rule.access.as_deref().unwrap_or_default();
    if !access.bytes().all(|letter| b"rwm".contains(&letter)) {
        return at
            .field("access")
            .refuse(format!("must be made of the letters r, w and m, is {access:?}"));
    }
    for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
        at.field(name)
            .check_range(number.unwrap_or(-1), -1..=i64::from(u32::MAX))?;
    }
    Ok(())
}

fn file_name(at: &Place<'_>, name: &str) -> Result<()> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0', '\n']) {
        return at.refuse(format!("{name:?} cannot be part of a file's name"));
    }
    Ok(())
}
