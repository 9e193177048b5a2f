//! A process to run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::nullable;

/// A process to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Whether the process gets a new pseudo terminal.
    #[serde(deserialize_with = "nullable")]
    pub terminal: bool,
    /// Size of the terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Who runs it.
    #[serde(deserialize_with = "nullable")]
    pub user: User,
    /// Program and arguments.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment, as `KEY=value`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Working directory inside the container.
    #[serde(deserialize_with = "nullable")]
    pub cwd: PathBuf,
    /// Capability sets. When absent all five are empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits, see setrlimit(2).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// Sets the no_new_privs attribute, see prctl(2).
    #[serde(deserialize_with = "nullable")]
    pub no_new_privileges: bool,
    /// AppArmor profile to run under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// Value for `/proc/<pid>/oom_score_adj`, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// SELinux label to run under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// I/O priority, see ioprio_set(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// Scheduling policy, see sched_setattr(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// CPU affinity of an exec.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsoleSize {
    /// Rows.
    #[serde(deserialize_with = "nullable")]
    pub height: u16,
    /// Columns.
    #[serde(deserialize_with = "nullable")]
    pub width: u16,
}

/// User and groups of a process, as numbers inside the container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id.
    #[serde(deserialize_with = "nullable")]
    pub uid: u32,
    /// Group id.
    #[serde(deserialize_with = "nullable")]
    pub gid: u32,
    /// File mode creation mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// The five capability sets, as names like `CAP_KILL`. See capabilities(7).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Limits what an exec can gain.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub bounding: Vec<String>,
    /// What is checked by the kernel.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    /// Kept across an exec of a program that has them as well.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// What may be made effective.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
    /// Kept across an exec of an ordinary program.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// One resource limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rlimit {
    /// Name as in setrlimit(2), `RLIMIT_NOFILE`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    /// Ceiling of the soft limit.
    #[serde(deserialize_with = "nullable")]
    pub hard: u64,
    /// The limit in force.
    #[serde(deserialize_with = "nullable")]
    pub soft: u64,
}

/// I/O scheduling class and priority, see ioprio_set(2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
    #[serde(deserialize_with = "nullable")]
    pub class: String,
    /// 0 (high) to 7 (low).
    #[serde(deserialize_with = "nullable")]
    pub priority: i32,
}

/// Scheduling policy and its attributes, see sched_setattr(2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduler {
    /// `SCHED_OTHER`, `SCHED_FIFO`, …
    #[serde(deserialize_with = "nullable")]
    pub policy: String,
    /// Nice value.
    #[serde(deserialize_with = "nullable")]
    pub nice: i32,
    /// Static priority for the real-time policies.
    #[serde(deserialize_with = "nullable")]
    pub priority: i32,
    /// `SCHED_FLAG_…` names.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Deadline policy: runtime in nanoseconds.
    #[serde(deserialize_with = "nullable")]
    pub runtime: u64,
    /// Deadline policy: deadline in nanoseconds.
    #[serde(deserialize_with = "nullable")]
    pub deadline: u64,
    /// Deadline policy: period in nanoseconds.
    #[serde(deserialize_with = "nullable")]
    pub period: u64,
}

/// CPU lists for processes that are run by exec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecCpuAffinity {
    /// CPUs before the process is in its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// CPUs once it is there.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_: Option<String>,
}
