//! A runtime that is killed at any system call leaves nothing that `delete --force` does not remove.
//!
//! The work is done by the program `sweep`, in a pid and a mount namespace of its own.

use serde_json::{Value, json};

use crate::harness::{Ctx, Outcome, Test, beside, pace};
use crate::{check, fail};

/// The peers were measured with the same sweep; `delete --force` of theirs trusts a state file that is written late.
const PEERS: &[(&str, &str)] = &[
    (
        "crun",
        "a kill between clone and the state file leaves the cgroups, and often a live init",
    ),
    (
        "runc",
        "a kill before the state file is written leaves the cgroups",
    ),
];

/// It protects its executable by a bind mount on /tmp, in sight of the host, that is undone a few calls later.
const OTHERS: &[(&str, &str)] = &[(
    "crun",
    "a kill soon after the start leaves a mount of its executable on /tmp",
)];

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("kill-sweep/create", |ctx| sweep(ctx, "create"))
        .peers(PEERS)
        .deadline(DEADLINE),
    Test::new("kill-sweep/run-detached", |ctx| sweep(ctx, "run"))
        .peers(PEERS)
        .deadline(DEADLINE),
    other("kill-sweep/start", |ctx| sweep(ctx, "start")),
    other("kill-sweep/delete", |ctx| sweep(ctx, "delete")),
    other("kill-sweep/exec", |ctx| sweep(ctx, "exec")),
    other("kill-sweep/kill", |ctx| sweep(ctx, "kill")),
    other("kill-sweep/pause", |ctx| sweep(ctx, "pause")),
    other("kill-sweep/resume", |ctx| sweep(ctx, "resume")),
    other("kill-sweep/update", |ctx| sweep(ctx, "update")),
];

const DEADLINE: u64 = 300;

/// A verb on a container that exists already.
const fn other(name: &'static str, run: fn(&Ctx) -> Outcome) -> Test {
    Test::new(name, run).peers(OTHERS).deadline(DEADLINE).host_only()
}

/// Kills for a peer: enough to show that the sweep bites.
const SAMPLE: u32 = 40;
/// Kills under emulation.
const FEW: u32 = 16;

fn sweep(ctx: &Ctx, verb: &str) -> Outcome {
    let group = ctx.fresh("sweep");
    let mut bundle = ctx.bundle()?;
    bundle
        .args(&["sleep", "1000"])
        .set("/linux/cgroupsPath", json!(format!("/{group}/c")));
    bundle.write()?;
    let complete = ctx.is("oci-rt") && !pace::slow();
    let wanted = match (complete, pace::slow()) {
        (true, _) => 5000,
        (false, true) => FEW,
        (false, false) => SAMPLE,
    };
    let report = ctx
        .command(beside("sweep")?)
        .args(["--verb", verb, "--group", &group, "--seconds", "200"])
        .args(["--points", &wanted.to_string()])
        .arg("--runtime")
        .arg(&ctx.runtime)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg("--root")
        .arg(ctx.dir.join("swept"))
        .deadline(std::time::Duration::from_secs(290))
        .ok()?
        .json()?;
    let (calls, points) = (&report["calls"], &report["points"]);
    check!(
        points.as_u64().is_some_and(|points| points > 10),
        "only {points} kills in {calls} system calls"
    );
    check!(
        !complete || report["complete"] == true,
        "only {points} of {calls} system calls in the time given"
    );
    match report["defects"].as_array() {
        None => fail!("the report has no list of defects: {report}"),
        Some(defects) if defects.is_empty() => Ok(()),
        Some(defects) => fail!(
            "{} of {points} kills in {calls} system calls had consequences, like {}",
            defects.len(),
            defects
                .iter()
                .take(3)
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        ),
    }
}
