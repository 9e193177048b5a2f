//! exec: what a further process in a container is given.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::container::{await_path, eventually};
use crate::harness::seen::{numbers, signal_set, status_field, strings};
use crate::harness::{Container, Ctx, Outcome, Test};
use crate::{check, check_eq};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("exec/prints-and-returns-the-code", |ctx| {
        let container = ctx.sleeper()?;
        let output = container
            .exec(&["sh", "-c", "echo out; echo err >&2; exit 9"])?
            .exits(9)?;
        check_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("out\n", "err\n"),
            "output"
        );
        Ok(())
    }),
    Test::new("exec/returns-128-plus-signal", |ctx| {
        let container = ctx.sleeper()?;
        container.exec(&["/bin/probe", "raise", "9"])?.exits(137)?;
        container
            .exec(&["/bin/probe", "raise", "15"])?
            .exits(143)
            .map(drop)
    }),
    Test::new("exec/passes-stdin", |ctx| {
        let container = ctx.sleeper()?;
        check_eq!(
            container.rt_exec(&[], &["cat"]).stdin("through\n").ok()?.stdout,
            "through\n",
            "stdout"
        );
        Ok(())
    }),
    Test::new("exec/shares-all-namespaces", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.namespace("cgroup", None).args(&["sleep", "1000"]);
        let container = ctx.started(&bundle)?;
        let pid = container.pid()?;
        let seen = container.probe(&[], &["see", "namespaces"])?;
        for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
            let link = fs::read_link(format!("/proc/{pid}/ns/{kind}"))?;
            check_eq!(seen["namespaces"][kind], json!(link), "{kind}");
        }
        Ok(())
    }),
    Test::new("exec/sees-the-containers-root", |ctx| {
        let container = ctx.sleeper()?;
        fs::write(container.bundle.rootfs().join("mark"), "here\n")?;
        check_eq!(
            container.exec(&["cat", "/mark"])?.ok()?.stdout,
            "here\n",
            "content"
        );
        Ok(())
    }),
    Test::new("exec/has-the-containers-process-settings", |ctx| {
        let container = ctx.sleeper()?;
        let seen = container.probe(
            &[],
            &["see", "caps", "no_new_privs", "rlimits", "cwd", "ids", "umask"],
        )?;
        let mut want = [
            "AUDIT_WRITE",
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "MKNOD",
            "NET_BIND_SERVICE",
            "NET_RAW",
            "SETFCAP",
            "SETGID",
            "SETPCAP",
            "SETUID",
            "SYS_CHROOT",
        ];
        want.sort_unstable();
        let mut got = strings(&seen["caps"]["effective"]);
        got.sort_unstable();
        check_eq!(got, want, "effective capabilities");
        check_eq!(seen["no_new_privs"], 1, "no_new_privs");
        check_eq!(seen["rlimits"]["NOFILE"], json!([1024, 1024]), "open files");
        check_eq!(seen["cwd"], "/", "cwd");
        check_eq!(seen["ids"]["uid"], json!([0, 0, 0, 0]), "user ids");
        check_eq!(seen["umask"], "0022", "umask");
        Ok(())
    }).peers(&[("crun", "1.8 forgets no_new_privs")]),
    Test::new("exec/without-a-capabilities-block-has-none", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.remove("/process/capabilities").args(&["sleep", "1000"]);
        let container = ctx.started(&bundle)?;
        let seen = container.probe(&[], &["see", "caps"])?;
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            check_eq!(seen["caps"][set], json!([]), "{set}");
        }
        Ok(())
    }),
    Test::new("exec/env-of-the-container", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .push("/process/env", json!("OF_CONFIG=1"))
            .args(&["sleep", "1000"]);
        let container = ctx.started(&bundle)?;
        let seen = container.probe(&[], &["see", "env"])?;
        check!(strings(&seen["env"]).contains(&"OF_CONFIG=1"), "{seen}");
        Ok(())
    }),
    Test::new("exec/env-added", |ctx| {
        let container = ctx.sleeper()?;
        let seen = container.probe(&["--env", "A=1", "--env", "TERM=other"], &["see", "env"])?;
        let env = strings(&seen["env"]);
        check!(env.contains(&"A=1") && env.contains(&"TERM=other"), "{env:?}");
        check!(env.iter().any(|entry| entry.starts_with("PATH=")), "{env:?}");
        check_eq!(
            env.iter().filter(|entry| entry.starts_with("TERM=")).count(),
            1,
            "TERM entries in {env:?}"
        );
        Ok(())
    }).peers(&[("crun", "drops the container's own")]),
    Test::new("exec/cwd", |ctx| {
        let container = ctx.sleeper()?;
        check_eq!(
            container.rt_exec(&["--cwd", "/home/user"], &["pwd"]).ok()?.stdout,
            "/home/user\n",
            "cwd"
        );
        Ok(())
    }),
    Test::new("exec/cwd-missing-is-an-error", |ctx| {
        let container = ctx.sleeper()?;
        let output = container
            .rt_exec(&["--cwd", "/no/such/dir"], &["pwd"])
            .output()?
            .exits(255)?;
        check!(output.stderr.contains("/no/such/dir"), "{:?}", output.stderr);
        Ok(())
    }),
    Test::new("exec/user", |ctx| user(ctx, &["--user", "1000"], 1000, 0, &[])),
    Test::new("exec/user-and-group", |ctx| {
        user(ctx, &["-u", "1000:1001"], 1000, 1001, &[])
    }),
    Test::new("exec/additional-groups", |ctx| {
        user(
            ctx,
            &["--user", "1000:1001", "-g", "5", "-g", "2000"],
            1000,
            1001,
            &[5, 2000],
        )
    }).peers(&[("crun", "1.8 does not know it")]),
    Test::new("exec/user-has-no-capabilities-left", |ctx| {
        let container = ctx.sleeper()?;
        let seen = container.probe(&["--user", "1000:1000"], &["see", "caps"])?;
        check_eq!(seen["caps"]["effective"], json!([]), "effective");
        Ok(())
    }),
    Test::new("exec/user-too-big-is-refused", |ctx| no_user(ctx, "4294967296")).peers(&[("runc", "takes it, and runs as root"), ("crun", "takes it, and runs as root")]),
    Test::new("exec/user-minus-one-is-refused", |ctx| no_user(ctx, "4294967295")).peers(&[("crun", "takes it")]),
    Test::new("exec/user-negative-is-refused", |ctx| no_user(ctx, "-1")).peers(&[("crun", "takes it, and runs as root")]),
    Test::new("exec/user-by-name-is-refused", |ctx| no_user(ctx, "root")),
    Test::new("exec/user-with-rubbish-is-refused", |ctx| no_user(ctx, "0x0")),
    Test::new("exec/user-with-two-colons-is-refused", |ctx| {
        no_user(ctx, "0:0:0")
    }),
    Test::new("exec/capability-added", |ctx| {
        let container = ctx.sleeper()?;
        let seen = container.probe(
            &["--cap", "CAP_SYS_ADMIN", "--cap", "CAP_SYS_PTRACE"],
            &["see", "caps"],
        )?;
        let effective = strings(&seen["caps"]["effective"]);
        check!(
            effective.contains(&"SYS_ADMIN") && effective.contains(&"SYS_PTRACE"),
            "{effective:?}"
        );
        check!(
            effective.contains(&"CHOWN"),
            "the container's own are gone: {effective:?}"
        );
        Ok(())
    }).peers(&[("crun", "replaces the container's own")]),
    Test::new("exec/no-new-privs", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/process/noNewPrivileges", json!(false))
            .args(&["sleep", "1000"]);
        let container = ctx.started(&bundle)?;
        check_eq!(
            container.probe(&[], &["see", "no_new_privs"])?["no_new_privs"],
            0,
            "without"
        );
        check_eq!(
            container.probe(&["--no-new-privs"], &["see", "no_new_privs"])?["no_new_privs"],
            1,
            "with"
        );
        Ok(())
    }),
    Test::new("exec/detached-with-pid-file", |ctx| {
        let container = ctx.sleeper()?;
        let file = ctx.dir.join("exec.pid");
        let options = ["--detach", "--pid-file", file.to_str().unwrap_or_default()];
        container.rt_exec(&options, &["sleep", "1000"]).ok()?.silent()?;
        let pid: i32 = fs::read_to_string(&file)?.parse()?;
        check_eq!(status_field(pid, "Name")?, "sleep", "the process in the pid file");
        check_eq!(
            status_field(pid, "PPid")?,
            std::process::id().to_string(),
            "its parent"
        );
        Ok(())
    }),
    Test::new("exec/detached-inherits-stdio", |ctx| {
        let container = ctx.sleeper()?;
        let output = container
            .rt_exec(&["-d"], &["sh", "-c", "sleep 0.1; echo later"])
            .ok()?;
        eventually(Duration::from_secs(5), || {
            check_eq!(output.stdout_now(), "later\n", "output");
            Ok(())
        })
    }),
    Test::new("exec/forwards-signals", |ctx| {
        let container = ctx.sleeper()?;
        let script = "trap 'exit 5' TERM; echo > /tmp/ready; while :; do sleep 0.05; done";
        let spawned = container.rt_exec(&[], &["sh", "-c", script]).spawn()?;
        container.await_file("/tmp/ready")?;
        kill(Pid::from_raw(spawned.pid()), Signal::SIGTERM)?;
        spawned.wait()?.exits(5).map(drop)
    }),
    Test::new("exec/signals-are-all-at-their-defaults", |ctx| {
        let container = ctx.sleeper()?;
        let disturbed = [libc::SIGPIPE, libc::SIGHUP, libc::SIGUSR1];
        let status = container
            .rt_exec(&[], &["cat", "/proc/self/status"])
            .signals(&disturbed, &disturbed)
            .ok()?
            .stdout;
        check_eq!(
            signal_set(&status, "SigIgn")?,
            Vec::<u32>::new(),
            "ignored signals"
        );
        check_eq!(
            signal_set(&status, "SigBlk")?,
            Vec::<u32>::new(),
            "blocked signals"
        );
        Ok(())
    })
    .peers(&[("runc", "passes on what its caller ignored")]),
    Test::new("exec/fds-only-the-three", |ctx| {
        let container = ctx.sleeper()?;
        let mut cmd = container.rt_exec(&[], &["/bin/probe", "see", "fds"]);
        for number in [3, 4, 9, 50] {
            cmd = cmd.fd(OwnedFd::from(File::open("/dev/null")?), number);
        }
        let seen = cmd.ok()?.json()?;
        let mut open: Vec<&String> = seen["fds"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(number, _)| number)
            .collect();
        open.sort();
        check_eq!(open, ["0", "1", "2"], "descriptors in {seen}");
        Ok(())
    }),
    Test::new("exec/fds-preserved", |ctx| {
        let container = ctx.sleeper()?;
        let path = ctx.dir.join("three");
        fs::write(&path, "the third\n")?;
        let cmd = container.rt_exec(&["--preserve-fds", "1"], &["sh", "-c", "cat <&3"]);
        check_eq!(
            cmd.fd(OwnedFd::from(File::open(&path)?), 3).ok()?.stdout,
            "the third\n",
            "content"
        );
        Ok(())
    }),
    // The process as a file.
    Test::new("exec/process-file", |ctx| {
        let process = json!({
            "args": ["/bin/probe", "see", "env", "cwd", "ids", "rlimits", "no_new_privs", "caps"], "cwd": "/home/user",
            "env": ["A=1", "PATH=/bin"], "user": {"uid": 1000, "gid": 1001, "additionalGids": [7]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}], "noNewPrivileges": true,
            "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                             "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
        });
        let seen = process_file(ctx, &process)?;
        let mut env = strings(&seen["env"]);
        env.retain(|entry| !entry.starts_with("HOME="));
        check_eq!(env, ["A=1", "PATH=/bin"], "environment");
        check_eq!(seen["cwd"], "/home/user", "cwd");
        check_eq!(seen["ids"]["uid"][0], 1000, "uid");
        check_eq!(seen["ids"]["gid"][0], 1001, "gid");
        check_eq!(numbers(&seen["ids"]["groups"]), [7], "groups");
        check_eq!(seen["rlimits"]["NOFILE"], json!([55, 66]), "open files");
        check_eq!(seen["no_new_privs"], 1, "no_new_privs");
        check_eq!(seen["caps"]["effective"], json!(["KILL"]), "capabilities");
        Ok(())
    }).peers(&[("runc", "at times its language's start-up raises the soft limit of open files")]),
    Test::new("exec/process-file-without-capabilities-has-none", |ctx| {
        let process = json!({"args": ["/bin/probe", "see", "caps"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
        let seen = process_file(ctx, &process)?;
        check_eq!(seen["caps"]["effective"], json!([]), "effective");
        check_eq!(seen["caps"]["inheritable"], json!([]), "inheritable");
        Ok(())
    }).peers(&[("runc", "falls back to the container's"), ("crun", "falls back to the container's")]),
    Test::new("exec/process-file-detached", |ctx| {
        let container = ctx.sleeper()?;
        let file = ctx.dir.join("process.json");
        let process = json!({"args": ["sh", "-c", "echo > /tmp/ran; sleep 1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
        fs::write(&file, process.to_string())?;
        let pid_file = ctx.dir.join("pid");
        let cmd = ctx
            .rt(["exec", "--process"])
            .arg(&file)
            .arg("--detach")
            .arg("--pid-file")
            .arg(&pid_file);
        cmd.arg(&container.id).ok()?.silent()?;
        container.await_file("/tmp/ran")?;
        let pid: i32 = fs::read_to_string(&pid_file)?.parse()?;
        check!(
            status_field(pid, "NSpid")?.split_whitespace().count() >= 2,
            "process {pid} is in no pid namespace"
        );
        Ok(())
    }),
    Test::new("exec/process-file-invalid", |ctx| {
        let container = ctx.sleeper()?;
        let file = ctx.dir.join("process.json");
        fs::write(&file, "{ oops")?;
        ctx.rt(["exec", "--process"])
            .arg(&file)
            .arg(&container.id)
            .output()?
            .fails()
            .map(drop)
    }),
    // States of the container.
    Test::new("exec/in-a-created-container", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["sleep", "1000"]);
        let container = ctx.container(&bundle)?;
        container.create()?;
        check_eq!(
            container.exec(&["echo", "early"])?.ok()?.stdout,
            "early\n",
            "output"
        );
        container.start()?;
        check_eq!(container.status()?, "running", "status");
        Ok(())
    }),
    Test::new("exec/in-a-paused-container-with-ignore-paused", |ctx| {
        let container = ctx.sleeper()?;
        container.rt("pause", &[]).ok()?;
        let spawned = container
            .rt_exec(&["--ignore-paused"], &["echo", "thawed"])
            .spawn()?;
        std::thread::sleep(Duration::from_millis(300));
        container.rt("resume", &[]).ok()?;
        check_eq!(spawned.wait()?.ok()?.stdout, "thawed\n", "output");
        Ok(())
    })
    .peers(&[("crun", "1.8 does not know it")]),
    Test::new("exec/init-stays-when-exec-ends", |ctx| {
        let container = ctx.sleeper()?;
        for _ in 0..5 {
            container.exec(&["true"])?.ok()?;
        }
        check_eq!(container.status()?, "running", "status");
        Ok(())
    }),
    Test::new("exec/killed-with-the-container", |ctx| {
        let container = ctx.sleeper()?;
        let spawned = container
            .rt_exec(&[], &["sh", "-c", "echo > /tmp/ready; exec sleep 1000"])
            .spawn()?;
        container.await_file("/tmp/ready")?;
        container.kill("KILL")?;
        spawned.wait()?.exits(137).map(drop)
    }),
    Test::new("exec/in-a-sub-cgroup", sub_cgroup).peers(&[("crun", "wants a path without a slash")]),
    Test::new("exec/in-a-sub-cgroup-that-escapes-is-refused", |ctx| {
        let container = ctx.sleeper()?;
        container
            .rt_exec(&["--cgroup", "../../../"], &["true"])
            .output()?
            .fails()
            .map(drop)
    }),
    Test::new("exec/without-a-program-is-refused", |ctx| {
        let container = ctx.sleeper()?;
        ctx.rt(["exec", &container.id]).output()?.fails().map(drop)
    }),
    Test::new("exec/flags-after-the-id-are-the-programs", |ctx| {
        let container = ctx.sleeper()?;
        check_eq!(
            container
                .exec(&["echo", "-d", "--tty", "--pid-file"])?
                .ok()?
                .stdout,
            "-d --tty --pid-file\n",
            "output"
        );
        Ok(())
    }),
    Test::new("exec/dash-dash-before-the-program", |ctx| {
        let container = ctx.sleeper()?;
        let output = ctx.rt(["exec", "--", &container.id, "echo", "fine"]).ok()?;
        check_eq!(output.stdout, "fine\n", "output");
        Ok(())
    }),
    Test::new("exec/program-that-only-the-user-may-execute", |ctx| {
        let container = ctx.sleeper()?;
        container
            .bundle
            .file("/opt/mine", "#!/bin/sh\necho mine\n", 0o700)?;
        std::os::unix::fs::chown(container.bundle.rootfs().join("opt/mine"), Some(1000), Some(1000))?;
        fs::set_permissions(
            container.bundle.rootfs().join("opt"),
            fs::Permissions::from_mode(0o755),
        )?;
        check_eq!(
            container
                .rt_exec(&["--user", "1000:1000"], &["/opt/mine"])
                .ok()?
                .stdout,
            "mine\n",
            "output"
        );
        Ok(())
    }),
    Test::new("exec/sixteen-at-once", |ctx| {
        let container = ctx.sleeper()?;
        let commands: Outcome<Vec<_>> = (0..16)
            .map(|i| {
                container
                    .rt_exec(&[], &["sh", "-c", &format!("exit {i}")])
                    .spawn()
            })
            .collect();
        for (i, spawned) in commands?.into_iter().enumerate() {
            spawned.wait()?.exits(i as i32)?;
        }
        Ok(())
    }),
];

fn user(ctx: &Ctx, options: &[&str], uid: i64, gid: i64, groups: &[i64]) -> Outcome {
    let container = ctx.sleeper()?;
    let seen = container.probe(options, &["see", "ids"])?;
    check_eq!(numbers(&seen["ids"]["uid"]), [uid; 4], "user ids");
    check_eq!(numbers(&seen["ids"]["gid"]), [gid; 4], "group ids");
    check_eq!(numbers(&seen["ids"]["groups"]), groups, "supplementary groups");
    Ok(())
}

fn no_user(ctx: &Ctx, user: &str) -> Outcome {
    let container = ctx.sleeper()?;
    // Whatever it says, it must not run as root.
    let output = container
        .rt_exec(&["--user", user], &["id", "-u"])
        .output()?
        .fails()?;
    check_eq!(
        output.stdout.trim().parse::<u32>().ok(),
        None,
        "the user id that it ran with"
    );
    Ok(())
}

fn process_file(ctx: &Ctx, process: &Value) -> Outcome<Value> {
    let container: Container = ctx.sleeper()?;
    let file = ctx.dir.join("process.json");
    fs::write(&file, process.to_string())?;
    ctx.rt(["exec", "--process"])
        .arg(&file)
        .arg(&container.id)
        .ok()?
        .json()
}

fn sub_cgroup(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    let controller = if ctx.host.pure_v2() { "" } else { "pids" };
    let sub = container.cgroup(controller)?.join("sub");
    fs::create_dir(&sub)?;
    let option = if ctx.host.pure_v2() {
        "sub".to_string()
    } else {
        format!("{controller}:sub")
    };
    let pid_file = ctx.dir.join("pid");
    let options = [
        "--cgroup",
        &option,
        "--detach",
        "--pid-file",
        pid_file.to_str().unwrap_or_default(),
    ];
    container.rt_exec(&options, &["sleep", "1000"]).ok()?;
    await_path(&pid_file)?;
    let procs = fs::read_to_string(sub.join("cgroup.procs"))?;
    check_eq!(
        procs.trim(),
        fs::read_to_string(&pid_file)?,
        "processes in the sub-cgroup"
    );
    Ok(())
}
