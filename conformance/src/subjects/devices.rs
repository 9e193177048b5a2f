//! Devices, the links of /dev, masked and read-only paths.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::harness::seen::{has, mount_at};
use crate::harness::{Ctx, Outcome, Test};
use crate::{check, check_eq, skip};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("devices/default-null", |ctx| default(ctx, "/dev/null", 1, 3)),
    Test::new("devices/default-zero", |ctx| default(ctx, "/dev/zero", 1, 5)),
    Test::new("devices/default-full", |ctx| default(ctx, "/dev/full", 1, 7)),
    Test::new("devices/default-random", |ctx| default(ctx, "/dev/random", 1, 8)),
    Test::new("devices/default-urandom", |ctx| default(ctx, "/dev/urandom", 1, 9)),
    Test::new("devices/default-tty", |ctx| default(ctx, "/dev/tty", 5, 0)),
    Test::new("devices/default-ptmx", |ctx| {
        let mut bundle = ctx.bundle()?;
        let seen = ctx.probe(&mut bundle, &["stat", "/dev/ptmx", "/dev/pts/ptmx"])?;
        check_eq!(seen["/dev/ptmx"]["kind"], "link", "kind");
        check_eq!(seen["/dev/ptmx"]["target"], "pts/ptmx", "target");
        check_eq!(seen["/dev/pts/ptmx"]["device"], json!([5, 2]), "device");
        check_eq!(seen["/dev/pts/ptmx"]["mode"], "666", "mode");
        Ok(())
    }),
    Test::new("devices/link-fd", |ctx| link(ctx, "/dev/fd", "/proc/self/fd")),
    Test::new("devices/link-stdin", |ctx| link(ctx, "/dev/stdin", "/proc/self/fd/0")),
    Test::new("devices/link-stdout", |ctx| link(ctx, "/dev/stdout", "/proc/self/fd/1")),
    Test::new("devices/link-stderr", |ctx| link(ctx, "/dev/stderr", "/proc/self/fd/2")),
    Test::new("devices/link-core", |ctx| {
        if !fs::exists("/proc/kcore")? {
            skip!("this kernel has no /proc/kcore, and the link is only made where it is");
        }
        link(ctx, "/dev/core", "/proc/kcore")
    }),
    Test::new("devices/nothing-else-is-in-dev", |ctx| {
        let mut bundle = ctx.bundle()?;
        let seen = ctx.probe(&mut bundle, &["list", "/dev"])?;
        let known = [
            "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
            "urandom", "zero",
        ];
        let core = fs::exists("/proc/kcore")?;
        let known: Vec<&str> = known.into_iter().filter(|name| *name != "core" || core).collect();
        check_eq!(seen["/dev"], json!(known), "entries");
        Ok(())
    }).peers(&[("crun", "makes /dev/core in any case")]),
    Test::new("devices/work", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.script(
            "echo x > /dev/null && test \"$(head -c 3 /dev/zero | wc -c)\" = 3 && test \"$(head -c 3 /dev/urandom | wc -c)\" = 3 \
             && ! echo x 2>/dev/null > /dev/full && echo fine",
        );
        check_eq!(ctx.run(&bundle)?.ok()?.stdout, "fine\n", "output");
        Ok(())
    }),
    Test::new("devices/config-character-device", |ctx| {
        let device = json!({"path": "/dev/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 1000, "gid": 2000});
        let want = json!({"kind": "char", "mode": "640", "uid": 1000, "gid": 2000, "size": 0, "device": [10, 229]});
        node(ctx, device, "/dev/mine", want)
    }),
    Test::new("devices/config-unbuffered-character-device", |ctx| {
        let device = json!({"path": "/dev/mine", "type": "u", "major": 10, "minor": 229, "fileMode": 0o600});
        let want = json!({"kind": "char", "mode": "600", "uid": 0, "gid": 0, "size": 0, "device": [10, 229]});
        node(ctx, device, "/dev/mine", want)
    }),
    Test::new("devices/config-block-device", |ctx| {
        let device = json!({"path": "/dev/myblock", "type": "b", "major": 7, "minor": 77, "fileMode": 0o600});
        let want = json!({"kind": "block", "mode": "600", "uid": 0, "gid": 0, "size": 0, "device": [7, 77]});
        node(ctx, device, "/dev/myblock", want)
    }),
    Test::new("devices/config-fifo", |ctx| {
        let device = json!({"path": "/dev/myfifo", "type": "p", "fileMode": 0o622});
        let want = json!({"kind": "fifo", "mode": "622", "uid": 0, "gid": 0, "size": 0});
        node(ctx, device, "/dev/myfifo", want)
    }),
    Test::new("devices/config-in-a-new-directory", |ctx| {
        let device = json!({"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o666});
        let want = json!({"kind": "char", "mode": "666", "uid": 0, "gid": 0, "size": 0, "device": [10, 200]});
        node(ctx, device, "/dev/net/tun", want)
    }),
    Test::new("devices/config-outside-of-dev", |ctx| {
        let device = json!({"path": "/opt/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666});
        let want = json!({"kind": "char", "mode": "666", "uid": 0, "gid": 0, "size": 0, "device": [1, 3]});
        node(ctx, device, "/opt/node", want)
    }),
    Test::new("devices/config-mode-is-not-subject-to-the-umask", |ctx| {
        let device = json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o777});
        let want = json!({"kind": "char", "mode": "777", "uid": 0, "gid": 0, "size": 0, "device": [1, 3]});
        node(ctx, device, "/dev/mine", want)
    }),
    Test::new("devices/config-repeats-a-default", |ctx| {
        let device = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0});
        let want = json!({"kind": "char", "mode": "666", "uid": 0, "gid": 0, "size": 0, "device": [1, 3]});
        node(ctx, device, "/dev/null", want)
    }).peers(&[("runc", "1.1 fails to make the node twice")]),
    Test::new("devices/without-a-mount-on-dev", |ctx| {
        let mut bundle = ctx.bundle()?;
        for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            bundle.unmount(at);
        }
        let seen = ctx.probe(&mut bundle, &["stat", "/dev/null"])?;
        check_eq!(seen["/dev/null"]["device"], json!([1, 3]), "device");
        check!(fs::metadata(bundle.rootfs().join("dev/null"))?.file_type().is_char_device(), "not in the root file system");
        Ok(())
    }),
    Test::new("devices/of-the-host-by-bind-of-dev", |ctx| {
        let mut bundle = ctx.bundle()?;
        for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            bundle.unmount(at);
        }
        let before = fs::symlink_metadata("/dev/null")?;
        bundle.mount("/dev", "bind", "/dev", &["rbind"]);
        let seen = ctx.probe(&mut bundle, &["stat", "/dev/null"])?;
        check_eq!(seen["/dev/null"]["device"], json!([1, 3]), "device");
        let after = fs::symlink_metadata("/dev/null")?;
        check_eq!((after.ino(), after.mode()), (before.ino(), before.mode()), "the host's /dev/null");
        Ok(())
    }),
    // Masked paths.
    Test::new("devices/masked-file-is-empty", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.file("/secret", "do not read\n", 0o644)?;
        bundle.push("/linux/maskedPaths", json!("/secret"));
        let seen = ctx.probe(&mut bundle, &["read", "/secret"])?;
        check_eq!(seen["/secret"]["text"], "", "content");
        let seen = ctx.probe(&mut bundle, &["stat", "/secret"])?;
        check_eq!(seen["/secret"]["device"], json!([1, 3]), "what it is masked with");
        Ok(())
    }),
    Test::new("devices/masked-directory-is-empty-and-read-only", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.file("/hidden/file", "do not read\n", 0o644)?;
        bundle.push("/linux/maskedPaths", json!("/hidden"));
        check_eq!(ctx.probe(&mut bundle, &["list", "/hidden"])?["/hidden"], json!([]), "entries");
        check_eq!(ctx.probe(&mut bundle, &["create", "/hidden/x"])?["/hidden/x"], "EROFS", "creating a file");
        Ok(())
    }),
    Test::new("devices/masked-missing-is-ignored", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.push("/linux/maskedPaths", json!("/no/such/thing")).args(&["test", "!", "-e", "/no"]);
        ctx.run(&bundle)?.ok().map(drop)
    }),
    Test::new("devices/masked-twice-is-fine", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.file("/secret", "x", 0o644)?;
        bundle.dir("/hidden")?;
        for path in ["/secret", "/hidden", "/secret", "/hidden"] {
            bundle.push("/linux/maskedPaths", json!(path));
        }
        bundle.args(&["true"]);
        ctx.run(&bundle)?.ok().map(drop)
    }),
    Test::new("devices/masked-defaults-hide-what-the-host-shows", |ctx| {
        let mut bundle = ctx.bundle()?;
        let seen = ctx.probe(&mut bundle, &["read", "/proc/keys", "/proc/timer_list"])?;
        for (path, result) in seen.as_object().into_iter().flatten() {
            let hidden = result["text"] == "" || result["errno"] == "ENOENT";
            check!(hidden, "{path} reads as {result}");
        }
        Ok(())
    }),
    Test::new("devices/masked-through-a-link-of-the-image-stays-inside", |ctx| {
        let mut bundle = ctx.bundle()?;
        std::os::unix::fs::symlink("/etc", bundle.rootfs().join("link"))?;
        let outside = fs::read("/etc/passwd")?;
        bundle.push("/linux/maskedPaths", json!("/link/passwd"));
        let seen = ctx.probe(&mut bundle, &["read", "/etc/passwd"])?;
        check_eq!(seen["/etc/passwd"]["text"], "", "content inside");
        check_eq!(fs::read("/etc/passwd")?, outside, "the host's file");
        Ok(())
    }),
    // Read-only paths.
    Test::new("devices/read-only-path", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.dir("/fixed/below")?;
        bundle.push("/linux/readonlyPaths", json!("/fixed"));
        let seen = ctx.probe(&mut bundle, &["create", "/fixed/x", "/fixed/below/x", "/tmp/x"])?;
        check_eq!(seen, json!({"/fixed/x": "EROFS", "/fixed/below/x": "EROFS", "/tmp/x": "ok"}), "creating files");
        Ok(())
    }),
    Test::new("devices/read-only-file", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.file("/fixed", "x", 0o644)?;
        bundle.push("/linux/readonlyPaths", json!("/fixed"));
        check_eq!(ctx.probe(&mut bundle, &["open", "w", "/fixed"])?["/fixed"], "EROFS", "opening for writing");
        Ok(())
    }),
    Test::new("devices/read-only-missing-is-ignored", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.push("/linux/readonlyPaths", json!("/no/such/thing")).args(&["true"]);
        ctx.run(&bundle)?.ok().map(drop)
    }),
    Test::new("devices/read-only-defaults-protect-proc", |ctx| {
        let mut bundle = ctx.bundle()?;
        let mut args = vec!["open", "w"];
        // Kernels differ in what they have.
        let paths = ["/proc/sys/kernel/domainname", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger"];
        args.extend(paths.iter().filter(|path| std::path::Path::new(path).exists()));
        let seen = ctx.probe(&mut bundle, &args)?;
        for (path, result) in seen.as_object().into_iter().flatten() {
            check_eq!(result, "EROFS", "opening {path}");
        }
        Ok(())
    }),
    Test::new("devices/read-only-keeps-other-flags", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.mount("/t", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]).mount("/t/sub", "tmpfs", "tmpfs", &["nosuid", "nodev"]);
        bundle.push("/linux/readonlyPaths", json!("/t"));
        let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
        let found = mount_at(&seen, "/t")?;
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            check!(has(found, "options", option), "no {option} in {}", found["options"]);
        }
        Ok(())
    }).peers(&[("crun", "drops them")]),
    // Rules of the devices' cgroup.
    Test::new("devices/rule-default-is-deny", |ctx| access(ctx, &[], &[("c", 10, 229, "rw", "EPERM"), ("c", 1, 3, "rw", "ok")])),
    Test::new("devices/rule-allow", |ctx| {
        let rule = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"});
        access(ctx, &[rule], &[("c", 1, 11, "w", "ok"), ("c", 10, 229, "rw", "EPERM")])
    }),
    Test::new("devices/rule-allow-reading-only", |ctx| {
        let rule = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"});
        access(ctx, &[rule], &[("c", 1, 11, "w", "ok"), ("c", 1, 11, "rw", "EPERM")])
    }),
    Test::new("devices/rule-all-minors", |ctx| {
        let rule = json!({"allow": true, "type": "c", "major": 1, "access": "rw"});
        access(ctx, &[rule], &[("c", 1, 11, "w", "ok")])
    }),
    Test::new("devices/rule-later-deny-wins", |ctx| {
        let allow = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"});
        let deny = json!({"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rw"});
        access(ctx, &[allow, deny], &[("c", 1, 11, "w", "EPERM")])
    }),
    Test::new("devices/rule-allow-all", |ctx| {
        let rule = json!({"allow": true, "access": "rwm"});
        access(ctx, &[rule], &[("c", 1, 11, "w", "ok")])
    }),
    Test::new("devices/rule-nodes-can-be-made-but-not-opened", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.script("/bin/probe mknod c 10 229 /tmp/node; /bin/probe open rw /tmp/node");
        let output = ctx.run(&bundle)?.ok()?.stdout;
        check_eq!(output, "{\"/tmp/node\":\"ok\"}\n{\"/tmp/node\":\"EPERM\"}\n", "mknod and open");
        Ok(())
    }),
];

fn default(ctx: &Ctx, path: &str, major: u32, minor: u32) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let seen = ctx.probe(&mut bundle, &["stat", path])?;
    let data = &seen[path];
    check_eq!(data["kind"], "char", "kind");
    check_eq!(data["device"], json!([major, minor]), "device");
    check_eq!(data["mode"], "666", "mode");
    check_eq!((&data["uid"], &data["gid"]), (&json!(0), &json!(0)), "owner");
    Ok(())
}

fn link(ctx: &Ctx, path: &str, target: &str) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let seen = ctx.probe(&mut bundle, &["stat", path])?;
    check_eq!(seen[path]["kind"], "link", "kind");
    check_eq!(seen[path]["target"], json!(target), "target");
    Ok(())
}

fn node(ctx: &Ctx, device: Value, path: &str, want: Value) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.push("/linux/devices", device);
    let seen = ctx.probe(&mut bundle, &["stat", path])?;
    check_eq!(seen[path], want, "{path}");
    Ok(())
}

/// Opens devices whose nodes are in the image, under the given rules after the one that denies all.
fn access(ctx: &Ctx, rules: &[Value], opens: &[(&str, u64, u64, &str, &str)]) -> Outcome {
    let mut bundle = ctx.bundle()?;
    for rule in rules {
        bundle.push("/linux/resources/devices", rule.clone());
    }
    for (kind, major, minor, mode, want) in opens {
        let path = format!("/node-{kind}-{major}-{minor}");
        let file = bundle.rootfs().join(path.trim_start_matches('/'));
        if !file.exists() {
            mknod(
                &file,
                SFlag::S_IFCHR,
                Mode::from_bits_truncate(0o666),
                makedev(*major, *minor),
            )?;
        }
        let seen = ctx.probe(&mut bundle, &["open", mode, &path])?;
        check_eq!(seen[&path], json!(want), "opening {path} for {mode}");
    }
    Ok(())
}
