//! Cgroups: where a container's processes are counted, limited, frozen and killed.
//!
//! [`Layout`] is what the host has, [`Cgroup`] is one container's place in it. Versions 1 and 2 and the mixture of
//! both are handled; what differs between them is data (rows to write) where it can be.
#![allow(clippy::todo, unused_variables)]

mod layout;
mod stats;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

pub use layout::{Hierarchy, Layout, Mode};
pub use stats::Stats;

use crate::error::Result;
use crate::spec;

/// One container's cgroup: where it is in every hierarchy.
#[derive(Debug, Clone)]
pub struct Cgroup {}

/// How a process joins a cgroup.
#[derive(Debug)]
pub struct Entrance {
    /// Directory for `CLONE_INTO_CGROUP` (v2, and the unified tree of a hybrid host).
    pub dir: Option<OwnedFd>,
    /// Files that a single-threaded process writes `0` to (v1).
    pub tasks: Vec<OwnedFd>,
}

impl Cgroup {
    /// From `linux.cgroupsPath`; without one, `id` below the runtime's own cgroup.
    pub fn resolve(layout: &Layout, cgroups_path: Option<&str>, id: &str) -> Result<Cgroup> {
        todo!()
    }
    /// The line for the state directory, enough to kill and remove everything.
    pub fn to_line(&self) -> String {
        todo!()
    }
    /// The reverse of [`Cgroup::to_line`].
    pub fn from_line(layout: &Layout, line: &str) -> Result<Cgroup> {
        todo!()
    }
    /// Directory in the hierarchy of `controller` (`""` for v2).
    pub fn dir(&self, controller: &str) -> Option<PathBuf> {
        todo!()
    }
    /// Path inside the hierarchy of `controller`.
    pub fn path(&self, controller: &str) -> Option<&str> {
        todo!()
    }
    /// Makes it in every hierarchy.
    pub fn create(&mut self, needs: &spec::Resources) -> Result<()> {
        todo!()
    }
    /// Writes all limits and device rules.
    pub fn apply(&self, resources: &spec::Resources, devices: &[spec::Device]) -> Result<()> {
        todo!()
    }
    /// Writes limits, never device rules.
    pub fn update(&self, resources: &spec::Resources) -> Result<()> {
        todo!()
    }
    /// How a process joins.
    pub fn entrance(&self) -> Result<Entrance> {
        todo!()
    }
    /// How a process joins the sub-cgroup `sub`: `path`, or on v1 `controller,controller:path`.
    pub fn sub_entrance(&self, sub: &str) -> Result<Entrance> {
        todo!()
    }
    /// All processes in it and below it.
    pub fn processes(&self) -> Result<Vec<i32>> {
        todo!()
    }
    /// Sends `signal` to all processes.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        todo!()
    }
    /// Kills all processes and waits until none is left.
    pub fn kill(&self, deadline: Duration) -> Result<()> {
        todo!()
    }
    /// Freezes all processes.
    pub fn freeze(&self) -> Result<()> {
        todo!()
    }
    /// Thaws all processes.
    pub fn thaw(&self) -> Result<()> {
        todo!()
    }
    /// Whether it is frozen.
    pub fn is_frozen(&self) -> bool {
        todo!()
    }
    /// Removes it from every hierarchy.
    pub fn remove(&self, deadline: Duration) -> Result<()> {
        todo!()
    }
    /// Usage figures.
    pub fn stats(&self) -> Result<Stats> {
        todo!()
    }
    /// How many processes were killed for want of memory.
    pub fn oom_kill_count(&self) -> Option<u64> {
        todo!()
    }
}
