//! The container's process: arguments, environment, identity, limits, capabilities, signals, descriptors.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use serde_json::{Value, json};

use crate::harness::seen::{numbers, signal_set, strings};
use crate::harness::{Bundle, Ctx, Outcome, Test};
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
        let seen = see(ctx, "pids", |_| ())?;
        check_eq!(
            seen,
            json!({"pid": 1, "ppid": 0, "pgid": 1, "sid": 1}),
            "ids of the process"
        );
        Ok(())
    }),
    Test::new("process/nothing-else-runs-inside", |ctx| {
        check_eq!(see(ctx, "processes", |_| ())?, json!([1]), "processes");
        Ok(())
    }),
    // Environment.
    Test::new("process/env-is-what-the-config-says", |ctx| {
        let seen = see(ctx, "env", |b| {
            drop(b.set("/process/env", json!(["PATH=/bin", "A=b=c", "EMPTY=", "HOME=/h"])))
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
            see(ctx, "cwd", |b| drop(b.set("/process/cwd", json!("/home/user"))))?,
            "/home/user",
            "cwd"
        );
        Ok(())
    }),
    Test::new("process/cwd-missing-is-made", |ctx| {
        check_eq!(
            see(ctx, "cwd", |b| drop(
                b.set("/process/cwd", json!("/srv/deep/down"))
            ))?,
            "/srv/deep/down",
            "cwd"
        );
        Ok(())
    }),
    Test::new("process/cwd-only-the-user-may-enter", private_cwd),
    // Identity.
    Test::new("process/user-and-groups", |ctx| {
        let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 2000]});
        ids(ctx, user, 1000, 1001, &[5, 2000])
    }),
    Test::new("process/groups-of-the-caller-are-dropped", |ctx| {
        ids(ctx, json!({"uid": 1000, "gid": 1000}), 1000, 1000, &[])
    }),
    Test::new("process/uid-without-a-passwd-entry", |ctx| {
        ids(ctx, json!({"uid": 123456, "gid": 7}), 123456, 7, &[])
    }),
    Test::new("process/umask-default", |ctx| {
        check_eq!(see(ctx, "umask", |_| ())?, "0022", "umask");
        Ok(())
    }),
    Test::new("process/umask-given", |ctx| {
        check_eq!(
            see(ctx, "umask", |b| drop(b.set("/process/user/umask", json!(0o27))))?,
            "0027",
            "umask"
        );
        Ok(())
    }),
    Test::new("process/umask-of-the-caller-does-not-matter", |ctx| {
        let container = ctx.container(&seeing(ctx, "umask", |_| ())?)?;
        let cmd = ctx
            .command("sh")
            .args(["-c", "umask 077; exec \"$@\"", "sh"])
            .arg(&ctx.runtime)
            .arg("--root");
        let output = cmd
            .arg(&ctx.root)
            .args(["run", "--bundle"])
            .arg(&container.bundle.dir)
            .arg(&container.id)
            .ok()?;
        check_eq!(output.json()?["umask"], "0022", "umask");
        Ok(())
    }),
    // Limits.
    Test::new("process/rlimits", |ctx| {
        let limits = json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_FSIZE", "soft": 1048576, "hard": 2097152}, {"type": "RLIMIT_NPROC", "soft": 50, "hard": 60},
            {"type": "RLIMIT_STACK", "soft": 4194304, "hard": 8388608}, {"type": "RLIMIT_CPU", "soft": 77, "hard": 88}
        ]);
        let seen = see(ctx, "rlimits", |b| {
            drop(b.set("/process/rlimits", limits.clone()))
        })?;
        for limit in limits.as_array().into_iter().flatten() {
            let name = limit["type"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("RLIMIT_");
            check_eq!(seen[name], json!([limit["soft"], limit["hard"]]), "{name}");
        }
        Ok(())
    }),
    Test::new("process/rlimits-all-known", |ctx| {
        let names = [
            "AS",
            "CORE",
            "CPU",
            "DATA",
            "FSIZE",
            "LOCKS",
            "MEMLOCK",
            "MSGQUEUE",
            "NICE",
            "NOFILE",
            "NPROC",
            "RSS",
            "RTPRIO",
            "RTTIME",
            "SIGPENDING",
            "STACK",
        ];
        // Unlimited stays so, and nothing is raised: that needs a capability which hosts may lack.
        let current = see(ctx, "rlimits", |b| drop(b.remove("/process/rlimits")))?;
        let as_number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        let limits: Vec<Value> = names
            .iter()
            .map(|name| {
                let (soft, hard) = (as_number(&current[name][0]), as_number(&current[name][1]));
                json!({"type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard})
            })
            .collect();
        let seen = see(ctx, "rlimits", |b| drop(b.set("/process/rlimits", json!(limits))))?;
        check_eq!(seen, current, "limits");
        Ok(())
    }),
    Test::new("process/rlimits-twice-is-refused", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.push(
            "/process/rlimits",
            json!({"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}),
        );
        ctx.run(&bundle)?.fails().map(drop)
    })
    .peers(&[("crun", "leaves its cgroup behind after the refusal")]),
    Test::new("process/oom-score-raised", |ctx| {
        check_eq!(
            see(ctx, "oom_score_adj", |b| drop(
                b.set("/process/oomScoreAdj", json!(567))
            ))?,
            json!(["567"]),
            "score"
        );
        Ok(())
    }),
    Test::new("process/oom-score-lowered-needs-privilege", oom_lowered)
        .peers(&[("runc", "prints two lines")]),
    Test::new("process/oom-score-absent-is-the-callers", |ctx| {
        let own = fs::read_to_string("/proc/self/oom_score_adj")?;
        check_eq!(
            see(ctx, "oom_score_adj", |b| drop(b.remove("/process/oomScoreAdj")))?,
            json!([own.trim()]),
            "score"
        );
        Ok(())
    }),
    // Capabilities.
    Test::new("process/caps-of-root", |ctx| {
        caps(
            ctx,
            0,
            &[
                ("bounding", &["CHOWN", "KILL"]),
                ("effective", &["CHOWN", "KILL"]),
                ("permitted", &["CHOWN", "KILL"]),
            ],
            &[
                ("bounding", &["CHOWN", "KILL"]),
                ("effective", &["CHOWN", "KILL"]),
                ("permitted", &["CHOWN", "KILL"]),
                ("inheritable", &[]),
                ("ambient", &[]),
            ],
        )
    }),
    Test::new("process/caps-all-five-sets-of-a-user", |ctx| {
        let all: &[&str] = &["NET_BIND_SERVICE", "SYS_CHROOT"];
        let asked = ["bounding", "effective", "permitted", "inheritable", "ambient"].map(|set| (set, all));
        caps(ctx, 1000, &asked, &asked)
    }),
    Test::new("process/caps-ambient-is-what-a-user-keeps", |ctx| {
        let all: &[&str] = &["NET_RAW", "SETUID"];
        let one: &[&str] = &["NET_RAW"];
        caps(
            ctx,
            1000,
            &[
                ("bounding", all),
                ("effective", all),
                ("permitted", all),
                ("inheritable", all),
                ("ambient", one),
            ],
            &[
                ("bounding", all),
                ("effective", one),
                ("permitted", one),
                ("inheritable", all),
                ("ambient", one),
            ],
        )
    }),
    Test::new("process/caps-of-a-user-without-ambient-are-gone", |ctx| {
        let all: &[&str] = &["NET_RAW", "SETUID"];
        caps(
            ctx,
            1000,
            &[("bounding", all), ("effective", all), ("permitted", all)],
            &[
                ("bounding", all),
                ("effective", &[]),
                ("permitted", &[]),
                ("inheritable", &[]),
                ("ambient", &[]),
            ],
        )
    }),
    Test::new("process/caps-bounding-wider-than-the-rest", |ctx| {
        let wide: &[&str] = &["CHOWN", "KILL", "NET_RAW"];
        caps(
            ctx,
            1000,
            &[("bounding", wide)],
            &[("bounding", wide), ("effective", &[]), ("permitted", &[])],
        )
    }),
    Test::new("process/caps-block-absent-means-none", |ctx| {
        let seen = see(ctx, "caps", |b| drop(b.remove("/process/capabilities")))?;
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            check_eq!(seen[set], json!([]), "{set}");
        }
        Ok(())
    }),
    Test::new("process/caps-unknown-is-only-a-warning", |ctx| {
        let names = json!(["CAP_KILL", "CAP_FLAVOUR"]);
        let seen = see(ctx, "caps", |b| {
            drop(b.set(
                "/process/capabilities",
                json!({"bounding": names, "effective": names, "permitted": names}),
            ))
        })?;
        check_eq!(seen["effective"], json!(["KILL"]), "effective");
        Ok(())
    }),
    Test::new(
        "process/caps-ambient-without-inheritable-is-only-a-warning",
        |ctx| {
            let names = json!(["CAP_KILL"]);
            let seen = see(ctx, "caps", |b| {
                drop(b.set(
                    "/process/capabilities",
                    json!({"bounding": names, "effective": names, "permitted": names, "ambient": names}),
                ))
            })?;
            check_eq!(seen["ambient"], json!([]), "ambient");
            Ok(())
        },
    ),
    Test::new("process/no-new-privileges", |ctx| {
        for (value, want) in [(json!(true), 1), (json!(false), 0), (Value::Null, 0)] {
            let seen = see(ctx, "no_new_privs", |b| {
                match value {
                    Value::Null => b.remove("/process/noNewPrivileges"),
                    _ => b.set("/process/noNewPrivileges", value.clone()),
                };
            })?;
            check_eq!(seen, json!(want), "with {value}");
        }
        Ok(())
    }),
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
        let container = ctx.container(&seeing(ctx, "fds", |_| ())?)?;
        let mut cmd = container.rt_run(&[]);
        for number in [3, 4, 9, 50] {
            cmd = cmd.fd(OwnedFd::from(File::open("/etc/hostname")?), number);
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
        let container = ctx.container(&seeing(ctx, "fds", |_| ())?)?;
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
        let (mut reader, writer) = std::io::pipe()?;
        let null = || File::open("/dev/null").map(OwnedFd::from);
        let container = ctx.container(&bundle)?;
        container
            .rt_create(&[])
            .stdio(null()?, OwnedFd::from(writer), null()?)
            .ok()?;
        container.start()?;
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
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
        check_eq!(see(ctx, "dumpable", |_| ())?, 1, "dumpable");
        check_eq!(see(ctx, "personality", |_| ())?, 0, "personality");
        Ok(())
    }),
];

/// A bundle that prints one fact.
fn seeing(ctx: &Ctx, fact: &str, change: impl Fn(&mut Bundle)) -> Outcome<Bundle> {
    let mut bundle = ctx.bundle()?;
    change(&mut bundle);
    bundle.args(&["/bin/probe", "see", fact]);
    Ok(bundle)
}

/// One fact, as seen from inside.
fn see(ctx: &Ctx, fact: &str, change: impl Fn(&mut Bundle)) -> Outcome<Value> {
    let bundle = seeing(ctx, fact, change)?;
    Ok(ctx.run(&bundle)?.ok()?.json()?[fact].clone())
}

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
    let seen = see(ctx, "env", |b| {
        b.set("/process/user", json!({"uid": uid, "gid": uid}));
        if let Some(given) = given {
            b.push("/process/env", json!(given));
        }
    })?;
    let homes: Vec<&str> = strings(&seen)
        .into_iter()
        .filter(|entry| entry.starts_with("HOME="))
        .collect();
    check_eq!(homes, [format!("HOME={want}")], "HOME");
    Ok(())
}

fn ids(ctx: &Ctx, user: Value, uid: i64, gid: i64, groups: &[i64]) -> Outcome {
    let seen = see(ctx, "ids", |b| drop(b.set("/process/user", user.clone())))?;
    check_eq!(numbers(&seen["uid"]), [uid; 4], "user ids");
    check_eq!(numbers(&seen["gid"]), [gid; 4], "group ids");
    check_eq!(numbers(&seen["groups"]), groups, "supplementary groups");
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

type Sets<'a> = [(&'a str, &'a [&'a str])];

fn caps(ctx: &Ctx, uid: u32, asked: &Sets, want: &Sets) -> Outcome {
    let seen = see(ctx, "caps", |b| {
        b.set("/process/user", json!({"uid": uid, "gid": uid}))
            .set("/process/capabilities", json!({}));
        for (set, names) in asked {
            let names: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
            b.set(&format!("/process/capabilities/{set}"), json!(names));
        }
    })?;
    for (set, names) in want {
        let mut got = strings(&seen[*set]);
        got.sort_unstable();
        check_eq!(got, *names, "{set}");
    }
    Ok(())
}

fn oom_lowered(ctx: &Ctx) -> Outcome {
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse()?;
    let mut bundle = seeing(ctx, "oom_score_adj", |_| ())?;
    bundle.set("/process/oomScoreAdj", json!(own - 300));
    let status = fs::read_to_string("/proc/self/status")?;
    // Bit 24 is CAP_SYS_RESOURCE.
    let privileged = signal_set(&status, "CapEff")?.contains(&25);
    let output = ctx.run(&bundle)?;
    if privileged {
        check_eq!(
            output.ok()?.json()?["oom_score_adj"],
            json!([(own - 300).to_string()]),
            "score"
        );
        return Ok(());
    }
    super::errors::one_line(output, 1, &["oom_score_adj", "permission denied"])
}
