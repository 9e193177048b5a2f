//! Cgroups.

use serde::Serialize;

/// Usage figures of a cgroup.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {}
