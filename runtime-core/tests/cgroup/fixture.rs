//! A cgroup and processes that are gone when a test is over.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use runtime_core::cgroup::{Cgroup, Entrance, Layout};
use runtime_core::spec::Resources;

/// Emulated guests are slow; nothing here waits for a deadline when all is well.
pub const LONG: Duration = Duration::from_secs(60);

/// A cgroup that is gone when the test is over, however it ends.
pub struct Fixture {
    pub cgroup: Cgroup,
    pub parent: String,
}

impl Fixture {
    pub fn new() -> Option<Fixture> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: cgroups can only be made by root");
            return None;
        }
        let parent = format!(
            "oci-rt-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let cgroup = Cgroup::resolve(&layout(), Some(&format!("{parent}/one")), "unused").unwrap();
        Some(Fixture { cgroup, parent })
    }

    pub fn created(json: &str) -> Option<Fixture> {
        let mut fixture = Fixture::new()?;
        let resources = resources(json);
        fixture.cgroup.create(&resources).unwrap();
        fixture.cgroup.apply(&resources, &[]).unwrap();
        Some(fixture)
    }

    /// Every directory of the cgroup, with the hierarchy's name.
    pub fn dirs(&self) -> Vec<(String, PathBuf)> {
        let names = layout()
            .hierarchies()
            .iter()
            .map(|h| h.controllers.clone())
            .collect::<Vec<_>>();
        let dir = |name: String| {
            let first = name.split(',').next().unwrap_or("").to_owned();
            let dir = self.cgroup.dir(&first).unwrap();
            (name, dir)
        };
        names.into_iter().map(dir).collect()
    }

    pub fn assert_gone(&self) {
        for (name, dir) in self.dirs() {
            assert!(!dir.exists(), "{name:?} is left at {dir:?}");
            assert!(
                !dir.parent().unwrap().exists(),
                "the parent of {name:?} is left at {dir:?}"
            );
        }
        assert!(!self.parent.is_empty());
    }

    pub fn remove(&self) {
        self.cgroup.remove(LONG).unwrap();
        self.assert_gone();
    }

    /// Where a controller's files are, which can be the version 2 tree beside version 1.
    pub fn home(&self, controller: &str) -> PathBuf {
        self.cgroup
            .dir(controller)
            .or_else(|| self.cgroup.dir(""))
            .unwrap()
    }

    pub fn value(&self, controller: &str, file: &str) -> String {
        let path = self.home(controller).join(file);
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{path:?}: {error}"))
            .trim()
            .to_owned()
    }

    /// Starts a shell in the cgroup. The script goes on only when it has joined.
    pub fn run(&self, script: &str) -> Process {
        Process::start(&self.cgroup.entrance().unwrap(), script)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.cgroup.thaw();
        let _ = self.cgroup.kill(LONG);
        let _ = self.cgroup.remove(LONG);
        for (_, dir) in self.dirs() {
            let _ = fs::remove_dir(dir.parent().unwrap());
        }
    }
}

/// A child that is reaped when the test is over.
pub struct Process(Child);

impl Process {
    /// A process that is in none of the tests' cgroups.
    pub fn stranger() -> Process {
        let mut sleep = Command::new("sleep");
        Process(
            sleep
                .arg("1000")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Starts a shell, which tells when it has joined.
    pub fn start(entrance: &Entrance, script: &str) -> Process {
        Process::prepared(entrance, "", script)
    }

    /// As `start`; when it returns, the shell has run `first` too.
    pub fn prepared(entrance: &Entrance, first: &str, script: &str) -> Process {
        let own = std::process::id();
        let mut files: Vec<String> = entrance
            .tasks
            .iter()
            .map(|file| format!("/proc/{own}/fd/{}", file.as_raw_fd()))
            .collect();
        files.extend(
            entrance
                .dir
                .iter()
                .map(|dir| format!("/proc/{own}/fd/{}/cgroup.procs", dir.as_raw_fd())),
        );
        let join: String = files
            .iter()
            .map(|file| format!("echo 0 > {file} || exit 99\n"))
            .collect();
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{join}\n{first}\necho joined\n{script}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 7];
        let out = child.stdout.as_mut().unwrap();
        std::io::Read::read_exact(out, &mut first).expect("the process joins");
        Process(child)
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    pub fn output(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        std::io::Read::read_to_string(self.0.stdout.as_mut().unwrap(), &mut text).unwrap();
        (self.0.wait().unwrap().code(), text.trim().to_owned())
    }

    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        // One that is frozen, because a test failed, ends only when its cgroup's turn comes.
        let end = Instant::now() + Duration::from_secs(2);
        while self.0.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            sleep(Duration::from_millis(1));
        }
    }
}

pub fn layout() -> Layout {
    Layout::probe().unwrap()
}

pub fn is_v2(controller: &str) -> bool {
    let v1 = layout()
        .hierarchies()
        .iter()
        .any(|h| h.controllers.split(',').any(|name| name == controller));
    !v1
}

pub fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !check() {
        assert!(Instant::now() < end, "{what} does not happen");
        sleep(Duration::from_millis(5));
    }
}

/// A directory for a test's files.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("oci-rt-cgroup-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
