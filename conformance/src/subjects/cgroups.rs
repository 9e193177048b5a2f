//! Control groups: where the container is, what its limits do, the freezer.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::container::eventually;
use crate::harness::{Bundle, Container, Ctx, Outcome, Stop, Test};
use crate::{check, check_eq};

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

pub fn limited(ctx: &Ctx, resources: Value) -> Outcome<Bundle> {
    let mut bundle = ctx.bundle()?;
    for (key, value) in resources.as_object().into_iter().flatten() {
        bundle.set(&format!("/linux/resources/{key}"), value.clone());
    }
    Ok(bundle)
}
