//! Options of mounts, one by one: of the mount itself, of its file system, recursive ones, propagation.

use std::fs;

use nix::mount::{MsFlags, mount, umount};
use serde_json::json;

use crate::harness::seen::{has, mount_at, propagation};
use crate::harness::{Bundle, Ctx, Outcome, Test};
use crate::{check, check_eq};

const NO_SYMFOLLOW: &str = "this version does not know it";

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    // On a tmpfs: what must be there, what must not.
    Test::new("mount-options/ro", |ctx| tmpfs(ctx, &["ro"], &["ro"], &["rw"])),
    Test::new("mount-options/rw", |ctx| tmpfs(ctx, &["rw"], &["rw"], &["ro"])),
    Test::new("mount-options/ro-then-rw", |ctx| {
        tmpfs(ctx, &["ro", "rw"], &["rw"], &["ro"])
    })
    .peers(&[("crun", "flags only add up")]),
    Test::new("mount-options/nosuid", |ctx| {
        tmpfs(ctx, &["nosuid"], &["nosuid"], &[])
    }),
    Test::new("mount-options/nosuid-then-suid", |ctx| {
        tmpfs(ctx, &["nosuid", "suid"], &[], &["nosuid"])
    })
    .peers(&[("crun", "flags only add up")]),
    Test::new("mount-options/nodev", |ctx| {
        tmpfs(ctx, &["nodev"], &["nodev"], &[])
    }),
    Test::new("mount-options/nodev-then-dev", |ctx| {
        tmpfs(ctx, &["nodev", "dev"], &[], &["nodev"])
    })
    .peers(&[("crun", "flags only add up")]),
    Test::new("mount-options/noexec", |ctx| {
        tmpfs(ctx, &["noexec"], &["noexec"], &[])
    }),
    Test::new("mount-options/noexec-then-exec", |ctx| {
        tmpfs(ctx, &["noexec", "exec"], &[], &["noexec"])
    })
    .peers(&[("crun", "flags only add up")]),
    Test::new("mount-options/noatime", |ctx| {
        tmpfs(ctx, &["noatime"], &["noatime"], &["relatime"])
    }),
    Test::new("mount-options/nodiratime", |ctx| {
        tmpfs(ctx, &["nodiratime"], &["nodiratime"], &[])
    }),
    Test::new("mount-options/relatime", |ctx| {
        tmpfs(ctx, &["relatime"], &["relatime"], &["noatime"])
    }),
    Test::new("mount-options/strictatime", |ctx| {
        tmpfs(ctx, &["strictatime"], &[], &["relatime", "noatime"])
    }),
    Test::new("mount-options/default-is-relatime", |ctx| {
        tmpfs(ctx, &[], &["rw", "relatime"], &["nosuid", "nodev", "noexec"])
    }),
    Test::new("mount-options/defaults", |ctx| {
        tmpfs(ctx, &["defaults"], &["rw"], &["nosuid", "nodev", "noexec"])
    })
    .peers(&[("runc", "1.1 takes it for data of the file system")]),
    Test::new("mount-options/several", |ctx| {
        tmpfs(
            ctx,
            &["nosuid", "nodev", "noexec", "ro", "noatime"],
            &["nosuid", "nodev", "noexec", "ro", "noatime"],
            &[],
        )
    }),
    Test::new("mount-options/nosymfollow", |ctx| {
        tmpfs(ctx, &["nosymfollow"], &["nosymfollow"], &[])
    })
    .peers(&[("crun", NO_SYMFOLLOW)]),
    Test::new("mount-options/sync", |ctx| {
        of_file_system(ctx, &["sync"], &["sync"])
    }),
    Test::new("mount-options/dirsync", |ctx| {
        of_file_system(ctx, &["dirsync"], &["dirsync"])
    }),
    Test::new("mount-options/data-is-passed-on", |ctx| {
        of_file_system(
            ctx,
            &["nr_inodes=77", "size=128k"],
            &["nr_inodes=77", "size=128k"],
        )
    }),
    Test::new("mount-options/read-only-tmpfs-takes-mode-and-size", |ctx| {
        tmpfs(ctx, &["ro", "size=64k", "mode=711"], &["ro"], &[])
    }),
    // On a bind.
    Test::new("mount-options/bind-ro", |ctx| {
        bind(ctx, &["bind", "ro"], &["ro"], &[])
    }),
    Test::new("mount-options/bind-nosuid-nodev-noexec", |ctx| {
        bind(
            ctx,
            &["bind", "nosuid", "nodev", "noexec"],
            &["nosuid", "nodev", "noexec", "rw"],
            &[],
        )
    }),
    Test::new("mount-options/bind-noatime", |ctx| {
        bind(ctx, &["bind", "noatime"], &["noatime"], &[])
    }),
    Test::new("mount-options/bind-keeps-what-the-source-has", |ctx| {
        // Without an option that says otherwise, a bind is as its source.
        bind(ctx, &["bind"], &["nosuid", "nodev"], &[])
    })
    .peers(&[("crun", "clears the flags")]),
    Test::new("mount-options/bind-clears-what-the-source-has", |ctx| {
        bind(ctx, &["bind", "suid", "dev"], &["rw"], &["nosuid", "nodev"])
    })
    .peers(&[("runc", "1.1 forgets cleared flags on binds")]),
    Test::new("mount-options/rbind-ro-leaves-submounts-writable", |ctx| {
        recursive(ctx, &["rbind", "ro"], "ro", true, false)
    }),
    Test::new("mount-options/rro", |ctx| {
        recursive(ctx, &["rbind", "rro"], "ro", true, true)
    }),
    Test::new("mount-options/rnosuid", |ctx| {
        recursive(ctx, &["rbind", "rnosuid"], "nosuid", true, true)
    }),
    Test::new("mount-options/rnodev", |ctx| {
        recursive(ctx, &["rbind", "rnodev"], "nodev", true, true)
    }),
    Test::new("mount-options/rnoexec", |ctx| {
        recursive(ctx, &["rbind", "rnoexec"], "noexec", true, true)
    }),
    Test::new("mount-options/rnoatime", |ctx| {
        recursive(ctx, &["rbind", "rnoatime"], "noatime", true, true)
    })
    .peers(&[("crun", "1.8 forgets the mask that the kernel wants")]),
    // Propagation of a mount.
    Test::new("mount-options/propagation-default", |ctx| {
        propagated(ctx, &["rbind"], &["private", "slave"])
    }),
    Test::new("mount-options/private", |ctx| {
        propagated(ctx, &["rbind", "private"], &["private"])
    }),
    Test::new("mount-options/rprivate", |ctx| {
        propagated(ctx, &["rbind", "rprivate"], &["private"])
    }),
    Test::new("mount-options/slave", |ctx| {
        propagated(ctx, &["rbind", "slave"], &["slave"])
    })
    .peers(&[("crun", "needs rootfsPropagation beside it")]),
    Test::new("mount-options/rslave", |ctx| {
        propagated(ctx, &["rbind", "rslave"], &["slave"])
    })
    .peers(&[("crun", "needs rootfsPropagation beside it")]),
    Test::new("mount-options/shared", |ctx| {
        propagated(ctx, &["rbind", "shared"], &["shared"])
    })
    .peers(&[("crun", "needs rootfsPropagation beside it")]),
    Test::new("mount-options/rshared", |ctx| {
        propagated(ctx, &["rbind", "rshared"], &["shared"])
    })
    .peers(&[("crun", "needs rootfsPropagation beside it")]),
    Test::new("mount-options/unbindable", |ctx| {
        propagated(ctx, &["rbind", "unbindable"], &["unbindable"])
    })
    .peers(&[("crun", "needs rootfsPropagation beside it")]),
    Test::new("mount-options/rslave-lets-the-hosts-mounts-in", |ctx| {
        arrives(ctx, "rslave", true)
    }),
    Test::new("mount-options/rprivate-keeps-the-hosts-mounts-out", |ctx| {
        arrives(ctx, "rprivate", false)
    }),
    Test::new("mount-options/rshared-lets-the-containers-mounts-out", |ctx| {
        leaves(ctx, "rshared", true)
    }),
    Test::new("mount-options/rslave-keeps-the-containers-mounts-in", |ctx| {
        leaves(ctx, "rslave", false)
    }),
    // Propagation of the root.
    Test::new("mount-options/rootfs-propagation-default", |ctx| {
        root_propagation(ctx, None, &["private", "slave"])
    }),
    Test::new("mount-options/rootfs-propagation-private", |ctx| {
        root_propagation(ctx, Some("private"), &["private"])
    }),
    Test::new("mount-options/rootfs-propagation-slave", |ctx| {
        root_propagation(ctx, Some("slave"), &["slave"])
    })
    .peers(&[("crun", "leaves it private")]),
    Test::new("mount-options/rootfs-propagation-shared", |ctx| {
        root_propagation(ctx, Some("shared"), &["shared"])
    })
    .peers(&[("runc", "leaves it private")]),
    Test::new("mount-options/rootfs-propagation-unbindable", |ctx| {
        root_propagation(ctx, Some("unbindable"), &["unbindable"])
    })
    .peers(&[("runc", "fails at its own bind of the root")]),
];

fn tmpfs(ctx: &Ctx, options: &[&str], want: &[&str], unwanted: &[&str]) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.mount("/t", "tmpfs", "tmpfs", options);
    compare(ctx, &mut bundle, "/t", want, unwanted)
}

fn compare(ctx: &Ctx, bundle: &mut Bundle, at: &str, want: &[&str], unwanted: &[&str]) -> Outcome {
    let seen = ctx.probe(bundle, &["see", "mounts"])?;
    let found = mount_at(&seen, at)?;
    for option in want {
        check!(
            has(found, "options", option),
            "no {option} in {}",
            found["options"]
        );
    }
    for option in unwanted {
        check!(!has(found, "options", option), "{option} in {}", found["options"]);
    }
    Ok(())
}

fn of_file_system(ctx: &Ctx, options: &[&str], want: &[&str]) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.mount("/t", "tmpfs", "tmpfs", options);
    let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
    let found = mount_at(&seen, "/t")?;
    for option in want {
        check!(has(found, "super", option), "no {option} in {}", found["super"]);
    }
    Ok(())
}

/// A mount of the host's with a mount below it, for the time of a test.
struct Source {
    path: std::path::PathBuf,
}

impl Source {
    fn new(ctx: &Ctx, flags: MsFlags) -> Outcome<Source> {
        let path = ctx.fresh_dir("source")?;
        let tmpfs = |at: &std::path::Path| mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some("mode=755"));
        tmpfs(&path)?;
        let below = path.join("below");
        fs::create_dir(&below)?;
        tmpfs(&below)?;
        fs::create_dir(path.join("place"))?;
        Ok(Source { path })
    }
    fn text(&self) -> String {
        self.path.display().to_string()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Whether it is still there is what the check for leftovers says.
        let _ = umount(&self.path.join("place"));
        let _ = umount(&self.path.join("below"));
        let _ = umount(&self.path);
    }
}

fn bind(ctx: &Ctx, options: &[&str], want: &[&str], unwanted: &[&str]) -> Outcome {
    let source = Source::new(ctx, MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
    let mut bundle = ctx.bundle()?;
    bundle.mount("/data", "bind", &source.text(), options);
    compare(ctx, &mut bundle, "/data", want, unwanted)
}

/// Binds a mount with another one below it; says on which of both the flag must be.
fn recursive(ctx: &Ctx, options: &[&str], flag: &str, above: bool, below: bool) -> Outcome {
    let source = Source::new(ctx, MsFlags::empty())?;
    let mut bundle = ctx.bundle()?;
    bundle.mount("/data", "bind", &source.text(), options);
    let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
    for (at, want) in [("/data", above), ("/data/below", below)] {
        let found = mount_at(&seen, at)?;
        check_eq!(
            has(found, "options", flag),
            want,
            "{flag} on {at}, options {}",
            found["options"]
        );
    }
    Ok(())
}

fn propagated(ctx: &Ctx, options: &[&str], want: &[&str]) -> Outcome {
    let source = Source::new(ctx, MsFlags::empty())?;
    let mut bundle = ctx.bundle()?;
    bundle.mount("/data", "bind", &source.text(), options);
    let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
    let found = mount_at(&seen, "/data")?;
    check!(
        want.contains(&propagation(found)),
        "propagation {}, want {want:?}",
        found["propagation"]
    );
    Ok(())
}

/// Mounts on the host while the container runs: does it see it?
fn arrives(ctx: &Ctx, option: &str, want: bool) -> Outcome {
    let source = Source::new(ctx, MsFlags::empty())?;
    let mut bundle = ctx.bundle()?;
    bundle.set("/linux/rootfsPropagation", json!("rslave"));
    bundle
        .mount("/data", "bind", &source.text(), &["rbind", option])
        .args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    mount(
        Some("tmpfs"),
        &source.path.join("place"),
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )?;
    let seen = container.probe(&[], &["see", "mounts"])?;
    check_eq!(
        mount_at(&seen, "/data/place").is_ok(),
        want,
        "the host's mount is seen inside"
    );
    container.rt("delete", &["--force"]).ok().map(drop)
}

/// Mounts inside the container: does the host see it?
fn leaves(ctx: &Ctx, option: &str, want: bool) -> Outcome {
    let source = Source::new(ctx, MsFlags::empty())?;
    let mut bundle = ctx.bundle()?;
    bundle.capabilities(&["SYS_ADMIN", "DAC_OVERRIDE"]);
    bundle.set("/linux/rootfsPropagation", json!("rshared"));
    bundle.mount("/data", "bind", &source.text(), &["rbind", option]);
    bundle.script("mount -t tmpfs tmpfs /data/place && echo > /data/place/mark && echo mounted");
    check_eq!(ctx.run(&bundle)?.ok()?.stdout, "mounted\n", "output");
    check_eq!(
        source.path.join("place/mark").exists(),
        want,
        "the container's mount is seen outside"
    );
    Ok(())
}

fn root_propagation(ctx: &Ctx, value: Option<&str>, want: &[&str]) -> Outcome {
    let mut bundle = ctx.bundle()?;
    if let Some(value) = value {
        bundle.set("/linux/rootfsPropagation", json!(value));
    }
    let seen = ctx.probe(&mut bundle, &["see", "mounts"])?;
    let root = mount_at(&seen, "/")?;
    check!(
        want.contains(&propagation(root)),
        "propagation of the root: {}",
        root["propagation"]
    );
    Ok(())
}
