//! The six kinds of hooks: when they run, what they are given and see, what their failures do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Bundle, Container, Ctx, Outcome, Test};
use crate::{check, check_eq};

/// All kinds, in the order in which they run.
const KINDS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

const NO_TIMEOUT: &str = "the hook's children keep it waiting";

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("hooks/order", order).peers(&[
        ("runc", "1.1 runs poststart as a part of create"),
        ("crun", "dies of SIGPIPE when a hook does not read its state"),
    ]),
    Test::new("hooks/several-of-a-kind-run-in-order", |ctx| {
        let mut bundle = ctx.bundle()?;
        let log = ctx.dir.join("log");
        for name in ["first", "second", "third"] {
            let script = format!("echo {name} >> {}", log.display());
            bundle.push("/hooks/createRuntime", shell(&script));
        }
        bundle.args(&["true"]);
        ctx.run(&bundle)?.ok()?;
        check_eq!(fs::read_to_string(&log)?, "first\nsecond\nthird\n", "order");
        Ok(())
    }),
    Test::new("hooks/without-a-mount-namespace", |ctx| {
        let mut bundle = ctx.bundle()?;
        let log = ctx.dir.join("log");
        for kind in ["prestart", "createRuntime", "createContainer"] {
            let script = format!("echo {kind} >> {}", log.display());
            bundle.push(&format!("/hooks/{kind}"), shell(&script));
        }
        bundle
            .without_namespace("mount")
            .set("/root/readonly", json!(false))
            .args(&["sleep", "1000"]);
        for part in ["/mounts", "/linux/maskedPaths", "/linux/readonlyPaths"] {
            bundle.set(part, json!([]));
        }
        bundle.file("inside", "of the container", 0o644)?;
        let container = ctx.started(&bundle)?;
        check_eq!(
            fs::read_to_string(&log)?,
            "prestart\ncreateRuntime\ncreateContainer\n",
            "hooks"
        );
        // Its root is reached by chroot, for whoever joins it as well.
        let seen = container.exec(&["cat", "/inside"])?;
        check_eq!(seen.ok()?.stdout, "of the container", "exec");
        Ok(())
    })
    .peers(&[
        (
            "runc",
            "refuses a configuration without a mount namespace, or runs exec outside of the root",
        ),
        ("crun", "runs exec outside of the root"),
    ]),
    Test::new("hooks/prestart-is-given-the-state", |ctx| {
        state(ctx, "prestart", &["creating", "created"])
    }),
    Test::new("hooks/create-runtime-is-given-the-state", |ctx| {
        state(ctx, "createRuntime", &["creating", "created"])
    }),
    Test::new("hooks/create-container-is-given-the-state", |ctx| {
        state(ctx, "createContainer", &["creating", "created"])
    })
    .peers(&[("crun", "gives the pid 0")]),
    Test::new("hooks/start-container-is-given-the-state", |ctx| {
        state(ctx, "startContainer", &["created", "creating"])
    })
    .peers(&[("crun", "gives the bundle as /")]),
    Test::new("hooks/poststart-is-given-the-state", |ctx| {
        state(ctx, "poststart", &["running"])
    })
    .peers(&[("runc", "1.1 calls the container created")]),
    Test::new("hooks/poststop-is-given-the-state", |ctx| {
        state(ctx, "poststop", &["stopped"])
    }),
    Test::new("hooks/args-are-passed-verbatim", |ctx| {
        let mut bundle = ctx.bundle()?;
        let out = ctx.dir.join("out");
        let script = format!("printf '%s|' \"$0\" \"$@\" > {}", out.display());
        bundle.push(
            "/hooks/createRuntime",
            json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "a b", "", "c"]}),
        );
        bundle.args(&["true"]);
        ctx.run(&bundle)?.ok()?;
        check_eq!(fs::read_to_string(&out)?, "zero|a b||c|", "arguments");
        Ok(())
    }),
    Test::new("hooks/environment-is-the-hooks-own", |ctx| {
        let mut bundle = ctx.bundle()?;
        let out = ctx.dir.join("out");
        let script = format!("cat /proc/self/environ | tr '\\0' '\\n' > {}", out.display());
        let mut hook = shell(&script);
        hook["env"] = json!(["ONLY=this", "PATH=/usr/bin:/bin"]);
        bundle.push("/hooks/createRuntime", hook).args(&["true"]);
        ctx.container(&bundle)?
            .rt_run(&[])
            .env("SECRET_OF_THE_CALLER", "1")
            .ok()?;
        let text = fs::read_to_string(&out)?;
        check!(text.contains("ONLY=this"), "{text:?}");
        check!(!text.contains("SECRET"), "the caller's environment: {text:?}");
        Ok(())
    }),
    Test::new("hooks/create-runtime-is-in-the-runtimes-namespaces", |ctx| {
        let seen = namespaces_of(ctx, "createRuntime")?;
        check_eq!(seen, own_mount_namespace()?, "mount namespace");
        Ok(())
    }),
    Test::new("hooks/create-container-is-in-the-containers-namespaces", |ctx| {
        let seen = namespaces_of(ctx, "createContainer")?;
        check!(
            seen != own_mount_namespace()?,
            "it runs in the mount namespace of the runtime"
        );
        Ok(())
    }),
    Test::new("hooks/create-container-sees-the-hosts-root", |ctx| {
        // It runs before pivot_root, and its path is the host's.
        let mut bundle = ctx.bundle()?;
        let out = ctx.dir.join("out");
        let script = format!("test -d {} && echo host > {}", ctx.dir.display(), out.display());
        bundle
            .push("/hooks/createContainer", shell(&script))
            .args(&["true"]);
        ctx.run(&bundle)?.ok()?;
        check_eq!(fs::read_to_string(&out)?, "host\n", "what it sees");
        Ok(())
    }),
    Test::new("hooks/start-container-sees-the-containers-root", |ctx| {
        let mut bundle = ctx.bundle()?;
        let script = format!(
            "test -d {} && echo host > /tmp/out || echo container > /tmp/out; hostname >> /tmp/out",
            ctx.dir.display()
        );
        bundle
            .push("/hooks/startContainer", shell(&script))
            .args(&["true"]);
        ctx.run(&bundle)?.ok()?;
        let text = fs::read_to_string(bundle.rootfs().join("tmp/out"))?;
        check_eq!(text, "container\nconformance\n", "what it sees");
        Ok(())
    }),
    Test::new("hooks/start-container-runs-before-the-program", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .push("/hooks/startContainer", shell("echo hook > /tmp/out"))
            .script("cat /tmp/out");
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "hook\n", "output");
        Ok(())
    }),
    Test::new("hooks/create-runs-the-first-three-only", |ctx| {
        let (container, log) = logging(ctx)?;
        container.create()?;
        check_eq!(
            read(&log),
            "prestart createRuntime createContainer",
            "hooks after create"
        );
        Ok(())
    })
    .peers(&[("runc", "1.1 runs poststart as a part of create")]),
    Test::new("hooks/network-can-be-set-up-by-create-runtime", |ctx| {
        // What CNI callers do: the state's pid names the network namespace.
        let mut bundle = ctx.bundle()?;
        let script = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); exec nsenter --net=/proc/$pid/ns/net ip addr add 10.99.88.77/24 dev lo";
        bundle.push("/hooks/createRuntime", shell(script)).args(&[
            "grep",
            "-q",
            "10.99.88.77",
            "/proc/net/fib_trie",
        ]);
        ctx.run(&bundle)?.ok().map(drop)
    }),
    // Failures.
    Test::new("hooks/prestart-failure-aborts-create", |ctx| {
        aborts(ctx, "prestart")
    })
    .peers(&[("crun", "its code is 255")]),
    Test::new("hooks/create-runtime-failure-aborts-create", |ctx| {
        aborts(ctx, "createRuntime")
    })
    .peers(&[("crun", "its code is 255")]),
    Test::new("hooks/create-container-failure-aborts-create", |ctx| {
        aborts(ctx, "createContainer")
    }),
    Test::new("hooks/start-container-failure-aborts-start", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .push("/hooks/startContainer", shell("exit 3"))
            .script("touch /tmp/ran; sleep 1000");
        let container = ctx.container(&bundle)?;
        container.create()?;
        container.rt("start", &[]).output()?.fails()?;
        container.await_status("stopped")?;
        check!(!bundle.rootfs().join("tmp/ran").exists(), "the program ran");
        Ok(())
    })
    .peers(&[
        ("runc", "start does not learn of it"),
        ("crun", "start does not learn of it"),
    ]),
    Test::new("hooks/poststop-failure-does-not-stop-delete", |ctx| {
        let mut bundle = ctx.bundle()?;
        let log = ctx.dir.join("log");
        bundle.push("/hooks/poststop", shell("exit 3"));
        bundle
            .push(
                "/hooks/poststop",
                shell(&format!("echo after >> {}", log.display())),
            )
            .args(&["true"]);
        let container = ctx.started(&bundle)?;
        container.await_status("stopped")?;
        container.delete()?;
        check_eq!(read(&log), "after", "the hook after the failing one");
        Ok(())
    })
    .peers(&[("runc", "stops at the failing one")]),
    Test::new("hooks/failure-names-the-hook-and-its-code", |ctx| {
        let mut bundle = ctx.bundle()?;
        let path = ctx.dir.join("my-hook");
        fs::write(&path, "#!/bin/sh\necho because of this >&2\nexit 3\n")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        bundle
            .push("/hooks/createRuntime", json!({"path": path}))
            .args(&["true"]);
        let output = ctx.run(&bundle)?.fails()?;
        for needle in ["my-hook", "3", "because of this"] {
            check!(
                output.stderr.contains(needle),
                "no {needle:?} in {:?}",
                output.stderr
            );
        }
        Ok(())
    })
    .peers(&[
        ("runc", "does not name the hook"),
        ("crun", "does not pass on what the hook said"),
    ]),
    Test::new("hooks/timeout-ends-the-hook", |ctx| {
        timeout(ctx, "exec sleep 1000")
    }),
    Test::new("hooks/timeout-with-children-that-hold-the-output", |ctx| {
        // What a hook leaves running is its own business, so this test ends it; waiting for it is not.
        let file = ctx.dir.join("child");
        let outcome = timeout(
            ctx,
            &format!("sleep 1000 & echo $! > {}; exec sleep 1000", file.display()),
        );
        let child: i32 = fs::read_to_string(&file)?.trim().parse()?;
        match kill(Pid::from_raw(child), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => outcome,
            Err(errno) => Err(errno.into()),
        }
    })
    .peers(&[("runc", NO_TIMEOUT), ("crun", NO_TIMEOUT)]),
    Test::new("hooks/relative-path-is-refused", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .push("/hooks/createRuntime", json!({"path": "bin/sh"}))
            .args(&["true"]);
        ctx.run(&bundle)?.fails().map(drop)
    }),
];

/// A hook that runs a shell script.
fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A container whose hooks of every kind write their kind to a file. startContainer writes inside the container.
fn logging(ctx: &Ctx) -> Outcome<(Container<'_>, PathBuf)> {
    let mut bundle = ctx.bundle()?;
    let log = ctx.dir.join("log");
    fs::write(&log, "")?;
    // The file is bound into the container, so that every kind reaches it under the same name.
    let name = log.display().to_string();
    bundle.mount(&name, "bind", &name, &["bind"]);
    for kind in KINDS {
        bundle.push(
            &format!("/hooks/{kind}"),
            shell(&format!("echo {kind} >> {name}")),
        );
    }
    bundle.script(&format!("echo program >> {name}"));
    Ok((ctx.container(&bundle)?, log))
}

fn order(ctx: &Ctx) -> Outcome {
    let (container, log) = logging(ctx)?;
    container.create()?.start()?;
    container.await_status("stopped")?;
    container.delete()?;
    let text = read(&log);
    let mut seen: Vec<&str> = text.split(' ').collect();
    // poststart and the program run at the same time.
    seen.retain(|entry| *entry != "program");
    check_eq!(seen, KINDS, "order");
    check!(
        text.contains("startContainer program") || text.contains("startContainer poststart program"),
        "{text}"
    );
    Ok(())
}

/// What a hook of a kind reads from its standard input.
fn state(ctx: &Ctx, kind: &str, statuses: &[&str]) -> Outcome {
    let mut bundle: Bundle = ctx.bundle()?;
    let file = ctx.dir.join("stdin");
    fs::write(&file, "")?;
    let name = file.display().to_string();
    bundle.mount(&name, "bind", &name, &["bind"]);
    bundle.set("/annotations", json!({"org.example": "note"}));
    bundle
        .push(&format!("/hooks/{kind}"), shell(&format!("cat > {name}")))
        .args(&["sleep", "0.2"]);
    let container = ctx.started(&bundle)?;
    let pid = container.pid()?;
    container.await_status("stopped")?;
    container.delete()?;
    let text = fs::read_to_string(&file)?;
    let state: Value = serde_json::from_str(&text)?;
    check_eq!(state["id"], json!(container.id), "id");
    check_eq!(state["bundle"], json!(container.bundle.dir), "bundle");
    check_eq!(state["annotations"]["org.example"], "note", "annotation");
    check!(
        state["ociVersion"]
            .as_str()
            .is_some_and(|version| version.starts_with("1.")),
        "{state}"
    );
    check!(
        statuses.contains(&state["status"].as_str().unwrap_or_default()),
        "status {}",
        state["status"]
    );
    // A hook inside the container's pid namespace may be told the pid that init has there.
    let want: &[i64] = match kind {
        "poststop" => &[0, pid as i64],
        "createContainer" | "startContainer" => &[1, pid as i64],
        _ => &[pid as i64],
    };
    let got = state["pid"].as_i64().unwrap_or_default();
    check!(want.contains(&got), "pid {got}, want one of {want:?}");
    Ok(())
}

fn own_mount_namespace() -> Outcome<String> {
    Ok(fs::read_link("/proc/self/ns/mnt")?.display().to_string())
}

fn namespaces_of(ctx: &Ctx, kind: &str) -> Outcome<String> {
    let mut bundle = ctx.bundle()?;
    let out = ctx.dir.join("out");
    let script = format!("readlink /proc/self/ns/mnt > {}", out.display());
    bundle
        .push(&format!("/hooks/{kind}"), shell(&script))
        .args(&["true"]);
    ctx.run(&bundle)?.ok()?;
    Ok(fs::read_to_string(&out)?.trim().to_string())
}

fn aborts(ctx: &Ctx, kind: &str) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle
        .push(&format!("/hooks/{kind}"), shell("exit 3"))
        .script("touch /tmp/ran");
    let container = ctx.container(&bundle)?;
    container.rt_create(&[]).output()?.exits(1)?;
    container.rt("state", &[]).output()?.fails()?;
    check!(!bundle.rootfs().join("tmp/ran").exists(), "the program ran");
    check!(
        !ctx.root.join(&container.id).exists(),
        "the state directory is still there"
    );
    Ok(())
}

fn timeout(ctx: &Ctx, script: &str) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let mut hook = shell(script);
    hook["timeout"] = json!(1);
    bundle.push("/hooks/createRuntime", hook).args(&["true"]);
    let begin = Instant::now();
    ctx.container(&bundle)?
        .rt_create(&[])
        .deadline(Duration::from_secs(8))
        .output()?
        .fails()?;
    check!(
        begin.elapsed() >= Duration::from_secs(1),
        "it ended before the timeout"
    );
    Ok(())
}
