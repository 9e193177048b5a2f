//! Usage figures, in the shape of runc's events.

use serde::Serialize;

/// Usage figures of a cgroup.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {}
