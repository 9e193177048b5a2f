//! The container's process: arguments, environment, directory, signals, descriptors.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use serde_json::{Value, json};

use crate::harness::seen::{signal_set, strings};
use crate::harness::{Ctx, Outcome, Test};
use crate::{check, check_eq};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("process/args-are-passed-verbatim", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["printf", "[%s]", "", "a b", "$HOME", "\u{e9}\n", "-x"]);
        check_eq!(
            ctx.run(&bundle)?.ok()?.stdout,
            "[][a b][$HOME][\u{e9}\n][-x]",
            "what printf got"
        );
        Ok(())
    }),
    Test::new("process/is-pid-1-and-leads-a-session", |ctx| {
        let seen = ctx.fact("pids", |b| b)?;
        check_eq!(
            seen,
            json!({"pid": 1, "ppid": 0, "pgid": 1, "sid": 1}),
            "ids of the process"
        );
        Ok(())
    }),
    Test::new("process/nothing-else-runs-inside", |ctx| {
        check_eq!(ctx.fact("processes", |b| b)?, json!([1]), "processes");
        Ok(())
    }),
    // Environment.
    Test::new("process/env-is-what-the-config-says", |ctx| {
        let seen = ctx.fact("env", |b| {
            b.set("/process/env", json!(["PATH=/bin", "A=b=c", "EMPTY=", "HOME=/h"]))
        })?;
        let mut seen = strings(&seen);
        seen.sort_unstable();
        check_eq!(seen, ["A=b=c", "EMPTY=", "HOME=/h", "PATH=/bin"], "environment");
        Ok(())
    }),
    Test::new("process/env-nothing-of-the-caller", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["/bin/probe", "see", "env"]);
        let output = ctx
            .container(&bundle)?
            .rt_run(&[])
            .env("SECRET_OF_THE_CALLER", "1")
            .ok()?;
        check!(!output.stdout.contains("SECRET"), "{}", output.stdout);
        Ok(())
    }),
    Test::new("process/env-the-last-one-wins", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .push("/process/env", json!("A=first"))
            .push("/process/env", json!("A=last"));
        bundle.script("echo $A");
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "last\n", "A");
        Ok(())
    }),
    Test::new("process/env-home-from-passwd", |ctx| {
        home(ctx, 1000, None, "/home/user")
    }),
    Test::new("process/env-home-of-root", |ctx| home(ctx, 0, None, "/root")),
    Test::new("process/env-home-empty-counts-as-absent", |ctx| {
        home(ctx, 1000, Some("HOME="), "/home/user")
    })
    .peers(&[("crun", "leaves it empty")]),
    Test::new("process/env-home-given-stays", |ctx| {
        home(ctx, 1000, Some("HOME=/given"), "/given")
    }),
    Test::new("process/env-home-of-an-unknown-user", |ctx| {
        home(ctx, 4711, None, "/")
    })
    .peers(&[("crun", "1.8 sets none")]),
    Test::new("process/path-is-the-containers", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.file("/opt/tools/mytool", "#!/bin/sh\necho found\n", 0o755)?;
        bundle
            .set("/process/env", json!(["PATH=/nowhere:/opt/tools:/bin"]))
            .args(&["mytool"]);
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "found\n", "output");
        Ok(())
    }),
    // Directory.
    Test::new("process/cwd", |ctx| {
        check_eq!(
            ctx.fact("cwd", |b| b.set("/process/cwd", json!("/home/user")))?,
            "/home/user",
            "cwd"
        );
        Ok(())
    }),
    Test::new("process/cwd-missing-is-made", |ctx| {
        check_eq!(
            ctx.fact("cwd", |b| b.set("/process/cwd", json!("/srv/deep/down")))?,
            "/srv/deep/down",
            "cwd"
        );
        Ok(())
    }),
    Test::new("process/cwd-only-the-user-may-enter", private_cwd),
    // Signals.
    Test::new("process/signals-are-all-at-their-defaults", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["cat", "/proc/self/status"]);
        let disturbed = [
            libc::SIGPIPE,
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGUSR1,
            libc::SIGRTMIN() + 3,
        ];
        let status = ctx
            .container(&bundle)?
            .rt_run(&[])
            .signals(&disturbed, &disturbed)
            .ok()?
            .stdout;
        check_eq!(
            signal_set(&status, "SigBlk")?,
            Vec::<u32>::new(),
            "blocked signals"
        );
        check_eq!(
            signal_set(&status, "SigIgn")?,
            Vec::<u32>::new(),
            "ignored signals"
        );
        Ok(())
    })
    .peers(&[("runc", "passes on what its caller ignored")]),
    Test::new("process/signals-of-a-caller-that-uses-posix-spawn", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["cat", "/proc/self/status"]);
        let status = ctx.run(&bundle)?.ok()?.stdout;
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
    .peers(&[
        (
            "runc",
            "leaves 32 and 33 ignored, which glibc's posix_spawn does to its children",
        ),
        (
            "crun",
            "leaves 32 and 33 ignored, which glibc's posix_spawn does to its children",
        ),
    ]),
    // Descriptors.
    Test::new("process/fds-only-the-three", |ctx| {
        let container = ctx.container(&ctx.seeing("fds", |b| b)?)?;
        let mut cmd = container.rt_run(&[]);
        for number in [3, 4, 9, 50] {
            cmd = cmd.fd(OwnedFd::from(File::open("/dev/null")?), number);
        }
        let seen = cmd.ok()?.json()?["fds"].clone();
        check_eq!(fd_numbers(&seen), ["0", "1", "2"], "descriptors in {seen}");
        Ok(())
    }),
    Test::new("process/fds-of-a-created-and-started-container", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.script("/bin/probe see fds > /tmp/seen; mv /tmp/seen /tmp/done");
        let container = ctx.started(&bundle)?;
        container.await_file("/tmp/done")?;
        let seen: Value = serde_json::from_slice(&fs::read(container.bundle.rootfs().join("tmp/done"))?)?;
        check_eq!(fd_numbers(&seen["fds"]), ["0", "1", "2"], "descriptors in {seen}");
        Ok(())
    }),
    Test::new("process/fds-preserved", |ctx| {
        let container = ctx.container(&ctx.seeing("fds", |b| b)?)?;
        let mut cmd = container.rt_run(&["--preserve-fds", "2"]);
        for (number, name) in [(3, "three"), (4, "four"), (5, "five")] {
            let path = ctx.dir.join(name);
            fs::write(&path, name)?;
            cmd = cmd.fd(OwnedFd::from(File::open(&path)?), number);
        }
        let seen = cmd.ok()?.json()?["fds"].clone();
        check_eq!(
            fd_numbers(&seen),
            ["0", "1", "2", "3", "4"],
            "descriptors in {seen}"
        );
        for (number, name) in [("3", "three"), ("4", "four")] {
            let target = seen[number]["target"].as_str().unwrap_or_default();
            check!(target.ends_with(name), "descriptor {number} is {target}");
            check_eq!(seen[number]["cloexec"], false, "close-on-exec of {number}");
        }
        Ok(())
    }),
    Test::new("process/fds-preserved-through-create-and-start", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.script("cat <&3");
        let path = ctx.dir.join("three");
        fs::write(&path, "the third\n")?;
        let container = ctx.container(&bundle)?;
        let created = container
            .rt_create(&["--preserve-fds=1"])
            .fd(OwnedFd::from(File::open(&path)?), 3)
            .ok()?;
        container.start()?;
        container.await_status("stopped")?;
        check_eq!(created.stdout_now(), "the third\n", "output");
        Ok(())
    }),
    Test::new("process/stdio-files-belong-to-the-user", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .script("true");
        let (input, output, error) = (ctx.dir.join("in"), ctx.dir.join("out"), ctx.dir.join("err"));
        let make = |path| File::create(path).map(OwnedFd::from);
        let container = ctx.container(&bundle)?;
        container
            .rt_create(&[])
            .stdio(make(&input)?, make(&output)?, make(&error)?)
            .ok()?;
        for path in [input, output, error] {
            check_eq!(fs::metadata(&path)?.uid(), 1000, "owner of {}", path.display());
        }
        Ok(())
    }),
    Test::new("process/stdio-can-be-reopened-by-the-user", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .script("echo again > /dev/stdout");
        let (reader, writer) = nix::unistd::pipe()?;
        let null = || File::open("/dev/null").map(OwnedFd::from);
        let container = ctx.container(&bundle)?;
        container.rt_create(&[]).stdio(null()?, writer, null()?).ok()?;
        container.start()?;
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text)?;
        check_eq!(text, "again\n", "what came through the pipe");
        Ok(())
    }),
    // Serial: were it wrong, the whole host would have another owner of /dev/null for a moment.
    Test::new("process/dev-null-keeps-its-owner", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .args(&["true"]);
        let null = || {
            File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .map(OwnedFd::from)
        };
        ctx.container(&bundle)?
            .rt_create(&[])
            .stdio(null()?, null()?, null()?)
            .ok()?;
        let owner = fs::metadata("/dev/null")?.uid();
        chown("/dev/null", Some(0), Some(0))?;
        check_eq!(owner, 0, "owner of /dev/null");
        Ok(())
    })
    .serial(),
    Test::new("process/dumpable-and-personality-are-plain", |ctx| {
        check_eq!(ctx.fact("dumpable", |b| b)?, 1, "dumpable");
        check_eq!(ctx.fact("personality", |b| b)?, 0, "personality");
        Ok(())
    }),
];

fn fd_numbers(seen: &Value) -> Vec<String> {
    let mut numbers: Vec<String> = seen
        .as_object()
        .into_iter()
        .flatten()
        .map(|(number, _)| number.clone())
        .collect();
    numbers.sort();
    numbers
}

fn home(ctx: &Ctx, uid: u32, given: Option<&str>, want: &str) -> Outcome {
    let seen = ctx.fact("env", |b| {
        b.set("/process/user", json!({"uid": uid, "gid": uid}));
        if let Some(given) = given {
            b.push("/process/env", json!(given));
        }
        b
    })?;
    let homes: Vec<&str> = strings(&seen)
        .into_iter()
        .filter(|entry| entry.starts_with("HOME="))
        .collect();
    check_eq!(homes, [format!("HOME={want}")], "HOME");
    Ok(())
}

fn private_cwd(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let dir = bundle.dir("/home/user/private")?;
    chown(&dir, Some(1000), Some(1000))?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    bundle
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .capabilities(&[]);
    bundle
        .set("/process/cwd", json!("/home/user/private"))
        .args(&["pwd"]);
    check_eq!(ctx.run(&bundle)?.ok()?.stdout, "/home/user/private\n", "cwd");
    Ok(())
}
