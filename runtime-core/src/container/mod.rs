//! The life cycle: [`Runtime`] makes and finds containers, [`Container`] is one of them.

pub(crate) mod dir;
pub(crate) mod identity;
pub(crate) mod lock;
pub(crate) mod state;

mod create;
mod exec;
mod process;
mod remove;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, Layout, Stats};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::spec;
use dir::{StateDir, StateRoot};
pub use exec::Executor;
pub use process::{Created, Running};
use state::Saved;

/// How long `start` waits to see its program executed.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Names of files in a state directory.
const CONFIG_FILE: &str = "config.json";
const CGROUP_FILE: &str = "cgroup";
const PAGE_FILE: &str = "init";
/// A cgroup line is a path in each hierarchy.
const CGROUP_LIMIT: usize = 1 << 20;

/// A state root: the directory that knows every container made under it.
///
/// It is cheap to copy and to share between threads.
///
/// ```
/// use runtime_core::Runtime;
/// # fn main() -> runtime_core::Result<()> {
/// let runtime = Runtime::new("/run/example")?;
/// for (id, state) in runtime.list()? {
///     match state {
///         Ok(state) => println!("{id} is {}", state.status.as_str()),
///         Err(error) => println!("{id}: {error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Runtime {
    root: StateRoot,
    driver: CgroupDriver,
    layout: Arc<OnceLock<Layout>>,
    host: Arc<OnceLock<Host>>,
}

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
        let root = StateRoot::new(root.into())?;
        Ok(Runtime {
            root,
            driver: CgroupDriver::default(),
            layout: Arc::default(),
            host: Arc::default(),
        })
    }

    /// Chooses the cgroup driver of containers that are made from now on.
    pub fn with_cgroup_driver(mut self, driver: CgroupDriver) -> Runtime {
        self.driver = driver;
        self
    }

    /// Finds the container `id`.
    pub fn container(&self, id: &str) -> Result<Container> {
        self.root.open(id)?;
        Ok(Container {
            runtime: self.clone(),
            id: id.to_owned(),
            path: self.root.path().join(id),
        })
    }

    /// All containers, by id; one whose state cannot be read is listed with its error.
    pub fn list(&self) -> Result<Vec<(String, Result<State>)>> {
        let mut list = Vec::new();
        for id in self.root.ids()? {
            match self.container(&id).and_then(|container| container.state()) {
                // Removed meanwhile.
                Err(error) if error.code() == Code::NotFound => {}
                // Not there yet.
                Ok(state) if state.status == Status::Creating => {}
                state => list.push((id, state)),
            }
        }
        Ok(list)
    }

    /// Kills whatever is left of the container `id` and removes it, also when its state is unreadable.
    /// An unknown id is no error.
    pub fn remove(&self, id: &str) -> Result<()> {
        match self.container(id) {
            Ok(container) => container.remove(true),
            Err(error) if error.code() == Code::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn host(&self) -> Result<&Host> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let host = Host::probe(self.layout()?.clone())?;
        Ok(self.host.get_or_init(|| host))
    }

    /// All that is to be known of the host for a container that exists.
    fn layout(&self) -> Result<&Layout> {
        if let Some(layout) = self.layout.get() {
            return Ok(layout);
        }
        let layout = Layout::probe()?;
        Ok(self.layout.get_or_init(|| layout))
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
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
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
///
/// ```no_run
/// use runtime_core::{Runtime, Status};
/// # fn main() -> runtime_core::Result<()> {
/// let container = Runtime::new("/run/example")?.container("web")?;
/// if container.status()? == Status::Running {
///     container.kill(libc::SIGTERM)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Container {
    runtime: Runtime,
    id: String,
    path: PathBuf,
}

/// What is known of a container at one moment.
struct Known {
    saved: Saved,
    status: Status,
    /// Its process, if that is alive.
    process: Option<OwnedFd>,
    /// The gate that its process waits at.
    gate: Option<OwnedFd>,
}

/// What who made a container still has open of it. It stays that container's, whoever gets the name later.
#[derive(Debug)]
struct Opened {
    dir: StateDir,
    saved: Saved,
    cgroup: Cgroup,
}

/// The status follows from what is: whether the process lives, is frozen, or waits at the gate.
fn status(dir: &StateDir, cgroup: &Cgroup) -> (Status, Option<OwnedFd>) {
    if cgroup.is_frozen() {
        return (Status::Paused, None);
    }
    match dir.gate() {
        Some(gate) => (Status::Created, Some(gate)),
        None => (Status::Running, None),
    }
}

impl Container {
    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// State directory.
    pub fn dir(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<StateDir> {
        self.runtime.root.open(&self.id)
    }

    fn cgroup(&self, line: &str) -> Result<Cgroup> {
        Cgroup::from_line(self.runtime.layout()?, line)
    }

    fn known(&self, dir: &StateDir) -> Result<Known> {
        let saved = Saved::load(dir)?;
        let process = saved.init_process.open()?;
        let (status, gate) = match process {
            None => (Status::Stopped, None),
            Some(_) => status(dir, &self.cgroup(&saved.cgroup)?),
        };
        Ok(Known {
            saved,
            status,
            process,
            gate,
        })
    }

    /// As `known`, for a container that is ready; one that is being made is not.
    fn ready(&self, dir: &StateDir) -> Result<Known> {
        self.known(dir).map_err(|error| self.or_unready(error))
    }

    /// What it means when a file is not there.
    fn or_unready(&self, error: Error) -> Error {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Error::new(Code::WrongState, "find container")
                .operand(&self.id)
                .reason("is being created, or its creation was cut off")
                .hint("`delete --force` removes what is left of it"),
            _ => error,
        }
    }

    /// State as runc reports it.
    pub fn state(&self) -> Result<State> {
        let dir = self.open()?;
        match self.known(&dir) {
            Ok(known) => Ok(known.saved.report(known.status)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => self.creating(&dir),
            Err(error) => Err(error),
        }
    }

    /// The state of a container without a `state.json`: somebody is making it.
    fn creating(&self, dir: &StateDir) -> Result<State> {
        if dir.try_lock()?.is_some() {
            return Err(Error::new(Code::State, "read")
                .operand(self.path.join(dir::STATE))
                .reason("missing: the container's creation was cut off, or the file was removed")
                .hint("`delete --force` removes what is left of the container"));
        }
        Ok(self.unfinished(dir, Status::Creating))
    }

    /// What can be said of a container that never was complete.
    fn unfinished(&self, dir: &StateDir, status: Status) -> State {
        let spec = self.config_of(dir).unwrap_or_default();
        State {
            oci_version: spec.oci_version,
            id: self.id.clone(),
            pid: 0,
            status,
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            created: String::new(),
            annotations: spec.annotations,
            owner: String::new(),
        }
    }

    /// Status alone.
    pub fn status(&self) -> Result<Status> {
        self.state().map(|state| state.status)
    }

    /// The configuration that it was made of.
    pub fn config(&self) -> Result<spec::Spec> {
        self.config_of(&self.open()?)
    }

    fn config_of(&self, dir: &StateDir) -> Result<spec::Spec> {
        let json = dir.read(CONFIG_FILE, crate::bundle::MAX_CONFIG)?;
        crate::bundle::stored_spec(&self.path.join(CONFIG_FILE), &json)
    }

    fn wrong_state(&self, verb: &str, status: Status) -> Error {
        Error::new(Code::WrongState, verb)
            .operand(&self.id)
            .reason(format!("the container is {}", status.as_str()))
    }

    fn not_running(&self, verb: &str) -> Error {
        Error::new(Code::NotRunning, verb)
            .operand(&self.id)
            .reason("container not running")
    }

    /// Sends a signal to the container's process; KILL goes to every process of a container without a pid
    /// namespace of its own.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let known = self.ready(&self.open()?)?;
        let Some(process) = &known.process else {
            return Err(self.not_running("kill"));
        };
        let cgroup = self.cgroup(&known.saved.cgroup)?;
        if signal == libc::SIGKILL && !known.saved.own_pid_namespace {
            cgroup.signal_all(signal)?;
        } else {
            let process = std::os::fd::AsFd::as_fd(process);
            crate::sys::pidfd::send_signal(process, signal).map_err(|errno| {
                let error = Error::sys("kill", errno as i32).operand(&self.id);
                match errno {
                    nix::errno::Errno::ESRCH => {
                        error.with_code(Code::NotRunning).hint("container not running")
                    }
                    nix::errno::Errno::EINVAL => error.hint(format!("signal {signal}")),
                    _ => error,
                }
            })?;
        }
        // Frozen processes would take it only once they go on.
        if signal == libc::SIGKILL && known.status == Status::Paused {
            cgroup.thaw()?;
        }
        Ok(())
    }

    /// Sends a signal to every process of the container, also when its first one has ended.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        let known = self.ready(&self.open()?)?;
        self.cgroup(&known.saved.cgroup)?.signal_all(signal)
    }

    /// Freezes all processes.
    pub fn pause(&self) -> Result<()> {
        let known = self.ready(&self.open()?)?;
        match known.status {
            Status::Running | Status::Created => self.cgroup(&known.saved.cgroup)?.freeze(),
            Status::Stopped => Err(self.not_running("pause")),
            status => Err(self.wrong_state("pause", status)),
        }
    }

    /// Lets them go on.
    pub fn resume(&self) -> Result<()> {
        let known = self.ready(&self.open()?)?;
        match known.status {
            Status::Paused => self.cgroup(&known.saved.cgroup)?.thaw(),
            status => Err(self
                .wrong_state("resume", status)
                .reason(format!("container not paused: it is {}", status.as_str()))),
        }
    }

    /// Changes limits. Device rules are never touched.
    pub fn update(&self, resources: &spec::Resources) -> Result<()> {
        let known = self.ready(&self.open()?)?;
        match known.status {
            Status::Stopped => Err(self.not_running("update")),
            _ => self.cgroup(&known.saved.cgroup)?.update(resources),
        }
    }

    /// Usage figures.
    pub fn stats(&self) -> Result<Stats> {
        let known = self.ready(&self.open()?)?;
        match known.status {
            Status::Stopped => Err(self.not_running("read statistics")),
            _ => self.cgroup(&known.saved.cgroup)?.stats(),
        }
    }

    /// How many of its processes were killed for lack of memory so far; `None` where the kernel does not count.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        let known = self.ready(&self.open()?)?;
        Ok(self.cgroup(&known.saved.cgroup)?.oom_kill_count())
    }

    /// Process ids of the whole container, as the caller's pid namespace sees them.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let known = self.ready(&self.open()?)?;
        self.cgroup(&known.saved.cgroup)?.processes()
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
