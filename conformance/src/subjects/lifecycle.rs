//! create, state, start, exec, ps, pause, resume, events, kill, delete, run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::container::{await_path, eventually};
use crate::harness::{Container, Ctx, Outcome, Stop, Test};
use crate::{check, check_eq, fail};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("lifecycle/create-start-kill-delete", create_start_kill_delete),
    Test::new("lifecycle/spec-config-end-to-end", spec_end_to_end)
        .peers(&[("crun", "its update knows no units")]),
    Test::new("lifecycle/create-uses-the-current-directory", bundle_is_cwd),
    Test::new("lifecycle/create-runs-nothing", create_runs_nothing),
    Test::new("lifecycle/state-has-all-fields", state_fields).peers(&[(
        "crun",
        "prints rootfs as the config has it, and a user's name as owner",
    )]),
    Test::new("lifecycle/state-of-a-stopped-container", state_stopped),
    Test::new("lifecycle/state-notices-a-killed-init", state_notices_death),
    Test::new("lifecycle/annotations-are-in-the-state", annotations),
    Test::new("lifecycle/pid-file-has-no-newline", pid_file)
        .peers(&[("crun", "puts a relative pid file into the bundle")]),
    Test::new("lifecycle/init-is-the-callers-child", init_is_adopted),
    Test::new("lifecycle/exit-status-reaches-the-caller", exit_status),
    Test::new("lifecycle/id-is-free-again-after-delete", id_again),
    Test::new("lifecycle/many-at-once", many),
    Test::new("lifecycle/run-returns-the-exit-code", run_code),
    Test::new("lifecycle/run-returns-128-plus-signal", run_signal),
    Test::new("lifecycle/run-passes-stdin", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["cat"]);
        let output = ctx.container(&bundle)?.rt_run(&[]).stdin("through\n").ok()?;
        check_eq!(output.stdout, "through\n", "stdout");
        Ok(())
    }),
    Test::new("lifecycle/run-leaves-no-state", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["true"]);
        let container = ctx.container(&bundle)?;
        container.rt_run(&[]).ok()?.silent()?;
        check!(!ctx.root.join(&container.id).exists(), "the state is still there");
        Ok(())
    }),
    Test::new("lifecycle/run-keep", run_keep).peers(&[("crun", "1.8 has no --keep")]),
    Test::new("lifecycle/run-detach", run_detach),
    Test::new("lifecycle/run-forwards-signals", run_forwards),
    Test::new("lifecycle/run-slash-runs-a-bundle", run_path).peers(&[
        ("runc", "a feature of oci-rt's own"),
        ("crun", "a feature of oci-rt's own"),
    ]),
    Test::new("lifecycle/kill-default-is-term", |ctx| {
        kill_with(ctx, &[], "TERM")
    }),
    Test::new("lifecycle/kill-by-number", |ctx| kill_with(ctx, &["10"], "USR1")),
    Test::new("lifecycle/kill-by-name", |ctx| kill_with(ctx, &["USR2"], "USR2")),
    Test::new("lifecycle/kill-by-long-name", |ctx| {
        kill_with(ctx, &["SIGHUP"], "HUP")
    }),
    Test::new("lifecycle/kill-by-lower-case-name", |ctx| {
        kill_with(ctx, &["hup"], "HUP")
    })
    .peers(&[("crun", "takes the name for signal 0")]),
    Test::new("lifecycle/kill-unknown-signal-is-refused", |ctx| {
        let container = ctx.sleeper()?;
        let output = container.rt("kill", &["NOSUCH"]).output()?.fails()?;
        check!(
            output.stderr.to_lowercase().contains("signal"),
            "stderr {:?}",
            output.stderr
        );
        check_eq!(container.status()?, "running", "status");
        Ok(())
    })
    .peers(&[("crun", "takes an unknown name for signal 0")]),
    Test::new("lifecycle/kill-of-a-created-container", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["sleep", "1000"]);
        let container = ctx.container(&bundle)?;
        container.create()?;
        container.stop()?;
        container.delete()
    }),
    Test::new("lifecycle/kill-all-takes-every-process", kill_all),
    Test::new(
        "lifecycle/kill-in-the-hosts-pid-namespace-takes-all",
        kill_shared_pid,
    )
    .peers(&[
        ("runc", "1.1 leaves the others until delete"),
        ("crun", "leaves the others until delete"),
    ]),
    Test::new("lifecycle/delete-force-of-a-running-container", |ctx| {
        let container = ctx.sleeper()?;
        let pid = container.pid()?;
        container.rt("delete", &["--force"]).ok()?.silent()?;
        check!(!alive(&pid.to_string()), "init {pid} is still there");
        Ok(())
    }),
    Test::new("lifecycle/delete-short-force", |ctx| {
        let container = ctx.sleeper()?;
        ctx.rt(["delete", "-f", &container.id]).ok()?.silent()?;
        Ok(())
    }),
    Test::new("lifecycle/delete-force-of-nothing", |ctx| {
        ctx.rt(["delete", "--force", &ctx.fresh_id()]).ok()?.silent()?;
        Ok(())
    }),
    Test::new("lifecycle/delete-of-a-created-container", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["sleep", "1000"]);
        let container = ctx.container(&bundle)?;
        container.create()?.delete()
    }),
    Test::new("lifecycle/delete-force-of-a-paused-container", |ctx| {
        let container = ctx.sleeper()?;
        container.rt("pause", &[]).ok()?;
        container.rt("delete", &["--force"]).ok()?.silent()?;
        Ok(())
    }),
    Test::new("lifecycle/delete-takes-daemons-along", |ctx| {
        let mut bundle = ctx.bundle()?;
        // Its init ends, its daemon would stay: without a pid namespace nothing else ends it.
        bundle
            .without_namespace("pid")
            .script("sleep 1000 & echo $! > /tmp/daemon; exit 0");
        let container = ctx.started(&bundle)?;
        container.await_status("stopped")?;
        container.rt("delete", &["--force"]).ok()?;
        let pid = fs::read_to_string(container.bundle.rootfs().join("tmp/daemon"))?;
        check!(!alive(pid.trim()), "the daemon {pid:?} is still there");
        Ok(())
    }),
    Test::new("lifecycle/pause-stops-and-resume-goes-on", pause_resume),
    Test::new("lifecycle/pause-of-a-stopped-container-is-refused", |ctx| {
        let container = ctx.sleeper()?;
        container.stop()?;
        container.rt("pause", &[]).output()?.fails().map(drop)
    }),
    Test::new("lifecycle/resume-of-a-running-container-is-refused", |ctx| {
        let container = ctx.sleeper()?;
        container.rt("resume", &[]).output()?.fails().map(drop)
    })
    .peers(&[("crun", "1.8 takes it for done")]),
    Test::new("lifecycle/kill-of-a-paused-container", |ctx| {
        let container = ctx.sleeper()?;
        container.rt("pause", &[]).ok()?;
        container.kill("KILL")?;
        container.await_status("stopped")?;
        container.delete()
    })
    .peers(&[("crun", "leaves it frozen, so that it does not die")]),
    Test::new("lifecycle/ps-lists-host-pids", ps).peers(&[("crun", "its table has nothing but pids")]),
    Test::new("lifecycle/events-stats", events_stats).peers(&[("crun", "has no events")]),
];

/// Whether a process lives; a zombie does not.
fn alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

fn create_start_kill_delete(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let container = ctx.container(&bundle)?;
    container.rt_create(&[]).ok()?.silent()?;
    check_eq!(container.status()?, "created", "status after create");
    container.rt("start", &[]).ok()?.silent()?;
    check_eq!(container.status()?, "running", "status after start");
    container.rt("kill", &["KILL"]).ok()?.silent()?;
    container.await_status("stopped")?;
    container.rt("delete", &[]).ok()?.silent()?;
    container.rt("state", &[]).output()?.exits(1)?;
    check!(
        !ctx.root.join(&container.id).exists(),
        "the state directory is still there"
    );
    Ok(())
}

/// The config that the runtime's own `spec` writes, from create to delete.
fn spec_end_to_end(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    ctx.bare()
        .args(["spec", "--bundle"])
        .arg(&bundle.dir)
        .ok()?
        .silent()?;
    bundle.config = serde_json::from_slice(&fs::read(bundle.config_path())?)?;
    check_eq!(
        bundle.config["process"]["args"],
        json!(["sh"]),
        "args that spec writes"
    );
    bundle
        .set("/process/terminal", json!(false))
        .args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    let pid = container.pid()?;
    check_eq!(
        container.exec(&["echo", "hello"])?.ok()?.stdout,
        "hello\n",
        "exec"
    );
    let pids = container.rt("ps", &["--format=json"]).ok()?.json()?;
    check_eq!(pids, json!([pid]), "ps");
    container.rt("pause", &[]).ok()?.silent()?;
    check_eq!(container.status()?, "paused", "status");
    container.rt("resume", &[]).ok()?.silent()?;
    check_eq!(container.status()?, "running", "status");
    ctx.rt(["update", "--memory", "64M", "--pids-limit", "20", &container.id])
        .ok()?
        .silent()?;
    container.kill("KILL")?;
    container.await_status("stopped")?;
    container.delete()
}

fn bundle_is_cwd(ctx: &Ctx) -> Outcome {
    let container = ctx.container(&ctx.bundle()?)?;
    ctx.rt(["create", &container.id])
        .cwd(&container.bundle.dir)
        .ok()?;
    let bundle = container.state()?["bundle"].clone();
    check_eq!(bundle, json!(container.bundle.dir), "bundle in the state");
    Ok(())
}

fn create_runs_nothing(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("touch /tmp/ran; sleep 1000");
    let container = ctx.container(&bundle)?;
    container.create()?;
    std::thread::sleep(Duration::from_millis(200));
    let mark = container.bundle.rootfs().join("tmp/ran");
    check!(!mark.exists(), "the program ran before start");
    container.start()?;
    await_path(&mark)
}

fn state_fields(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    let output = container.rt("state", &[]).ok()?.silent()?;
    let state = output.json()?;
    check_eq!(state["id"], json!(container.id), "id");
    check_eq!(state["bundle"], json!(container.bundle.dir), "bundle");
    check_eq!(
        state["rootfs"],
        json!(container.bundle.rootfs()),
        "rootfs, absolute"
    );
    check_eq!(state["status"], "running", "status");
    check_eq!(state["owner"], "", "owner");
    check!(
        state["pid"].as_i64().is_some_and(|pid| alive(&pid.to_string())),
        "pid {}",
        state["pid"]
    );
    check!(
        state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")),
        "{}",
        state["ociVersion"]
    );
    let created = state["created"].as_str().unwrap_or_default();
    let is_time = created.len() >= 20 && created.as_bytes()[10] == b'T' && created.ends_with('Z');
    check!(is_time, "created is no RFC 3339 time in UTC: {created:?}");
    Ok(())
}

fn state_stopped(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    container.stop()?;
    let state = container.state()?;
    check_eq!(state["pid"], 0, "pid");
    check_eq!(state["status"], "stopped", "status");
    Ok(())
}

fn state_notices_death(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    kill(Pid::from_raw(container.pid()?), Signal::SIGKILL)?;
    container.await_status("stopped")
}

fn annotations(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.set("/annotations", json!({"org.example.key": "value", "empty": ""}));
    let container = ctx.container(&bundle)?;
    container.create()?;
    let annotations = container.state()?["annotations"].clone();
    check_eq!(annotations["org.example.key"], "value", "annotation");
    check_eq!(annotations["empty"], "", "empty annotation");
    Ok(())
}

fn pid_file(ctx: &Ctx) -> Outcome {
    let container = ctx.container(&ctx.bundle()?)?;
    // Relative to where the caller is, although the runtime goes to the bundle.
    container
        .rt_create(&["--pid-file", "the.pid"])
        .cwd(&ctx.dir)
        .ok()?;
    let text = fs::read_to_string(ctx.dir.join("the.pid"))?;
    check_eq!(text, container.pid()?.to_string(), "the pid file");
    Ok(())
}

fn init_is_adopted(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    let parent = crate::harness::seen::status_field(container.pid()?, "PPid")?;
    // This process is a subreaper, as conmon and the shims are.
    check_eq!(parent, std::process::id().to_string(), "parent of init");
    Ok(())
}

fn exit_status(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("while ! test -e /tmp/go; do sleep 0.01; done; exit 43");
    let container = ctx.started(&bundle)?;
    let pid = Pid::from_raw(container.pid()?);
    bundle_touch(&container, "tmp/go")?;
    match waitpid(pid, None)? {
        WaitStatus::Exited(_, 43) => Ok(()),
        other => fail!("waitpid of init says {other:?}"),
    }
}

fn bundle_touch(container: &Container, path: &str) -> Outcome {
    fs::write(container.bundle.rootfs().join(path), "")?;
    Ok(())
}

fn id_again(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let container = ctx.container(&bundle)?;
    for _ in 0..3 {
        container.create()?.start()?;
        container.rt("delete", &["--force"]).ok()?;
    }
    Ok(())
}

fn many(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let mut containers = Vec::new();
    for _ in 0..8 {
        containers.push(ctx.started(&bundle)?);
    }
    let listed = ctx.rt(["list", "--format", "json"]).ok()?.json()?;
    let listed: Vec<&str> = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|state| state["id"].as_str())
        .collect();
    check_eq!(listed.len(), 8, "containers listed: {listed:?}");
    for container in &containers {
        check!(
            listed.contains(&container.id.as_str()),
            "{} is not listed",
            container.id
        );
        container.rt("delete", &["--force"]).ok()?;
    }
    Ok(())
}

fn run_code(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("echo out; echo err >&2; exit 7");
    let output = ctx.run(&bundle)?.exits(7)?;
    check_eq!(output.stdout, "out\n", "stdout");
    check_eq!(output.stderr, "err\n", "stderr");
    Ok(())
}

fn run_signal(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    // Process 1 of a pid namespace ignores its own signals, so this one shares the host's.
    bundle
        .without_namespace("pid")
        .args(&["/bin/probe", "raise", "9"]);
    let output = ctx.run(&bundle)?.exits(137)?;
    check_eq!(output.signal(), None, "the runtime itself ends by a code");
    Ok(())
}

fn run_keep(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("exit 3");
    let container = ctx.container(&bundle)?;
    container.rt_run(&["--keep"]).output()?.exits(3)?;
    check_eq!(container.status()?, "stopped", "status");
    container.delete()
}

fn run_detach(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let container = ctx.container(&bundle)?;
    let file = ctx.dir.join("pid");
    let cmd = ctx
        .rt(["run", "--detach", "--pid-file"])
        .arg(&file)
        .arg("--bundle")
        .arg(&container.bundle.dir);
    cmd.arg(&container.id).ok()?.silent()?;
    check_eq!(container.status()?, "running", "status");
    check_eq!(
        fs::read_to_string(&file)?,
        container.pid()?.to_string(),
        "pid file"
    );
    Ok(())
}

fn run_forwards(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("trap 'exit 5' TERM; echo > /tmp/ready; while :; do sleep 0.05; done");
    let container = ctx.container(&bundle)?;
    let spawned = container.spawn_run(&[])?;
    container.await_file("/tmp/ready")?;
    kill(Pid::from_raw(spawned.pid()), Signal::SIGTERM)?;
    spawned.wait()?.exits(5).map(drop)
}

fn run_path(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle
        .script("echo inside; exit 4")
        .set("/linux/cgroupsPath", json!(format!("/{}", ctx.fresh("g"))));
    bundle.write()?;
    let path = format!("{}/", bundle.dir.display());
    let output = ctx.rt(["run", &path]).output()?.exits(4)?;
    check_eq!(output.stdout, "inside\n", "stdout");
    check_eq!(ctx.rt(["list", "--quiet"]).ok()?.stdout, "", "list afterwards");
    Ok(())
}

/// Sends a signal as the arguments say, to a process that writes down what it got.
fn kill_with(ctx: &Ctx, args: &[&str], name: &str) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let traps: Vec<String> = ["TERM", "USR1", "USR2", "HUP"]
        .iter()
        .map(|s| format!("trap 'echo {s} > /tmp/got' {s};"))
        .collect();
    bundle.script(&format!(
        "{} echo > /tmp/ready; while :; do sleep 0.05; done",
        traps.join(" ")
    ));
    let container = ctx.started(&bundle)?;
    container.await_file("/tmp/ready")?;
    container.rt("kill", args).ok()?.silent()?;
    let got = container.bundle.rootfs().join("tmp/got");
    eventually(Duration::from_secs(5), || {
        let text = fs::read_to_string(&got)?;
        check_eq!(text.trim(), name, "signal that came");
        Ok(())
    })
}

fn kill_all(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("sleep 1000 & sleep 1000 & echo > /tmp/ready; wait");
    let container = ctx.started(&bundle)?;
    container.await_file("/tmp/ready")?;
    ctx.rt(["kill", "--all", &container.id, "KILL"]).ok()?;
    container.await_status("stopped")
}

fn kill_shared_pid(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle
        .without_namespace("pid")
        .script("sleep 1000 & echo $! > /tmp/other; sleep 1000");
    let container = ctx.started(&bundle)?;
    let file = container.bundle.rootfs().join("tmp/other");
    await_path(&file)?;
    let other = eventually(Duration::from_secs(5), || {
        let text = fs::read_to_string(&file)?;
        check!(text.ends_with('\n'), "not written yet");
        Ok(text.trim().to_string())
    })?;
    container.stop()?;
    eventually(Duration::from_secs(2), || {
        check!(!alive(&other), "process {other} survived the kill");
        Ok(())
    })
}

fn pause_resume(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("while :; do echo >> /tmp/beat; sleep 0.02; done");
    let container = ctx.started(&bundle)?;
    let beat = container.bundle.rootfs().join("tmp/beat");
    await_path(&beat)?;
    container.rt("pause", &[]).ok()?.silent()?;
    check_eq!(container.status()?, "paused", "status");
    let size = fs::metadata(&beat)?.size();
    std::thread::sleep(Duration::from_millis(200));
    check_eq!(fs::metadata(&beat)?.size(), size, "beats while paused");
    container.rt("resume", &[]).ok()?.silent()?;
    check_eq!(container.status()?, "running", "status");
    eventually(Duration::from_secs(5), || {
        check!(fs::metadata(&beat)?.size() > size, "no beats after resume");
        Ok(())
    })
}

fn ps(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.script("sleep 1000 & echo > /tmp/ready; wait");
    let container = ctx.started(&bundle)?;
    container.await_file("/tmp/ready")?;
    let pids = ctx
        .rt(["ps", "--format", "json", &container.id])
        .ok()?
        .silent()?
        .json()?;
    let pids: Vec<i64> = crate::harness::seen::numbers(&pids);
    check_eq!(pids.len(), 2, "processes: {pids:?}");
    check!(
        pids.contains(&i64::from(container.pid()?)),
        "init is not in {pids:?}"
    );
    let table = container.rt("ps", &[]).ok()?.stdout;
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    check!(
        head.contains("PID") && (head.contains("CMD") || head.contains("COMMAND")),
        "head of the table: {head:?}"
    );
    check_eq!(
        lines
            .filter(|line| line.contains("sleep") || line.contains("sh -c"))
            .count(),
        2,
        "rows of {table:?}"
    );
    Ok(())
}

fn events_stats(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    let output = container.rt("events", &["--stats"]).ok()?.silent()?;
    check_eq!(output.stdout.lines().count(), 1, "lines of output");
    let event = output.json()?;
    check_eq!(event["type"], "stats", "type");
    check_eq!(event["id"], json!(container.id), "id");
    let data = &event["data"];
    let number = |pointer: &str| match data.pointer(pointer).and_then(Value::as_f64) {
        Some(number) => Ok(number),
        None => Err(Stop::Failed(format!("no number at data{pointer} in {event}"))),
    };
    check_eq!(number("/pids/current")?, 1.0, "processes");
    check!(number("/cpu/usage/total")? > 0.0, "cpu usage is 0");
    check!(number("/memory/usage/usage")? > 0.0, "memory usage is 0");
    check!(number("/memory/usage/limit")? > 0.0, "no memory limit");
    for part in [
        "cpu",
        "memory",
        "pids",
        "blkio",
        "hugetlb",
        "intel_rdt",
        "network_interfaces",
    ] {
        check!(data.get(part).is_some(), "no {part} in {event}");
    }
    Ok(())
}
