//! Limits as the files of the control groups show them, from the config and from `update`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::cgroups::limited;
use crate::harness::{Container, Ctx, Outcome, Stop, Test};
use crate::{check, check_eq, skip};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
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
            "174",
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
];

/// Rows of controller, file and content on version 1, file and content on version 2. An empty file: there is none.
type Files<'a> = [(&'a str, &'a str, &'a str, &'a str, &'a str)];

fn compare(ctx: &Ctx, container: &Container, rows: &Files) -> Outcome {
    let mut compared = 0;
    for (controller, v1_file, v1, v2_file, v2) in rows {
        let hierarchy = ctx.host.need(controller)?;
        let (file, want) = if hierarchy.v2 {
            (v2_file, v2)
        } else {
            (v1_file, v1)
        };
        if file.is_empty() {
            continue;
        }
        let path = container.cgroup(controller)?.join(file);
        if !path.exists() {
            skip!("this kernel has no {file}");
        }
        check_eq!(fs::read_to_string(&path)?.trim(), *want, "{file}");
        compared += 1;
    }
    if compared == 0 {
        let version = if ctx.host.pure_v2() { 2 } else { 1 };
        skip!("version {version} of control groups has no file for this limit");
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
    let hierarchy = ctx.host.need("blkio")?;
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
    if !plain.cgroup("blkio")?.join(file).exists() {
        skip!("this kernel has no {file}");
    }
    bundle.args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    let text = fs::read_to_string(container.cgroup("blkio")?.join(file))?;
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
