//! Who the container's process is and what it may: ids, limits, capabilities.

use std::fs;

use serde_json::{Value, json};

use crate::check_eq;
use crate::harness::seen::{numbers, signal_set, strings};
use crate::harness::{Ctx, Outcome, Test};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    // Identity.
    Test::new("process/user-and-groups", |ctx| {
        let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 2000]});
        ids(ctx, user, 1000, 1001, &[5, 2000])
    }),
    Test::new("process/groups-of-the-caller-are-dropped", |ctx| {
        ids(ctx, json!({"uid": 1000, "gid": 1000}), 1000, 1000, &[])
    }),
    Test::new("process/uid-without-a-passwd-entry", |ctx| {
        ids(ctx, json!({"uid": 123456, "gid": 7}), 123456, 7, &[])
    }),
    Test::new("process/umask-default", |ctx| {
        check_eq!(ctx.fact("umask", |b| b)?, "0022", "umask");
        Ok(())
    }),
    Test::new("process/umask-given", |ctx| {
        check_eq!(
            ctx.fact("umask", |b| b.set("/process/user/umask", json!(0o27)))?,
            "0027",
            "umask"
        );
        Ok(())
    }),
    Test::new("process/umask-of-the-caller-does-not-matter", |ctx| {
        let container = ctx.container(&ctx.seeing("umask", |b| b)?)?;
        let cmd = ctx
            .command("sh")
            .args(["-c", "umask 077; exec \"$@\"", "sh"])
            .arg(&ctx.runtime)
            .arg("--root");
        let output = cmd
            .arg(&ctx.root)
            .args(["run", "--bundle"])
            .arg(&container.bundle.dir)
            .arg(&container.id)
            .ok()?;
        check_eq!(output.json()?["umask"], "0022", "umask");
        Ok(())
    }),
    // Limits.
    Test::new("process/rlimits", |ctx| {
        let limits = json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_FSIZE", "soft": 1048576, "hard": 2097152}, {"type": "RLIMIT_NPROC", "soft": 50, "hard": 60},
            {"type": "RLIMIT_STACK", "soft": 4194304, "hard": 8388608}, {"type": "RLIMIT_CPU", "soft": 77, "hard": 88}
        ]);
        let seen = ctx.fact("rlimits", |b| b.set("/process/rlimits", limits.clone()))?;
        for limit in limits.as_array().into_iter().flatten() {
            let name = limit["type"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("RLIMIT_");
            check_eq!(seen[name], json!([limit["soft"], limit["hard"]]), "{name}");
        }
        Ok(())
    }),
    Test::new("process/rlimits-all-known", |ctx| {
        let names = [
            "AS",
            "CORE",
            "CPU",
            "DATA",
            "FSIZE",
            "LOCKS",
            "MEMLOCK",
            "MSGQUEUE",
            "NICE",
            "NOFILE",
            "NPROC",
            "RSS",
            "RTPRIO",
            "RTTIME",
            "SIGPENDING",
            "STACK",
        ];
        // Unlimited stays so, and nothing is raised: that needs a capability which hosts may lack.
        let current = ctx.fact("rlimits", |b| b.remove("/process/rlimits"))?;
        let as_number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        let limits: Vec<Value> = names
            .iter()
            .map(|name| {
                let (soft, hard) = (as_number(&current[name][0]), as_number(&current[name][1]));
                json!({"type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard})
            })
            .collect();
        let seen = ctx.fact("rlimits", |b| b.set("/process/rlimits", json!(limits)))?;
        check_eq!(seen, current, "limits");
        Ok(())
    }),
    Test::new("process/rlimits-twice-is-refused", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.push(
            "/process/rlimits",
            json!({"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}),
        );
        ctx.run(&bundle)?.fails().map(drop)
    })
    .peers(&[("crun", "leaves its cgroup behind after the refusal")]),
    Test::new("process/oom-score-raised", |ctx| {
        check_eq!(
            ctx.fact("oom_score_adj", |b| b.set("/process/oomScoreAdj", json!(567)))?,
            json!(["567"]),
            "score"
        );
        Ok(())
    }),
    Test::new("process/oom-score-lowered-needs-privilege", oom_lowered)
        .peers(&[("runc", "prints two lines")]),
    Test::new("process/oom-score-absent-is-the-callers", |ctx| {
        let own = fs::read_to_string("/proc/self/oom_score_adj")?;
        check_eq!(
            ctx.fact("oom_score_adj", |b| b.remove("/process/oomScoreAdj"))?,
            json!([own.trim()]),
            "score"
        );
        Ok(())
    }),
    // Capabilities.
    Test::new("process/caps-of-root", |ctx| {
        caps(
            ctx,
            0,
            &[
                ("bounding", &["CHOWN", "KILL"]),
                ("effective", &["CHOWN", "KILL"]),
                ("permitted", &["CHOWN", "KILL"]),
            ],
            &[
                ("bounding", &["CHOWN", "KILL"]),
                ("effective", &["CHOWN", "KILL"]),
                ("permitted", &["CHOWN", "KILL"]),
                ("inheritable", &[]),
                ("ambient", &[]),
            ],
        )
    }),
    Test::new("process/caps-all-five-sets-of-a-user", |ctx| {
        let all: &[&str] = &["NET_BIND_SERVICE", "SYS_CHROOT"];
        let asked = ["bounding", "effective", "permitted", "inheritable", "ambient"].map(|set| (set, all));
        caps(ctx, 1000, &asked, &asked)
    }),
    Test::new("process/caps-ambient-is-what-a-user-keeps", |ctx| {
        let all: &[&str] = &["NET_RAW", "SETUID"];
        let one: &[&str] = &["NET_RAW"];
        caps(
            ctx,
            1000,
            &[
                ("bounding", all),
                ("effective", all),
                ("permitted", all),
                ("inheritable", all),
                ("ambient", one),
            ],
            &[
                ("bounding", all),
                ("effective", one),
                ("permitted", one),
                ("inheritable", all),
                ("ambient", one),
            ],
        )
    }),
    Test::new("process/caps-of-a-user-without-ambient-are-gone", |ctx| {
        let all: &[&str] = &["NET_RAW", "SETUID"];
        caps(
            ctx,
            1000,
            &[("bounding", all), ("effective", all), ("permitted", all)],
            &[
                ("bounding", all),
                ("effective", &[]),
                ("permitted", &[]),
                ("inheritable", &[]),
                ("ambient", &[]),
            ],
        )
    }),
    Test::new("process/caps-bounding-wider-than-the-rest", |ctx| {
        let wide: &[&str] = &["CHOWN", "KILL", "NET_RAW"];
        caps(
            ctx,
            1000,
            &[("bounding", wide)],
            &[("bounding", wide), ("effective", &[]), ("permitted", &[])],
        )
    }),
    Test::new("process/caps-block-absent-means-none", |ctx| {
        let seen = ctx.fact("caps", |b| b.remove("/process/capabilities"))?;
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            check_eq!(seen[set], json!([]), "{set}");
        }
        Ok(())
    }),
    Test::new("process/caps-unknown-is-only-a-warning", |ctx| {
        let names = json!(["CAP_KILL", "CAP_FLAVOUR"]);
        let seen = ctx.fact("caps", |b| {
            b.set(
                "/process/capabilities",
                json!({"bounding": names, "effective": names, "permitted": names}),
            )
        })?;
        check_eq!(seen["effective"], json!(["KILL"]), "effective");
        Ok(())
    }),
    Test::new(
        "process/caps-ambient-without-inheritable-is-only-a-warning",
        |ctx| {
            let names = json!(["CAP_KILL"]);
            let seen = ctx.fact("caps", |b| {
                b.set(
                    "/process/capabilities",
                    json!({"bounding": names, "effective": names, "permitted": names, "ambient": names}),
                )
            })?;
            check_eq!(seen["ambient"], json!([]), "ambient");
            Ok(())
        },
    ),
    Test::new("process/no-new-privileges", |ctx| {
        for (value, want) in [(json!(true), 1), (json!(false), 0), (Value::Null, 0)] {
            let seen = ctx.fact("no_new_privs", |b| match value {
                Value::Null => b.remove("/process/noNewPrivileges"),
                _ => b.set("/process/noNewPrivileges", value.clone()),
            })?;
            check_eq!(seen, json!(want), "with {value}");
        }
        Ok(())
    }),
];

type Sets<'a> = [(&'a str, &'a [&'a str])];

fn ids(ctx: &Ctx, user: Value, uid: i64, gid: i64, groups: &[i64]) -> Outcome {
    let seen = ctx.fact("ids", |b| b.set("/process/user", user.clone()))?;
    check_eq!(numbers(&seen["uid"]), [uid; 4], "user ids");
    check_eq!(numbers(&seen["gid"]), [gid; 4], "group ids");
    check_eq!(numbers(&seen["groups"]), groups, "supplementary groups");
    Ok(())
}

fn caps(ctx: &Ctx, uid: u32, asked: &Sets, want: &Sets) -> Outcome {
    let seen = ctx.fact("caps", |b| {
        b.set("/process/user", json!({"uid": uid, "gid": uid}))
            .set("/process/capabilities", json!({}));
        for (set, names) in asked {
            let names: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
            b.set(&format!("/process/capabilities/{set}"), json!(names));
        }
        b
    })?;
    for (set, names) in want {
        let mut got = strings(&seen[*set]);
        got.sort_unstable();
        check_eq!(got, *names, "{set}");
    }
    Ok(())
}

fn oom_lowered(ctx: &Ctx) -> Outcome {
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse()?;
    let mut bundle = ctx.seeing("oom_score_adj", |b| b)?;
    bundle.set("/process/oomScoreAdj", json!(own - 300));
    let status = fs::read_to_string("/proc/self/status")?;
    // Bit 24 is CAP_SYS_RESOURCE.
    let privileged = signal_set(&status, "CapEff")?.contains(&25);
    let output = ctx.run(&bundle)?;
    if privileged {
        check_eq!(
            output.ok()?.json()?["oom_score_adj"],
            json!([(own - 300).to_string()]),
            "score"
        );
        return Ok(());
    }
    super::errors::one_line(output, 1, &["oom_score_adj", "permission denied"])
}
