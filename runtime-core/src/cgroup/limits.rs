//! Limits as data: rows of a controller's files and what to write there, and the loop that writes them.

use std::borrow::Cow;
use std::path::Path;

use nix::errno::Errno;

use super::{Cgroup, Mode, Place, devices, file, v1, v2};
use crate::error::{Code, Error, Result};
use crate::spec::{self, Resources};

/// What it means when a file does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// The limit cannot be set.
    Fails,
    /// Nothing needs to be done.
    Ignored,
    /// This value goes into that file.
    Instead(&'static str, String),
}

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The controller that has the file; empty for the core's own.
    pub controller: Cow<'static, str>,
    pub file: Cow<'static, str>,
    pub value: String,
    pub missing: Missing,
    /// Whether it may depend on rows behind it: refused as invalid, it is written once more after all others. That
    /// spares finding out in which order two values that limit each other have to be changed.
    pub again: bool,
}

impl Row {
    pub(super) fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Row {
        Row {
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            missing: Missing::Fails,
            again: false,
        }
    }

    pub(super) fn again(mut self) -> Row {
        self.again = true;
        self
    }

    pub(super) fn if_there(mut self) -> Row {
        self.missing = Missing::Ignored;
        self
    }

    pub(super) fn or(mut self, file: &'static str, value: impl ToString) -> Row {
        self.missing = Missing::Instead(file, value.to_string());
        self
    }
}

impl Cgroup {
    /// Writes all limits and the device rules, of which `devices` (the configuration's device nodes) replace the
    /// default ones of the same path.
    ///
    /// Where the caller lacks the power over devices because it is in a user namespace, they are left as they are.
    pub fn apply(&self, resources: &Resources, devices: &[spec::Device]) -> Result<()> {
        self.update(resources)?;
        devices::apply(self, resources, devices)
    }

    /// Writes limits, never device rules: those may have been extended from outside since.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let memory = resources.memory.as_ref();
        if memory.is_some_and(|memory| memory.kernel.is_some() || memory.kernel_tcp.is_some()) {
            tracing::warn!("kernel memory settings are ignored");
        }
        check_usage(self, resources)?;
        write(self, &rows(self, resources)?)
    }
}

/// The rows for the controllers as this host has them.
fn rows(cgroup: &Cgroup, resources: &Resources) -> Result<Vec<Row>> {
    if cgroup.mode == Mode::V2 {
        return v2::rows(resources);
    }
    let mut rows = v1::rows(resources)?;
    if cgroup.mode == Mode::Hybrid {
        // A controller that no version 1 hierarchy has can be in the version 2 tree.
        rows.retain(|row| {
            cgroup.place(&row.controller).is_some() || v2::counterpart(&row.controller).is_none()
        });
        let second = v2::rows(&Resources {
            unified: Default::default(),
            ..resources.clone()
        })?;
        rows.extend(
            second
                .into_iter()
                .filter(|row| cgroup.place(v2::origin(&row.controller)).is_none()),
        );
    }
    Ok(rows)
}

/// The controllers that have to be enabled in the version 2 tree beside version 1.
pub(super) fn unified_controllers(cgroup: &Cgroup, resources: &Resources) -> Result<Vec<&'static str>> {
    // The common case, and the one that must cost nothing.
    let devices_only = Resources {
        devices: resources.devices.clone(),
        ..Resources::default()
    };
    if cgroup.mode != Mode::Hybrid || *resources == devices_only {
        return Ok(Vec::new());
    }
    let rows = rows(cgroup, resources)?;
    let needed = |name: &&str| {
        cgroup.place(v2::origin(name)).is_none() && rows.iter().any(|row| row.controller == *name)
    };
    Ok(v2::CONTROLLERS.into_iter().filter(needed).collect())
}

fn write(cgroup: &Cgroup, rows: &[Row]) -> Result<()> {
    let mut again = Vec::new();
    for row in rows {
        match write_row(cgroup, row) {
            Err((_, Errno::EINVAL)) if row.again => again.push(row),
            Err((place, errno)) => return Err(explain(place, row, errno)),
            Ok(()) => {}
        }
    }
    for row in again {
        write_row(cgroup, row).map_err(|(place, errno)| explain(place, row, errno))?;
    }
    Ok(())
}

type Failure<'a> = (Option<&'a Place>, Errno);

fn write_row<'a>(cgroup: &'a Cgroup, row: &Row) -> Result<(), Failure<'a>> {
    let place = cgroup.home(&row.controller);
    let Some(place) = place else {
        return match row.missing {
            Missing::Ignored => Ok(()),
            _ => Err((None, Errno::ENOENT)),
        };
    };
    let dir = place.dir();
    let done = match (file::write(&dir.join(&*row.file), &row.value), &row.missing) {
        (Err(Errno::ENOENT), Missing::Ignored) => Ok(()),
        (Err(Errno::ENOENT), Missing::Instead(file, value)) => file::write(&dir.join(file), value),
        (done, _) => done,
    };
    done.map_err(|errno| (Some(place), errno))
}

/// The error of a row: the file, the value, and why, as far as that can be found out.
fn explain(place: Option<&Place>, row: &Row, errno: Errno) -> Error {
    let error = Error::new(Code::Cgroup, format!("write {}", row.file));
    let Some(place) = place else {
        return error
            .reason(format!("controller {} not available", row.controller))
            .hint("no cgroup could be made in its hierarchy, or it is not mounted");
    };
    let dir = place.dir();
    let error = error.operand(dir.join(&*row.file));
    match errno {
        Errno::ENOENT => missing(error, place, &dir, row),
        Errno::EBUSY if row.file.starts_with("memory") => {
            let number =
                |file: &str| file::read(&dir.join(file)).map_or("unknown".into(), |n| n.trim().to_owned());
            let (usage, peak) = (
                number("memory.usage_in_bytes"),
                number("memory.max_usage_in_bytes"),
            );
            error.reason(format!(
                "unable to set memory limit to {} (current usage: {usage}, peak usage: {peak})",
                row.value
            ))
        }
        _ => error.reason(format!("value {:?}", row.value)).errno(errno as i32),
    }
}

fn missing(error: Error, place: &Place, dir: &Path, row: &Row) -> Error {
    if !dir.exists() {
        return error
            .reason("the cgroup does not exist")
            .errno(Errno::ENOENT as i32);
    }
    let enabled = || file::read(&dir.join("cgroup.controllers")).unwrap_or_default();
    if place.is_v2() && !enabled().split_whitespace().any(|name| name == row.controller) {
        return error
            .reason(format!("controller {} not available", row.controller))
            .hint("it has to be in cgroup.subtree_control of all cgroups above");
    }
    let error = error.reason("the kernel has no such setting");
    match &*row.file {
        "memory.memsw.limit_in_bytes" | "memory.swap.max" => {
            error.hint("swap is not accounted; boot with swapaccount=1, or set no swap limit")
        }
        "io.bfq.weight" | "blkio.weight" | "blkio.weight_device" => {
            error.hint("the bfq I/O scheduler is not loaded")
        }
        _ => error,
    }
}

/// `checkBeforeUpdate`: version 2 would otherwise kill until the usage is below the limit. Version 1 refuses by itself.
fn check_usage(cgroup: &Cgroup, resources: &Resources) -> Result<()> {
    let Some(memory) = resources
        .memory
        .as_ref()
        .filter(|memory| memory.check_before_update == Some(true))
    else {
        return Ok(());
    };
    let Some(place) = cgroup.home("memory").filter(|place| place.is_v2()) else {
        return Ok(());
    };
    let path = place.dir().join("memory.current");
    let Some(usage) = file::read(&path)
        .ok()
        .and_then(|usage| usage.trim().parse::<i64>().ok())
    else {
        return Ok(());
    };
    for (name, limit) in [("memory+swap", memory.swap), ("memory", memory.limit)] {
        if let Some(limit) = limit.filter(|limit| (1..=usage).contains(limit)) {
            return Err(Error::new(Code::Cgroup, "check memory usage")
                .operand(&path)
                .reason(format!("rejecting {name} limit {limit} <= usage {usage}")));
        }
    }
    Ok(())
}
