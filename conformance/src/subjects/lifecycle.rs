//! create, state, start, exec, ps, pause, resume, kill, delete, run.

use crate::harness::{Ctx, Outcome, Test};
use crate::{check, check_eq};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("lifecycle/create-start-kill-delete", create_start_kill_delete),
    Test::new("lifecycle/run-returns-the-exit-code", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.script("echo out; echo err >&2; exit 7");
        let output = ctx.run(&bundle)?.exits(7)?;
        check_eq!(output.stdout, "out\n", "stdout");
        check_eq!(output.stderr, "err\n", "stderr");
        Ok(())
    }),
];

fn create_start_kill_delete(ctx: &Ctx) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]);
    let container = ctx.container(&bundle)?;
    container.rt_create(&[]).ok()?.silent()?;
    check_eq!(container.status()?, "created", "status after create");
    container.rt("start", &[]).ok()?.silent()?;
    check_eq!(container.status()?, "running", "status after start");
    container.kill("KILL")?;
    container.await_status("stopped")?;
    check_eq!(container.state()?["pid"], 0, "pid when stopped");
    container.delete()?;
    container.rt("state", &[]).output()?.fails()?;
    check!(
        !ctx.root.join(&container.id).exists(),
        "the state directory is still there"
    );
    Ok(())
}
