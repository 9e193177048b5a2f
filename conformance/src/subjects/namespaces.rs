//! Each kind of namespace: new, joined by path, the host's; user namespaces; offsets of time.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::seen::{mount_at, strings};
use crate::harness::{Bundle, Ctx, Outcome, Test};
use crate::{check, check_eq, fail};

const NO_TIME: &str = "this version knows no time namespaces";

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("namespaces/pid-new", |ctx| new(ctx, "pid")),
    Test::new("namespaces/network-new", |ctx| new(ctx, "network")),
    Test::new("namespaces/ipc-new", |ctx| new(ctx, "ipc")),
    Test::new("namespaces/uts-new", |ctx| new(ctx, "uts")),
    Test::new("namespaces/mount-new", |ctx| new(ctx, "mount")),
    Test::new("namespaces/cgroup-new", |ctx| new(ctx, "cgroup")),
    Test::new("namespaces/user-new", |ctx| new(ctx, "user")),
    Test::new("namespaces/time-new", |ctx| new(ctx, "time"))
        .peers(&[("runc", NO_TIME), ("crun", "1.8 dies in its child")]),
    Test::new("namespaces/pid-of-the-host", |ctx| host(ctx, "pid")),
    Test::new("namespaces/network-of-the-host", |ctx| host(ctx, "network")),
    Test::new("namespaces/ipc-of-the-host", |ctx| host(ctx, "ipc")),
    Test::new("namespaces/uts-of-the-host", |ctx| host(ctx, "uts")),
    Test::new("namespaces/cgroup-of-the-host", |ctx| host(ctx, "cgroup")),
    Test::new("namespaces/user-of-the-host", |ctx| host(ctx, "user")),
    Test::new("namespaces/time-of-the-host", |ctx| host(ctx, "time")),
    Test::new("namespaces/pid-joined", |ctx| joined(ctx, &["pid"])),
    Test::new("namespaces/network-joined", |ctx| joined(ctx, &["network"])),
    Test::new("namespaces/ipc-joined", |ctx| joined(ctx, &["ipc"])),
    Test::new("namespaces/uts-joined", |ctx| joined(ctx, &["uts"])),
    Test::new("namespaces/cgroup-joined", |ctx| joined(ctx, &["cgroup"])),
    Test::new("namespaces/user-joined", |ctx| joined(ctx, &["user"]))
        .peers(&[("runc", "1.1 wants mappings beside the path")]),
    Test::new("namespaces/time-joined", |ctx| joined(ctx, &["time"]))
        .peers(&[("runc", NO_TIME), ("crun", "1.8 dies in its child")]),
    Test::new("namespaces/a-pod-shares-three", |ctx| {
        joined(ctx, &["network", "ipc", "uts"])
    }),
    Test::new("namespaces/a-pod-with-a-user-namespace", |ctx| {
        joined(ctx, &["user", "network", "ipc", "uts"])
    })
    .peers(&[("runc", "1.1 wants mappings beside the path")]),
    Test::new("namespaces/all-new-at-once", |ctx| {
        let mut bundle = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        bundle.namespace("cgroup", None);
        let seen = ctx.probe(&mut bundle, &["see", "namespaces"])?;
        for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
            check!(
                link(&seen, kind) != own(kind)?,
                "the {kind} namespace is the host's"
            );
        }
        Ok(())
    }),
    Test::new("namespaces/kill-of-init-takes-its-pid-namespace", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.script("sleep 1000 & sleep 1000 & echo > /tmp/ready; wait");
        let container = ctx.started(&bundle)?;
        container.await_file("/tmp/ready")?;
        container.stop()?;
        let pids = container.rt("ps", &["--format=json"]).output()?.stdout;
        check!(
            ["null", "[]", ""].contains(&pids.trim()),
            "processes afterwards: {pids}"
        );
        Ok(())
    }),
    Test::new("namespaces/loopback-is-up", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["cat", "/sys/class/net/lo/flags"]);
        let flags = ctx.run(&bundle)?.ok()?.stdout;
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16)?;
        check!(flags & 1 == 1, "flags of lo: {flags:#x}");
        Ok(())
    }),
    Test::new("namespaces/hostname", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.set("/hostname", json!("the-name"));
        check_eq!(
            ctx.probe(&mut bundle, &["see", "hostname"])?["hostname"],
            "the-name",
            "hostname"
        );
        Ok(())
    }),
    Test::new("namespaces/hostname-of-64-characters", |ctx| {
        let mut bundle = ctx.bundle()?;
        let name = "n".repeat(64);
        bundle.set("/hostname", json!(name));
        check_eq!(
            ctx.probe(&mut bundle, &["see", "hostname"])?["hostname"],
            json!(name),
            "hostname"
        );
        Ok(())
    }),
    Test::new("namespaces/domainname", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.set("/domainname", json!("the.domain"));
        check_eq!(
            ctx.probe(&mut bundle, &["see", "domainname"])?["domainname"],
            "the.domain",
            "domainname"
        );
        Ok(())
    })
    .peers(&[("runc", "1.1 does not know it")]),
    Test::new("namespaces/hostname-of-the-host-is-safe", |ctx| {
        let before = fs::read_to_string("/proc/sys/kernel/hostname")?;
        let mut bundle = ctx.bundle()?;
        bundle
            .without_namespace("uts")
            .set("/hostname", json!("must-not-be"));
        ctx.run(&bundle)?.fails()?;
        check_eq!(
            fs::read_to_string("/proc/sys/kernel/hostname")?,
            before,
            "the host's name"
        );
        Ok(())
    }),
    // User namespaces.
    Test::new("namespaces/user-one-extent", |ctx| {
        mapping(ctx, &[(0, 100_000, 65_536)])
    }),
    Test::new("namespaces/user-several-extents", |ctx| {
        mapping(
            ctx,
            &[(0, 100_000, 1000), (1000, 300_000, 1), (1001, 200_000, 5000)],
        )
    }),
    Test::new("namespaces/user-maps-to-itself", |ctx| {
        mapping(ctx, &[(0, 0, 65_536)])
    }),
    Test::new("namespaces/user-files-belong-to-the-mapped-root", |ctx| {
        let mut bundle = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        bundle.script("id -u; id -g; echo > /made");
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "0\n0\n", "ids inside");
        let made = fs::metadata(bundle.rootfs().join("made"))?;
        check_eq!(
            (made.uid(), made.gid()),
            (100_000, 100_000),
            "owner of the file on the host"
        );
        Ok(())
    }),
    Test::new("namespaces/user-with-another-uid-inside", |ctx| {
        let mut bundle = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        bundle.set(
            "/process/user",
            json!({"uid": 1000, "gid": 1000, "additionalGids": [2000]}),
        );
        let seen = ctx.probe(&mut bundle, &["see", "ids"])?;
        check_eq!(
            seen["ids"],
            json!({"uid": [1000, 1000, 1000, 1000], "gid": [1000, 1000, 1000, 1000], "groups": [2000]}),
            "ids"
        );
        Ok(())
    }),
    Test::new("namespaces/user-devices-are-usable", |ctx| {
        let mut bundle = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        let seen = ctx.probe(
            &mut bundle,
            &[
                "open",
                "rw",
                "/dev/null",
                "/dev/zero",
                "/dev/full",
                "/dev/random",
                "/dev/urandom",
            ],
        )?;
        for (path, result) in seen.as_object().into_iter().flatten() {
            check_eq!(result, "ok", "open of {path}");
        }
        Ok(())
    }),
    Test::new("namespaces/user-has-all-the-usual-mounts", |ctx| {
        let mut bundle = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        for (at, kind) in [
            ("/proc", "proc"),
            ("/dev", "tmpfs"),
            ("/dev/pts", "devpts"),
            ("/dev/mqueue", "mqueue"),
            ("/sys", "sysfs"),
        ] {
            check_eq!(mount_at(&seen, at)?["type"], kind, "type of {at}");
        }
        Ok(())
    }),
    Test::new("namespaces/user-mqueue-belongs-to-root-inside", |ctx| {
        let mut bundle = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        let seen = ctx.probe(&mut bundle, &["stat", "/dev/mqueue", "/dev/shm", "/dev"])?;
        for (path, data) in seen.as_object().into_iter().flatten() {
            check_eq!(data["uid"], 0, "owner of {path}");
        }
        Ok(())
    }),
    Test::new("namespaces/user-capabilities-are-as-asked", |ctx| {
        let mut bundle = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        bundle.capabilities(&["KILL"]);
        let seen = ctx.probe(&mut bundle, &["see", "caps"])?;
        check_eq!(seen["caps"]["effective"], json!(["KILL"]), "effective");
        Ok(())
    }),
    Test::new("namespaces/user-exec-enters-it", |ctx| {
        let mut bundle = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        bundle.args(&["sleep", "1000"]);
        let container = ctx.started(&bundle)?;
        let seen = container.probe(&[], &["see", "maps", "ids"])?;
        check_eq!(seen["maps"]["uid"], json!(["0 100000 65536"]), "map");
        check_eq!(seen["ids"]["uid"], json!([0, 0, 0, 0]), "ids");
        Ok(())
    }),
    Test::new("namespaces/user-without-mappings-is-refused", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.namespace("user", None);
        ctx.run(&bundle)?.fails().map(drop)
    }),
    Test::new("namespaces/mappings-without-user-namespace-are-refused", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.set(
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 10}]),
        );
        ctx.run(&bundle)?.fails().map(drop)
    })
    .peers(&[
        ("runc", "does not look at them"),
        ("crun", "does not look at them"),
    ]),
    Test::new(
        "namespaces/user-by-path-with-equal-mappings",
        user_by_path_with_mappings,
    ),
    // Time.
    Test::new("namespaces/time-offsets", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.namespace("time", None);
        bundle.set(
            "/linux/timeOffsets",
            json!({"monotonic": {"secs": 86400, "nanosecs": 7}, "boottime": {"secs": 172800}}),
        );
        let seen = ctx.probe(&mut bundle, &["see", "timens_offsets", "monotonic"])?;
        check_eq!(
            seen["timens_offsets"],
            json!(["monotonic 86400 7", "boottime 172800 0"]),
            "offsets"
        );
        let uptime = strings(&seen["monotonic"])
            .first()
            .copied()
            .unwrap_or_default()
            .to_string();
        let seconds: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
        check!(seconds > 172_800.0, "uptime is {seconds}");
        Ok(())
    })
    .peers(&[("runc", NO_TIME), ("crun", "1.8 dies in its child")]),
    Test::new(
        "namespaces/time-offsets-without-the-namespace-are-refused",
        |ctx| {
            let mut bundle = ctx.bundle()?;
            bundle.set("/linux/timeOffsets", json!({"monotonic": {"secs": 5}}));
            ctx.run(&bundle)?.fails().map(drop)
        },
    )
    .peers(&[("runc", NO_TIME), ("crun", "does not look at them")]),
    Test::new("namespaces/cgroup-shows-the-container-as-root", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.namespace("cgroup", None);
        let seen = ctx.probe(&mut bundle, &["see", "cgroup"])?;
        for line in strings(&seen["cgroup"]) {
            check!(line.ends_with(":/"), "/proc/self/cgroup says {line}");
        }
        Ok(())
    }),
];

/// The file in /proc/PID/ns of a kind as the config names it.
fn file(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}

fn own(kind: &str) -> Outcome<String> {
    Ok(fs::read_link(format!("/proc/self/ns/{}", file(kind)))?
        .display()
        .to_string())
}

fn link(seen: &Value, kind: &str) -> String {
    seen["namespaces"][file(kind)]
        .as_str()
        .unwrap_or_default()
        .to_string()
}

/// A bundle with a user namespace, whose root file system belongs to the root of the namespace.
pub fn user_bundle(ctx: &Ctx, extents: &[(u32, u32, u32)]) -> Outcome<Bundle> {
    let mut bundle = ctx.bundle()?;
    with_user_namespace(&mut bundle, extents)?;
    Ok(bundle)
}

fn with_user_namespace(bundle: &mut Bundle, extents: &[(u32, u32, u32)]) -> Outcome {
    let list: Vec<Value> = extents
        .iter()
        .map(|(inside, outside, size)| json!({"containerID": inside, "hostID": outside, "size": size}))
        .collect();
    bundle.namespace("user", None);
    bundle
        .set("/linux/uidMappings", json!(list))
        .set("/linux/gidMappings", json!(list));
    let root = extents
        .iter()
        .find(|(inside, _, _)| *inside == 0)
        .map_or(0, |(_, outside, _)| *outside);
    own_dirs(&bundle.rootfs(), root)
}

/// Gives the directories to the mapped root; files are links that all tests share, and stay as they are.
fn own_dirs(dir: &Path, owner: u32) -> Outcome {
    chown(dir, Some(owner), Some(owner))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            own_dirs(&entry.path(), owner)?;
        }
    }
    Ok(())
}

fn ask_for(bundle: &mut Bundle, kind: &str) -> Outcome {
    match kind {
        "user" => with_user_namespace(bundle, &[(0, 100_000, 65_536)]),
        _ => {
            bundle.namespace(kind, None);
            Ok(())
        }
    }
}

fn new(ctx: &Ctx, kind: &str) -> Outcome {
    let mut bundle = ctx.bundle()?;
    ask_for(&mut bundle, kind)?;
    let seen = ctx.probe(&mut bundle, &["see", "namespaces"])?;
    check!(link(&seen, kind).starts_with(file(kind)), "no link: {seen}");
    check!(
        link(&seen, kind) != own(kind)?,
        "the {kind} namespace is the host's"
    );
    Ok(())
}

fn host(ctx: &Ctx, kind: &str) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.without_namespace(kind);
    if kind == "uts" {
        bundle.remove("/hostname");
    }
    if kind == "network" {
        // sysfs shows a network namespace, and may only be mounted by whoever owns it.
        bundle
            .unmount("/sys")
            .mount("/sys", "bind", "/sys", &["rbind", "ro"]);
    }
    let seen = ctx.probe(&mut bundle, &["see", "namespaces"])?;
    check_eq!(link(&seen, kind), own(kind)?, "the {kind} namespace");
    Ok(())
}

/// Joins namespaces of a container that runs, as the containers of a pod do.
fn joined(ctx: &Ctx, kinds: &[&str]) -> Outcome {
    let mut first = ctx.bundle()?;
    for kind in kinds {
        ask_for(&mut first, kind)?;
    }
    first.args(&["sleep", "1000"]);
    let first = ctx.started(&first)?;
    let pid = first.pid()?;
    let mut second = ctx.bundle()?;
    if kinds.contains(&"user") {
        own_dirs(&second.rootfs(), 100_000)?;
    }
    if kinds.contains(&"uts") {
        second.remove("/hostname");
    }
    for kind in kinds {
        second.namespace(kind, Some(&format!("/proc/{pid}/ns/{}", file(kind))));
    }
    let seen = ctx.probe(&mut second, &["see", "namespaces", "pids", "ids"])?;
    for kind in kinds {
        let want = fs::read_link(format!("/proc/{pid}/ns/{}", file(kind)))?;
        check_eq!(
            link(&seen, kind),
            want.display().to_string(),
            "the {kind} namespace"
        );
        check!(
            link(&seen, kind) != own(kind)?,
            "the {kind} namespace is the host's"
        );
    }
    if kinds.contains(&"pid") {
        check!(
            seen["pids"]["pid"].as_i64().is_some_and(|pid| pid > 1),
            "pid {}",
            seen["pids"]
        );
    }
    check_eq!(seen["ids"]["uid"][0], 0, "user id inside");
    Ok(())
}

fn mapping(ctx: &Ctx, extents: &[(u32, u32, u32)]) -> Outcome {
    let mut bundle = user_bundle(ctx, extents)?;
    let seen = ctx.probe(&mut bundle, &["see", "maps", "ids"])?;
    let want: Vec<String> = extents.iter().map(|(a, b, n)| format!("{a} {b} {n}")).collect();
    check_eq!(seen["maps"]["uid"], json!(want), "uid_map");
    check_eq!(seen["maps"]["gid"], json!(want), "gid_map");
    check_eq!(seen["maps"]["setgroups"], json!(["allow"]), "setgroups");
    check_eq!(seen["ids"]["uid"], json!([0, 0, 0, 0]), "user ids");
    Ok(())
}

/// Kubernetes' runtimes send the path of a pod's user namespace together with its mappings.
fn user_by_path_with_mappings(ctx: &Ctx) -> Outcome {
    let mut first = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
    first.args(&["sleep", "1000"]);
    let first = ctx.started(&first)?;
    let mut second = user_bundle(ctx, &[(0, 100_000, 65_536)])?;
    second.namespace("user", Some(&format!("/proc/{}/ns/user", first.pid()?)));
    let seen = ctx.probe(&mut second, &["see", "maps"])?;
    if seen["maps"]["uid"] != json!(["0 100000 65536"]) {
        fail!("map inside: {}", seen["maps"]);
    }
    Ok(())
}
