//! Joining, freezing, signals and killing.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use runtime_core::Code;
use runtime_core::cgroup::Mode;

use crate::fixture::*;

#[test]
fn frozen_processes_stand_still_and_thawed_ones_go_on() {
    let Some(fixture) = Fixture::created("{}") else {
        return;
    };
    let scratch = Scratch::new("freeze");
    let file = scratch.0.join("ticks");
    let _process = fixture.run(&format!(
        "while :; do echo >> {}; sleep 0.01; done",
        file.display()
    ));
    let size = || fs::metadata(&file).map_or(0, |data| data.len());
    eventually("the first tick", || size() > 0);
    assert!(!fixture.cgroup.is_frozen());

    fixture.cgroup.freeze().unwrap();
    assert!(fixture.cgroup.is_frozen());
    let before = size();
    sleep(Duration::from_millis(200));
    assert_eq!(size(), before);
    assert_eq!(fixture.cgroup.obstacle().as_deref(), Some("the cgroup is frozen"));

    fixture.cgroup.thaw().unwrap();
    assert!(!fixture.cgroup.is_frozen());
    eventually("another tick", || size() > before);
    fixture.cgroup.kill(LONG).unwrap();
    fixture.remove();
}

#[test]
fn frozen_and_unwilling_processes_are_killed() {
    let Some(fixture) = Fixture::created("{}") else {
        return;
    };
    let script = "trap '' TERM INT HUP; for i in 1 2 3 4 5 6 7 8; do (trap '' TERM; sleep 1000) & done; wait";
    let mut process = fixture.run(script);
    eventually("all children", || fixture.cgroup.processes().unwrap().len() >= 9);
    fixture.cgroup.signal_all(libc::SIGTERM).unwrap();
    sleep(Duration::from_millis(50));
    assert!(process.is_alive());
    fixture.cgroup.freeze().unwrap();
    fixture.cgroup.kill(LONG).unwrap();
    assert!(fixture.cgroup.processes().unwrap().is_empty());
    fixture.remove();
}

#[test]
fn a_fork_bomb_in_sub_cgroups_is_killed() {
    let Some(fixture) = Fixture::created(r#"{"pids":{"limit":200}}"#) else {
        return;
    };
    for (_, dir) in fixture.dirs() {
        fs::create_dir_all(dir.join("a/b")).unwrap();
        if dir.join("cpuset.cpus").exists() && !is_v2("cpuset") {
            for sub in ["a", "a/b"] {
                for name in ["cpuset.cpus", "cpuset.mems"] {
                    fs::write(dir.join(sub).join(name), fs::read(dir.join(name)).unwrap()).unwrap();
                }
            }
        }
    }
    let inner = fixture.cgroup.sub_entrance("a/b").unwrap();
    // Each process of a chain ends as soon as it has started the next one, so that no list of them stays true.
    let scratch = Scratch::new("bomb");
    let link = scratch.0.join("link");
    fs::write(&link, "sh \"$0\" &\n").unwrap();
    let bomb = format!("for i in 1 2 3 4; do sh {} & done; sleep 1000", link.display());
    let bomb = bomb.as_str();
    let _first = Process::start(&inner, bomb);
    let _second = fixture.run(bomb);
    eventually("the bomb", || fixture.cgroup.processes().unwrap().len() > 5);
    fixture.cgroup.kill(LONG).unwrap();
    fixture.remove();
}

#[test]
fn signals_reach_sub_cgroups_and_nobody_else() {
    let Some(fixture) = Fixture::created("{}") else {
        return;
    };
    for (_, dir) in fixture.dirs() {
        fs::create_dir(dir.join("sub")).unwrap();
        if dir.join("cpuset.cpus").exists() && !is_v2("cpuset") {
            for name in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(dir.join("sub").join(name), fs::read(dir.join(name)).unwrap()).unwrap();
            }
        }
    }
    let (trap, script) = ("trap 'echo got; exit 7' USR1", "while :; do sleep 0.05; done");
    let outer = Process::prepared(&fixture.cgroup.entrance().unwrap(), trap, script);
    let inner = Process::prepared(&fixture.cgroup.sub_entrance("/sub/").unwrap(), trap, script);
    let mut stranger = Process::stranger();
    let listed = fixture.cgroup.processes().unwrap();
    assert!(
        listed.contains(&outer.pid()) && listed.contains(&inner.pid()),
        "{listed:?}"
    );
    // A child `sleep` ends too: the signal goes to all. The shell that traps it tells.
    fixture.cgroup.signal_all(libc::SIGUSR1).unwrap();
    for process in [outer, inner] {
        assert_eq!(process.output(), (Some(7), "got".to_owned()));
    }
    assert!(stranger.is_alive());
    fixture.remove();
}

#[test]
fn sub_cgroups_outside_or_unknown_are_refused() {
    let Some(fixture) = Fixture::created("{}") else {
        return;
    };
    for sub in ["..", "../x", "a/../../..", "a\nb"] {
        assert_eq!(
            fixture.cgroup.sub_entrance(sub).unwrap_err().code(),
            Code::InvalidConfig,
            "{sub:?}"
        );
    }
    let error = fixture.cgroup.sub_entrance("absent").unwrap_err();
    assert!(error.to_string().contains("the cgroup does not exist"), "{error}");
    if layout().mode() == Mode::V2 {
        assert!(fixture.cgroup.sub_entrance("memory:x").is_err());
    } else {
        let error = fixture.cgroup.sub_entrance("nothing:x").unwrap_err();
        assert!(error.to_string().contains("unknown controller"), "{error}");
        fs::create_dir(fixture.cgroup.dir("freezer").unwrap().join("part")).unwrap();
        let _process = Process::start(
            &fixture.cgroup.sub_entrance("freezer:part").unwrap(),
            "sleep 1000",
        );
        assert!(!fixture.value("freezer", "part/cgroup.procs").is_empty());
        assert!(!fixture.value("pids", "cgroup.procs").is_empty());
        fixture.cgroup.kill(LONG).unwrap();
    }
    fixture.remove();
}

#[test]
fn a_process_shows_the_way_into_its_own_cgroup() {
    let Some(fixture) = Fixture::created("{}") else {
        return;
    };
    let process = fixture.run("sleep 1000");
    let beside = Process::start(&fixture.cgroup.entrance_of(process.pid()).unwrap(), "sleep 1000");
    assert!(fixture.cgroup.processes().unwrap().contains(&beside.pid()));
    let error = fixture.cgroup.entrance_of(std::process::id() as i32).unwrap_err();
    assert!(error.to_string().contains("the process is not in"), "{error}");
    fixture.cgroup.kill(LONG).unwrap();
    fixture.remove();
}
