//! The runtime's own calls against each other on one container: one wins, the losers say why, nothing is left.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::faults::{absent, sleeping};
use crate::harness::command::Spawned;
use crate::harness::leftovers::reap_orphans;
use crate::harness::{Cmd, Container, Ctx, Outcome, Output, Test, pace};
use crate::{check, check_eq};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("races/create-of-one-id-at-once", create_at_once)
        .peers(&[("runc", "1.1 checks the id, then makes the directory")]),
    Test::new("races/start-at-once", start_at_once).peers(&[("runc", "1.1: the second one waits for ever")]),
    Test::new("races/kill-and-delete-at-once", kill_and_delete_at_once),
    Test::new("races/delete-at-once", delete_at_once).peers(&[("crun", "1.8: losers fail")]),
    Test::new("races/exec-while-it-is-deleted", exec_while_deleted),
    Test::new("races/pause-and-delete-at-once", pause_and_delete)
        .peers(&[("runc", "1.1 does not thaw what was frozen meanwhile")]),
];

/// Starts all commands, then waits for all, and collects what they leave to this process meanwhile.
fn together(commands: Vec<Cmd>) -> Outcome<Vec<Output>> {
    let mut running = Vec::new();
    for command in commands {
        running.push(command.quiet().spawn()?);
    }
    let pids: Vec<i32> = running.iter().map(Spawned::pid).collect();
    let begin = Instant::now();
    while begin.elapsed() < pace::stretch(Duration::from_secs(30)) {
        reap_orphans(&pids);
        let mut ended = true;
        for command in &mut running {
            ended &= command.ended()?;
        }
        if ended {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    running.into_iter().map(Spawned::wait).collect()
}

fn rounds() -> usize {
    if pace::slow() { 3 } else { 20 }
}

fn winners(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| output.code() == 0).count()
}

fn create_at_once(ctx: &Ctx) -> Outcome {
    let container = sleeping(ctx)?;
    for _ in 0..rounds() {
        let outputs = together((0..6).map(|_| container.rt_create(&[])).collect())?;
        check_eq!(winners(&outputs), 1, "creates of one id that succeeded");
        for output in outputs.iter().filter(|output| output.code() != 0) {
            check!(
                output.stderr.contains("exist"),
                "a loser says {:?}",
                output.stderr
            );
        }
        check_eq!(container.status()?, "created", "status of the winner's");
        container.rt("delete", &["--force"]).quiet().ok()?;
        absent(ctx, &container.id)?;
    }
    Ok(())
}

fn start_at_once(ctx: &Ctx) -> Outcome {
    let container = sleeping(ctx)?;
    for _ in 0..rounds() {
        container.rt_create(&[]).quiet().ok()?;
        let outputs = together((0..4).map(|_| container.rt("start", &[])).collect())?;
        check_eq!(winners(&outputs), 1, "starts of one container that succeeded");
        for output in outputs.iter().filter(|output| output.code() != 0) {
            check!(!output.stderr.trim().is_empty(), "a loser says nothing");
        }
        container.await_status("running")?;
        container.rt("delete", &["--force"]).quiet().ok()?;
    }
    Ok(())
}

/// All commands and `delete --force` at once. Losers may fail, but say why; the deletion succeeds, and nothing is left.
fn contest(ctx: &Ctx, container: &Container, others: Vec<Cmd>) -> Outcome {
    let mut commands = vec![container.rt("delete", &["--force"])];
    commands.extend(others);
    let mut outputs = together(commands)?.into_iter();
    if let Some(deletion) = outputs.next() {
        deletion.ok()?;
    }
    for output in outputs {
        check!(!output.stderr.contains("panicked"), "panic: {}", output.stderr);
        // A program inside that was killed is no failure of the runtime.
        let fine = output.code() == 0 || output.code() > 128;
        check!(fine || !output.stderr.trim().is_empty(), "a loser says nothing");
    }
    // Once more, for what came into being after the first one had looked.
    container.rt("delete", &["--force"]).quiet().ok()?;
    absent(ctx, &container.id)?;
    check_eq!(
        ctx.host.cgroups(&container.id),
        Vec::<PathBuf>::new(),
        "cgroups left"
    );
    Ok(())
}

fn running<'a>(container: &'a Container) -> Outcome<&'a Container<'a>> {
    container.rt_create(&[]).quiet().ok()?;
    container.rt("start", &[]).quiet().ok()?;
    Ok(container)
}

fn kill_and_delete_at_once(ctx: &Ctx) -> Outcome {
    let container = sleeping(ctx)?;
    for _ in 0..rounds() {
        let running = running(&container)?;
        contest(
            ctx,
            running,
            vec![running.rt("kill", &["KILL"]), running.rt("state", &[])],
        )?;
    }
    Ok(())
}

fn delete_at_once(ctx: &Ctx) -> Outcome {
    let container = sleeping(ctx)?;
    for _ in 0..rounds() {
        let running = running(&container)?;
        let outputs = together((0..4).map(|_| running.rt("delete", &["--force"])).collect())?;
        for output in outputs {
            // Forcing the deletion of what is gone is no error, so it is none here either.
            output.ok()?;
        }
        absent(ctx, &container.id)?;
    }
    Ok(())
}

fn exec_while_deleted(ctx: &Ctx) -> Outcome {
    let container = sleeping(ctx)?;
    for _ in 0..rounds() {
        let running = running(&container)?;
        let exec = || running.rt_exec(&[], &["sleep", "30"]);
        contest(ctx, running, vec![exec(), exec()])?;
    }
    Ok(())
}

fn pause_and_delete(ctx: &Ctx) -> Outcome {
    ctx.host.need("freezer").or_else(|_| ctx.host.need(""))?;
    let container = sleeping(ctx)?;
    for _ in 0..2 * rounds() {
        let running = running(&container)?;
        contest(ctx, running, vec![running.rt("pause", &[])])?;
    }
    Ok(())
}
