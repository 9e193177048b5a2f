//! Mounts: kinds, destinations, sources, order, the root itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::harness::seen::{has, mount_at, strings};
use crate::harness::{Bundle, Ctx, Outcome, Test};
use crate::{check, check_eq, skip};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    // Kinds of file systems.
    Test::new("mounts/proc-shows-only-the-container", |ctx| {
        let mut bundle = ctx.bundle()?;
        let seen = ctx.probe(&mut bundle, &["see", "mounts", "processes"])?;
        check_eq!(mount_at(&seen, "/proc")?["type"], "proc", "type");
        check_eq!(seen["processes"], json!([1]), "processes");
        Ok(())
    }),
    Test::new("mounts/sysfs-is-read-only", |ctx| {
        let mut bundle = ctx.bundle()?;
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        let sys = mount_at(&seen, "/sys")?;
        check_eq!(sys["type"], "sysfs", "type");
        check!(has(sys, "options", "ro"), "options {}", sys["options"]);
        Ok(())
    }),
    Test::new("mounts/devpts-is-its-own-instance", |ctx| {
        let mut bundle = ctx.bundle()?;
        let seen = ctx.probe(&mut bundle, &["list", "/dev/pts"])?;
        check_eq!(seen["/dev/pts"], json!(["ptmx"]), "entries");
        Ok(())
    }),
    Test::new("mounts/mqueue", |ctx| {
        let mut bundle = ctx.bundle()?;
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        check_eq!(mount_at(&seen, "/dev/mqueue")?["type"], "mqueue", "type");
        Ok(())
    }),
    Test::new("mounts/cgroup-v1-has-every-controller", cgroup_v1),
    Test::new("mounts/cgroup-is-read-only", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        );
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        let mounts = seen["mounts"].as_array().cloned().unwrap_or_default();
        let mut count = 0;
        for mount in mounts
            .iter()
            .filter(|m| m["type"] == "cgroup" || m["type"] == "cgroup2")
        {
            check!(has(mount, "options", "ro"), "{} is writable", mount["at"]);
            count += 1;
        }
        check!(count > 0, "no cgroup file system inside");
        Ok(())
    }),
    Test::new("mounts/overlay", |ctx| {
        if !fs::read_to_string("/proc/filesystems")?.contains("\toverlay\n") {
            skip!("this kernel has no overlay file system");
        }
        let mut bundle = ctx.bundle()?;
        let make = |name| ctx.fresh_dir(name);
        let (lower, upper, work) = (make("lower")?, make("upper")?, make("work")?);
        fs::write(lower.join("file"), "below\n")?;
        let options = [
            format!("lowerdir={}", lower.display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        bundle
            .mount("/merged", "overlay", "overlay", &options)
            .script("cat /merged/file; echo new > /merged/made");
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "below\n", "file");
        check_eq!(
            fs::read_to_string(upper.join("made"))?,
            "new\n",
            "the upper directory"
        );
        Ok(())
    }),
    // tmpfs.
    Test::new("mounts/tmpfs-mode", |ctx| {
        tmpfs(ctx, &["mode=1770"], "1770", 0, 0)
    }),
    Test::new("mounts/tmpfs-owner", |ctx| {
        tmpfs(ctx, &["mode=700", "uid=1000", "gid=2000"], "700", 1000, 2000)
    }),
    Test::new("mounts/tmpfs-size", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.mount("/t", "tmpfs", "tmpfs", &["size=64k"]);
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        check!(
            has(mount_at(&seen, "/t")?, "super", "size=64k"),
            "{}",
            mount_at(&seen, "/t")?
        );
        bundle.script("dd if=/dev/zero of=/t/f bs=1k count=100 2>/dev/null; stat -c %s /t/f");
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "65536\n", "bytes that fit");
        Ok(())
    }),
    Test::new("mounts/tmpfs-takes-the-mode-of-what-it-covers", |ctx| {
        let mut bundle = ctx.bundle()?;
        let dir = bundle.dir("/covered")?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
        bundle.mount("/covered", "tmpfs", "tmpfs", &[]);
        let seen = ctx.probe(&mut bundle, &["stat", "/covered"])?;
        check_eq!(seen["/covered"]["mode"], "711", "mode");
        Ok(())
    })
    .peers(&[("crun", "always makes it 1777")]),
    Test::new("mounts/tmpfs-copies-up", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.file("/copied/deep/file", "content\n", 0o640)?;
        bundle.mount("/copied", "tmpfs", "tmpfs", &["tmpcopyup"]);
        bundle.script("cat /copied/deep/file; stat -c %a /copied/deep/file; echo more > /copied/new");
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "content\n640\n", "the copy");
        check!(
            !bundle.rootfs().join("copied/new").exists(),
            "written through to the root file system"
        );
        Ok(())
    }),
    // Binds.
    Test::new("mounts/bind-of-a-directory", |ctx| bind(ctx, "bind", &["bind"])),
    Test::new("mounts/bind-by-option-without-type", |ctx| {
        bind(ctx, "", &["bind"])
    }),
    Test::new("mounts/bind-by-option-with-type-none", |ctx| {
        bind(ctx, "none", &["rbind"])
    }),
    Test::new("mounts/bind-of-a-file", |ctx| {
        let mut bundle = ctx.bundle()?;
        let source = source_file(ctx, "the file\n")?;
        bundle
            .mount("/etc/passwd", "bind", &source, &["bind"])
            .args(&["cat", "/etc/passwd"]);
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "the file\n", "content");
        Ok(())
    }),
    Test::new("mounts/bind-of-a-file-makes-its-destination", |ctx| {
        let mut bundle = ctx.bundle()?;
        let source = source_file(ctx, "the file\n")?;
        bundle
            .mount("/new/dir/file", "bind", &source, &["bind"])
            .args(&["cat", "/new/dir/file"]);
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "the file\n", "content");
        Ok(())
    }),
    Test::new("mounts/bind-of-a-socket", |ctx| {
        let mut bundle = ctx.bundle()?;
        let path = ctx.dir.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&path)?;
        bundle.mount("/run/socket", "bind", &path.display().to_string(), &["bind"]);
        let seen = ctx.probe(&mut bundle, &["stat", "/run/socket"])?;
        check_eq!(seen["/run/socket"]["kind"], "socket", "kind");
        Ok(())
    }),
    Test::new("mounts/bind-source-relative-to-the-bundle", |ctx| {
        let mut bundle = ctx.bundle()?;
        fs::create_dir(bundle.dir.join("data"))?;
        fs::write(bundle.dir.join("data/file"), "relative\n")?;
        bundle
            .mount("/data", "bind", "data", &["bind"])
            .args(&["cat", "/data/file"]);
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "relative\n", "content");
        Ok(())
    }),
    Test::new("mounts/bind-read-only", |ctx| {
        let mut bundle = ctx.bundle()?;
        let source = ctx.fresh_dir("source")?;
        bundle.mount("/data", "bind", &source.display().to_string(), &["bind", "ro"]);
        let seen = ctx.probe(&mut bundle, &["create", "/data/file"])?;
        check_eq!(seen["/data/file"], "EROFS", "creating a file");
        Ok(())
    }),
    Test::new("mounts/bind-leaves-submounts-out", |ctx| {
        submount(ctx, "bind", &["host"])
    }),
    Test::new("mounts/rbind-takes-submounts-along", |ctx| {
        submount(ctx, "rbind", &["sub", "host"])
    }),
    Test::new("mounts/bind-read-only-again-and-writable-below", |ctx| {
        let mut bundle = ctx.bundle()?;
        let source = ctx.fresh_dir("source")?;
        fs::create_dir(source.join("inner"))?;
        let source = source.display().to_string();
        bundle.mount("/data", "bind", &source, &["bind", "ro"]);
        bundle.mount("/data/inner", "tmpfs", "tmpfs", &["mode=755"]);
        let seen = ctx.probe(&mut bundle, &["create", "/data/a", "/data/inner/a"])?;
        check_eq!(
            seen,
            json!({"/data/a": "EROFS", "/data/inner/a": "ok"}),
            "creating files"
        );
        Ok(())
    }),
    // Destinations.
    Test::new("mounts/destination-is-made-with-its-parents", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.mount("/a/b/c/d", "tmpfs", "tmpfs", &[]);
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        mount_at(&seen, "/a/b/c/d").map(drop)
    }),
    Test::new("mounts/destination-inside-an-earlier-mount", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .mount("/t", "tmpfs", "tmpfs", &[])
            .mount("/t/below", "tmpfs", "tmpfs", &["mode=700"]);
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        mount_at(&seen, "/t/below").map(drop)
    }),
    Test::new("mounts/later-covers-earlier", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .mount("/t", "tmpfs", "tmpfs", &["size=64k"])
            .mount("/t", "tmpfs", "tmpfs", &["size=128k"]);
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        let top = mount_at(&seen, "/t")?;
        check!(has(top, "super", "size=128k"), "the topmost is {}", top["super"]);
        Ok(())
    }),
    Test::new("mounts/destination-through-an-absolute-link", |ctx| {
        link_destination(ctx, "/var", "/link/x", "/var/x")
    }),
    Test::new("mounts/destination-through-a-link-that-climbs", |ctx| {
        link_destination(ctx, "../../../../../var", "/link/x", "/var/x")
    }),
    Test::new("mounts/destination-is-a-link-itself", |ctx| {
        link_destination(ctx, "/var", "/link", "/var")
    }),
    Test::new("mounts/destination-through-a-dangling-link", |ctx| {
        link_destination(ctx, "/host-has-none-such", "/link/x", "/host-has-none-such/x")
    })
    .peers(&[("crun", "does not make what the link names")]),
    Test::new("mounts/tmpfs-mode-given-beats-what-it-covers", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.dir("/covered")?;
        bundle.mount("/covered", "tmpfs", "tmpfs", &["mode=1777"]);
        let seen = ctx.probe(&mut bundle, &["stat", "/covered"])?;
        check_eq!(seen["/covered"]["mode"], "1777", "mode");
        Ok(())
    })
    .peers(&[("runc", "1.1 takes the mode of what is covered in any case")]),
    Test::new("mounts/destination-with-dots-stays-inside", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.mount("/../../../../../../climbed", "tmpfs", "tmpfs", &[]);
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        mount_at(&seen, "/climbed").map(drop)
    }),
    Test::new("mounts/destination-relative-is-below-the-root", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.mount("relative/place", "tmpfs", "tmpfs", &[]);
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        mount_at(&seen, "/relative/place").map(drop)
    }),
    Test::new("mounts/inside-proc-is-refused", |ctx| {
        let mut bundle = ctx.bundle()?;
        let source = ctx.fresh_dir("source")?.display().to_string();
        bundle.mount("/proc/sys", "bind", &source, &["bind"]);
        ctx.run(&bundle)?.fails().map(drop)
    })
    .peers(&[("crun", "allows it")]),
    Test::new("mounts/over-proc-cpuinfo-is-allowed", |ctx| {
        let mut bundle = ctx.bundle()?;
        let source = source_file(ctx, "lxcfs\n")?;
        bundle
            .mount("/proc/cpuinfo", "bind", &source, &["bind"])
            .args(&["cat", "/proc/cpuinfo"]);
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "lxcfs\n", "content");
        Ok(())
    }),
    Test::new("mounts/proc-over-a-link-is-refused", |ctx| {
        let bundle = ctx.bundle()?;
        fs::remove_dir(bundle.rootfs().join("proc"))?;
        symlink("/tmp", bundle.rootfs().join("proc"))?;
        let output = ctx.run(&bundle)?.fails()?;
        check!(output.stderr.contains("/proc"), "stderr {:?}", output.stderr);
        Ok(())
    }),
    // The root.
    Test::new("mounts/root-read-only", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/root/readonly", json!(true))
            .mount("/tmp", "tmpfs", "tmpfs", &[]);
        let seen = ctx.probe(
            &mut bundle,
            &["create", "/file", "/etc/file", "/tmp/file", "/dev/shm/file"],
        )?;
        let want = json!({"/file": "EROFS", "/etc/file": "EROFS", "/tmp/file": "ok", "/dev/shm/file": "ok"});
        check_eq!(seen, want, "creating files");
        Ok(())
    }),
    Test::new("mounts/root-writable", |ctx| {
        let mut bundle = ctx.bundle()?;
        check_eq!(
            ctx.probe(&mut bundle, &["create", "/file"])?,
            json!({"/file": "ok"}),
            "creating a file"
        );
        check!(
            bundle.rootfs().join("file").exists(),
            "not in the root file system"
        );
        Ok(())
    }),
    Test::new("mounts/root-absolute-path", |ctx| {
        let mut bundle = ctx.bundle()?;
        let path = bundle.rootfs();
        bundle.set("/root/path", json!(path)).args(&["true"]);
        ctx.run(&bundle)?.ok().map(drop)
    }),
    Test::new("mounts/root-path-with-dots", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.set("/root/path", json!("./x/../rootfs/")).args(&["true"]);
        fs::create_dir(bundle.dir.join("x"))?;
        ctx.run(&bundle)?.ok().map(drop)
    }),
    Test::new("mounts/root-is-a-mount-point", |ctx| {
        // As with an overlay that a snapshotter mounted at the bundle's rootfs.
        let mut bundle = ctx.bundle()?;
        let source = bundle.rootfs().with_file_name("original");
        fs::rename(bundle.rootfs(), &source)?;
        fs::create_dir(bundle.rootfs())?;
        let none: Option<&str> = None;
        mount(Some(&source), &bundle.rootfs(), none, MsFlags::MS_BIND, none)?;
        bundle.args(&["true"]);
        let result = ctx.run(&bundle).and_then(|output| output.ok());
        nix::mount::umount(&bundle.rootfs())?;
        result.map(drop)
    }),
    Test::new("mounts/root-without-pivot", |ctx| {
        // As callers ask for whose own root is the initramfs.
        let mut bundle = ctx.bundle()?;
        bundle.script("test -x /bin/probe && test ! -e /usr && echo inside");
        let output = ctx.container(&bundle)?.rt_run(&["--no-pivot"]).ok()?;
        check_eq!(output.stdout, "inside\n", "output");
        Ok(())
    }),
    Test::new("mounts/root-of-the-host", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/root", json!({"path": "/", "readonly": true}))
            .args(&["/bin/sh", "-c", "echo $$; test -e /proc/1/status"]);
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "1\n", "pid inside");
        Ok(())
    })
    .peers(&[("runc", "fails at pivot_root"), ("crun", "fails at pivot_root")]),
    Test::new("mounts/nothing-of-the-host-is-mounted-inside", |ctx| {
        let mut bundle = ctx.bundle()?;
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        let all: Vec<&str> = seen["mounts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|m| m["at"].as_str())
            .collect();
        for at in &all {
            let known = ["/", "/proc", "/dev", "/sys"].contains(at)
                || ["/dev/", "/proc/", "/sys/"]
                    .iter()
                    .any(|prefix| at.starts_with(prefix));
            check!(known, "{at} is mounted; all: {all:?}");
        }
        check!(all.contains(&"/"), "no root in {all:?}");
        Ok(())
    }),
    Test::new("mounts/old-root-is-out-of-reach", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.capabilities(&["SYS_CHROOT", "DAC_OVERRIDE", "DAC_READ_SEARCH"]);
        bundle.script("ls -d /.pivot* /.old* /oldroot /put_old 2>/dev/null; cd /; cd ../../../..; pwd; test -e bin/probe && echo same");
        check_eq!(
            ctx.run(&bundle)?.ok()?.stdout,
            "/\nsame\n",
            "what is above the root"
        );
        Ok(())
    }),
];

fn tmpfs(ctx: &Ctx, options: &[&str], mode: &str, uid: u32, gid: u32) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.mount("/t", "tmpfs", "tmpfs", options);
    let seen = ctx.probe(&mut bundle, &["stat", "/t"])?;
    let data = &seen["/t"];
    check_eq!(data["mode"], mode, "mode");
    check_eq!((&data["uid"], &data["gid"]), (&json!(uid), &json!(gid)), "owner");
    Ok(())
}

fn source_file(ctx: &Ctx, content: &str) -> Outcome<String> {
    let path = ctx.fresh_dir("source")?.join("file");
    fs::write(&path, content)?;
    Ok(path.display().to_string())
}

fn bind(ctx: &Ctx, kind: &str, options: &[&str]) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let source = ctx.fresh_dir("source")?;
    fs::write(source.join("file"), "bound\n")?;
    bundle.mount("/data", kind, &source.display().to_string(), options);
    if kind.is_empty() {
        let last = bundle.config["mounts"].as_array().map_or(0, Vec::len) - 1;
        bundle.remove(&format!("/mounts/{last}/type"));
    }
    bundle.script("cat /data/file; echo back > /data/new");
    check_eq!(ctx.run(&bundle)?.ok()?.stdout, "bound\n", "content");
    check_eq!(
        fs::read_to_string(source.join("new"))?,
        "back\n",
        "what the container wrote"
    );
    Ok(())
}

/// Binds a directory that has a mount below it, and looks at what is seen there.
fn submount(ctx: &Ctx, option: &str, want: &[&str]) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let source = ctx.fresh_dir("source")?;
    let below = source.join("below");
    fs::create_dir(&below)?;
    fs::write(below.join("host"), "")?;
    mount(
        Some("tmpfs"),
        &below,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )?;
    fs::write(below.join("host"), "")?;
    fs::write(below.join("sub"), "")?;
    bundle.mount("/data", "bind", &source.display().to_string(), &[option]);
    let seen = ctx.probe(&mut bundle, &["list", "/data/below"]);
    nix::mount::umount(&below)?;
    let seen = seen?;
    let mut want = want.to_vec();
    want.sort_unstable();
    check_eq!(strings(&seen["/data/below"]), want, "entries below");
    Ok(())
}

/// A link of the image on the way to a destination: the mount lands inside the root file system, at `real`.
fn link_destination(ctx: &Ctx, target: &str, destination: &str, real: &str) -> Outcome {
    let mut bundle: Bundle = ctx.bundle()?;
    symlink(target, bundle.rootfs().join("link"))?;
    bundle.mount(destination, "tmpfs", "tmpfs", &[]);
    let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
    mount_at(&seen, real).map(drop)
}

fn cgroup_v1(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "noexec", "nodev", "relatime", "ro"],
    );
    let seen = ctx.probe(&mut bundle, &["see", "mounts", "cgroup"])?;
    if ctx.host.pure_v2() {
        check_eq!(mount_at(&seen, "/sys/fs/cgroup")?["type"], "cgroup2", "type");
        return Ok(());
    }
    for hierarchy in ctx.host.hierarchies.iter().filter(|hierarchy| !hierarchy.v2) {
        let found: Vec<&Value> = seen["mounts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|mount| mount["type"] == "cgroup")
            .filter(|mount| hierarchy.controllers.iter().all(|c| has(mount, "super", c)))
            .collect();
        check_eq!(found.len(), 1, "mounts of {:?}", hierarchy.controllers);
        // Only the container's own part of the hierarchy is there.
        let root = found[0]["root"].as_str().unwrap_or_default();
        check!(
            root.contains(&ctx.prefix),
            "the mount of {:?} shows {root}",
            hierarchy.controllers
        );
    }
    Ok(())
}
