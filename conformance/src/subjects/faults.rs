//! What fails around the runtime: limits, damaged state, races between its own calls, listeners that are not there.
//!
//! After each of these nothing is left that `delete --force` does not remove, which the runner looks for.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::console::Terminal;
use crate::harness::container::eventually;
use crate::harness::host::processes;
use crate::harness::leftovers::remove_cgroups;
use crate::harness::{Cmd, Container, Ctx, Outcome, Output, Stop, Test, pace};
use crate::{check, check_eq, skip};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("faults/clone-in-a-full-cgroup", clone_in_a_full_cgroup),
    Test::new("faults/own-pids-limit-of-one", pids_limit_of_one),
    Test::new("faults/own-memory-limit-too-small", memory_limit_too_small),
    Test::new("faults/few-descriptors", few_descriptors).peers(&[("crun", "1.8 leaves cgroups")]),
    Test::new("faults/state-file-damaged", state_file_damaged).peers(&[
        ("runc", "1.1 cannot delete what it cannot read"),
        ("crun", "1.8 cannot delete what it cannot read"),
    ]),
    Test::new(
        "faults/state-directory-of-an-unfinished-create",
        unfinished_create,
    ),
    Test::new("faults/config-in-state-damaged", config_damaged)
        .peers(&[("crun", "1.8 cannot delete what it cannot read")]),
    Test::new("faults/console-socket-absent", |ctx| {
        console_socket(ctx, Listener::Absent)
    }),
    Test::new("faults/console-socket-without-listener", |ctx| {
        console_socket(ctx, Listener::Gone)
    }),
    Test::new("faults/console-socket-that-is-a-file", |ctx| {
        console_socket(ctx, Listener::File)
    }),
    Test::new("faults/console-socket-with-a-full-queue", |ctx| {
        console_socket(ctx, Listener::Full)
    })
    .peers(&[("crun", "1.8 waits for ever")]),
    Test::new("faults/signal-to-a-foreground-run", signal_to_run),
    Test::new("faults/signal-to-a-foreground-exec", signal_to_exec),
    Test::new("faults/terminal-hangs-up", terminal_hangs_up),
    Test::new("faults/foreground-run-killed", run_killed),
    Test::new("faults/init-killed-before-start", init_killed),
    Test::new("faults/state-root-full", state_root_full)
        .peers(&[("runc", "1.1 formats a nil error"), ("crun", "1.8 says nothing")]),
    Test::new("faults/state-root-read-only", state_root_read_only).peers(&[("crun", "1.8 does not say why")]),
];

/// The runtime, started by a shell that does something to itself before.
fn after(ctx: &Ctx, preparation: &str, args: &[&str]) -> Cmd {
    let script = format!("{preparation} && exec \"$0\" --root \"$@\"");
    ctx.command("/bin/sh")
        .arg("-c")
        .arg(script)
        .arg(&ctx.runtime)
        .arg(&ctx.root)
        .args(args)
}

/// There is no such container, and forcing its deletion is no error.
pub fn absent(ctx: &Ctx, id: &str) -> Outcome {
    ctx.rt(["state", id]).quiet().output()?.fails()?;
    ctx.rt(["delete", "--force", id]).quiet().ok()?;
    Ok(())
}

/// Neither the runtime's own cgroup nor the container's has room for one more process.
fn clone_in_a_full_cgroup(ctx: &Ctx) -> Outcome {
    let hierarchy = ctx.host.need("pids")?;
    let name = ctx.fresh("full");
    let group = hierarchy.mount.join(&name);
    let caller = group.join("caller");
    fs::create_dir_all(&caller)?;
    if hierarchy.v2 {
        fs::write(hierarchy.mount.join("cgroup.subtree_control"), "+pids")?;
    }
    fs::write(group.join("pids.max"), "1")?;
    let mut bundle = ctx.bundle()?;
    bundle.set("/linux/cgroupsPath", json!(format!("/{name}/c")));
    let container = ctx.container(&bundle)?;
    let enter = format!("echo $$ > {}/cgroup.procs", caller.display());
    let path = container.bundle.dir.to_string_lossy().into_owned();
    let output = after(ctx, &enter, &["create", "--bundle", &path, &container.id])
        .output()?
        .fails()?;
    // The two wordings of EAGAIN.
    says(&output, "try again").or_else(|_| says(&output, "resource temporarily unavailable"))?;
    absent(ctx, &container.id)?;
    check!(!group.join("c").exists(), "the cgroup of the container is left");
    // Parents were there before or are not the container's own.
    remove_cgroups(&ctx.host, &name);
    Ok(())
}

/// Init itself is one process, and the runtime needs no other one inside.
fn pids_limit_of_one(ctx: &Ctx) -> Outcome {
    ctx.host.need("pids")?;
    let mut bundle = ctx.bundle()?;
    bundle
        .args(&["/bin/probe", "see", "cwd"])
        .set("/linux/resources/pids", json!({"limit": 1}));
    ctx.run(&bundle)?.ok()?;
    Ok(())
}

fn memory_limit_too_small(ctx: &Ctx) -> Outcome {
    ctx.host.need("memory")?;
    for limit in [4096, 65536] {
        let mut bundle = ctx.bundle()?;
        bundle
            .args(&["true"])
            .set("/linux/resources/memory", json!({"limit": limit}));
        let container = ctx.container(&bundle)?;
        let output = container.rt_run(&[]).output()?.fails()?;
        // Enough for init and too little for the program is the program's end, which no message is due for.
        if output.code() != 137 {
            says(&output, "memory").or_else(|_| says(&output, "oom"))?;
        }
        absent(ctx, &container.id)?;
    }
    Ok(())
}

fn few_descriptors(ctx: &Ctx) -> Outcome {
    for limit in [4, 8, 12, 16, 24, 32, 64, 256] {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["true"]).remove("/process/rlimits");
        let container = ctx.container(&bundle)?;
        let path = container.bundle.dir.to_string_lossy().into_owned();
        let limited = format!("ulimit -n {limit}");
        let output = after(ctx, &limited, &["run", "--bundle", &path, &container.id]).output()?;
        check!(
            !output.stderr.contains("panicked"),
            "panic with {limit} descriptors"
        );
        check!(
            output.code() != 0 || output.stderr.is_empty(),
            "success with a message: {:?}",
            output.stderr
        );
        check!(
            output.code() == 0 || !output.stderr.is_empty(),
            "failure without a message with {limit} descriptors"
        );
        check!(
            output.code() == 0 || limit < 64,
            "{limit} descriptors are not enough: {}",
            output.stderr
        );
        absent(ctx, &container.id)?;
    }
    Ok(())
}

/// The file in the state directory that says what the container is.
fn state_file(ctx: &Ctx, id: &str) -> Outcome<PathBuf> {
    let dir = ctx.root.join(id);
    let known = ["state.json", "status"].map(|name| dir.join(name));
    let found = known.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| Stop::Failed(format!("no state file in {}", dir.display())))
}

/// `state` says what is wrong in one line, `list` shows the others, and `delete --force` ends what still runs.
fn survives(ctx: &Ctx, what: &str, damage: impl Fn(&Path) -> Outcome) -> Outcome {
    let (healthy, damaged) = (ctx.sleeper()?, ctx.sleeper()?);
    let pid = damaged.pid()?;
    damage(&state_file(ctx, &damaged.id)?)?;
    let state = damaged.rt("state", &[]).output()?;
    check!(
        state.code() != 0,
        "{what}: `state` succeeded: {}",
        state.stdout.trim()
    );
    check_eq!(
        state.stderr.trim().lines().count(),
        1,
        "{what}: lines of {:?}",
        state.stderr
    );
    check!(!state.stderr.contains("panicked"), "{what}: panic");
    let listed = ctx.rt(["list", "--quiet"]).ok()?.stdout;
    check!(
        listed.lines().any(|line| line == healthy.id),
        "{what}: `list` without the other one: {listed:?}"
    );
    let begin = Instant::now();
    for _ in 0..2 {
        damaged.rt("delete", &["--force"]).ok()?;
    }
    check!(
        begin.elapsed() < pace::stretch(Duration::from_secs(10)),
        "{what}: `delete --force` takes too long"
    );
    eventually(Duration::from_secs(2), || {
        let alive = processes()
            .into_iter()
            .any(|(other, _, state, _)| other == pid && state != 'Z');
        check!(!alive, "{what}: the container outlives `delete --force`");
        Ok(())
    })?;
    check_eq!(
        ctx.host.cgroups(&damaged.id),
        Vec::<PathBuf>::new(),
        "{what}: cgroups left"
    );
    healthy.stop()?;
    healthy.delete()
}

fn state_file_damaged(ctx: &Ctx) -> Outcome {
    let write = |content: &'static [u8]| move |path: &Path| Ok(fs::write(path, content)?);
    survives(ctx, "empty", write(b""))?;
    survives(ctx, "garbage", write(b"\xff\xfe\0garbage"))?;
    survives(ctx, "not an object", write(b"[1, 2]"))?;
    survives(ctx, "without anything", write(b"{}"))?;
    survives(ctx, "missing", |path| Ok(fs::remove_file(path)?))?;
    survives(ctx, "a directory", |path| {
        fs::remove_file(path)?;
        Ok(fs::create_dir(path)?)
    })?;
    survives(ctx, "truncated", |path| {
        let content = fs::read(path)?;
        Ok(fs::write(path, &content[..content.len() / 2])?)
    })?;
    survives(ctx, "huge", |path| {
        let mut content = fs::read(path)?;
        content.resize(8 << 20, b' ');
        content.extend_from_slice(b"x");
        Ok(fs::write(path, content)?)
    })
}

/// A state directory without anything in it: the name is taken, and forcing the deletion frees it.
fn unfinished_create(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["true"]);
    let container = ctx.container(&bundle)?;
    fs::create_dir_all(ctx.root.join(&container.id))?;
    container.rt_create(&[]).output()?.fails()?;
    ctx.rt(["list"]).ok()?;
    for _ in 0..2 {
        container.rt("delete", &["--force"]).ok()?;
    }
    container.rt_run(&[]).ok()?;
    Ok(())
}

fn config_damaged(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    let config = ctx.root.join(&container.id).join("config.json");
    if !config.exists() {
        skip!("{} keeps no copy of the config", ctx.runtime_name);
    }
    for content in ["", "{", "{\"process\": 5}"] {
        fs::write(&config, content)?;
        container.rt_exec(&[], &["true"]).output()?.fails()?;
        ctx.rt(["list"]).ok()?;
    }
    fs::remove_file(&config)?;
    container.rt("state", &[]).output()?;
    container.rt("delete", &["--force"]).ok()?;
    check!(
        !ctx.root.join(&container.id).exists(),
        "the state directory is left"
    );
    Ok(())
}

/// A container that will sleep, not created yet.
pub fn sleeping(ctx: &Ctx) -> Outcome<Container<'_>> {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    ctx.container(&bundle)
}

/// What is at the path of the console socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listener {
    Absent,
    Gone,
    File,
    Full,
}

fn console_socket(ctx: &Ctx, listener: Listener) -> Outcome {
    let path = ctx.dir.join("console");
    let mut held: Vec<UnixStream> = Vec::new();
    let socket = match listener {
        Listener::Absent => None,
        Listener::File => {
            fs::write(&path, "")?;
            None
        }
        Listener::Gone => {
            drop(UnixListener::bind(&path)?);
            None
        }
        Listener::Full => {
            let socket = UnixListener::bind(&path)?;
            nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::new(0)?)?;
            // One fits the queue; nobody takes it out.
            held.push(UnixStream::connect(&path)?);
            Some(socket)
        }
    };
    let mut bundle = ctx.bundle()?;
    bundle.args(&["true"]).set("/process/terminal", json!(true));
    let container = ctx.container(&bundle)?;
    let create = container.rt_create(&["--console-socket", &path.to_string_lossy()]);
    let output = create.deadline(Duration::from_secs(20)).output()?;
    check!(
        output.code() != 0,
        "`create` succeeded although nobody took the terminal"
    );
    check!(!output.stderr.trim().is_empty(), "no message");
    drop(socket);
    absent(ctx, &container.id)
}

/// A script that counts the signals it gets, and ends at the first one a little later.
const COUNTING: &str = "n=0; trap 'n=$((n+1))' TERM; touch /tmp/ready; while [ $n = 0 ]; do sleep 0.05; done; \
    sleep 0.3; echo $n; exit 5";

fn signal(pid: i32, signal: Signal) -> Outcome {
    Ok(kill(Pid::from_raw(pid), signal)?)
}

fn signal_to_run(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script(COUNTING);
    let container = ctx.container(&bundle)?;
    let run = container.rt_run(&[]).spawn()?;
    container.await_file("/tmp/ready")?;
    signal(run.pid(), Signal::SIGTERM)?;
    let output = run.wait()?.exits(5)?;
    check_eq!(output.stdout, "1\n", "how often the signal came");
    Ok(())
}

fn signal_to_exec(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    let exec = container.rt_exec(&[], &["sh", "-c", COUNTING]).spawn()?;
    container.await_file("/tmp/ready")?;
    signal(exec.pid(), Signal::SIGTERM)?;
    let output = exec.wait()?.exits(5)?;
    check_eq!(output.stdout, "1\n", "how often the signal came");
    // Without a handler it ends the process, which is not the first of its namespace.
    let exec = container.rt_exec(&[], &["sleep", "900"]).spawn()?;
    let pid = eventually(Duration::from_secs(5), || {
        let found = processes().into_iter().find(|(pid, ..)| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x00900\x00")
        });
        found
            .map(|(pid, ..)| pid)
            .ok_or_else(|| Stop::Failed("the program does not start".into()))
    })?;
    check!(pid > 0, "pid {pid}");
    signal(exec.pid(), Signal::SIGTERM)?;
    exec.wait()?.exits(143)?;
    Ok(())
}

/// The window is closed: the container hears of it, and `run` does not stay behind.
fn terminal_hangs_up(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.set("/process/terminal", json!(true));
    bundle.script("trap 'touch /tmp/hung-up; exit 3' HUP; touch /tmp/ready; while :; do sleep 0.05; done");
    let container = ctx.container(&bundle)?;
    let (terminal, ours) = Terminal::open(24, 80)?;
    let run = container
        .rt_run(&[])
        .stdio(ours.try_clone()?, ours.try_clone()?, ours.try_clone()?);
    let mut run = run.own_terminal().spawn()?;
    drop(ours);
    container.await_file("/tmp/ready")?;
    drop(terminal);
    container.await_file("/tmp/hung-up")?;
    eventually(Duration::from_secs(10), || {
        check!(run.ended()?, "`run` goes on after the terminal has hung up");
        Ok(())
    })?;
    check!(run.wait()?.code() != 0, "`run` without its terminal ended with 0");
    absent(ctx, &container.id)
}

/// SIGKILL cannot be forwarded: the container goes on, and can be deleted by force.
fn run_killed(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("touch /tmp/ready; sleep 1000");
    let container = ctx.container(&bundle)?;
    let run = container.rt_run(&[]).spawn()?;
    container.await_file("/tmp/ready")?;
    signal(run.pid(), Signal::SIGKILL)?;
    check_eq!(run.wait()?.signal(), Some(9), "signal that ended `run`");
    container.rt("delete", &["--force"]).ok()?;
    absent(ctx, &container.id)
}

fn init_killed(ctx: &Ctx) -> Outcome {
    let container = sleeping(ctx)?;
    container.create()?;
    signal(container.pid()?, Signal::SIGKILL)?;
    container.await_status("stopped")?;
    let begin = Instant::now();
    let output = container.rt("start", &[]).output()?.fails()?;
    check!(
        begin.elapsed() < pace::stretch(Duration::from_secs(5)),
        "`start` took {:?}",
        begin.elapsed()
    );
    check!(!output.stderr.trim().is_empty(), "no message");
    container.delete()
}

/// Mounts a file system of its own at the state root for the time of the test.
fn with_root(ctx: &Ctx, options: &str, test: impl FnOnce() -> Outcome) -> Outcome {
    fs::create_dir_all(&ctx.root)?;
    ctx.command("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(&ctx.root)
        .ok()?;
    let outcome = test();
    ctx.command("umount").arg(&ctx.root).ok()?;
    outcome
}

/// Why something failed, in whatever case it is written.
fn says(output: &Output, reason: &str) -> Outcome {
    let text = output.stderr.to_lowercase();
    check!(
        text.contains(reason),
        "the message does not say {reason:?}: {:?}",
        output.stderr
    );
    Ok(())
}

fn state_root_full(ctx: &Ctx) -> Outcome {
    let container = sleeping(ctx)?;
    with_root(ctx, "size=4k,nr_inodes=100", || {
        fs::write(ctx.root.join("filler"), vec![0; 4096])?;
        says(&container.rt_create(&[]).output()?.fails()?, "no space left")?;
        absent(ctx, &container.id)
    })?;
    // So many files until it works; the first one is the root itself.
    for inodes in 1..=16 {
        let mut refused = false;
        with_root(ctx, &format!("size=1m,nr_inodes={inodes}"), || {
            for verb in [container.rt_create(&[]), container.rt_run(&["--detach"])] {
                let output = verb.output()?;
                if output.code() != 0 {
                    refused = true;
                    says(&output, "no space left")?;
                    container.rt("state", &[]).output()?.fails()?;
                }
                ctx.rt(["list"]).ok()?;
                container.rt("delete", &["--force"]).ok()?;
                absent(ctx, &container.id)?;
            }
            Ok(())
        })?;
        check!(
            refused || inodes > 1,
            "a file system without room for a directory was enough"
        );
        if !refused {
            return Ok(());
        }
    }
    Err(Stop::Failed(
        "sixteen files are not enough for one container".into(),
    ))
}

fn state_root_read_only(ctx: &Ctx) -> Outcome {
    let container = sleeping(ctx)?;
    with_root(ctx, "ro", || {
        says(
            &container.rt_create(&[]).output()?.fails()?,
            "read-only file system",
        )?;
        ctx.rt(["list"]).ok()?;
        absent(ctx, &container.id)
    })
}
