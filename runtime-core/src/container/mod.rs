//! The life cycle: [`Runtime`] makes and finds containers, [`Container`] is one of them.
#![allow(clippy::todo, unused_variables)]

pub(crate) mod dir;
pub(crate) mod identity;
pub(crate) mod lock;
pub(crate) mod state;

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::cgroup::Stats;
use crate::error::Result;
use crate::spec;

/// A state root: the directory that knows every container made under it.
#[derive(Debug, Clone)]
pub struct Runtime {}

/// Which cgroup driver makes the containers' cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupDriver {
    /// Directories in the cgroup file system.
    #[default]
    Cgroupfs,
    /// Units of systemd.
    Systemd,
}

impl Runtime {
    /// Uses the state root `root`, which is made at the first `create`. `/` is refused.
    pub fn new(root: impl Into<PathBuf>) -> Result<Runtime> {
        todo!()
    }
    /// Chooses the cgroup driver of containers that are made from now on.
    pub fn with_cgroup_driver(self, driver: CgroupDriver) -> Runtime {
        todo!()
    }
    /// Makes the container `id` of `bundle`; its process waits for [`Created::start`].
    pub fn create(&self, id: &str, bundle: &Bundle, options: CreateOptions) -> Result<Created> {
        todo!()
    }
    /// Finds the container `id`.
    pub fn container(&self, id: &str) -> Result<Container> {
        todo!()
    }
    /// All containers, by id; one whose state cannot be read is listed with its error.
    pub fn list(&self) -> Result<Vec<(String, Result<State>)>> {
        todo!()
    }
    /// Kills whatever is left of the container `id` and removes it, also when its state is unreadable.
    /// An unknown id is no error.
    pub fn remove(&self, id: &str) -> Result<()> {
        todo!()
    }
    /// What init would do for `bundle`, in order, without doing it.
    pub fn explain(&self, id: &str, bundle: &Bundle, options: &CreateOptions) -> Result<Vec<Explained>> {
        todo!()
    }
}

/// One line of the plan, as [`Runtime::explain`] shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// Who does it: `runtime` or `init`.
    pub by: &'static str,
    /// The step, like `mount`.
    pub step: String,
    /// What it works on.
    pub operand: String,
    /// Flags and other details.
    pub detail: String,
}

/// Where one standard stream of a process comes from.
#[derive(Debug, Default)]
pub enum Stream {
    /// The caller's own.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// This descriptor.
    Fd(OwnedFd),
}

/// The three standard streams; a process with a terminal ignores them.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

/// How to create a container.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// The process's standard streams.
    pub stdio: Stdio,
    /// How many of the caller's descriptors from 3 on the process gets.
    pub preserve_fds: u32,
    /// Descriptors that the process gets after those, in order (from 3 + `preserve_fds` on).
    pub extra_fds: Vec<OwnedFd>,
    /// Changes the root by moving mounts, for a host root that pivot_root(2) refuses.
    pub no_pivot: bool,
    /// Leaves the caller's session keyring in place.
    pub no_new_keyring: bool,
}

/// A container whose process waits to be started.
#[derive(Debug)]
pub struct Created {}

impl Created {
    /// The process id, as the caller's pid namespace sees it.
    pub fn pid(&self) -> i32 {
        todo!()
    }
    /// A descriptor of the process, see pidfd_open(2).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        todo!()
    }
    /// Takes the master of the console, when the process has a terminal.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        todo!()
    }
    /// The container.
    pub fn container(&self) -> &Container {
        todo!()
    }
    /// Starts the process.
    pub fn start(self) -> Result<Running> {
        todo!()
    }
}

/// A process that was started: the container's own, or one that was executed in it.
#[derive(Debug)]
pub struct Running {}

impl Running {
    /// The process id, as the caller's pid namespace sees it.
    pub fn pid(&self) -> i32 {
        todo!()
    }
    /// A descriptor of the process, see pidfd_open(2).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        todo!()
    }
    /// Takes the master of the console, when the process has a terminal.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        todo!()
    }
    /// The container.
    pub fn container(&self) -> &Container {
        todo!()
    }
    /// Sends a signal to this process.
    pub fn signal(&self, signal: i32) -> Result<()> {
        todo!()
    }
    /// Waits for the end of the process and reaps it. Only its parent (who created or executed it) can.
    pub fn wait(&self) -> Result<ExitStatus> {
        todo!()
    }
    /// As `wait`, for `timeout` at most; `None` when the process still runs then.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        todo!()
    }
}

/// Status of a container, always derived from what is, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made by another process right now (or abandoned by it).
    Creating,
    /// Waits to be started.
    Created,
    /// Runs.
    Running,
    /// Frozen.
    Paused,
    /// Its process is gone.
    Stopped,
}

impl Status {
    /// The runtime-spec's name.
    pub fn as_str(self) -> &'static str {
        todo!()
    }
}

/// What `state` reports, in the order and under the names of runc.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the runtime-spec.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// Its process, 0 when stopped.
    pub pid: i32,
    /// Status.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339 in UTC with nanoseconds.
    pub created: String,
    /// Annotations of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Name of the user who made it.
    pub owner: String,
}

/// A container by its id; what it does is decided by the container's status at that moment.
#[derive(Debug, Clone)]
pub struct Container {}

impl Container {
    /// The id.
    pub fn id(&self) -> &str {
        todo!()
    }
    /// State directory.
    pub fn dir(&self) -> &Path {
        todo!()
    }
    /// State as runc reports it.
    pub fn state(&self) -> Result<State> {
        todo!()
    }
    /// Status alone.
    pub fn status(&self) -> Result<Status> {
        todo!()
    }
    /// The configuration that it was made of.
    pub fn config(&self) -> Result<spec::Spec> {
        todo!()
    }
    /// Starts the waiting process of a created container.
    pub fn start(&self) -> Result<()> {
        todo!()
    }
    /// Sends a signal to the container's process; KILL goes to every process of a container without a pid
    /// namespace of its own.
    pub fn kill(&self, signal: i32) -> Result<()> {
        todo!()
    }
    /// Sends a signal to every process of the container.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        todo!()
    }
    /// Removes a stopped or created container.
    pub fn delete(&self) -> Result<()> {
        todo!()
    }
    /// Runs another process in the container.
    pub fn exec(&self, process: &spec::Process, options: ExecOptions) -> Result<Running> {
        todo!()
    }
    /// Freezes all processes.
    pub fn pause(&self) -> Result<()> {
        todo!()
    }
    /// Lets them go on.
    pub fn resume(&self) -> Result<()> {
        todo!()
    }
    /// Changes limits. Device rules are never touched.
    pub fn update(&self, resources: &spec::Resources) -> Result<()> {
        todo!()
    }
    /// Usage figures.
    pub fn stats(&self) -> Result<Stats> {
        todo!()
    }
    /// Process ids of the whole container, as the caller's pid namespace sees them.
    pub fn processes(&self) -> Result<Vec<i32>> {
        todo!()
    }
}

/// How to execute a process.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// The process's standard streams.
    pub stdio: Stdio,
    /// How many of the caller's descriptors from 3 on the process gets.
    pub preserve_fds: u32,
    /// Descriptors that the process gets after those, in order (from 3 + `preserve_fds` on).
    pub extra_fds: Vec<OwnedFd>,
    /// A cgroup below the container's, as `path` or, on v1, `controller,controller:path`.
    pub cgroup: Option<String>,
    /// Goes ahead in a paused container; the process runs once that is resumed.
    pub ignore_paused: bool,
}
