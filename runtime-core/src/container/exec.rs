//! `exec`: another process in a container, through the same program of steps.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::dir::StateDir;
use super::{Container, ExecOptions, Known, Running, State, Status, Stdio, Stream};
use crate::cgroup::Entrance;
use crate::error::{At, Code, Error, Result};
use crate::launch::{self, Child};
use crate::plan::{Options, plan_exec};
use crate::prepare::{Inputs, Prepared};
use crate::spec::{Hook, NamespaceType, Process, Spec};
use crate::sys::process::SharedPage;

/// A container whose configuration was read, for processes that are to be like its own one.
///
/// ```no_run
/// use runtime_core::{ExecOptions, Runtime};
/// # fn main() -> runtime_core::Result<()> {
/// let container = Runtime::new("/run/example")?.container("web")?;
/// let executor = container.executor()?;
/// let mut process = executor.config().process.clone().unwrap_or_default();
/// process.args = vec!["id".to_owned()];
/// println!("{}", executor.exec(&process, ExecOptions::default())?.wait()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Executor {
    container: Container,
    dir: StateDir,
    spec: Spec,
}

impl Executor {
    /// The configuration that the container was made of.
    pub fn config(&self) -> &Spec {
        &self.spec
    }

    /// Runs another process in the container.
    ///
    /// Returns once the program was seen to be executed.
    pub fn exec(&self, process: &Process, options: ExecOptions) -> Result<Running> {
        let process = &crate::bundle::valid_process(process)?;
        let container = &self.container;
        let known = container.ready(&self.dir)?;
        match known.status {
            Status::Stopped => {
                return Err(Error::new(Code::NotRunning, "exec")
                    .operand(&container.id)
                    .reason("cannot exec in a stopped container"));
            }
            Status::Paused if !options.ignore_paused => {
                return Err(Error::new(Code::WrongState, "exec")
                    .operand(&container.id)
                    .reason("cannot exec in a paused container")
                    .hint("resume it, or use --ignore-paused"));
            }
            _ => {}
        }
        container.join(&self.spec, &known, process, None, options)
    }
}

impl Container {
    /// Reads the configuration, to execute processes by it.
    pub fn executor(&self) -> Result<Executor> {
        let dir = self.open()?;
        let spec = self.config_of(&dir).map_err(|error| self.or_unready(error))?;
        Ok(Executor {
            container: self.clone(),
            dir,
            spec,
        })
    }

    /// Runs another process in the container, see [`Executor::exec`].
    pub fn exec(&self, process: &Process, options: ExecOptions) -> Result<Running> {
        self.executor()?.exec(process, options)
    }

    fn join(
        &self,
        spec: &Spec,
        known: &Known,
        process: &Process,
        program: Option<&str>,
        options: ExecOptions,
    ) -> Result<Running> {
        let pidfd = known
            .process
            .as_ref()
            .ok_or_else(|| Error::new(Code::NotRunning, "exec").operand(&self.id))?;
        let choices = Options {
            gate: false,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: options.preserve_fds,
            extra_fds: options.extra_fds.len() as u32,
        };
        let plan = plan_exec(&self.id, spec, process, program, &known.saved.rootfs, choices)?;
        let cgroup = self.cgroup(&known.saved.cgroup)?;
        let (socket, child_socket) = launch::pair()?;
        let Entrance { dir, tasks } = match &options.cgroup {
            Some(sub) => cgroup.sub_entrance(sub)?,
            None => cgroup.entrance()?,
        };
        let inputs = Inputs {
            stdio: options.stdio,
            extra_fds: options.extra_fds,
            birthplace: dir,
            tasks: tasks.len(),
            fifo: None,
            container: Some(pidfd.as_fd()),
            socket: child_socket,
        };
        let prepared = Prepared::new(&plan, inputs)?;
        let page = SharedPage::map(None).at("map page of init")?;
        let joins_pid = spec
            .linux
            .namespaces
            .iter()
            .any(|namespace| namespace.kind == NamespaceType::Pid);
        let namespace = joins_pid.then_some(pidfd.as_fd());
        let mut child = Child::launch(&plan, prepared, page, socket, namespace)?;
        child.limit()?;
        child.supply(tasks)?;
        if process.terminal {
            let point = child.next_point()?;
            child.answer(point)?;
        }
        Ok(Running {
            container: self.clone(),
            process: child.executed()?,
            opened: None,
        })
    }

    /// Runs a startContainer hook: in the container, with its process's user and privileges.
    pub(super) fn exec_hook(&self, spec: &Spec, hook: &Hook, state: &State) -> Result<()> {
        let program = hook.path.to_string_lossy().into_owned();
        let process = Process {
            args: if hook.args.is_empty() {
                vec![program.clone()]
            } else {
                hook.args.clone()
            },
            env: hook.env.clone(),
            cwd: "/".into(),
            terminal: false,
            ..spec.process.clone().unwrap_or_default()
        };
        let stdin = Stream::Fd(OwnedFd::from(crate::hooks::state_file(state)?));
        let options = ExecOptions {
            stdio: Stdio {
                stdin,
                ..Stdio::default()
            },
            ..ExecOptions::default()
        };
        let known = self.ready(&self.open()?)?;
        let running = self.join(spec, &known, &process, Some(&program), options)?;
        let limit = hook
            .timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs);
        let status = match limit {
            None => running.wait()?,
            Some(limit) => match running.wait_timeout(limit)? {
                Some(status) => status,
                None => {
                    running.signal(libc::SIGKILL)?;
                    running.wait()?;
                    return Err(Error::new(Code::Hook, "timed out"));
                }
            },
        };
        if status.success() {
            Ok(())
        } else {
            Err(Error::new(Code::Hook, format!("failed with {status}")))
        }
    }
}
