//! What is set on the child from outside, while it waits: mappings, clock offsets, limits.

use std::fs;

use crate::bundle::names;
use crate::error::{At, Code, Error, Result};
use crate::plan::Plan;
use crate::spec::Rlimit;
use crate::sys::process::{getrlimit, prlimit};

fn write(pid: i32, file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    fs::write(&path, text).at_path("write", &path)
}

pub(super) fn map(plan: &Plan, pid: i32, privileged: bool) -> Result<()> {
    if let Some(mappings) = &plan.mappings {
        if !privileged {
            // Without privileges the kernel maps groups only for those who cannot drop any.
            write(pid, "setgroups", "deny")?;
        }
        write(pid, "uid_map", &mappings.uid).map_err(|error| error.hint("linux.uidMappings"))?;
        write(pid, "gid_map", &mappings.gid).map_err(|error| error.hint("linux.gidMappings"))?;
    }
    match plan.time_offsets.as_deref() {
        Some(offsets) if !offsets.is_empty() => {
            write(pid, "timens_offsets", offsets).map_err(|error| error.hint("linux.timeOffsets"))
        }
        _ => Ok(()),
    }
}

/// Number of a resource for setrlimit(2).
pub(crate) fn resource(limit: &Rlimit) -> Result<u32> {
    names::rlimit(&limit.kind).ok_or_else(|| {
        Error::new(Code::InvalidConfig, "set limit")
            .operand(&limit.kind)
            .reason("unknown name")
    })
}

/// Raises the ceilings that are to be higher than the runtime's own: that takes a privilege which the process may
/// not have in its namespaces. The process itself lowers its limits, once it needs no more files.
pub(super) fn raise(plan: &Plan, pid: i32) -> Result<()> {
    for limit in &plan.rlimits {
        let number = resource(limit)?;
        let (soft, hard) = getrlimit(number).at_path("get limit", &limit.kind)?;
        if limit.hard <= hard {
            continue;
        }
        prlimit(pid, number, soft, limit.hard).map_err(|errno| {
            let error = Error::sys("set limit", errno as i32).operand(&limit.kind);
            match errno {
                nix::errno::Errno::EPERM => error.hint(format!(
                    "raising the hard limit {hard} to {} needs CAP_SYS_RESOURCE",
                    limit.hard
                )),
                _ => error.hint(format!("soft {}, hard {}", limit.soft, limit.hard)),
            }
        })?;
    }
    Ok(())
}

pub(super) fn adjust(plan: &Plan, pid: i32) -> Result<()> {
    let Some(adjustment) = plan.oom_score_adj else {
        return Ok(());
    };
    let path = format!("/proc/{pid}/oom_score_adj");
    match fs::read_to_string(&path) {
        Ok(current) if current.trim().parse() == Ok(adjustment) => Ok(()),
        _ => write(pid, "oom_score_adj", &adjustment.to_string())
            .map_err(|error| error.hint("lowering it needs CAP_SYS_RESOURCE")),
    }
}
