//! Names and paths that climb, lead away, are overlong or look like options.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::harness::outside::Outside;
use crate::harness::{Ctx, Outcome, Test};
use crate::{check, check_eq};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("hostile/id-in-every-verb", id_in_every_verb).peers(&[(
        "crun",
        "1.8 deletes what the id leads to, also outside of its root",
    )]),
    Test::new("hostile/id-that-cannot-be-created", id_in_create)
        .peers(&[("crun", "1.8 takes slashes and control characters")]),
    Test::new("hostile/id-as-long-as-a-name-can-be", long_id),
    Test::new("hostile/state-root-with-strangers", strangers)
        .peers(&[("crun", "1.8 deletes through a link in its root")]),
    Test::new("hostile/cgroups-path-that-climbs", cgroups_path_that_climbs)
        .peers(&[("crun", "1.8 makes directories wherever the path leads")]),
    Test::new("hostile/cgroups-path-that-is-odd", cgroups_path_that_is_odd)
        .peers(&[("crun", "1.8 leaves some of them")]),
    Test::new("hostile/exec-cgroup-that-climbs", exec_cgroup_that_climbs)
        .peers(&[("crun", "1.8 lets it out of its cgroup")]),
    Test::new("hostile/pid-file-through-a-link", pid_file_through_a_link)
        .peers(&[("crun", "1.8 writes through the link")]),
    Test::new("hostile/sysctl-with-odd-spelling", sysctl_with_odd_spelling),
    Test::new(
        "hostile/update-keeps-the-device-rules",
        update_keeps_the_device_rules,
    )
    .peers(&[("crun", "1.8 applies device rules that an update brings")]),
];

/// Ids that must never be looked up below the state root.
fn bad_ids(outside: &str) -> Vec<String> {
    let mut ids: Vec<String> = [
        "..",
        ".",
        "../victim",
        "./victim",
        "a/../../victim",
        "x/",
        "/",
        "//",
        "victim\n",
        "a\0b",
        "\u{fffd}",
        "é",
        " ",
    ]
    .map(String::from)
    .to_vec();
    ids.push(outside.to_string());
    ids.push(format!("../../../../../../../../..{outside}"));
    ids.push("x".repeat(5000));
    // An argument cannot hold a NUL.
    ids.retain(|id| !id.contains('\0'));
    ids
}

/// A directory beside the state root that looks like a container's, so that whoever climbs there finds something.
fn victim(ctx: &Ctx) -> Outcome<Outside> {
    let container = ctx.sleeper()?;
    let beside = ctx.dir.join("victim");
    let copied = ctx
        .command("cp")
        .arg("-a")
        .arg(ctx.root.join(&container.id))
        .arg(&beside)
        .ok();
    copied?;
    container.stop()?;
    container.delete()?;
    Outside::watch(&beside)
}

fn id_in_every_verb(ctx: &Ctx) -> Outcome {
    let victim = victim(ctx)?;
    let verbs: [&[&str]; 12] = [
        &["state"],
        &["start"],
        &["kill"],
        &["kill", "--all"],
        &["delete"],
        &["delete", "--force"],
        &["ps"],
        &["pause"],
        &["resume"],
        &["update", "--pids-limit", "5"],
        &["events", "--stats"],
        &["exec"],
    ];
    for id in bad_ids(&victim.dir.to_string_lossy()) {
        for verb in verbs {
            let command = ctx.rt(verb).arg("--").arg(&id);
            let command = if verb[0] == "exec" {
                command.arg("true")
            } else {
                command
            };
            let output = command.quiet().output()?;
            victim.unchanged()?;
            // What does not exist is no error for `delete --force`.
            check!(
                output.code() != 0 || verb == ["delete", "--force"],
                "{verb:?} succeeded with the id {id:?}"
            );
        }
        check!(
            ctx.root.is_dir() && ctx.dir.is_dir(),
            "the state root is gone after the id {id:?}"
        );
    }
    Ok(())
}

fn id_in_create(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let mut bundle = ctx.bundle()?;
    bundle.args(&["true"]).write()?;
    for id in bad_ids(&outside.dir.join("sub").to_string_lossy()) {
        for verb in [&["create"][..], &["run"], &["run", "--detach"]] {
            let output = ctx
                .rt(verb)
                .arg("--bundle")
                .arg(&bundle.dir)
                .arg("--")
                .arg(&id)
                .quiet()
                .output()?;
            check!(output.code() != 0, "{verb:?} succeeded with the id {id:?}");
            outside.unchanged()?;
        }
        let found = fs::read_dir(&ctx.root).into_iter().flatten().flatten().count();
        check_eq!(
            found,
            0,
            "entries of the state root after the id {:?}",
            id.chars().take(40).collect::<String>()
        );
    }
    Ok(())
}

/// 255 bytes are the longest name of a directory; beyond that it is an error that says so, and leaves nothing.
fn long_id(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle
        .args(&["true"])
        .set("/linux/cgroupsPath", json!(format!("/{}", ctx.fresh("long"))))
        .write()?;
    for length in [128, 255, 256, 300] {
        let id = "i".repeat(length);
        let output = ctx.rt(["run", "--bundle"]).arg(&bundle.dir).arg(&id).output()?;
        check!(
            output.code() == 0 || length > 128,
            "an id of {length} characters was refused: {}",
            output.stderr
        );
        let left = fs::read_dir(&ctx.root).into_iter().flatten().flatten().count();
        check_eq!(left, 0, "state directories after an id of {length} characters");
        if output.code() != 0 {
            check_eq!(output.stderr.lines().count(), 1, "lines of the message");
        }
    }
    Ok(())
}

/// What lies in the state root and is no container's harms nobody.
fn strangers(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let container = ctx.sleeper()?;
    fs::write(ctx.root.join("a-file"), "")?;
    fs::create_dir(ctx.root.join("empty"))?;
    std::os::unix::fs::symlink(&outside.dir, ctx.root.join("link"))?;
    std::os::unix::fs::symlink("missing", ctx.root.join("dangling"))?;
    let listed = ctx.rt(["list", "--quiet"]).ok()?.stdout;
    check!(
        listed.lines().any(|line| line == container.id),
        "list without the container: {listed:?}"
    );
    for id in ["link", "dangling", "empty", "a-file"] {
        ctx.rt(["delete", "--force", id]).output()?;
        outside.unchanged()?;
    }
    container.stop()?;
    container.delete()?;
    for name in ["a-file", "link", "dangling"] {
        let _ = fs::remove_file(ctx.root.join(name));
    }
    let _ = fs::remove_dir(ctx.root.join("empty"));
    Ok(())
}

fn cgroups_path_that_climbs(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let name = ctx.fresh("climber");
    let path = outside.dir.display();
    for climb in [
        format!("/../../../../../../../../../..{path}/{name}"),
        format!("../../../../../../../../../..{path}/{name}"),
        format!("/{name}/../../../../../../../../..{path}/sub"),
        format!("../{name}"),
        format!("/../{name}"),
        format!("/./{name}"),
    ] {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["true"]).set("/linux/cgroupsPath", json!(climb));
        let output = ctx.run(&bundle)?;
        outside.unchanged()?;
        // What was accepted must have been inside the hierarchies, and is gone now.
        check!(
            output.code() != 0 || ctx.host.cgroups(&name).is_empty(),
            "cgroups of {climb:?} are left"
        );
    }
    Ok(())
}

/// Control characters, overlong names and the top itself: works or is refused, and leaves nothing.
fn cgroups_path_that_is_odd(ctx: &Ctx) -> Outcome {
    let name = ctx.fresh("odd");
    for path in [
        format!("/{name}\nnewline"),
        format!("/{name}/{}", "c".repeat(300)),
        format!("/{name}{}", "/d".repeat(3000)),
        format!("//{name}//{name}-x//"),
        format!("/{name} with spaces"),
        format!("/{name}-\u{fc}"),
    ] {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["true"]).set("/linux/cgroupsPath", json!(path));
        let container = ctx.container(&bundle)?;
        let output = container.rt_run(&[]).output()?;
        check!(!output.stderr.contains("panicked"), "panic with {path:?}");
        if output.code() != 0 {
            container.rt("state", &[]).output()?.fails()?;
        }
        let leaf = path.trim_end_matches('/').split('/').next_back().unwrap_or(&name);
        let left: Vec<PathBuf> = ctx.host.cgroups(leaf);
        check_eq!(
            left,
            Vec::<PathBuf>::new(),
            "cgroups left of {:?}",
            path.chars().take(60).collect::<String>()
        );
        // Parents are not the container's; the runtime may leave them.
        crate::harness::leftovers::remove_cgroups(&ctx.host, &name);
    }
    Ok(())
}

fn exec_cgroup_that_climbs(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    // A name of this test, so that what a runtime makes of it is found and removed.
    let below = format!("{}/../../..", ctx.fresh("climber"));
    for path in ["../..", "/..", "/../../..", &below, "..", "./.."] {
        let output = container
            .rt_exec(&["--cgroup", path], &["cat", "/proc/self/cgroup"])
            .output()?;
        check!(
            output.code() != 0,
            "--cgroup {path:?} was accepted: {}",
            output.stdout
        );
    }
    Ok(())
}

/// The pid file is the caller's, but a file is put in place as a whole, so a link is replaced and not followed.
fn pid_file_through_a_link(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let container = ctx.container(&bundle)?;
    let file = ctx.dir.join("pid");
    std::os::unix::fs::symlink(outside.dir.join("secret"), &file)?;
    container
        .rt_create(&["--pid-file", &file.to_string_lossy()])
        .ok()?;
    outside.unchanged()?;
    check_eq!(
        fs::read_to_string(&file)?.trim(),
        container.pid()?.to_string(),
        "content of the pid file"
    );
    Ok(())
}

/// Only what is per namespace may be set, however it is written.
fn sysctl_with_odd_spelling(ctx: &Ctx) -> Outcome {
    let read = || fs::read_to_string("/proc/sys/kernel/threads-max");
    let before = read()?;
    for name in [
        "kernel.threads-max",
        "kernel/threads-max",
        "kernel..threads-max",
        "/kernel/threads-max",
        ".kernel.threads-max",
        "net/../kernel/threads-max",
        "net.ipv4/../../kernel/threads-max",
        "net./../kernel/threads-max",
        "../sys/kernel/threads-max",
        "kernel.shmmax/../threads-max",
        "fs.mqueue/../../kernel/threads-max",
        "fs.mqueue.../kernel/threads-max",
    ] {
        let mut bundle = ctx.bundle()?;
        bundle
            .args(&["true"])
            .set("/linux/sysctl", json!({name: "12345"}));
        ctx.run(&bundle)?.fails()?;
        check_eq!(read()?, before, "threads-max of the host, after {name:?}");
    }
    Ok(())
}

fn update_keeps_the_device_rules(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let allowed = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"});
    bundle
        .args(&["sleep", "1000"])
        .push("/linux/resources/devices", allowed);
    let container = ctx.started(&bundle)?;
    let nodes = "mknod /tmp/fuse c 10 229; mknod /tmp/kmsg c 1 11; mknod /tmp/mem c 1 1";
    container.exec(&["sh", "-c", nodes])?.ok()?;
    let look = || {
        container.probe(
            &[],
            &["open", "r", "/tmp/fuse", "/tmp/kmsg", "/tmp/mem", "/dev/null"],
        )
    };
    let before = look()?;
    check_eq!(before["/tmp/kmsg"], "EPERM", "opening what is not allowed");
    check!(
        before["/tmp/fuse"] != "EPERM",
        "opening what is allowed: {before}"
    );
    container.rt("update", &["--pids-limit=50"]).ok()?;
    check_eq!(look()?, before, "devices after update");
    let loosen = r#"{"devices": [{"allow": true, "access": "rwm"}], "pids": {"limit": 60}}"#;
    ctx.rt(["update", "--resources=-", &container.id])
        .stdin(loosen)
        .output()?;
    check_eq!(look()?, before, "devices after an update with device rules");
    let tighten = r#"{"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 60}}"#;
    ctx.rt(["update", "--resources=-", &container.id])
        .stdin(tighten)
        .output()?;
    check_eq!(look()?, before, "devices after an update that denies all");
    Ok(())
}
