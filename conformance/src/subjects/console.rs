//! Terminals: handed over through a socket, or owned by a foreground `run` or `exec`.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use nix::sys::termios::{LocalFlags, OutputFlags};
use serde_json::{Value, json};

use crate::harness::command::Spawned;
use crate::harness::console::{ConsoleSocket, Terminal};
use crate::harness::{Bundle, Cmd, Container, Ctx, Outcome, Stop, Test};
use crate::{check, check_eq};

const ONLCR: &str = "leaves ONLCR on";

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("console/create-sends-the-master", |ctx| {
        let (container, mut terminal) = with_console(ctx, |b| b.script("tty; echo typed: $(head -n 1)"))?;
        container.start()?;
        terminal.expect("/dev/pts/0")?;
        terminal.type_in("words\n")?;
        terminal.expect("typed: words")?;
        container.await_status("stopped")
    }),
    Test::new("console/all-three-streams-are-the-terminal", |ctx| {
        let tty = seen_through_console(ctx, |b| b)?;
        check_eq!(tty["streams"], json!([true, true, true]), "streams");
        check_eq!(
            tty["foreground"],
            true,
            "in the foreground of its controlling terminal"
        );
        Ok(())
    }),
    Test::new("console/foreground-run-has-bare-line-feeds", |ctx| {
        let mut front = Foreground::run(ctx, "stty -a")?;
        front.terminal.expect("-onlcr")?;
        front.ends_with(0)
    })
    .peers(&[("crun", ONLCR)]),
    Test::new("console/size-of-the-config", |ctx| {
        let tty = seen_through_console(ctx, |b| {
            b.set("/process/consoleSize", json!({"height": 33, "width": 77}))
        })?;
        check_eq!((&tty["rows"], &tty["columns"]), (&json!(33), &json!(77)), "size");
        Ok(())
    }),
    Test::new("console/dev-console-is-the-terminal", |ctx| {
        let (container, mut terminal) = with_console(ctx, |b| {
            b.script("echo through > /dev/console; stat -c '%t:%T %a' /dev/console /dev/pts/0")
        })?;
        container.start()?;
        let text = terminal.read_to_end()?;
        check!(text.contains("through"), "{text:?}");
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(':'))
            .map(str::trim)
            .collect();
        check_eq!(lines.len(), 2, "lines of stat in {text:?}");
        check_eq!(lines[0], lines[1], "/dev/console and /dev/pts/0");
        Ok(())
    }),
    Test::new("console/belongs-to-the-user", |ctx| {
        let (container, mut terminal) = with_console(ctx, |b| {
            b.set("/process/user", json!({"uid": 1000, "gid": 1000}))
                .script("stat -c 'owner %u' /dev/pts/0; echo again > /dev/console")
        })?;
        container.start()?;
        let text = terminal.read_to_end()?;
        check!(text.contains("owner 1000") && text.contains("again"), "{text:?}");
        Ok(())
    }),
    Test::new("console/in-a-user-namespace", |ctx| {
        let bundle = super::namespaces::user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        let (container, mut terminal) = console_of(ctx, bundle, |b| b.script("tty; id -u"))?;
        container.start()?;
        let text = terminal.read_to_end()?;
        check!(text.contains("/dev/pts/0"), "{text:?}");
        Ok(())
    }),
    Test::new("console/run-detached", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.set("/process/terminal", json!(true)).script("tty");
        let container = ctx.container(&bundle)?;
        let socket = ConsoleSocket::new(&ctx.dir)?;
        let path = socket.path.display().to_string();
        let spawned = container
            .rt_run(&["--detach", "--console-socket", &path])
            .spawn()?;
        let (mut terminal, _) = socket.receive()?;
        spawned.wait()?.ok()?;
        terminal.expect("/dev/pts/0").map(drop)
    }),
    Test::new("console/exec", |ctx| {
        let container = ctx.sleeper()?;
        let socket = ConsoleSocket::new(&ctx.dir)?;
        let path = socket.path.display().to_string();
        let options = ["--tty", "--detach", "--console-socket", &path];
        let spawned = container
            .rt_exec(&options, &["sh", "-c", "tty; echo typed: $(head -n 1)"])
            .spawn()?;
        let (mut terminal, _) = socket.receive()?;
        spawned.wait()?.ok()?;
        terminal.expect("/dev/pts/0")?;
        terminal.type_in("words\n")?;
        terminal.expect("typed: words").map(drop)
    }),
    Test::new("console/exec-with-process-file", |ctx| {
        let container = ctx.sleeper()?;
        let socket = ConsoleSocket::new(&ctx.dir)?;
        let process = json!({"terminal": true, "consoleSize": {"height": 21, "width": 43}, "args": ["stty", "size"],
            "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
        let file = ctx.dir.join("process.json");
        fs::write(&file, process.to_string())?;
        let cmd = ctx
            .rt(["exec", "--detach", "--process"])
            .arg(&file)
            .arg("--console-socket")
            .arg(&socket.path);
        let spawned = cmd.arg(&container.id).spawn()?;
        let (mut terminal, _) = socket.receive()?;
        spawned.wait()?.ok()?;
        terminal.expect("21 43").map(drop)
    }).peers(&[("crun", "sets the size when the program already runs")]),
    Test::new("console/terminal-without-socket-is-refused", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.set("/process/terminal", json!(true));
        let output = ctx.container(&bundle)?.rt_create(&[]).output()?.fails()?;
        check!(output.stderr.contains("console"), "{:?}", output.stderr);
        Ok(())
    }),
    Test::new("console/socket-without-terminal-is-refused", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        let socket = ConsoleSocket::new(&ctx.dir)?;
        let output = container
            .rt_create(&["--console-socket", &socket.path.display().to_string()])
            .output()?
            .fails()?;
        check!(output.stderr.contains("console"), "{:?}", output.stderr);
        Ok(())
    })
    .peers(&[("crun", "ignores it")]),
    Test::new("console/socket-absent-is-refused", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.set("/process/terminal", json!(true));
        let path = ctx.dir.join("nowhere.sock").display().to_string();
        let output = ctx
            .container(&bundle)?
            .rt_create(&["--console-socket", &path])
            .output()?
            .fails()?;
        check!(output.stderr.contains("nowhere.sock"), "{:?}", output.stderr);
        Ok(())
    }),
    // In the foreground, with the caller's own terminal.
    Test::new("console/foreground-run", |ctx| {
        let mut front = Foreground::run(ctx, "tty; echo typed: $(head -n 1); exit 6")?;
        front.terminal.expect("/dev/pts/0")?;
        front.terminal.type_in("words\n")?;
        front.terminal.expect("typed: words")?;
        front.ends_with(6)
    }),
    Test::new("console/foreground-run-has-the-callers-size", |ctx| {
        let mut front = Foreground::run(ctx, "/bin/probe see tty")?;
        front.terminal.expect("\"rows\":37,\"columns\":111")?;
        front.ends_with(0)
    })
    .peers(&[
        ("runc", "sets the size when the program already runs"),
        ("crun", "sets the size when the program already runs"),
    ]),
    Test::new("console/foreground-run-follows-a-resize", |ctx| {
        let mut front = Foreground::run(
            ctx,
            "trap '/bin/probe see tty' WINCH; echo ready; while :; do sleep 0.05; done",
        )?;
        front.terminal.expect("ready")?;
        front.terminal.resize(22, 55)?;
        front.terminal.expect("\"rows\":22,\"columns\":55")?;
        front.spawned_kill()?;
        Ok(())
    })
    .peers(&[("crun", "1.8 passes on an empty size")]),
    Test::new("console/foreground-run-puts-the-terminal-back", |ctx| {
        let mut front = Foreground::run(ctx, "echo ready; head -n 1; exit 3")?;
        let before = front.modes.clone();
        front.terminal.expect("ready")?;
        // While it runs, the caller's terminal is raw: the container's own does the editing.
        let modes = front.terminal.modes()?;
        check!(
            !modes.local_flags.contains(LocalFlags::ICANON),
            "the caller's terminal is not raw"
        );
        front.terminal.type_in("\n")?;
        let Foreground {
            terminal, spawned, ..
        } = front;
        spawned.wait()?.exits(3)?;
        let after = terminal.modes()?;
        check_eq!(after.local_flags, before.local_flags, "local modes");
        check_eq!(after.input_flags, before.input_flags, "input modes");
        check_eq!(after.output_flags, before.output_flags, "output modes");
        Ok(())
    })
    .peers(&[("crun", "turns echo on that was off")]),
    Test::new("console/foreground-interrupt-reaches-the-program", |ctx| {
        let mut front = Foreground::run(
            ctx,
            "trap 'echo caught; exit 8' INT; echo ready; while :; do sleep 0.05; done",
        )?;
        front.terminal.expect("ready")?;
        front.terminal.type_in("\u{3}")?;
        front.terminal.expect("caught")?;
        front.ends_with(8)
    }),
    Test::new("console/foreground-exec", |ctx| {
        let container = ctx.sleeper()?;
        let cmd = container.rt_exec(&["-t"], &["sh", "-c", "tty; echo typed: $(head -n 1); exit 7"]);
        let mut front = Foreground::of(cmd)?;
        front.terminal.expect("/dev/pts/0")?;
        front.terminal.type_in("words\n")?;
        front.terminal.expect("typed: words")?;
        front.ends_with(7)
    }),
    Test::new("console/foreground-exec-has-the-callers-size", |ctx| {
        let container = ctx.sleeper()?;
        let mut front = Foreground::of(container.rt_exec(&["-t"], &["/bin/probe", "see", "tty"]))?;
        front.terminal.expect("\"rows\":37,\"columns\":111")?;
        front.ends_with(0)
    })
    .peers(&[
        ("runc", "sets the size when the program already runs"),
        ("crun", "sets the size when the program already runs"),
    ]),
    Test::new("console/foreground-output-is-complete", |ctx| {
        let mut front = Foreground::run(ctx, "seq 1 20000; echo the end")?;
        let text = front.terminal.expect("the end")?;
        check_eq!(
            text.lines()
                .filter(|line| line.trim().parse::<u32>().is_ok())
                .count(),
            20000,
            "lines"
        );
        front.ends_with(0)
    }),
    Test::new("console/the-hosts-pts-is-untouched", |ctx| {
        let before = fs::metadata("/dev/pts")?.dev();
        let (container, _terminal) = with_console(ctx, |b| b.args(&["true"]))?;
        container.start()?;
        check_eq!(fs::metadata("/dev/pts")?.dev(), before, "file system of /dev/pts");
        Ok(())
    }),
];

/// Creates a container with a terminal and takes over its master.
fn with_console<'a>(
    ctx: &'a Ctx,
    change: impl Fn(&mut Bundle) -> &mut Bundle,
) -> Outcome<(Container<'a>, Terminal)> {
    console_of(ctx, ctx.bundle()?, change)
}

fn console_of<'a>(
    ctx: &'a Ctx,
    mut bundle: Bundle,
    change: impl Fn(&mut Bundle) -> &mut Bundle,
) -> Outcome<(Container<'a>, Terminal)> {
    bundle.set("/process/terminal", json!(true));
    change(&mut bundle);
    let container = ctx.container(&bundle)?;
    let socket = ConsoleSocket::new(&ctx.dir)?;
    let spawned = container
        .rt_create(&["--console-socket", &socket.path.display().to_string()])
        .spawn()?;
    let received = socket.receive();
    spawned.wait()?.ok()?;
    Ok((container, received?.0))
}

/// The payload's fact `tty`, printed on the container's terminal.
fn seen_through_console(ctx: &Ctx, change: impl Fn(&mut Bundle) -> &mut Bundle) -> Outcome<Value> {
    let (container, mut terminal) = with_console(ctx, |bundle| {
        change(bundle);
        bundle.args(&["/bin/probe", "see", "tty"])
    })?;
    container.start()?;
    let text = terminal.read_to_end()?;
    let seen: Value =
        serde_json::from_str(text.trim()).map_err(|e| Stop::Failed(format!("{e}: {text:?}")))?;
    Ok(seen["tty"].clone())
}

/// A runtime in the foreground of a terminal.
struct Foreground {
    terminal: Terminal,
    spawned: Spawned,
    modes: nix::sys::termios::Termios,
}

impl Foreground {
    fn run(ctx: &Ctx, script: &str) -> Outcome<Foreground> {
        let mut bundle = ctx.bundle()?;
        bundle.set("/process/terminal", json!(true)).script(script);
        let container = ctx.container(&bundle)?;
        Foreground::of(container.rt_run(&[]))
    }
    fn of(cmd: Cmd) -> Outcome<Foreground> {
        let (terminal, slave) = Terminal::open(37, 111)?;
        let mut modes = terminal.modes()?;
        modes.output_flags.remove(OutputFlags::ONLCR);
        modes.local_flags.remove(LocalFlags::ECHO);
        terminal.set_modes(&modes)?;
        let copy = |fd: &OwnedFd| fd.try_clone();
        let cmd = cmd.stdio(copy(&slave)?, copy(&slave)?, slave).own_terminal();
        Ok(Foreground {
            terminal,
            spawned: cmd.spawn()?,
            modes,
        })
    }
    fn ends_with(self, code: i32) -> Outcome {
        self.spawned.wait()?.exits(code).map(drop)
    }
    /// Ends a program that never ends by itself.
    fn spawned_kill(self) -> Outcome {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.spawned.pid()),
            nix::sys::signal::Signal::SIGKILL,
        )?;
        self.spawned.wait().map(drop)
    }
}
