//! `process`: also what `exec` is given.

use super::Place;
use super::each;
use crate::bundle::names;
use crate::bundle::spec::{Capabilities, IoPriority, Process, Rlimit, Scheduler, User};
use crate::error::Result;

pub(super) fn check(at: &Place<'_>, process: &Process) -> Result<()> {
    at.field("cwd").check_absolute(&process.cwd)?;
    if process.args.is_empty() {
        return at.field("args").refuse("must not be empty");
    }
    at.field("args").check_strings(&process.args)?;
    each(&at.field("env"), &process.env, environment)?;
    user(&at.field("user"), &process.user)?;
    if let Some(sets) = &process.capabilities {
        capabilities(&at.field("capabilities"), sets);
    }
    rlimits(&at.field("rlimits"), &process.rlimits)?;
    if let Some(adjustment) = process.oom_score_adj {
        at.field("oomScoreAdj").check_range(adjustment, -1000..=1000)?;
    }
    for (name, value) in [
        ("apparmorProfile", &process.apparmor_profile),
        ("selinuxLabel", &process.selinux_label),
    ] {
        at.field(name)
            .check_string(value.as_deref().unwrap_or_default())?;
    }
    if let Some(priority) = &process.io_priority {
        io_priority(&at.field("ioPriority"), priority)?;
    }
    if let Some(attributes) = &process.scheduler {
        scheduler(&at.field("scheduler"), attributes)?;
    }
    Ok(())
}

fn environment(at: &Place<'_>, entry: &String) -> Result<()> {
    at.check_string(entry)?;
    match entry.find('=') {
        None => at.refuse(format!("must be of the form NAME=value, is {entry:?}")),
        Some(0) => at.refuse("has no name before the ="),
        Some(_) => Ok(()),
    }
}

/// The last number of all means "as it is" to the kernel: the user would stay root.
fn user(at: &Place<'_>, user: &User) -> Result<()> {
    let real = |at: &Place<'_>, id: &u32| match *id {
        u32::MAX => at.refuse(format!("{id} is not an id")),
        _ => Ok(()),
    };
    real(&at.field("uid"), &user.uid)?;
    real(&at.field("gid"), &user.gid)?;
    each(&at.field("additionalGids"), &user.additional_gids, real)
}

/// A name that is unknown here may come from a newer kernel, and not to grant it is safe.
fn capabilities(at: &Place<'_>, sets: &Capabilities) {
    let sets = [
        ("bounding", &sets.bounding),
        ("effective", &sets.effective),
        ("inheritable", &sets.inheritable),
        ("permitted", &sets.permitted),
        ("ambient", &sets.ambient),
    ];
    for (name, set) in sets {
        for capability in set
            .iter()
            .filter(|capability| names::capability(capability).is_none())
        {
            tracing::warn!("{}: unknown capability {capability:?} ignored", at.field(name));
        }
    }
}

fn rlimits(at: &Place<'_>, limits: &[Rlimit]) -> Result<()> {
    let mut seen = 0u64;
    for (index, limit) in limits.iter().enumerate() {
        let at = at.index(index);
        let Some(resource) = names::rlimit(&limit.kind) else {
            return at.field("type").refuse(format!("unknown limit {:?}", limit.kind));
        };
        if seen & (1 << resource) != 0 {
            return at.field("type").refuse(format!("{} is there twice", limit.kind));
        }
        seen |= 1 << resource;
        if limit.soft > limit.hard {
            return at
                .field("soft")
                .refuse(format!("{} is above the hard limit {}", limit.soft, limit.hard));
        }
    }
    Ok(())
}

fn io_priority(at: &Place<'_>, priority: &IoPriority) -> Result<()> {
    if names::io_class(&priority.class).is_none() {
        return at
            .field("class")
            .refuse(format!("unknown class {:?}", priority.class));
    }
    at.field("priority").check_range(priority.priority, 0..=7)
}

fn scheduler(at: &Place<'_>, attributes: &Scheduler) -> Result<()> {
    let policy = attributes.policy.as_str();
    if names::scheduler_policy(policy).is_none() {
        return at.field("policy").refuse(format!("unknown policy {policy:?}"));
    }
    if matches!(policy, "SCHED_OTHER" | "SCHED_BATCH") {
        at.field("nice").check_range(attributes.nice, -20..=19)?;
    }
    if attributes.priority != 0 && !matches!(policy, "SCHED_FIFO" | "SCHED_RR") {
        return at
            .field("priority")
            .refuse(format!("has no meaning for {policy}"));
    }
    at.field("priority").check_range(attributes.priority, 0..=99)?;
    let times = [
        ("runtime", attributes.runtime),
        ("deadline", attributes.deadline),
        ("period", attributes.period),
    ];
    for (name, time) in times {
        if time != 0 && policy != "SCHED_DEADLINE" {
            return at.field(name).refuse(format!("has no meaning for {policy}"));
        }
    }
    each(
        &at.field("flags"),
        &attributes.flags,
        |at, flag| match names::scheduler_flag(flag) {
            Some(_) => Ok(()),
            None => at.refuse(format!("unknown flag {flag:?}")),
        },
    )
}
