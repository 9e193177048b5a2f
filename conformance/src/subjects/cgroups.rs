//! Control groups: where the container is, what its limits say, what they do, `update`, the freezer.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::container::eventually;
use crate::harness::{Bundle, Container, Ctx, Outcome, Stop, Test};
use crate::{check, check_eq, skip};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    // Where it is.
    Test::new("cgroups/in-every-hierarchy", |ctx| {
        let container = ctx.sleeper()?;
        everywhere(ctx, &container, &format!("/{}", container.id))
    }),
    Test::new("cgroups/path-given", |ctx| {
        let path = format!("/{}/a/b", ctx.fresh("g"));
        placed(ctx, Some(&path), &path)
    }),
    Test::new("cgroups/path-absent-is-named-by-the-id", path_absent),
    Test::new("cgroups/path-relative-is-below-the-runtimes-own", path_relative)
        .peers(&[("crun", "puts it below the root of the hierarchy")]),
    Test::new("cgroups/path-with-dots-is-kept-inside", |ctx| {
        let name = ctx.fresh("g");
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/linux/cgroupsPath", json!(format!("/../../{name}")))
            .args(&["true"]);
        // Refused or made inside the hierarchy; the check for leftovers sees what is elsewhere.
        ctx.run(&bundle)?;
        Ok(())
    }),
    Test::new("cgroups/exec-is-in-it", |ctx| {
        let container = ctx.sleeper()?;
        let mut spawned = container.rt_exec(&[], &["sleep", "1000"]).spawn()?;
        let procs = container.cgroup(any_controller(ctx))?.join("cgroup.procs");
        eventually(Duration::from_secs(5), || {
            check_eq!(
                fs::read_to_string(&procs)?.lines().count(),
                2,
                "processes in the cgroup"
            );
            Ok(())
        })?;
        check!(!spawned.ended()?, "exec ended");
        container.rt("delete", &["--force"]).ok()?;
        spawned.wait().map(drop)
    }),
    Test::new("cgroups/sub-groups-go-with-the-container", sub_groups),
    Test::new("cgroups/one-that-is-not-empty-is-refused", not_empty)
        .peers(&[("runc", "1.1 only warns"), ("crun", "takes it")]),
    // Limits, as their files show them.
    Test::new("cgroups/memory-limit", |ctx| {
        limits(
            ctx,
            json!({"memory": {"limit": 67108864}}),
            &[(
                "memory",
                "memory.limit_in_bytes",
                "67108864",
                "memory.max",
                "67108864",
            )],
        )
    }),
    Test::new("cgroups/memory-reservation", |ctx| {
        limits(
            ctx,
            json!({"memory": {"reservation": 33554432}}),
            &[(
                "memory",
                "memory.soft_limit_in_bytes",
                "33554432",
                "memory.low",
                "33554432",
            )],
        )
    }),
    Test::new("cgroups/memory-and-swap", |ctx| {
        limits(
            ctx,
            json!({"memory": {"limit": 67108864, "swap": 100663296}}),
            &[(
                "memory",
                "memory.memsw.limit_in_bytes",
                "100663296",
                "memory.swap.max",
                "33554432",
            )],
        )
    }),
    Test::new("cgroups/memory-unlimited", |ctx| {
        limits(
            ctx,
            json!({"memory": {"limit": -1}}),
            &[("memory", "", "", "memory.max", "max")],
        )
    }),
    Test::new("cgroups/memory-swappiness", |ctx| {
        limits(
            ctx,
            json!({"memory": {"swappiness": 7}}),
            &[("memory", "memory.swappiness", "7", "", "")],
        )
    }),
    Test::new("cgroups/memory-oom-killer-off", |ctx| {
        limits(
            ctx,
            json!({"memory": {"limit": 67108864, "disableOOMKiller": true}}),
            &[(
                "memory",
                "memory.oom_control",
                "oom_kill_disable 1\nunder_oom 0\noom_kill 0",
                "",
                "",
            )],
        )
    }),
    Test::new("cgroups/cpu-shares", |ctx| {
        limits(
            ctx,
            json!({"cpu": {"shares": 512}}),
            &[("cpu", "cpu.shares", "512", "cpu.weight", "59")],
        )
    }),
    Test::new("cgroups/cpu-quota-and-period", |ctx| {
        let rows = [
            ("cpu", "cpu.cfs_quota_us", "20000", "cpu.max", "20000 50000"),
            ("cpu", "cpu.cfs_period_us", "50000", "", ""),
        ];
        limits(ctx, json!({"cpu": {"quota": 20000, "period": 50000}}), &rows)
    }),
    Test::new("cgroups/cpu-quota-unlimited", |ctx| {
        limits(
            ctx,
            json!({"cpu": {"quota": -1}}),
            &[("cpu", "cpu.cfs_quota_us", "-1", "cpu.max", "max 100000")],
        )
    })
    .peers(&[("crun", "1.8 writes the number as unsigned")]),
    Test::new("cgroups/cpu-burst", |ctx| {
        limits(
            ctx,
            json!({"cpu": {"quota": 20000, "period": 50000, "burst": 10000}}),
            &[("cpu", "cpu.cfs_burst_us", "10000", "cpu.max.burst", "10000")],
        )
    })
    .peers(&[("runc", "1.1 does not know it"), ("crun", "1.8 does not know it")]),
    Test::new("cgroups/cpu-idle", |ctx| {
        limits(
            ctx,
            json!({"cpu": {"idle": 1}}),
            &[("cpu", "cpu.idle", "1", "cpu.idle", "1")],
        )
    })
    .peers(&[("runc", "1.1 does not know it")]),
    Test::new("cgroups/cpuset", |ctx| {
        let rows = [
            ("cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0", "cpuset.mems", "0"),
        ];
        limits(ctx, json!({"cpu": {"cpus": "0", "mems": "0"}}), &rows)
    }),
    Test::new("cgroups/pids-limit", |ctx| {
        limits(
            ctx,
            json!({"pids": {"limit": 21}}),
            &[("pids", "pids.max", "21", "pids.max", "21")],
        )
    }),
    Test::new("cgroups/pids-unlimited", |ctx| {
        limits(
            ctx,
            json!({"pids": {"limit": -1}}),
            &[("pids", "pids.max", "max", "pids.max", "max")],
        )
    })
    .peers(&[("crun", "1.8 writes the number as it is")]),
    Test::new("cgroups/blkio-weight", |ctx| {
        limits(
            ctx,
            json!({"blockIO": {"weight": 200}}),
            &[("blkio", "blkio.bfq.weight", "200", "io.bfq.weight", "default 200")],
        )
    })
    .peers(&[("crun", "knows only the file of another scheduler")]),
    Test::new("cgroups/blkio-throttle", blkio_throttle),
    Test::new("cgroups/unified", |ctx| {
        if !ctx.host.pure_v2() {
            skip!("`unified` is for version 2 of control groups, and this host has version 1");
        }
        let wanted = json!({"unified": {"memory.high": "50331648", "pids.max": "33"}});
        limits(
            ctx,
            wanted,
            &[
                ("memory", "", "", "memory.high", "50331648"),
                ("pids", "", "", "pids.max", "33"),
            ],
        )
    }),
    Test::new("cgroups/unified-unknown-file-is-refused", |ctx| {
        if !ctx.host.pure_v2() {
            skip!("`unified` is for version 2 of control groups, and this host has version 1");
        }
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/linux/resources/unified", json!({"memory.flavour": "1"}))
            .args(&["true"]);
        let output = ctx.run(&bundle)?.fails()?;
        check!(output.stderr.contains("memory.flavour"), "{:?}", output.stderr);
        Ok(())
    }),
    // Limits in effect.
    Test::new("cgroups/pids-limit-stops-a-fork", |ctx| {
        let mut bundle = limited(ctx, json!({"pids": {"limit": 12}}))?;
        ctx.host.need("pids")?;
        let seen = ctx.probe(&mut bundle, &["fork", "100"])?;
        check_eq!(seen["errno"], "EAGAIN", "errno");
        check!(
            seen["forked"]
                .as_i64()
                .is_some_and(|count| (1..12).contains(&count)),
            "{seen}"
        );
        Ok(())
    }),
    Test::new("cgroups/memory-limit-kills", |ctx| {
        ctx.host.need("memory")?;
        let mut bundle = limited(ctx, json!({"memory": {"limit": 33554432, "swap": 33554432}}))?;
        bundle.args(&["/bin/probe", "memory", "96"]);
        ctx.run(&bundle)?.exits(137).map(drop)
    }),
    Test::new("cgroups/cpu-quota-slows-down", |ctx| {
        ctx.host.need("cpu")?;
        let mut bundle = limited(ctx, json!({"cpu": {"quota": 20000, "period": 100000}}))?;
        let seen = ctx.probe(&mut bundle, &["spin", "2000"])?;
        let cpu = seen["cpu_ms"].as_i64().unwrap_or(i64::MAX);
        check!(
            cpu < 700,
            "used {cpu} ms of the processor within 2000 ms, 400 were allowed"
        );
        Ok(())
    }),
    Test::new("cgroups/invalid-limit-is-refused-and-named", |ctx| {
        ctx.host.need("cpuset")?;
        let mut bundle = limited(ctx, json!({"cpu": {"cpus": "4000"}}))?;
        bundle.args(&["true"]);
        let output = ctx.run(&bundle)?.fails()?;
        check!(output.stderr.contains("cpuset.cpus"), "{:?}", output.stderr);
        Ok(())
    })
    .peers(&[("crun", "leaves cgroups behind after its own failure")]),
    // Update.
    Test::new("update/memory", |ctx| {
        update(
            ctx,
            &["--memory", "64M"],
            "memory",
            "memory.limit_in_bytes",
            "67108864",
            "memory.max",
            "67108864",
        )
    })
    .peers(&[("crun", "knows no units")]),
    Test::new("update/memory-in-bytes", |ctx| {
        update(
            ctx,
            &["--memory", "67108864"],
            "memory",
            "memory.limit_in_bytes",
            "67108864",
            "memory.max",
            "67108864",
        )
    }),
    Test::new("update/memory-reservation", |ctx| {
        update(
            ctx,
            &["--memory-reservation", "33554432"],
            "memory",
            "memory.soft_limit_in_bytes",
            "33554432",
            "memory.low",
            "33554432",
        )
    }),
    Test::new("update/pids-limit", |ctx| {
        update(
            ctx,
            &["--pids-limit", "20"],
            "pids",
            "pids.max",
            "20",
            "pids.max",
            "20",
        )
    }),
    Test::new("update/cpu-shares", |ctx| {
        update(
            ctx,
            &["--cpu-share", "2048"],
            "cpu",
            "cpu.shares",
            "2048",
            "cpu.weight",
            "170",
        )
    }),
    Test::new("update/cpu-quota", |ctx| {
        update(
            ctx,
            &["--cpu-quota", "30000"],
            "cpu",
            "cpu.cfs_quota_us",
            "30000",
            "cpu.max",
            "30000 100000",
        )
    }),
    Test::new("update/cpu-period", |ctx| {
        update(
            ctx,
            &["--cpu-period", "50000", "--cpu-quota", "10000"],
            "cpu",
            "cpu.cfs_period_us",
            "50000",
            "cpu.max",
            "10000 50000",
        )
    }),
    Test::new("update/cpuset-cpus", |ctx| {
        update(
            ctx,
            &["--cpuset-cpus", "0"],
            "cpuset",
            "cpuset.cpus",
            "0",
            "cpuset.cpus",
            "0",
        )
    }),
    Test::new("update/cpuset-mems", |ctx| {
        update(
            ctx,
            &["--cpuset-mems", "0"],
            "cpuset",
            "cpuset.mems",
            "0",
            "cpuset.mems",
            "0",
        )
    }),
    Test::new("update/resources-from-stdin", |ctx| resources(ctx, true)),
    Test::new("update/resources-from-a-file", |ctx| resources(ctx, false)),
    Test::new("update/leaves-device-rules-alone", update_devices),
    Test::new("update/of-a-stopped-container-is-refused", |ctx| {
        let container = ctx.sleeper()?;
        container.stop()?;
        container
            .rt("update", &["--pids-limit=20"])
            .output()?
            .fails()
            .map(drop)
    })
    .peers(&[("crun", "takes it for done")]),
    Test::new("update/bad-number-is-refused", |ctx| {
        let container = ctx.sleeper()?;
        container
            .rt("update", &["--memory=lots"])
            .output()?
            .fails()
            .map(drop)
    }),
    // Freezer.
    Test::new("cgroups/freezer-state-is-the-kernels", |ctx| {
        let container = ctx.sleeper()?;
        container.rt("pause", &[]).ok()?;
        let frozen = match ctx.host.pure_v2() {
            true => fs::read_to_string(container.cgroup("")?.join("cgroup.events"))?.contains("frozen 1"),
            false => {
                fs::read_to_string(container.cgroup("freezer")?.join("freezer.state"))?.trim() == "FROZEN"
            }
        };
        check!(frozen, "the kernel does not say frozen");
        container.rt("resume", &[]).ok().map(drop)
    }),
    Test::new("cgroups/frozen-from-outside-is-paused", |ctx| {
        let container = ctx.sleeper()?;
        match ctx.host.pure_v2() {
            true => fs::write(container.cgroup("")?.join("cgroup.freeze"), "1")?,
            false => fs::write(container.cgroup("freezer")?.join("freezer.state"), "FROZEN")?,
        }
        container.await_status("paused")?;
        container.rt("resume", &[]).ok()?;
        check_eq!(container.status()?, "running", "status after resume");
        Ok(())
    }),
];

fn any_controller(ctx: &Ctx) -> &'static str {
    if ctx.host.pure_v2() { "" } else { "pids" }
}

/// The lines of /proc/PID/cgroup, as hierarchy and path.
fn membership(pid: i32) -> Outcome<Vec<(String, String)>> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let split = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?.to_string(), parts.next()?.to_string()))
    };
    Ok(text.lines().filter_map(split).collect())
}

fn everywhere(ctx: &Ctx, container: &Container, path: &str) -> Outcome {
    let mut count = 0;
    for (hierarchy, found) in membership(container.pid()?)? {
        // On a hybrid host the tree of version 2 has no controllers, and not every runtime uses it.
        if hierarchy.is_empty() && !ctx.host.pure_v2() {
            continue;
        }
        check_eq!(found, path, "path in the hierarchy of {hierarchy:?}");
        count += 1;
    }
    check!(count > 0, "no hierarchy at all");
    Ok(())
}

fn placed(ctx: &Ctx, given: Option<&str>, want: &str) -> Outcome {
    let mut bundle = ctx.bundle()?;
    if let Some(given) = given {
        bundle.set("/linux/cgroupsPath", json!(given));
    }
    bundle.args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    everywhere(ctx, &container, want)?;
    container.stop()?;
    container.delete()?;
    // Parents stay where the runtime made them; they are the caller's to remove.
    for hierarchy in &ctx.host.hierarchies {
        let mut dir = hierarchy.mount.join(want.trim_start_matches('/'));
        check!(!dir.exists(), "{} is still there", dir.display());
        while dir.pop() && dir != hierarchy.mount {
            match fs::remove_dir(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Stop::Failed(format!("{}: {error}", dir.display())));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn path_absent(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let id = ctx.fresh_id();
    bundle.write()?;
    ctx.rt(["create", "--bundle"]).arg(&bundle.dir).arg(&id).ok()?;
    let state = ctx.rt(["state", &id]).ok()?.json()?;
    let pid = state["pid"].as_i64().unwrap_or_default() as i32;
    for (hierarchy, path) in membership(pid)? {
        if !hierarchy.is_empty() || ctx.host.pure_v2() {
            check!(path.ends_with(&format!("/{id}")), "path in {hierarchy:?}: {path}");
        }
    }
    Ok(())
}

fn path_relative(ctx: &Ctx) -> Outcome {
    let name = ctx.fresh("g");
    let mut bundle = ctx.bundle()?;
    bundle
        .set("/linux/cgroupsPath", json!(name))
        .args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    let own = membership(std::process::id() as i32)?;
    for (hierarchy, path) in membership(container.pid()?)? {
        if hierarchy.is_empty() && !ctx.host.pure_v2() {
            continue;
        }
        let below = own
            .iter()
            .find(|(other, _)| *other == hierarchy)
            .map(|(_, path)| path.trim_end_matches('/'));
        check_eq!(
            path,
            format!("{}/{name}", below.unwrap_or_default()),
            "path in {hierarchy:?}"
        );
    }
    Ok(())
}

fn sub_groups(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    let pid = container.pid()?;
    for hierarchy in ctx
        .host
        .hierarchies
        .iter()
        .filter(|h| !h.v2 || ctx.host.pure_v2())
    {
        let dir = hierarchy.mount.join(&container.id).join("inner/deeper");
        fs::create_dir_all(&dir)?;
        // A cpuset without processors takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            for level in ["inner", "inner/deeper"] {
                let base = hierarchy.mount.join(&container.id);
                if !hierarchy.v2 && base.join(file).exists() {
                    fs::write(base.join(level).join(file), fs::read_to_string(base.join(file))?)?;
                }
            }
        }
        fs::write(dir.join("cgroup.procs"), pid.to_string())?;
    }
    container.rt("delete", &["--force"]).ok()?;
    check!(
        ctx.host.cgroups(&container.id).is_empty(),
        "left: {:?}",
        ctx.host.cgroups(&container.id)
    );
    Ok(())
}

/// A cgroup in which a stranger lives must not become a container's, which `delete` would kill.
fn not_empty(ctx: &Ctx) -> Outcome {
    let name = ctx.fresh("g");
    let hierarchy = ctx.host.need(any_controller(ctx))?;
    let dir = hierarchy.mount.join(&name);
    fs::create_dir(&dir)?;
    let stranger = ctx.command("sleep").arg("1000").quiet().spawn()?;
    fs::write(dir.join("cgroup.procs"), stranger.pid().to_string())?;
    let mut bundle = ctx.bundle()?;
    bundle
        .set("/linux/cgroupsPath", json!(format!("/{name}")))
        .args(&["sleep", "1000"]);
    let container = ctx.container(&bundle)?;
    let outcome = container
        .rt_create(&[])
        .output()
        .and_then(|output| output.fails());
    container.rt("delete", &["--force"]).output()?;
    let lives = fs::read_to_string(format!("/proc/{}/stat", stranger.pid()))?.contains(") S ");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(stranger.pid()),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    stranger.wait()?;
    crate::harness::leftovers::remove_cgroups(&ctx.host, &name);
    check!(lives, "the stranger was killed");
    let output = outcome?;
    check!(
        output.stderr.contains(&name),
        "the message does not name the cgroup: {:?}",
        output.stderr
    );
    Ok(())
}

fn limited(ctx: &Ctx, resources: Value) -> Outcome<Bundle> {
    let mut bundle = ctx.bundle()?;
    for (key, value) in resources.as_object().into_iter().flatten() {
        bundle.set(&format!("/linux/resources/{key}"), value.clone());
    }
    Ok(bundle)
}

/// Rows of controller, file and content on version 1, file and content on version 2. An empty file: there is none.
type Files<'a> = [(&'a str, &'a str, &'a str, &'a str, &'a str)];

fn compare(ctx: &Ctx, container: &Container, rows: &Files) -> Outcome {
    for (controller, v1_file, v1, v2_file, v2) in rows {
        let hierarchy = ctx.host.need(controller)?;
        let (file, want) = if hierarchy.v2 {
            (v2_file, v2)
        } else {
            (v1_file, v1)
        };
        if file.is_empty() {
            let version = if hierarchy.v2 { 2 } else { 1 };
            skip!("version {version} of control groups has no file for this limit");
        }
        let path = container.cgroup(controller)?.join(file);
        if !path.exists() {
            skip!("this kernel has no {file}");
        }
        check_eq!(fs::read_to_string(&path)?.trim(), *want, "{file}");
    }
    Ok(())
}

/// Skips the test where the file of a limit is missing, which can only be seen in a cgroup.
fn limits(ctx: &Ctx, resources: Value, rows: &Files) -> Outcome {
    let plain = ctx.sleeper()?;
    match compare(ctx, &plain, rows) {
        Err(Stop::Skipped(why)) => return Err(Stop::Skipped(why)),
        // Its value is another one, of course.
        _ => plain.rt("delete", &["--force"]).ok()?,
    };
    let mut bundle = limited(ctx, resources)?;
    bundle.args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    compare(ctx, &container, rows)
}

fn blkio_throttle(ctx: &Ctx) -> Outcome {
    let hierarchy = ctx.host.need(if ctx.host.pure_v2() { "io" } else { "blkio" })?;
    // Any disk will do: the rule is only read back.
    let disks = fs::read_dir("/sys/block")?
        .flatten()
        .filter_map(|e| fs::read_to_string(e.path().join("dev")).ok());
    let Some(disk) = disks
        .map(|text| text.trim().to_string())
        .find(|disk| !disk.starts_with("7:"))
    else {
        skip!("this host has no disk");
    };
    let (major, minor) = disk.split_once(':').unwrap_or_default();
    let (major, minor): (u32, u32) = (major.parse()?, minor.parse()?);
    let rate = json!([{"major": major, "minor": minor, "rate": 1048576}]);
    let mut bundle = limited(ctx, json!({"blockIO": {"throttleReadBpsDevice": rate}}))?;
    let file = if hierarchy.v2 {
        "io.max"
    } else {
        "blkio.throttle.read_bps_device"
    };
    let plain = ctx.sleeper()?;
    if !plain
        .cgroup(if hierarchy.v2 { "io" } else { "blkio" })?
        .join(file)
        .exists()
    {
        skip!("this kernel has no {file}");
    }
    bundle.args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    let text = fs::read_to_string(
        container
            .cgroup(if hierarchy.v2 { "io" } else { "blkio" })?
            .join(file),
    )?;
    let want = if hierarchy.v2 {
        format!("{disk} rbps=1048576")
    } else {
        format!("{disk} 1048576")
    };
    check!(
        text.trim().starts_with(&want),
        "{file} says {text:?}, want {want:?}"
    );
    Ok(())
}

fn update(
    ctx: &Ctx,
    flags: &[&str],
    controller: &str,
    v1_file: &str,
    v1: &str,
    v2_file: &str,
    v2: &str,
) -> Outcome {
    let container = ctx.sleeper()?;
    ctx.host.need(controller)?;
    ctx.rt(["update"]).args(flags).arg(&container.id).ok()?.silent()?;
    compare(ctx, &container, &[(controller, v1_file, v1, v2_file, v2)])
}

fn resources(ctx: &Ctx, stdin: bool) -> Outcome {
    let container = ctx.sleeper()?;
    let text = json!({"pids": {"limit": 31}, "memory": {"limit": 134217728}}).to_string();
    match stdin {
        true => container.rt("update", &["--resources=-"]).stdin(text).ok()?,
        false => {
            let path = ctx.dir.join("resources.json");
            fs::write(&path, text)?;
            ctx.rt(["update", "--resources"])
                .arg(&path)
                .arg(&container.id)
                .ok()?
        }
    };
    let rows = [
        ("pids", "pids.max", "31", "pids.max", "31"),
        (
            "memory",
            "memory.limit_in_bytes",
            "134217728",
            "memory.max",
            "134217728",
        ),
    ];
    compare(ctx, &container, &rows)
}

/// Device rules that someone added behind the runtime's back, as for a GPU, are there after an update.
fn update_devices(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    let list = |container: &Container| -> Outcome<Option<String>> {
        if ctx.host.pure_v2() {
            return Ok(None);
        }
        let dir = container.cgroup("devices")?;
        Ok(Some(fs::read_to_string(Path::new(&dir).join("devices.list"))?))
    };
    if let Some(_before) = list(&container)? {
        fs::write(container.cgroup("devices")?.join("devices.allow"), "c 10:229 rw")?;
    }
    let before = list(&container)?;
    ctx.rt(["update", "--pids-limit", "20", &container.id]).ok()?;
    check_eq!(list(&container)?, before, "device rules");
    // In effect, too: what is denied stays denied, and what every container may open stays open.
    let seen = container.probe(&[], &["mknod", "c", "1", "11", "/tmp/kmsg"])?;
    check_eq!(seen["/tmp/kmsg"], "ok", "mknod");
    let seen = container.probe(&[], &["open", "rw", "/tmp/kmsg", "/dev/null"])?;
    check_eq!(
        seen,
        json!({"/tmp/kmsg": "EPERM", "/dev/null": "ok"}),
        "opening devices"
    );
    Ok(())
}
