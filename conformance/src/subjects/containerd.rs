//! Debian's containerd runs containers through the runtime, as it would through runc.
//!
//! Every test starts a containerd of its own, by hand, with its own root, state and socket, and imports an image that
//! the test makes as an OCI archive.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::bundle::make_rootfs;
use crate::harness::command::Spawned;
use crate::harness::container::eventually;
use crate::harness::host::{processes, which};
use crate::harness::{Cmd, Ctx, Outcome, Stop, Test};
use crate::{check, check_eq, fail, skip};

const CRUN: &[(&str, &str)] = &[(
    "crun",
    "1.8 refuses to mount cgroups on hosts where version 2 has a controller beside version 1",
)];

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("containerd/run", run).peers(CRUN).host_only(),
    Test::new("containerd/run-with-a-terminal", run_with_a_terminal)
        .peers(CRUN)
        .host_only(),
    Test::new("containerd/run-confined", run_confined)
        .peers(CRUN)
        .host_only(),
    Test::new("containerd/life-cycle-of-a-task", life_cycle)
        .peers(CRUN)
        .host_only(),
    Test::new("containerd/exec", exec).peers(CRUN).host_only(),
    Test::new("containerd/exec-with-a-terminal", exec_with_a_terminal)
        .peers(CRUN)
        .host_only(),
    Test::new("containerd/error-of-the-runtime-is-shown", error_is_shown)
        .peers(CRUN)
        .host_only(),
    Test::new("containerd/shim-killed", shim_killed)
        .peers(CRUN)
        .host_only(),
];

const IMAGE: &str = "example.test/conformance:latest";

/// A running containerd.
struct Containerd<'a> {
    ctx: &'a Ctx,
    dir: PathBuf,
    daemon: Spawned,
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        // SIGTERM ends it in order; what is left then is the runner's to find.
        let _ = kill(Pid::from_raw(self.daemon.pid()), Signal::SIGTERM);
        for _ in 0..300 {
            if !matches!(self.daemon.ended(), Ok(false)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = kill(Pid::from_raw(self.daemon.pid()), Signal::SIGKILL);
    }
}

impl Containerd<'_> {
    fn start(ctx: &Ctx) -> Outcome<Containerd<'_>> {
        for program in ["containerd", "ctr", "containerd-shim-runc-v2"] {
            if which(program).is_none() {
                skip!("no {program}: install containerd");
            }
        }
        let dir = ctx.fresh_dir("containerd")?;
        let path = dir.display();
        // Only what a container needs: no CRI, no file systems that this host may not have.
        let off = [
            "io.containerd.grpc.v1.cri",
            "io.containerd.snapshotter.v1.btrfs",
            "io.containerd.snapshotter.v1.zfs",
            "io.containerd.snapshotter.v1.aufs",
            "io.containerd.snapshotter.v1.devmapper",
            "io.containerd.internal.v1.opt",
            "io.containerd.internal.v1.tracing",
            "io.containerd.tracing.processor.v1.otlp",
        ];
        let config = format!(
            "version = 2\nroot = \"{path}/root\"\nstate = \"{path}/state\"\ndisabled_plugins = {off:?}\n\
             [grpc]\naddress = \"{path}/sock\"\n[ttrpc]\naddress = \"{path}/sock.ttrpc\"\n"
        );
        fs::write(dir.join("config.toml"), config)?;
        let daemon = ctx
            .command("containerd")
            .arg("--config")
            .arg(dir.join("config.toml"))
            .spawn()?;
        let containerd = Containerd { ctx, dir, daemon };
        eventually(Duration::from_secs(20), || {
            containerd.ctr(&["version"]).quiet().ok()
        })?;
        containerd.import()?;
        Ok(containerd)
    }

    fn ctr(&self, args: &[&str]) -> Cmd {
        let cmd = self
            .ctx
            .command("ctr")
            .arg("--address")
            .arg(self.dir.join("sock"));
        cmd.args(["--namespace", "test"]).args(args)
    }

    /// `ctr run` with the runtime under test; options, and the command after the id.
    fn run(&self, options: &[&str], id: &str, command: &[&str]) -> Cmd {
        let cmd = self.ctr(&[
            "run",
            "--snapshotter",
            "native",
            "--cgroup",
            &format!("/{id}"),
            "--runc-binary",
        ]);
        let cmd = cmd
            .arg(&self.ctx.runtime)
            .arg("--runc-root")
            .arg(self.dir.join("runtime-root"));
        cmd.args(["--fifo-dir"])
            .arg(self.dir.join("fifos"))
            .args(options)
            .args([IMAGE, id])
            .args(command)
    }

    /// The task's status as `ctr task ls` shows it; none when there is no such task.
    fn status(&self, id: &str) -> Outcome<Option<String>> {
        let table = self.ctr(&["task", "ls"]).ok()?.stdout;
        let row = table
            .lines()
            .find(|line| line.split_whitespace().next() == Some(id));
        Ok(row
            .and_then(|line| line.split_whitespace().nth(2))
            .map(String::from))
    }

    fn await_status(&self, id: &str, status: &str) -> Outcome {
        eventually(Duration::from_secs(10), || {
            check_eq!(self.status(id)?.as_deref(), Some(status), "status of the task");
            Ok(())
        })
    }

    fn pid(&self, id: &str) -> Outcome<i32> {
        let table = self.ctr(&["task", "ls"]).ok()?.stdout;
        let row = table
            .lines()
            .find(|line| line.split_whitespace().next() == Some(id));
        let pid = row
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| Stop::Failed(format!("no task {id} in {table:?}")))
    }

    /// Deletes the task and its container, and looks whether the runtime's own state is gone, too.
    fn delete(&self, id: &str) -> Outcome {
        self.ctr(&["task", "delete", id]).output()?;
        self.ctr(&["container", "rm", id]).ok()?;
        self.nothing_left(id)
    }

    fn nothing_left(&self, id: &str) -> Outcome {
        check_eq!(self.status(id)?, None, "status of a deleted task");
        let root = self.dir.join("runtime-root/test");
        let entries = fs::read_dir(&root).into_iter().flatten().flatten();
        let state: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        check!(
            state.iter().all(|path| !path.ends_with(id)),
            "state is left: {state:?}"
        );
        check_eq!(self.ctx.host.cgroups(id), Vec::<PathBuf>::new(), "cgroups left");
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let below = format!("{}/state", self.dir.display());
        check!(!mounts.contains(&below), "mounts are left below {below}");
        Ok(())
    }

    fn import(&self) -> Outcome {
        let archive = oci_archive(self.ctx, &self.dir)?;
        self.ctr(&["images", "import", "--snapshotter", "native"])
            .arg(archive)
            .ok()?;
        let images = self.ctr(&["images", "ls", "-q"]).ok()?.stdout;
        check_eq!(images.trim(), IMAGE, "images");
        Ok(())
    }
}

/// An image of one layer as an OCI archive.
fn oci_archive(ctx: &Ctx, dir: &Path) -> Outcome<PathBuf> {
    let image = dir.join("image");
    fs::create_dir_all(image.join("blobs/sha256"))?;
    let rootfs = dir.join("layer");
    make_rootfs(&ctx.template, &rootfs)?;
    for program in ["busybox", "probe"] {
        // Its own copy: tar minds that the link count of a shared one changes meanwhile.
        let (link, copy) = (rootfs.join("bin").join(program), rootfs.join("copy"));
        fs::copy(&link, &copy)?;
        fs::rename(&copy, &link)?;
    }
    let layer = dir.join("layer.tar");
    ctx.command("tar")
        .arg("-C")
        .arg(&rootfs)
        .arg("-cf")
        .arg(&layer)
        .arg(".")
        .ok()?;
    let (layer_digest, layer_size) = add_blob(ctx, &image, &layer)?;
    let write = |name: &str, value: Value| -> Outcome<(String, u64)> {
        let file = dir.join(name);
        fs::write(&file, value.to_string())?;
        add_blob(ctx, &image, &file)
    };
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let env = ["PATH=/bin", "FROM_IMAGE=yes"];
    let (config_digest, config_size) = write(
        "config",
        json!({"architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"], "Env": env},
               "rootfs": {"type": "layers", "diff_ids": [layer_digest]}}),
    )?;
    let kind = |what: &str| format!("application/vnd.oci.image.{what}");
    let (manifest_digest, manifest_size) = write(
        "manifest",
        json!({"schemaVersion": 2, "mediaType": kind("manifest.v1+json"),
               "config": {"mediaType": kind("config.v1+json"), "digest": config_digest, "size": config_size},
               "layers": [{"mediaType": kind("layer.v1.tar"), "digest": layer_digest, "size": layer_size}]}),
    )?;
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": kind("manifest.v1+json"), "digest": manifest_digest, "size": manifest_size,
         "annotations": {"io.containerd.image.name": IMAGE}}]});
    fs::write(image.join("index.json"), index.to_string())?;
    fs::write(image.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)?;
    let archive = dir.join("image.tar");
    ctx.command("tar")
        .arg("-C")
        .arg(&image)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .ok()?;
    Ok(archive)
}

/// Moves a file to where its digest says; the digest and the size.
fn add_blob(ctx: &Ctx, image: &Path, file: &Path) -> Outcome<(String, u64)> {
    let sum = ctx.command("sha256sum").arg(file).ok()?.stdout;
    let digest = sum.split_whitespace().next().unwrap_or_default().to_string();
    let size = fs::metadata(file)?.len();
    fs::rename(file, image.join("blobs/sha256").join(&digest))?;
    Ok((format!("sha256:{digest}"), size))
}

fn run(ctx: &Ctx) -> Outcome {
    let containerd = Containerd::start(ctx)?;
    let id = ctx.fresh("ctr");
    let script = "echo $FROM_IMAGE $ADDED; cat /proc/1/comm; echo problem >&2; exit 7";
    let options = ["--rm", "--env", "ADDED=too"];
    let output = containerd
        .run(&options, &id, &["/bin/sh", "-c", script])
        .exits(7)?;
    check_eq!(output.stdout, "yes too\nsh\n", "stdout");
    check!(output.stderr.contains("problem\n"), "stderr {:?}", output.stderr);
    containerd.nothing_left(&id)
}

/// What `ctr run` can ask for besides: seccomp's default profile, limits, a read-only root, a mount, a user namespace.
fn run_confined(ctx: &Ctx) -> Outcome {
    let containerd = Containerd::start(ctx)?;
    let shared = ctx.fresh_dir("shared")?;
    fs::write(shared.join("file"), "from the host")?;
    let mount = format!("type=bind,src={},dst=/tmp,options=rbind:ro", shared.display());
    let options = [
        "--rm",
        "--seccomp",
        "--read-only",
        "--memory-limit",
        "67108864",
        "--mount",
        &mount,
    ];
    let id = ctx.fresh("ctr");
    let script =
        "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; cat /tmp/file; echo; touch /new || echo refused";
    let output = containerd.run(&options, &id, &["/bin/sh", "-c", script]).ok()?;
    check_eq!(
        output.stdout,
        "NoNewPrivs:\t1\nSeccomp:\t2\nfrom the host\nrefused\n",
        "stdout"
    );
    containerd.nothing_left(&id)
}

/// A terminal for `ctr`, whose side of it is to be read.
fn terminal(rows: u16, columns: u16) -> Outcome<(OwnedFd, OwnedFd)> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None)?;
    Ok((pty.master, pty.slave))
}

/// Runs a command on a terminal; its exit code, and what was shown.
fn on_terminal(cmd: Cmd) -> Outcome<(i32, String)> {
    let (master, slave) = terminal(50, 132)?;
    let mut running = cmd
        .stdio(slave.try_clone()?, slave.try_clone()?, slave.try_clone()?)
        .own_terminal()
        .spawn()?;
    let reader = std::thread::spawn(move || {
        let (mut master, mut shown, mut buffer) = (File::from(master), Vec::new(), [0; 4096]);
        // The end of the other side is an error (EIO) here.
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            shown.extend_from_slice(&buffer[..count]);
        }
        shown
    });
    eventually(Duration::from_secs(30), || {
        check!(running.ended()?, "the command does not end");
        Ok(())
    })?;
    let code = running.wait()?.code();
    drop(slave);
    let shown = reader
        .join()
        .map_err(|_| Stop::Failed("the reader panicked".to_string()))?;
    // How many of the terminals in the chain add a carriage return is not the runtime's business alone.
    Ok((code, String::from_utf8_lossy(&shown).replace('\r', "")))
}

/// Waits in the container until the size of the terminal has come through, which happens after the start.
const SHOW_TERMINAL: &str = "for i in $(seq 100); do [ \"$(stty size 2>/dev/null)\" = '50 132' ] && break; \
    sleep 0.05; done; tty >/dev/null && echo is-a-terminal; stty size; exit 5";

fn run_with_a_terminal(ctx: &Ctx) -> Outcome {
    let containerd = Containerd::start(ctx)?;
    let id = ctx.fresh("ctr");
    let (code, shown) = on_terminal(containerd.run(&["--rm", "-t"], &id, &["/bin/sh", "-c", SHOW_TERMINAL]))?;
    check_eq!(shown, "is-a-terminal\n50 132\n", "what the terminal showed");
    check_eq!(code, 5, "exit code");
    containerd.nothing_left(&id)
}

fn life_cycle(ctx: &Ctx) -> Outcome {
    let containerd = Containerd::start(ctx)?;
    let id = ctx.fresh("ctr");
    containerd.run(&["--detach"], &id, &["/bin/sleep", "1000"]).ok()?;
    containerd.await_status(&id, "RUNNING")?;
    let pid = containerd.pid(&id)?;
    let comm = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    check_eq!(comm.trim(), "sleep", "the task's process");
    let processes = containerd.ctr(&["task", "ps", &id]).ok()?.stdout;
    check!(
        processes.contains(&pid.to_string()),
        "task ps shows {processes:?}, not {pid}"
    );
    let metrics = containerd
        .ctr(&["task", "metrics", "--format", "json", &id])
        .ok()?
        .json()?;
    check!(metrics.to_string().contains("\"pids\""), "metrics {metrics}");
    containerd.ctr(&["task", "pause", &id]).ok()?;
    containerd.await_status(&id, "PAUSED")?;
    containerd.ctr(&["task", "resume", &id]).ok()?;
    containerd.await_status(&id, "RUNNING")?;
    containerd.ctr(&["task", "kill", "--signal", "KILL", &id]).ok()?;
    containerd.await_status(&id, "STOPPED")?;
    containerd.delete(&id)
}

fn exec(ctx: &Ctx) -> Outcome {
    let containerd = Containerd::start(ctx)?;
    let id = ctx.fresh("ctr");
    containerd.run(&["--detach"], &id, &["/bin/sleep", "1000"]).ok()?;
    let exec = |name: &str, rest: &[&str]| {
        containerd
            .ctr(&["task", "exec", "--exec-id", name])
            .args(&rest[..rest.len().min(2)])
            .args(rest.iter().skip(2))
    };
    let script = "pwd; cat /proc/1/comm; exit 9";
    let output = exec("a", &["--cwd", "/tmp", &id, "/bin/sh", "-c", script]).exits(9)?;
    check_eq!(output.stdout, "/tmp\nsleep\n", "stdout of exec");
    let output = exec("b", &["--cwd", "/", &id, "/bin/missing"])
        .output()?
        .fails()?;
    check!(
        output.stderr.contains("/bin/missing"),
        "stderr of exec of a missing program: {:?}",
        output.stderr
    );
    containerd
        .ctr(&[
            "task",
            "exec",
            "--exec-id",
            "c",
            "--detach",
            &id,
            "/bin/sleep",
            "1001",
        ])
        .ok()?;
    let processes = containerd.ctr(&["task", "ps", &id]).ok()?.stdout;
    check_eq!(
        processes.trim().lines().count(),
        3,
        "lines of task ps {processes:?}"
    );
    containerd
        .ctr(&["task", "kill", "--signal", "KILL", "--exec-id", "c", &id])
        .ok()?;
    eventually(Duration::from_secs(10), || {
        let processes = containerd.ctr(&["task", "ps", &id]).quiet().ok()?.stdout;
        check_eq!(
            processes.trim().lines().count(),
            2,
            "lines of task ps {processes:?}"
        );
        Ok(())
    })?;
    containerd.ctr(&["task", "kill", "--signal", "TERM", &id]).ok()?;
    // The first process of a pid namespace has no default action for TERM.
    check_eq!(
        containerd.status(&id)?.as_deref(),
        Some("RUNNING"),
        "status after TERM"
    );
    containerd
        .ctr(&["task", "kill", "--all", "--signal", "KILL", &id])
        .ok()?;
    containerd.await_status(&id, "STOPPED")?;
    containerd.delete(&id)
}

fn exec_with_a_terminal(ctx: &Ctx) -> Outcome {
    let containerd = Containerd::start(ctx)?;
    let id = ctx.fresh("ctr");
    containerd.run(&["--detach"], &id, &["/bin/sleep", "1000"]).ok()?;
    let cmd = containerd.ctr(&[
        "task",
        "exec",
        "--exec-id",
        "t",
        "-t",
        &id,
        "/bin/sh",
        "-c",
        SHOW_TERMINAL,
    ]);
    let (code, shown) = on_terminal(cmd)?;
    check_eq!(shown, "is-a-terminal\n50 132\n", "what the terminal showed");
    check_eq!(code, 5, "exit code");
    containerd.ctr(&["task", "kill", "--signal", "KILL", &id]).ok()?;
    containerd.await_status(&id, "STOPPED")?;
    containerd.delete(&id)
}

/// containerd takes the message from the last record of the runtime's log.
fn error_is_shown(ctx: &Ctx) -> Outcome {
    let containerd = Containerd::start(ctx)?;
    let id = ctx.fresh("ctr");
    let output = containerd
        .run(&["--rm"], &id, &["/bin/does-not-exist"])
        .output()?
        .fails()?;
    check!(
        output.stderr.contains("OCI runtime create failed"),
        "stderr {:?}",
        output.stderr
    );
    check!(
        output.stderr.contains("/bin/does-not-exist"),
        "stderr {:?}",
        output.stderr
    );
    containerd.nothing_left(&id)
}

/// When the shim dies, containerd has the container removed through a new call of the shim and the runtime.
fn shim_killed(ctx: &Ctx) -> Outcome {
    let containerd = Containerd::start(ctx)?;
    let id = ctx.fresh("ctr");
    containerd.run(&["--detach"], &id, &["/bin/sleep", "1000"]).ok()?;
    let pid = containerd.pid(&id)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<i32>().ok());
    let shim = parent.unwrap_or_default();
    let name = fs::read_to_string(format!("/proc/{shim}/comm"))?;
    if !name.starts_with("containerd-shi") {
        fail!("the parent of the container's process is {name:?}, not the shim");
    }
    kill(Pid::from_raw(shim), Signal::SIGKILL)?;
    eventually(Duration::from_secs(20), || {
        let alive = processes()
            .into_iter()
            .any(|(other, _, state, _)| other == pid && state != 'Z');
        check!(!alive, "the container outlives its shim");
        check_eq!(containerd.status(&id)?, None, "status without a shim");
        Ok(())
    })?;
    containerd.ctr(&["container", "rm", &id]).ok()?;
    // The task is gone from containerd's list before the last call of the runtime has ended.
    eventually(Duration::from_secs(10), || containerd.nothing_left(&id))
}
