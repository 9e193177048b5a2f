//! What a hostile image or program could get from the processes that the runtime puts into the container.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::outside::Outside;
use crate::harness::seen::strings;
use crate::harness::{Bundle, Container, Ctx, Outcome, Test, pace};
use crate::{check, check_eq, skip};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("hostile/fds-of-the-caller-stay-outside", fds_of_the_caller),
    Test::new("hostile/fds-of-a-created-init", fds_of_a_created_init).peers(&[
        ("runc", "1.1 keeps an epoll descriptor besides"),
        ("crun", "1.8 keeps the caller's descriptors until exec"),
    ]),
    Test::new("hostile/cwd-in-proc-self-fd", cwd_in_proc_self_fd)
        .deadline(120)
        .peers(&[(
            "crun",
            "1.8 does not close the caller's descriptors before it changes directory",
        )]),
    Test::new("hostile/program-in-proc-self-fd", program_in_proc_self_fd),
    Test::new("hostile/exec-cwd-in-proc-self-fd", exec_cwd_in_proc_self_fd).deadline(120),
    Test::new("hostile/runtime-as-the-program", runtime_as_the_program),
    Test::new("hostile/watched-from-inside", watched_from_inside).deadline(120),
    Test::new("hostile/inheritable-capabilities", inheritable_capabilities),
    Test::new("hostile/no-capabilities-block", no_capabilities),
    Test::new(
        "hostile/no-capabilities-block-as-a-user",
        no_capabilities_as_a_user,
    ),
    Test::new("hostile/groups-of-the-caller", groups_of_the_caller),
    Test::new("hostile/exec-user-out-of-range", exec_user).peers(&[
        ("runc", "1.1 takes 4294967296 for 0"),
        ("crun", "1.8 takes -1 for 0"),
    ]),
    Test::new("hostile/exec-user-without-groups", exec_user_without_groups)
        .peers(&[("crun", "1.8 has no --additional-gids")]),
    Test::new(
        "hostile/no-controlling-terminal-of-the-caller",
        no_controlling_terminal,
    ),
    Test::new("hostile/environment-of-the-caller", environment_of_the_caller),
];

fn directory_fd(path: &Path) -> Outcome<OwnedFd> {
    Ok(File::open(path)?.into())
}

fn fds_of_the_caller(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let mut bundle = ctx.bundle()?;
    bundle.args(&["/bin/probe", "see", "fds"]);
    let container = ctx.container(&bundle)?;
    let mut run = container.rt_run(&[]);
    for number in [3, 4, 7, 9, 50, 180] {
        run = run.fd(
            directory_fd(if number % 2 == 0 {
                Path::new("/")
            } else {
                &outside.dir
            })?,
            number,
        );
    }
    let seen = run.ok()?.json()?;
    only_standard_streams(&seen["fds"])?;
    let container = ctx.sleeper()?;
    let mut exec = container.rt_exec(&[], &["/bin/probe", "see", "fds"]);
    for number in [3, 4, 7, 9, 50, 180] {
        exec = exec.fd(directory_fd(Path::new("/"))?, number);
    }
    only_standard_streams(&exec.ok()?.json()?["fds"])
}

fn only_standard_streams(fds: &Value) -> Outcome {
    let numbers: Vec<&String> = fds
        .as_object()
        .map(|map| map.keys().collect())
        .unwrap_or_default();
    check_eq!(numbers, ["0", "1", "2"], "descriptors inside ({fds})");
    Ok(())
}

/// What init holds while it waits for `start`: the streams that it was given, and the runtime's fifo. Whoever gets to
/// trace it must not find a way to the host.
fn fds_of_a_created_init(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let mut bundle = ctx.bundle()?;
    bundle.args(&["true"]);
    let container = ctx.container(&bundle)?;
    let mut create = container.rt_create(&[]);
    for number in [3, 5, 60] {
        create = create.fd(directory_fd(&outside.dir)?, number);
    }
    create.ok()?;
    let proc = PathBuf::from(format!("/proc/{}", container.pid()?));
    for entry in fs::read_dir(proc.join("fd"))? {
        let entry = entry?;
        let (number, target) = (entry.file_name(), fs::read_link(entry.path())?);
        let metadata = fs::metadata(entry.path());
        let target = target.to_string_lossy().into_owned();
        let standard = ["0", "1", "2"].contains(&number.to_string_lossy().as_ref());
        let fifo = target.contains("exec") && metadata.as_ref().is_ok_and(is_fifo);
        check!(standard || fifo, "init holds descriptor {number:?}: {target}");
        check!(
            !metadata.is_ok_and(|data| data.is_dir()),
            "init holds the directory {target}"
        );
    }
    for (link, want) in [("cwd", "/"), ("root", "/")] {
        // Seen from the host, both are paths of the container's mount namespace.
        check_eq!(
            fs::read_link(proc.join(link))?,
            PathBuf::from(want),
            "{link} of init"
        );
    }
    let root = fs::read_dir(proc.join("root"))?
        .flatten()
        .any(|entry| entry.file_name() == "home");
    check!(
        root && !proc.join("root").join("var/lib").exists(),
        "init's root is not the container's"
    );
    let climbing = format!("cwd/../../../../../../..{}", outside.dir.display());
    check!(!proc.join(climbing).exists(), "init's cwd leads to the host");
    container.start()?;
    Ok(())
}

fn is_fifo(data: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    data.file_type().is_fifo()
}

/// Everything that shows where a program is, and whether the host can be reached from there.
const WHERE: &str = "pwd; ls -A; cat ../../../../../../../../..$OUTSIDE/secret; cat $OUTSIDE/secret; true";

fn is_inside(text: &str, what: &str) -> Outcome {
    check!(
        !text.contains("only the host"),
        "{what} leads to the host: {text:?}"
    );
    let first = text.lines().next().unwrap_or("/");
    check!(first.starts_with('/'), "{what} is outside of the root: {first:?}");
    Ok(())
}

fn fd_paths() -> impl Iterator<Item = String> {
    let last = if pace::slow() { 9 } else { 16 };
    (3..last).flat_map(|fd| [format!("/proc/self/fd/{fd}"), format!("/proc/self/fd/{fd}/../..")])
}

fn confined(ctx: &Ctx, outside: &Outside) -> Outcome<Bundle> {
    let mut bundle = ctx.bundle()?;
    bundle.script(WHERE).push(
        "/process/env",
        json!(format!("OUTSIDE={}", outside.dir.display())),
    );
    Ok(bundle)
}

/// CVE-2024-21626
fn cwd_in_proc_self_fd(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    for cwd in fd_paths() {
        let mut bundle = confined(ctx, &outside)?;
        bundle.set("/process/cwd", json!(cwd));
        let container = ctx.container(&bundle)?;
        let output = container
            .rt_run(&[])
            .fd(directory_fd(Path::new("/"))?, 3)
            .output()?;
        is_inside(&output.stdout, &format!("cwd {cwd}"))?;
    }
    outside.unchanged()
}

fn exec_cwd_in_proc_self_fd(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let container = ctx.sleeper()?;
    let env = format!("OUTSIDE={}", outside.dir.display());
    for cwd in fd_paths() {
        let exec = container.rt_exec(&["--cwd", &cwd, "--env", &env], &["sh", "-c", WHERE]);
        let output = exec.fd(directory_fd(Path::new("/"))?, 3).output()?;
        is_inside(&output.stdout, &format!("cwd {cwd} of exec"))?;
    }
    outside.unchanged()
}

fn program_in_proc_self_fd(ctx: &Ctx) -> Outcome {
    let outside = Outside::new(ctx)?;
    let busybox = "bin/busybox";
    for fd in 3..if pace::slow() { 6 } else { 12 } {
        let mut bundle = confined(ctx, &outside)?;
        fs::remove_file(bundle.rootfs().join("bin/cat"))?;
        let program = format!("/proc/self/fd/{fd}/{busybox}");
        bundle.args(&[
            &program,
            "cat",
            &format!("/proc/self/fd/{fd}{}/secret", outside.dir.display()),
        ]);
        let container = ctx.container(&bundle)?;
        let output = container
            .rt_run(&[])
            .fd(directory_fd(Path::new("/"))?, 3)
            .output()?;
        check!(
            output.code() != 0 && output.stdout.is_empty(),
            "{program} was executed: {:?}",
            output.stdout
        );
    }
    outside.unchanged()
}

fn hash(ctx: &Ctx) -> Outcome<String> {
    Ok(ctx.command("sha256sum").arg(&ctx.runtime).quiet().ok()?.stdout)
}

/// CVE-2019-5736: the program is a script whose interpreter is /proc/self/exe, at the moment of exec the runtime.
fn runtime_as_the_program(ctx: &Ctx) -> Outcome {
    let before = hash(ctx)?;
    let mut bundle = ctx.bundle()?;
    bundle.file("/bin/evil", "#!/proc/self/exe\n", 0o755)?;
    bundle.args(&["/bin/evil"]);
    let first = ctx.run(&bundle)?;
    check!(
        first.code() != 0,
        "a script with the interpreter /proc/self/exe ended with 0"
    );
    let container = ctx.sleeper()?;
    container.bundle.file("/bin/evil", "#!/proc/self/exe\n", 0o755)?;
    container.exec(&["/bin/evil"])?.fails()?;
    check_eq!(hash(ctx)?, before, "the runtime's executable");
    Ok(())
}

/// A program of the container watches for processes that the runtime brings in, before they become what they are
/// for: it tries to read their memory and files, to hold their executable, and later to write to that.
const WATCHER: &str = r#"
echo > /tmp/caught
: > /tmp/ready
own=$(readlink /proc/self/exe)
while :; do
    for p in /proc/[0-9]*; do
        exe=$(readlink $p/exe 2>/dev/null) || continue
        case $exe in "$own"|/bin/busybox|/bin/probe|"") continue ;; esac
        echo "exe of $p: $exe" >> /tmp/caught
        cat $p/environ >/dev/null 2>&1 && echo "environment of $exe" >> /tmp/caught
        exec 9<$p/exe && : 2>/dev/null >>/proc/self/fd/9 && echo "could write to $exe" >> /tmp/caught
        exec 9<&-
    done
done"#;

fn watched_from_inside(ctx: &Ctx) -> Outcome {
    let before = hash(ctx)?;
    let mut bundle = ctx.bundle()?;
    bundle.script(WATCHER);
    let container = ctx.started(&bundle)?;
    container.await_file("/tmp/ready")?;
    for _ in 0..if pace::slow() { 10 } else { 100 } {
        container.rt_exec(&[], &["true"]).quiet().ok()?;
    }
    let caught = fs::read_to_string(container.bundle.rootfs().join("tmp/caught"))?;
    container.stop()?;
    check_eq!(hash(ctx)?, before, "the runtime's executable");
    check_eq!(caught.trim(), "", "what the program inside caught");
    Ok(())
}

const SETS: [&str; 5] = ["inheritable", "permitted", "effective", "bounding", "ambient"];

fn no_capabilities_in(caps: &Value, sets: &[&str], when: &str) -> Outcome {
    for set in sets {
        check_eq!(
            strings(&caps[*set]),
            Vec::<&str>::new(),
            "{set} capabilities, {when}"
        );
    }
    Ok(())
}

/// CVE-2022-29162
fn inheritable_capabilities(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let seen = ctx.probe(&mut bundle, &["see", "caps"])?;
    check!(
        !strings(&seen["caps"]["effective"]).is_empty(),
        "no effective capability: {seen}"
    );
    no_capabilities_in(&seen["caps"], &["inheritable", "ambient"], "run")?;
    let container = ctx.sleeper()?;
    for options in [&[][..], &["--cap", "CAP_NET_ADMIN"], &["--user", "1000"]] {
        let seen = container.probe(options, &["see", "caps"])?;
        no_capabilities_in(
            &seen["caps"],
            &["inheritable", "ambient"],
            &format!("exec {options:?}"),
        )?;
    }
    Ok(())
}

fn without_capabilities(ctx: &Ctx, user: u32) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle
        .remove("/process/capabilities")
        .set("/process/user", json!({"uid": user, "gid": user}));
    let seen = ctx.probe(&mut bundle, &["see", "caps"])?;
    no_capabilities_in(&seen["caps"], &SETS, "run")?;
    bundle.args(&["sleep", "1000"]);
    let container = ctx.started(&bundle)?;
    let seen = container.probe(&[], &["see", "caps"])?;
    no_capabilities_in(&seen["caps"], &SETS, "exec")
}

fn no_capabilities(ctx: &Ctx) -> Outcome {
    without_capabilities(ctx, 0)
}

fn no_capabilities_as_a_user(ctx: &Ctx) -> Outcome {
    without_capabilities(ctx, 1000)
}

/// The runtime as a caller with these supplementary groups starts it.
fn with_groups(ctx: &Ctx, container: &Container, verb: &[&str]) -> Outcome<Value> {
    if !ctx
        .command("setpriv")
        .arg("--help")
        .quiet()
        .output()?
        .combined()
        .contains("--groups")
    {
        skip!("no setpriv that sets groups: install util-linux");
    }
    let command = ctx
        .command("setpriv")
        .args(["--groups", "4242,27", "--"])
        .arg(&ctx.runtime);
    let command = command.arg("--root").arg(&ctx.root).args(verb).arg(&container.id);
    let command = if verb[0] == "exec" {
        command.args(["/bin/probe", "see", "ids"])
    } else {
        command
    };
    command.ok()?.json()
}

fn groups_of_the_caller(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["/bin/probe", "see", "ids"]);
    let container = ctx.container(&bundle)?;
    let path = container.bundle.dir.to_string_lossy().into_owned();
    let seen = with_groups(ctx, &container, &["run", "--bundle", &path])?;
    check_eq!(seen["ids"]["groups"], json!([]), "groups in run");
    let container = ctx.sleeper()?;
    for options in [&["exec"][..], &["exec", "--user", "1000:1000"]] {
        let seen = with_groups(ctx, &container, options)?;
        check_eq!(seen["ids"]["groups"], json!([]), "groups in {options:?}");
    }
    Ok(())
}

/// CVE-2026-30892: what is no number in range must not become one, least of all 0.
fn exec_user(ctx: &Ctx) -> Outcome {
    let container = ctx.sleeper()?;
    let odd = [
        "-1",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "99999999999999999999",
        "-4294967295",
        "1000:-1",
        "1000:4294967295",
        "1000:4294967296",
        "1000:99999999999999999999",
        ":",
        ":1000",
        "1000:",
        "root",
        "1000:root",
        "0x0",
        " 0",
        "0 ",
        "1 000",
        "1e3",
        "1000:1000:1000",
        "+-0",
        "1000.5",
        "\n0",
    ];
    for user in odd {
        let output = container
            .rt_exec(&["--user", user], &["/bin/probe", "see", "ids"])
            .output()?;
        check!(
            output.code() != 0,
            "--user {user:?} was accepted: {}",
            output.stdout.trim()
        );
        check_eq!(output.stdout, "", "stdout with --user {user:?}");
    }
    let seen = container.probe(&["--user", "4294967294:4294967294"], &["see", "ids"])?;
    check_eq!(
        seen["ids"]["uid"][0],
        json!(4_294_967_294_u32),
        "the highest user id"
    );
    Ok(())
}

/// The groups belong to the user of the config, not to the one that exec names.
fn exec_user_without_groups(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]).set(
        "/process/user",
        json!({"uid": 0, "gid": 0, "additionalGids": [10, 2000]}),
    );
    let container = ctx.started(&bundle)?;
    let seen = container.probe(
        &["--user", "1000:1000", "--additional-gids", "77"],
        &["see", "ids"],
    )?;
    let groups = seen["ids"]["groups"].as_array().cloned().unwrap_or_default();
    check!(
        groups.contains(&json!(77)),
        "groups {groups:?} without the one that was asked for"
    );
    Ok(())
}

/// What has the caller's terminal as its own could type into it (TIOCSTI).
fn no_controlling_terminal(ctx: &Ctx) -> Outcome {
    let pty = nix::pty::openpty(None, None)?;
    let mut bundle = ctx.bundle()?;
    bundle.script(
        "cut -d ' ' -f 7 /proc/self/stat > /tmp/tty; (exec 3<>/dev/tty) 2>/dev/null && echo yes > /tmp/tty; true",
    );
    let container = ctx.container(&bundle)?;
    let slave = pty.slave;
    let run = container
        .rt_run(&[])
        .stdio(slave.try_clone()?, slave.try_clone()?, slave.try_clone()?);
    run.own_terminal().ok()?;
    let seen = fs::read_to_string(container.bundle.rootfs().join("tmp/tty"))?;
    check_eq!(seen.trim(), "0", "controlling terminal of the container");
    drop(pty.master);
    Ok(())
}

fn environment_of_the_caller(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["/bin/probe", "see", "env"]);
    let container = ctx.container(&bundle)?;
    let seen = container.rt_run(&[]).env("HOST_SECRET", "hunter2").ok()?.json()?;
    check!(
        !seen["env"].to_string().contains("HOST_SECRET"),
        "the caller's environment is inside: {seen}"
    );
    let container = ctx.sleeper()?;
    let seen = container
        .rt_exec(&[], &["/bin/probe", "see", "env"])
        .env("HOST_SECRET", "hunter2")
        .ok()?
        .json()?;
    check!(
        !seen["env"].to_string().contains("HOST_SECRET"),
        "the caller's environment is in exec: {seen}"
    );
    Ok(())
}
