//! What a test works with: its directory, its state root, bundles, containers.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bundle::Bundle;
use super::command::{Cmd, Output, Spawned};
use super::host::Host;
use super::pace::stretch;
use super::{Outcome, Stop};

/// A test's surroundings; all in it is the test's own.
#[derive(Debug)]
pub struct Ctx {
    /// The runtime under test.
    pub runtime: PathBuf,
    /// The name by which known failures are looked up.
    pub runtime_name: String,
    /// The test's directory.
    pub dir: PathBuf,
    /// The state root that [`Ctx::rt`] passes.
    pub root: PathBuf,
    /// What the names of all containers and cgroups of this test start with.
    pub prefix: String,
    /// What root file systems are made from.
    pub template: PathBuf,
    /// The host.
    pub host: Host,
    /// Ids that were handed out, for the clean-up.
    pub ids: RefCell<Vec<String>>,
    /// Counts names.
    pub counter: Cell<u32>,
}

impl Ctx {
    /// Whether the runtime under test is this one.
    pub fn is(&self, name: &str) -> bool {
        self.runtime_name == name
    }
    /// A number that was not used before.
    pub fn next(&self) -> u32 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }
    /// A name that nothing on the host has: for ids, cgroups, files.
    pub fn fresh(&self, what: &str) -> String {
        format!("{}-{what}{}", self.prefix, self.next())
    }
    /// An id for a container, which the clean-up will delete by force.
    pub fn fresh_id(&self) -> String {
        let id = self.fresh("c");
        self.ids.borrow_mut().push(id.clone());
        id
    }
    /// A new directory of the test.
    pub fn fresh_dir(&self, what: &str) -> Outcome<PathBuf> {
        let path = self.dir.join(format!("{what}{}", self.next()));
        fs::create_dir(&path)?;
        Ok(path)
    }
    /// A new bundle with a root file system and the default config, which is not written yet.
    pub fn bundle(&self) -> Outcome<Bundle> {
        Bundle::new(self.dir.join(format!("bundle{}", self.next())), &self.template)
    }
    /// The runtime, with the test's state root.
    pub fn rt<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.bare().arg("--root").arg(&self.root).args(args)
    }
    /// The runtime, without any argument.
    pub fn bare(&self) -> Cmd {
        Cmd::new(&self.runtime, &self.dir)
    }
    /// Any other program.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        Cmd::new(program, &self.dir)
    }
    /// A container of the bundle, not created yet; its cgroup is named by its id unless the config says another.
    pub fn container(&self, bundle: &Bundle) -> Outcome<Container<'_>> {
        let id = self.fresh_id();
        let mut bundle = bundle.clone();
        if bundle.config.pointer("/linux/cgroupsPath").is_none() && bundle.config.get("linux").is_some() {
            bundle.set("/linux/cgroupsPath", json!(format!("/{id}")));
        }
        bundle.write()?;
        Ok(Container {
            ctx: self,
            id,
            bundle,
        })
    }
    /// Creates and starts a container of the bundle.
    pub fn started(&self, bundle: &Bundle) -> Outcome<Container<'_>> {
        let container = self.container(bundle)?;
        container.create()?.start()?;
        Ok(container)
    }
    /// Runs the bundle in the foreground to its end.
    pub fn run(&self, bundle: &Bundle) -> Outcome<Output> {
        let container = self.container(bundle)?;
        container.rt_run(&[]).output()
    }
    /// Runs the payload in the bundle; what it prints is JSON.
    pub fn probe<S: AsRef<str>>(&self, bundle: &mut Bundle, args: &[S]) -> Outcome<Value> {
        let mut all = vec!["/bin/probe"];
        all.extend(args.iter().map(AsRef::as_ref));
        bundle.args(&all);
        self.run(bundle)?.ok()?.json()
    }
    /// A bundle whose payload prints one fact.
    pub fn seeing(&self, fact: &str, change: impl Fn(&mut Bundle) -> &mut Bundle) -> Outcome<Bundle> {
        let mut bundle = self.bundle()?;
        change(&mut bundle);
        bundle.args(&["/bin/probe", "see", fact]);
        Ok(bundle)
    }
    /// One fact, as seen from inside of a bundle with this change.
    pub fn fact(&self, fact: &str, change: impl Fn(&mut Bundle) -> &mut Bundle) -> Outcome<Value> {
        let bundle = self.seeing(fact, change)?;
        Ok(self.run(&bundle)?.ok()?.json()?[fact].clone())
    }
    /// A container that sleeps until it is killed.
    pub fn sleeper(&self) -> Outcome<Container<'_>> {
        let mut bundle = self.bundle()?;
        bundle.args(&["sleep", "1000"]);
        self.started(&bundle)
    }
    /// Deletes by force all containers that were handed out; says what went wrong.
    pub fn clean_up(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for id in self.ids.borrow().iter() {
            if !self.root.join(id).exists() {
                continue;
            }
            match self.rt(["delete", "--force", id]).output() {
                Ok(output) if output.code() == 0 => {}
                Ok(output) => problems.push(format!("delete --force {id} ended with {}", output.code())),
                Err(stop) => problems.push(stop.to_string()),
            }
        }
        problems
    }
}

/// A container of a test.
#[derive(Debug)]
pub struct Container<'a> {
    ctx: &'a Ctx,
    /// Its id.
    pub id: String,
    /// Its bundle, as it was written.
    pub bundle: Bundle,
}

impl<'a> Container<'a> {
    /// `create`, with options.
    pub fn rt_create(&self, options: &[&str]) -> Cmd {
        let cmd = self.ctx.rt(["create", "--bundle"]).arg(&self.bundle.dir);
        cmd.args(options).arg(&self.id)
    }
    /// `run`, with options.
    pub fn rt_run(&self, options: &[&str]) -> Cmd {
        let cmd = self.ctx.rt(["run", "--bundle"]).arg(&self.bundle.dir);
        cmd.args(options).arg(&self.id)
    }
    /// `exec`, with options and the program.
    pub fn rt_exec<S: AsRef<str>>(&self, options: &[&str], program: &[S]) -> Cmd {
        let cmd = self.ctx.rt(["exec"]).args(options).arg(&self.id);
        cmd.args(program.iter().map(AsRef::as_ref))
    }
    /// Any command on the container's id: `rest` that looks like options comes before it, what follows after it.
    pub fn rt(&self, command: &str, rest: &[&str]) -> Cmd {
        let options = rest.iter().take_while(|arg| arg.starts_with('-')).count();
        self.ctx
            .rt([command])
            .args(&rest[..options])
            .arg(&self.id)
            .args(&rest[options..])
    }
    /// Creates it.
    pub fn create(&self) -> Outcome<&Self> {
        self.rt_create(&[]).ok()?;
        Ok(self)
    }
    /// Starts it.
    pub fn start(&self) -> Outcome<&Self> {
        self.rt("start", &[]).ok()?;
        Ok(self)
    }
    /// Its state, as the runtime prints it.
    pub fn state(&self) -> Outcome<Value> {
        self.rt("state", &[]).ok()?.json()
    }
    /// The status in its state.
    pub fn status(&self) -> Outcome<String> {
        Ok(self.state()?["status"].as_str().unwrap_or_default().to_string())
    }
    /// The host's pid of its first process.
    pub fn pid(&self) -> Outcome<i32> {
        let state = self.state()?;
        match state["pid"].as_i64() {
            Some(pid) if pid > 0 => Ok(pid as i32),
            _ => Err(Stop::Failed(format!("state has no pid: {state}"))),
        }
    }
    /// Waits until its status is this one.
    pub fn await_status(&self, status: &str) -> Outcome {
        eventually(Duration::from_secs(10), || {
            let now = self.rt("state", &[]).quiet().ok()?.json()?;
            match now["status"] == status {
                true => Ok(()),
                false => Err(Stop::Failed(format!(
                    "status is {}, want {status}",
                    now["status"]
                ))),
            }
        })
    }
    /// Sends a signal.
    pub fn kill(&self, signal: &str) -> Outcome {
        self.rt("kill", &[signal]).ok().map(drop)
    }
    /// Kills it and waits until it is stopped.
    pub fn stop(&self) -> Outcome {
        self.kill("KILL")?;
        self.await_status("stopped")
    }
    /// Deletes it.
    pub fn delete(&self) -> Outcome {
        self.rt("delete", &[]).ok().map(drop)
    }
    /// Runs a program inside, in the foreground.
    pub fn exec<S: AsRef<str>>(&self, program: &[S]) -> Outcome<Output> {
        self.rt_exec(&[], program).output()
    }
    /// Runs the payload inside, with options of exec.
    pub fn probe(&self, options: &[&str], args: &[&str]) -> Outcome<Value> {
        let mut program = vec!["/bin/probe"];
        program.extend(args);
        self.rt_exec(options, &program).ok()?.json()
    }
    /// `run` in the background of the test.
    pub fn spawn_run(&self, options: &[&str]) -> Outcome<Spawned> {
        self.rt_run(options).spawn()
    }
    /// Its cgroup in the hierarchy of a controller; the test is skipped where there is none.
    pub fn cgroup(&self, controller: &str) -> Outcome<PathBuf> {
        let hierarchy = self.ctx.host.need(controller)?;
        let path = self
            .bundle
            .config
            .pointer("/linux/cgroupsPath")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Ok(hierarchy.mount.join(path.trim_start_matches('/')))
    }
    /// Where a process that is up says so: waits for a file in the root file system.
    pub fn await_file(&self, path: &str) -> Outcome {
        await_path(&self.bundle.rootfs().join(path.trim_start_matches('/')))
    }
}

/// Repeats until it succeeds; after `limit` the last failure counts.
pub fn eventually<T>(limit: Duration, mut attempt: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(Stop::Failed(message)) if begin.elapsed() > stretch(limit) => {
                return Err(Stop::Failed(format!("{message} (after {limit:?})")));
            }
            Err(Stop::Failed(_)) => std::thread::sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
}

/// Waits for a path to exist.
pub fn await_path(path: &Path) -> Outcome {
    eventually(Duration::from_secs(10), || match path.exists() {
        true => Ok(()),
        false => Err(Stop::Failed(format!("{} does not appear", path.display()))),
    })
}
