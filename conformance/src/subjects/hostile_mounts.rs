//! Root file systems made to lead the runtime's mounts, directories and devices astray.
//!
//! What must hold: it is refused, or lands inside; nothing outside changes and the host sees no mount.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::outside::{Outside, Swap};
use crate::harness::{Bundle, Ctx, Outcome, Test, pace};
use crate::{check, check_eq};

/// CVE-2024-45310
const RACED: &[(&str, &str)] = &[(
    "runc",
    "1.1 makes the mount point by its path, so the link can win the race",
)];
/// CVE-2025-31133
const PLANTED: &[(&str, &str)] = &[("runc", "1.1 binds whatever the container has at /dev/null")];

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("hostile/mount-through-a-link", mount_through_a_link),
    Test::new("hostile/mount-on-a-path-that-climbs", mount_on_a_climbing_path),
    Test::new("hostile/mount-of-a-file-through-a-link", mount_of_a_file),
    Test::new("hostile/mount-raced-by-a-swap", |ctx| mount_raced(ctx, "tmpfs"))
        .deadline(120)
        .peers(RACED),
    Test::new("hostile/bind-raced-by-a-swap", |ctx| mount_raced(ctx, "bind"))
        .deadline(120)
        .peers(RACED),
    Test::new("hostile/proc-is-a-link", |ctx| {
        not_a_directory(ctx, "/proc", true)
    }),
    Test::new("hostile/proc-is-a-file", |ctx| {
        not_a_directory(ctx, "/proc", false)
    }),
    Test::new("hostile/sys-is-a-link", |ctx| not_a_directory(ctx, "/sys", true)),
    Test::new("hostile/sys-is-a-file", |ctx| not_a_directory(ctx, "/sys", false)),
    Test::new("hostile/bind-over-proc", bind_over_proc).peers(&[("crun", "lets it through")]),
    Test::new("hostile/dev-is-a-link", dev_is_a_link).peers(&[(
        "runc",
        "1.1 makes the links of /dev by their paths, which lead to the host",
    )]),
    Test::new(
        "hostile/dev-is-a-link-and-not-mounted",
        dev_is_a_link_and_not_mounted,
    )
    .peers(&[
        (
            "runc",
            "1.1 makes the links of /dev by their paths, which lead to the host",
        ),
        (
            "crun",
            "1.8 makes devices and links below a /dev that leads to the host",
        ),
    ]),
    Test::new("hostile/below-dev-are-links", below_dev_are_links),
    Test::new("hostile/mask-with-a-null-that-is-a-link", |ctx| {
        mask(ctx, Null::Link)
    })
    .peers(PLANTED),
    Test::new("hostile/mask-with-a-null-that-is-a-file", |ctx| {
        mask(ctx, Null::File)
    })
    .peers(PLANTED),
    Test::new("hostile/mask-without-a-null", |ctx| mask(ctx, Null::Absent)),
    Test::new("hostile/mask-through-a-link", mask_through_a_link),
    Test::new("hostile/mask-raced-by-a-swap", |ctx| {
        protect_raced(ctx, "/linux/maskedPaths")
    })
    .deadline(120),
    Test::new("hostile/read-only-raced-by-a-swap", |ctx| {
        protect_raced(ctx, "/linux/readonlyPaths")
    })
    .deadline(120),
    Test::new("hostile/mounts-do-not-leak", mounts_do_not_leak),
    Test::new("hostile/working-directory-through-a-link", working_directory),
    Test::new("hostile/device-through-a-link", device_through_a_link),
];

/// Replaces what is at `path` in the root file system by a link.
fn plant(bundle: &Bundle, path: &str, target: &str) -> Outcome {
    let path = bundle.rootfs().join(path.trim_start_matches('/'));
    remove(&path)?;
    symlink(target, path)?;
    Ok(())
}

fn remove(path: &Path) -> Outcome {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)?;
    } else if path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Runs the bundle: either it is refused, or the payload sees a mount of this source. Whether it started.
fn inside_or_refused(ctx: &Ctx, bundle: &mut Bundle, source: &str) -> Outcome<bool> {
    bundle.args(&["/bin/probe", "see", "mounts"]);
    let output = ctx.run(bundle)?;
    let started = output.code() == 0;
    if started {
        let seen = output.json()?;
        let mounts = seen["mounts"].as_array().cloned().unwrap_or_default();
        let ours = |mount: &Value| {
            mount["source"] == source || mount["root"].as_str().is_some_and(|root| root.ends_with(source))
        };
        check!(
            mounts.iter().any(ours),
            "the container started without its mount of {source}"
        );
    }
    Ok(started)
}

fn mount_through_a_link(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let volume = ctx.fresh_dir("volume")?;
    for target in outside.targets() {
        for destination in ["/x", "/x/sub", "/x/new/er", "/x/../sub"] {
            for kind in ["tmpfs", "bind"] {
                let mut bundle = ctx.bundle()?;
                plant(&bundle, "/x", &target)?;
                let source = if kind == "bind" {
                    volume.to_string_lossy()
                } else {
                    "bait".into()
                };
                let options: &[&str] = if kind == "bind" { &["rbind"] } else { &[] };
                bundle.mount(destination, kind, &source, options);
                let name = volume.file_name().unwrap_or_default().to_string_lossy();
                inside_or_refused(ctx, &mut bundle, if kind == "bind" { &name } else { "bait" })?;
                outside.unchanged()?;
            }
        }
    }
    Ok(())
}

fn mount_on_a_climbing_path(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let path = outside.dir.display();
    for destination in [
        format!("/../../../../../../../..{path}/sub"),
        format!("/tmp/../../../../../../..{path}/new"),
    ] {
        let mut bundle = ctx.bundle()?;
        bundle.mount(&destination, "tmpfs", "bait", &[]);
        inside_or_refused(ctx, &mut bundle, "bait")?;
        outside.unchanged()?;
    }
    Ok(())
}

/// The file to mount on is made by the runtime when it is missing.
fn mount_of_a_file(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let source = ctx.dir.join("resolv.conf");
    fs::write(&source, "nameserver 127.0.0.1\n")?;
    for target in outside.targets() {
        for (link, destination) in [("/etc", "/etc/new"), ("/x", "/x/new/er"), ("/y", "/y")] {
            let mut bundle = ctx.bundle()?;
            // `/y` is a link to a file that is not there yet; the others are links to the directory.
            let target = if link == "/y" {
                format!("{target}/made")
            } else {
                target.clone()
            };
            plant(&bundle, link, &target)?;
            bundle.mount(destination, "bind", &source.to_string_lossy(), &["bind"]);
            inside_or_refused(ctx, &mut bundle, "resolv.conf")?;
            outside.unchanged()?;
        }
    }
    Ok(())
}

fn rounds() -> usize {
    if pace::slow() { 8 } else { 60 }
}

fn mount_raced(ctx: &Ctx, kind: &str) -> Outcome {
    let outside = Outside::new(ctx)?;
    let volume = ctx.fresh_dir("volume")?;
    let name = volume
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut bundle = ctx.bundle()?;
    let (source, shown) = match kind {
        "bind" => (volume.display().to_string(), name),
        _ => ("bait".to_string(), "bait".to_string()),
    };
    bundle.mount(
        "/race/new/er",
        kind,
        &source,
        if kind == "bind" { &["bind"] } else { &[] },
    );
    let [_, climbing] = outside.targets();
    let swap = Swap::begin(&bundle.rootfs().join("race"), &climbing)?;
    let mut started = 0;
    for _ in 0..rounds() {
        started += u32::from(inside_or_refused(ctx, &mut bundle, &shown)?);
        outside.unchanged()?;
        let _ = fs::remove_dir_all(bundle.rootfs().join("race/new"));
    }
    let swaps = swap.end();
    check!(swaps > 100, "only {swaps} swaps: the race was none");
    check!(
        started > 0,
        "every container was refused, also those whose directory was one at that moment"
    );
    outside.unchanged()
}

/// The kernel's views are mounted on a real directory only, or a program reads what somebody else wrote.
fn not_a_directory(ctx: &Ctx, destination: &str, link: bool) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let path = bundle.rootfs().join(destination.trim_start_matches('/'));
    if link {
        plant(&bundle, destination, "/tmp")?;
    } else {
        remove(&path)?;
        fs::write(&path, "")?;
    }
    bundle.args(&["true"]);
    let output = ctx.run(&bundle)?.fails()?;
    check!(
        output.stderr.contains(destination),
        "the message does not name {destination}: {:?}",
        output.stderr
    );
    Ok(())
}

/// Only a few files of /proc may be replaced, or the container could fake what privileged programs read there.
fn bind_over_proc(ctx: &Ctx) -> Outcome {
    let volume = ctx.fresh_dir("volume")?;
    fs::write(volume.join("attr"), "")?;
    for (destination, kind, options) in [
        ("/proc/sys", "bind", &["bind"][..]),
        ("/proc/self", "bind", &["bind"]),
        ("/proc/1", "tmpfs", &[]),
    ] {
        let mut bundle = ctx.bundle()?;
        bundle
            .args(&["true"])
            .mount(destination, kind, &volume.to_string_lossy(), options);
        let output = ctx.run(&bundle)?.fails()?;
        check!(
            output.stderr.contains("/proc"),
            "the message does not say where: {:?}",
            output.stderr
        );
    }
    Ok(())
}

fn without_dev(bundle: &mut Bundle) {
    for destination in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle.unmount(destination);
    }
}

fn dev_is_a_link(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    for target in outside.targets() {
        let mut bundle = ctx.bundle()?;
        plant(&bundle, "/dev", &target)?;
        bundle.args(&["true"]);
        ctx.run(&bundle)?;
        outside.unchanged()?;
    }
    Ok(())
}

fn dev_is_a_link_and_not_mounted(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    for target in outside.targets() {
        for terminal in [false, true] {
            let mut bundle = ctx.bundle()?;
            without_dev(&mut bundle);
            plant(&bundle, "/dev", &target)?;
            bundle.args(&["true"]).set("/process/terminal", json!(terminal));
            // With a terminal nobody listens, so that fails; what counts is how far it gets.
            let container = ctx.container(&bundle)?;
            container.rt_create(&[]).output()?;
            outside.unchanged()?;
        }
    }
    Ok(())
}

fn below_dev_are_links(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let names = [
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "fd", "stdin", "pts", "shm",
    ];
    for target in outside.targets() {
        let mut bundle = ctx.bundle()?;
        without_dev(&mut bundle);
        for name in names {
            plant(&bundle, &format!("/dev/{name}"), &format!("{target}/secret"))?;
        }
        bundle.args(&["true"]);
        ctx.run(&bundle)?;
        outside.unchanged()?;
        let mut bundle = ctx.bundle()?;
        without_dev(&mut bundle);
        for name in ["pts", "shm", "mqueue"] {
            plant(&bundle, &format!("/dev/{name}"), &target)?;
        }
        bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance"]);
        bundle.mount("/dev/shm", "tmpfs", "bait", &["mode=1777"]);
        bundle.mount("/dev/mqueue", "mqueue", "mqueue", &[]);
        inside_or_refused(ctx, &mut bundle, "bait")?;
        outside.unchanged()?;
    }
    Ok(())
}

/// What the image has at /dev/null.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    Link,
    File,
    Absent,
}

/// What masks a file is the kernel's null device, whatever the image or a volume has at /dev/null.
fn mask(ctx: &Ctx, null: Null) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let volume = ctx.fresh_dir("dev")?;
    fs::write(bundle.rootfs().join("etc/planted"), "planted")?;
    match null {
        Null::Link => symlink("/etc/planted", volume.join("null"))?,
        Null::File => fs::write(volume.join("null"), "planted")?,
        Null::Absent => {}
    }
    without_dev(&mut bundle);
    bundle.mount("/dev", "bind", &volume.to_string_lossy(), &["bind"]);
    fs::write(bundle.rootfs().join("etc/masked"), "hidden")?;
    fs::create_dir(bundle.rootfs().join("etc/masked.d"))?;
    fs::write(bundle.rootfs().join("etc/masked.d/file"), "hidden")?;
    bundle.set("/linux/maskedPaths", json!(["/etc/masked", "/etc/masked.d"]));
    bundle
        .script("probe stat /etc/masked && cat /etc/masked && ls -A /etc/masked.d && touch /etc/masked.d/x");
    let output = ctx.run(&bundle)?;
    check!(
        !output.combined().contains("hidden"),
        "what is masked can be read"
    );
    check!(
        !output.combined().contains("planted"),
        "the mask is what the image planted"
    );
    if output.stdout.is_empty() {
        // A /dev that cannot be filled may be refused.
        output.fails()?;
        return Ok(());
    }
    let seen: Value = serde_json::from_str(output.stdout.lines().next().unwrap_or_default())?;
    let masked = &seen["/etc/masked"];
    check_eq!(masked["device"], json!([1, 3]), "device of the mask {masked}");
    check_eq!(output.stdout.lines().count(), 1, "lines of {:?}", output.stdout);
    check!(
        output.stderr.contains("Read-only"),
        "a masked directory can be written to: {:?}",
        output.stderr
    );
    Ok(())
}

fn mask_through_a_link(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    for target in outside.targets() {
        let mut bundle = ctx.bundle()?;
        plant(&bundle, "/x", &target)?;
        bundle.set("/linux/maskedPaths", json!(["/x", "/x/secret", "/x/sub"]));
        bundle.set("/linux/readonlyPaths", json!(["/x/etc", "/x/etc/passwd"]));
        bundle.args(&["true"]);
        ctx.run(&bundle)?;
        outside.unchanged()?;
    }
    Ok(())
}

fn protect_raced(ctx: &Ctx, list: &str) -> Outcome {
    let outside = Outside::new(ctx)?;
    let mut bundle = ctx.bundle()?;
    let [_, climbing] = outside.targets();
    bundle
        .set(list, json!(["/race", "/race/secret", "/race/sub"]))
        .args(&["true"]);
    let swap = Swap::begin(&bundle.rootfs().join("race"), &climbing)?;
    for _ in 0..rounds() {
        ctx.run(&bundle)?;
        outside.unchanged()?;
    }
    let swaps = swap.end();
    check!(swaps > 100, "only {swaps} swaps: the race was none");
    outside.unchanged()
}

/// The suite's own mounts are shared, as a host's are: what is mounted for a container would show.
fn mounts_do_not_leak(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let mut bundle = ctx.bundle()?;
    let volume = ctx.fresh_dir("volume")?;
    bundle
        .mount(
            "/volume",
            "bind",
            &volume.to_string_lossy(),
            &["rbind", "rshared"],
        )
        .args(&["sleep", "1000"]);
    bundle.set("/root/path", json!(bundle.rootfs()));
    let count = if pace::slow() { 6 } else { 50 };
    let mut containers = Vec::new();
    for _ in 0..count {
        let mut own = bundle.clone();
        own.dir = ctx.fresh_dir("own")?;
        containers.push(ctx.container(&own)?);
    }
    let creating = containers
        .iter()
        .map(|container| container.rt_create(&[]).quiet().spawn());
    let creating = creating.collect::<Outcome<Vec<_>>>()?;
    for command in creating {
        command.wait()?.ok()?;
    }
    outside.unchanged()?;
    for container in &containers {
        container.rt("delete", &["--force"]).quiet().ok()?;
    }
    outside.unchanged()
}

/// The working directory is made when it is missing, inside.
fn working_directory(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    for target in outside.targets() {
        for cwd in ["/x", "/x/new", "/x/sub/../../secret"] {
            let mut bundle = ctx.bundle()?;
            plant(&bundle, "/x", &target)?;
            bundle
                .args(&["cat", "secret", "../secret"])
                .set("/process/cwd", json!(cwd));
            let output = ctx.run(&bundle)?;
            check!(
                !output.stdout.contains("only the host"),
                "the working directory {cwd} is outside"
            );
            outside.unchanged()?;
        }
    }
    Ok(())
}

fn device_through_a_link(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    for target in outside.targets() {
        for path in ["/x/device", "/x/new/device", "/y"] {
            let mut bundle = ctx.bundle()?;
            let link = if path == "/y" {
                format!("{target}/secret")
            } else {
                target.clone()
            };
            plant(&bundle, if path == "/y" { "/y" } else { "/x" }, &link)?;
            bundle.args(&["true"]).push(
                "/linux/devices",
                json!({"path": path, "type": "c", "major": 1, "minor": 7, "fileMode": 0o666, "uid": 7, "gid": 7}),
            );
            ctx.run(&bundle)?;
            outside.unchanged()?;
        }
    }
    Ok(())
}
