//! Which hierarchies the host has, and where this process is in them.

use std::path::PathBuf;

use crate::error::Result;

/// How the host mounts its hierarchies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 alone.
    V1,
    /// Version 2 alone.
    V2,
    /// Controllers in version 1, and a version 2 tree beside them.
    Hybrid,
}

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// As `/proc/self/cgroup` names them: `cpu,cpuacct`, `name=systemd`; empty for version 2.
    pub controllers: String,
    /// Mount point.
    pub mount: PathBuf,
    /// This process's own path below the mount point.
    pub own: String,
}

/// The host's hierarchies.
#[derive(Debug, Clone)]
pub struct Layout {
    mode: Mode,
    hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Looks at the host.
    pub fn probe() -> Result<Layout> {
        todo!()
    }
    /// How the host mounts its hierarchies.
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// The hierarchies that are mounted.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }
}
