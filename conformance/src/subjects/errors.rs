//! The errors that a user meets: each is one line, naming what is wrong and where.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Bundle, Container, Ctx, Outcome, Output, Test};
use crate::{check, check_eq};

const NO_POSITION: &str = "says neither line nor column";

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("errors/no-config-json", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        fs::remove_file(container.bundle.config_path())?;
        one_line(container.rt_create(&[]).output()?, 1, &["config.json"])
    }),
    Test::new("errors/no-bundle-directory", |ctx| {
        let missing = ctx.dir.join("missing");
        let id = ctx.fresh_id();
        let output = ctx.rt(["create", "--bundle"]).arg(&missing).arg(&id).output()?;
        one_line(output, 1, &["missing"])
    }),
    Test::new("errors/invalid-json-has-line-and-column", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        fs::write(
            container.bundle.config_path(),
            "{\n  \"ociVersion\": \"1.0.2\",\n  \"process\": oops\n}\n",
        )?;
        one_line(
            container.rt_create(&[]).output()?,
            1,
            &["config.json", "line 3", "column 14"],
        )
    })
    .peers(&[("runc", NO_POSITION), ("crun", NO_POSITION)]),
    Test::new("errors/wrong-type-has-line-and-column", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        fs::write(
            container.bundle.config_path(),
            "{\n  \"ociVersion\": \"1.0.2\",\n  \"hostname\": 7\n}\n",
        )?;
        one_line(
            container.rt_create(&[]).output()?,
            1,
            &["config.json", "line 3", "column"],
        )
    })
    .peers(&[("runc", NO_POSITION), ("crun", NO_POSITION)]),
    Test::new("errors/empty-config", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        fs::write(container.bundle.config_path(), "")?;
        one_line(container.rt_create(&[]).output()?, 1, &["config.json"])
    })
    .peers(&[("runc", "does not name the file")]),
    Test::new("errors/no-root", |ctx| {
        refused(ctx, |b| b.remove("/root"), &["root"])
    }),
    Test::new("errors/no-root-path", |ctx| {
        refused(ctx, |b| b.set("/root", json!({})), &["root.path"])
    })
    .peers(&[
        ("runc", "takes the bundle for the root"),
        ("crun", "takes the bundle for the root"),
    ]),
    Test::new("errors/rootfs-absent", |ctx| {
        refused(
            ctx,
            |b| b.set("/root/path", json!("nowhere")),
            &["nowhere", "no such file"],
        )
    }),
    Test::new("errors/rootfs-is-a-file", |ctx| {
        refused(
            ctx,
            |b| b.set("/root/path", json!("config.json")),
            &["config.json", "not a directory"],
        )
    })
    .peers(&[
        ("runc", "blames its own executable"),
        ("crun", "reports a system call only"),
    ]),
    Test::new("errors/no-process", |ctx| {
        refused(ctx, |b| b.remove("/process"), &["process"])
    })
    .peers(&[("crun", "reports an internal error")]),
    Test::new("errors/args-empty", |ctx| {
        refused(ctx, |b| b.set("/process/args", json!([])), &["args"])
    })
    .peers(&[("crun", "reports what execve says")]),
    Test::new("errors/args-absent", |ctx| {
        refused(ctx, |b| b.remove("/process/args"), &["args"])
    })
    .peers(&[("crun", "creates it, start fails")]),
    Test::new("errors/cwd-absent", |ctx| {
        refused(ctx, |b| b.remove("/process/cwd"), &["cwd"])
    })
    .peers(&[("crun", "does not say what is missing")]),
    Test::new("errors/cwd-relative", |ctx| {
        refused(ctx, |b| b.set("/process/cwd", json!("tmp")), &["cwd"])
    })
    .peers(&[("crun", "takes it as relative to the root")]),
    Test::new("errors/executable-not-found", |ctx| {
        program(
            ctx,
            &["nosuchtool"],
            &["nosuchtool", "executable file not found in $PATH"],
        )
    })
    .peers(&[("crun", "quotes the name with other words")]),
    Test::new("errors/executable-absent", |ctx| {
        program(
            ctx,
            &["/bin/nosuchtool"],
            &["/bin/nosuchtool", "no such file or directory"],
        )
    }),
    Test::new("errors/executable-not-executable", |ctx| {
        program(ctx, &["/etc/passwd"], &["/etc/passwd", "permission denied"])
    })
    .peers(&[("crun", "does not name the program")]),
    Test::new("errors/executable-is-a-directory", |ctx| {
        program(ctx, &["/etc"], &["/etc"])
    })
    .peers(&[("crun", "does not name the program")]),
    Test::new("errors/executable-has-no-format", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.file("/bin/garbage", "\u{1}\u{2}garbage", 0o755)?;
        bundle.args(&["/bin/garbage"]);
        let output = ctx.run(&bundle)?;
        one_line(output, 1, &["/bin/garbage", "exec format error"])
    }),
    Test::new("errors/id-taken", |ctx| {
        let container = ctx.sleeper()?;
        let id = container.id.clone();
        one_line(container.rt_create(&[]).output()?, 1, &[&id, "exist"])
    })
    .peers(&[("runc", "does not name the id")]),
    Test::new("errors/id-with-slash", |ctx| bad_id(ctx, "a/b"))
        .peers(&[("crun", "reports the state directory instead")]),
    Test::new("errors/id-dot-dot", |ctx| bad_id(ctx, "..")).peers(&[("crun", "says that it exists")]),
    Test::new("errors/id-with-space", |ctx| bad_id(ctx, "a b"))
        .peers(&[("crun", "allows everything but a slash")]),
    Test::new("errors/id-with-newline", |ctx| bad_id(ctx, "a\nb"))
        .peers(&[("crun", "allows everything but a slash")]),
    Test::new("errors/id-empty", |ctx| bad_id(ctx, ""))
        .peers(&[("crun", "makes a container without a name")]),
    Test::new("errors/id-unknown-state", |ctx| unknown_id(ctx, &["state"]))
        .peers(&[("crun", "reports the file of its state instead")]),
    Test::new("errors/id-unknown-start", |ctx| unknown_id(ctx, &["start"]))
        .peers(&[("crun", "reports the file of its state instead")]),
    Test::new("errors/id-unknown-kill", |ctx| unknown_id(ctx, &["kill"]))
        .peers(&[("crun", "reports the file of its state instead")]),
    Test::new("errors/id-unknown-delete", |ctx| unknown_id(ctx, &["delete"]))
        .peers(&[("crun", "reports the file of its state instead")]),
    Test::new("errors/id-unknown-pause", |ctx| unknown_id(ctx, &["pause"]))
        .peers(&[("crun", "reports the file of its state instead")]),
    Test::new("errors/id-unknown-resume", |ctx| unknown_id(ctx, &["resume"]))
        .peers(&[("crun", "reports the file of its state instead")]),
    Test::new("errors/id-unknown-ps", |ctx| unknown_id(ctx, &["ps"]))
        .peers(&[("crun", "reports the file of its state instead")]),
    Test::new("errors/id-unknown-update", |ctx| {
        unknown_id(ctx, &["update", "--pids-limit=9"])
    })
    .peers(&[("crun", "reports the file of its state instead")]),
    Test::new("errors/id-unknown-exec", |ctx| {
        let id = ctx.fresh("none");
        one_line(ctx.rt(["exec", &id, "true"]).output()?, 255, &[&id, "not exist"])
    })
    .peers(&[("runc", "does not name the id"), ("crun", "its code is 1")]),
    Test::new("errors/start-of-a-running-container", |ctx| {
        let container = ctx.sleeper()?;
        one_line_of(&container, container.rt("start", &[]).output()?, 1, &["running"])
    })
    .peers(&[
        ("runc", "does not name the id"),
        ("crun", "says what its fifo said"),
    ]),
    Test::new("errors/start-of-a-stopped-container", |ctx| {
        let container = ctx.sleeper()?;
        container.stop()?;
        one_line_of(&container, container.rt("start", &[]).output()?, 1, &["stopped"])
    })
    .peers(&[
        ("runc", "does not name the id"),
        ("crun", "says that it is not running"),
    ]),
    Test::new("errors/start-after-init-was-killed", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["sleep", "1000"]);
        let container = ctx.container(&bundle)?;
        container.create()?.stop()?;
        one_line_of(&container, container.rt("start", &[]).output()?, 1, &["stopped"])
    })
    .peers(&[
        ("runc", "does not name the id"),
        ("crun", "says that it is not running"),
    ]),
    Test::new("errors/kill-of-a-stopped-container", |ctx| {
        let container = ctx.sleeper()?;
        container.stop()?;
        one_line_of(
            &container,
            container.rt("kill", &["TERM"]).output()?,
            1,
            &["container not running"],
        )
    })
    .peers(&[
        ("runc", "does not name the id"),
        ("crun", "says which pid it looked for"),
    ]),
    Test::new("errors/delete-of-a-running-container", |ctx| {
        let container = ctx.sleeper()?;
        let output = container.rt("delete", &[]).output()?;
        one_line_of(&container, output, 1, &["is not stopped", "running"])?;
        check_eq!(container.status()?, "running", "status after the refusal");
        Ok(())
    })
    .peers(&[("crun", "its words differ")]),
    Test::new("errors/exec-in-a-stopped-container", |ctx| {
        let container = ctx.sleeper()?;
        container.stop()?;
        one_line_of(&container, container.exec(&["true"])?, 255, &["stopped"])
    })
    .peers(&[("runc", "does not name the id"), ("crun", "its code is 1")]),
    Test::new("errors/exec-in-a-paused-container", |ctx| {
        let container = ctx.sleeper()?;
        container.rt("pause", &[]).ok()?;
        one_line_of(&container, container.exec(&["true"])?, 255, &["paused"])
    })
    .peers(&[("runc", "does not name the id"), ("crun", "its code is 1")]),
    Test::new("errors/exec-not-found", |ctx| {
        let container = ctx.sleeper()?;
        let needles = ["nosuchtool", "executable file not found in $PATH"];
        one_line(container.exec(&["nosuchtool"])?, 255, &needles)
    })
    .peers(&[("crun", "quotes the name with other words")]),
    Test::new("errors/exec-not-executable", |ctx| {
        let container = ctx.sleeper()?;
        one_line(
            container.exec(&["/etc/passwd"])?,
            255,
            &["/etc/passwd", "permission denied"],
        )
    })
    .peers(&[("crun", "does not name the program")]),
    Test::new("errors/namespace-path-absent", |ctx| {
        refused(
            ctx,
            |b| b.namespace("network", Some("/nowhere/net")),
            &["/nowhere/net", "no such file"],
        )
    }),
    Test::new("errors/namespace-of-another-kind", |ctx| {
        refused(
            ctx,
            |b| b.namespace("network", Some("/proc/self/ns/uts")),
            &["/proc/self/ns/uts"],
        )
    })
    .peers(&[
        ("runc", "prints several lines, none with the path"),
        ("crun", "says at times only that its socket was closed"),
    ]),
    Test::new("errors/namespace-twice", |ctx| {
        refused(
            ctx,
            |b| b.push("/linux/namespaces", json!({"type": "pid"})),
            &["pid"],
        )
    })
    .peers(&[("crun", "takes it")]),
    Test::new("errors/namespace-unknown", |ctx| {
        refused(ctx, |b| b.namespace("flavour", None), &["flavour", "namespace"])
    }),
    Test::new("errors/mount-source-absent", |ctx| {
        refused(
            ctx,
            |b| b.mount("/tmp/x", "bind", "/nowhere/source", &["bind"]),
            &["/nowhere/source", "no such file"],
        )
    }),
    Test::new("errors/mount-unknown-file-system", |ctx| {
        refused(
            ctx,
            |b| b.mount("/tmp", "nosuchfs", "none", &[]),
            &["nosuchfs", "/tmp"],
        )
    })
    .peers(&[
        ("runc", "does not name the file system"),
        ("crun", "names the destination only"),
    ]),
    Test::new("errors/mount-bad-data", |ctx| {
        refused(
            ctx,
            |b| b.mount("/tmp", "tmpfs", "tmpfs", &["size=lots"]),
            &["/tmp", "invalid argument"],
        )
    })
    .peers(&[("crun", "drops the leading slash")]),
    Test::new("errors/mount-without-destination", |ctx| {
        refused(
            ctx,
            |b| b.push("/mounts", json!({"type": "tmpfs", "source": "tmpfs"})),
            &["destination"],
        )
    })
    .peers(&[
        ("runc", "mounts it on the root"),
        ("crun", "does not say what is missing"),
    ]),
    Test::new("errors/rlimit-unknown", |ctx| {
        let limit = json!({"type": "RLIMIT_FLAVOUR", "soft": 1, "hard": 1});
        refused(
            ctx,
            |b| b.push("/process/rlimits", limit.clone()),
            &["RLIMIT_FLAVOUR"],
        )
    }),
    Test::new("errors/rlimit-soft-over-hard", |ctx| {
        let limit = json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]);
        refused(ctx, |b| b.set("/process/rlimits", limit.clone()), &["rlimit"])
    }),
    Test::new("errors/device-type-unknown", |ctx| {
        let device = json!({"path": "/dev/odd", "type": "q", "major": 1, "minor": 3});
        refused(
            ctx,
            |b| b.push("/linux/devices", device.clone()),
            &["device", "\"q"],
        )
    })
    .peers(&[("crun", "takes it")]),
    Test::new("errors/hook-absent", |ctx| {
        let hook = json!([{"path": "/nowhere/hook"}]);
        refused(
            ctx,
            |b| b.set("/hooks/createRuntime", hook.clone()),
            &["/nowhere/hook", "createRuntime"],
        )
    })
    .peers(&[
        ("runc", "does not name the hook"),
        ("crun", "does not name the hook"),
    ]),
    Test::new("errors/seccomp-unknown-action", |ctx| {
        let profile = json!({"defaultAction": "SCMP_ACT_FLAVOUR"});
        refused(
            ctx,
            |b| b.set("/linux/seccomp", profile.clone()),
            &["SCMP_ACT_FLAVOUR"],
        )
    }),
    Test::new("errors/not-enough-privilege-as-a-user", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        fs::set_permissions(&ctx.dir, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        // A copy, as the user may not be allowed to go to where the original is.
        let runtime = ctx.dir.join(&ctx.runtime_name);
        fs::copy(&ctx.runtime, &runtime)?;
        let create = ctx
            .command(&runtime)
            .arg("--root")
            .arg(&ctx.root)
            .args(["create", "--bundle"]);
        let create = create.arg(&container.bundle.dir).arg(&container.id);
        let output = create.user(1000, 1000).output()?;
        check!(
            output.stderr.contains("user namespace") || output.stderr.contains("CAP_"),
            "{:?}",
            output.stderr
        );
        one_line(output, 1, &[])
    })
    .peers(&[("crun", "reports the cgroup file instead")]),
    Test::new("errors/not-enough-privilege-as-root", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        // 21 is CAP_SYS_ADMIN. A program that root executes gets what its bounding set has.
        let output = container.rt_create(&[]).without_capability(21).output()?;
        one_line(output, 1, &["CAP_SYS_ADMIN"])
    })
    .peers(&[
        ("runc", "prints several lines, none with the capability"),
        ("crun", "names the step only"),
    ]),
    Test::new("errors/unsupported-kernel", unsupported_kernel).peers(&[
        ("runc", "works with older calls"),
        ("crun", "works with older calls"),
    ]),
];

/// One line on stderr, nothing on stdout, this code, and each of the words in the line.
pub fn one_line(output: Output, code: i32, needles: &[&str]) -> Outcome {
    let output = output.exits(code)?;
    check_eq!(
        output.stderr.trim_end().lines().count(),
        1,
        "lines of stderr {:?}",
        output.stderr
    );
    check_eq!(output.stdout, "", "stdout");
    let line = output.stderr.to_lowercase();
    for needle in needles {
        check!(
            line.contains(&needle.to_lowercase()),
            "the line does not say {needle:?}: {:?}",
            output.stderr
        );
    }
    Ok(())
}

/// As [`one_line`], and the container's id is in the line, too.
fn one_line_of(container: &Container, output: Output, code: i32, needles: &[&str]) -> Outcome {
    let mut needles = needles.to_vec();
    needles.push(&container.id);
    one_line(output, code, &needles)
}

/// A bundle with this change is refused by create with one line with these words, and nothing remains.
fn refused(ctx: &Ctx, change: impl Fn(&mut Bundle) -> &mut Bundle, needles: &[&str]) -> Outcome {
    let mut bundle = ctx.bundle()?;
    change(&mut bundle);
    let container = ctx.container(&bundle)?;
    one_line(container.rt_create(&[]).output()?, 1, needles)?;
    check!(
        !ctx.root.join(&container.id).exists(),
        "the refused container has a state directory"
    );
    Ok(())
}

/// A program that cannot be executed is refused by create or start with one line with these words.
fn program(ctx: &Ctx, args: &[&str], needles: &[&str]) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(args);
    one_line(ctx.run(&bundle)?, 1, needles)
}

/// An id that no verb takes, and that touches nothing.
fn bad_id(ctx: &Ctx, id: &str) -> Outcome {
    let container = ctx.container(&ctx.bundle()?)?;
    let output = ctx
        .rt(["create", "--bundle"])
        .arg(&container.bundle.dir)
        .arg(id)
        .output()?;
    one_line(output, 1, &["id"])?;
    // Whatever the message, forced deletion must not touch what such an id seems to name.
    let precious = ctx.dir.join("precious");
    fs::create_dir(&precious)?;
    fs::write(precious.join("file"), "")?;
    ctx.rt(["delete", "--force", id]).output()?;
    check!(
        precious.join("file").exists() && Path::new(&container.bundle.dir).exists(),
        "something was deleted"
    );
    Ok(())
}

fn unknown_id(ctx: &Ctx, command: &[&str]) -> Outcome {
    let id = ctx.fresh("none");
    let output = ctx.rt(command).arg(&id).output()?;
    // runc's callers match these words.
    one_line(output, 1, &["not exist"])
}

/// As on a kernel that lacks the mount calls that came with 5.2, 5.6 and 5.12.
fn unsupported_kernel(ctx: &Ctx) -> Outcome {
    let container = ctx.container(&ctx.bundle()?)?;
    let calls = [
        libc::SYS_open_tree,
        libc::SYS_mount_setattr,
        libc::SYS_openat2,
        libc::SYS_move_mount,
    ];
    let output = container.rt_create(&[]).without_syscalls(&calls).output()?;
    one_line(output, 1, &["kernel"])
}
