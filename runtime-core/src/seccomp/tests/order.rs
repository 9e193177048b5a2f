//! Rules that overlap, and the other habits of libseccomp that profiles depend on.

use super::*;

/// Compiles rules for x86-64, by default allowing, and gives the verdict on `munmap` with these arguments.
fn verdict(rules: &[String], arguments: &[u64]) -> u32 {
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    Compiled::new(&profile("ALLOW", &[], &rules), X86_64).verdict("X86_64", "munmap", arguments)
}

fn munmap(action: &str, arguments: &[&str]) -> String {
    rule("munmap", action, arguments)
}

#[test]
fn a_rule_without_conditions_wins_and_the_first_of_them() {
    let rules = [
        munmap("ERRNO 5", &["0 EQ 1"]),
        munmap("ERRNO 6", &[]),
        munmap("ERRNO 7", &[]),
        munmap("ERRNO 8", &["0 EQ 2"]),
    ];
    for argument in 0..4 {
        assert_eq!(verdict(&rules, &[argument]), ERRNO | 6);
    }
}

#[test]
fn any_rule_may_match() {
    let rules = [
        munmap("ERRNO 5", &["0 EQ 1", "1 EQ 2"]),
        munmap("ERRNO 5", &["1 EQ 3"]),
    ];
    assert_eq!(verdict(&rules, &[1, 2]), ERRNO | 5);
    assert_eq!(verdict(&rules, &[9, 3]), ERRNO | 5);
    assert_eq!(verdict(&rules, &[1, 4]), ALLOW);
    assert_eq!(verdict(&rules, &[0, 2]), ALLOW);
}

#[test]
fn two_comparisons_of_one_argument_are_alternatives() {
    let rules = [munmap("ERRNO 5", &["0 GT 5", "0 LT 3", "1 EQ 7"])];
    assert_eq!(verdict(&rules, &[4, 0]), ALLOW);
    assert_eq!(verdict(&rules, &[6, 0]), ERRNO | 5);
    assert_eq!(verdict(&rules, &[2, 0]), ERRNO | 5);
    assert_eq!(verdict(&rules, &[4, 7]), ERRNO | 5);
}

#[test]
fn later_arguments_and_narrower_ranges_come_first() {
    let later = [munmap("ERRNO 5", &["0 EQ 1"]), munmap("ERRNO 6", &["1 EQ 2"])];
    assert_eq!(verdict(&later, &[1, 2]), ERRNO | 6);
    let equal = [munmap("ERRNO 5", &["0 LT 9"]), munmap("ERRNO 6", &["0 EQ 2"])];
    assert_eq!(verdict(&equal, &[2]), ERRNO | 6);
    assert_eq!(verdict(&equal, &[3]), ERRNO | 5);
    let greater = [munmap("ERRNO 5", &["0 GT 5"]), munmap("ERRNO 6", &["0 GT 10"])];
    assert_eq!(verdict(&greater, &[11]), ERRNO | 6);
    assert_eq!(verdict(&greater, &[1 << 40]), ERRNO | 6);
    assert_eq!(verdict(&greater, &[10]), ERRNO | 5);
    let less = [munmap("ERRNO 5", &["0 LT 10"]), munmap("ERRNO 6", &["0 LT 5"])];
    assert_eq!(verdict(&less, &[4]), ERRNO | 6);
    assert_eq!(verdict(&less, &[5]), ERRNO | 5);
}

#[test]
fn a_rule_that_adds_conditions_to_an_older_one_never_counts() {
    let rules = [
        munmap("ERRNO 5", &["0 EQ 1"]),
        munmap("ERRNO 6", &["0 EQ 1", "1 EQ 2"]),
    ];
    assert_eq!(verdict(&rules, &[1, 2]), ERRNO | 5);
}

/// libseccomp's shared branches would make 7 and 2 match here.
#[test]
fn conditions_of_one_rule_do_not_leak_into_another() {
    let rules = [
        munmap("ERRNO 5", &["0 GT 5", "1 EQ 1"]),
        munmap("ERRNO 5", &["0 GT 10", "1 EQ 2"]),
    ];
    assert_eq!(verdict(&rules, &[7, 2]), ALLOW);
    assert_eq!(verdict(&rules, &[7, 1]), ERRNO | 5);
    assert_eq!(verdict(&rules, &[11, 2]), ERRNO | 5);
    assert_eq!(verdict(&rules, &[11, 1]), ERRNO | 5);
}

#[test]
fn contradictions_are_refused() {
    let pairs = [
        [munmap("ERRNO 5", &["0 EQ 1"]), munmap("ERRNO 6", &["0 EQ 1"])],
        [munmap("ERRNO 5", &["0 GE 1"]), munmap("ERRNO 6", &["0 GE 1"])],
        [
            munmap("ERRNO 5", &["0 EQ 1", "1 EQ 2"]),
            munmap("ERRNO 6", &["0 EQ 1"]),
        ],
    ];
    for pair in pairs {
        let rules: Vec<&str> = pair.iter().map(String::as_str).collect();
        let error = compile_for(&profile("ALLOW", &[], &rules), X86_64).expect_err("a contradiction");
        assert_eq!(error.code(), Code::InvalidConfig);
        assert_eq!(
            error.to_string(),
            "compile linux.seccomp \"munmap\": two rules have the same arguments and different actions"
        );
    }
}

#[test]
fn arguments_of_32_bits_are_compared_by_their_low_word() {
    let rules = [
        rule("lseek", "ERRNO 5", &["1 EQ 0x100000007"]),
        rule("flock", "ERRNO 5", &["0 GE 3"]),
    ];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let compiled = Compiled::new(&profile("ALLOW", &["X86", "X32"], &rules), X86_64);
    for (abi, wide) in [("X86_64", true), ("X86", false), ("X32", false)] {
        assert_eq!(
            compiled.verdict(abi, "lseek", &[0, 0x1_0000_0007]),
            ERRNO | 5,
            "{abi}"
        );
        let low = compiled.verdict(abi, "lseek", &[0, 7]);
        assert_eq!(low, if wide { ALLOW } else { ERRNO | 5 }, "{abi}");
        let high = compiled.verdict(abi, "flock", &[0x1_0000_0000]);
        assert_eq!(high, if wide { ERRNO | 5 } else { ALLOW }, "{abi}");
    }
}

#[test]
fn masks_apply_to_both_sides() {
    let rules = [munmap("ERRNO 5", &["0 MASKED_EQ 0xff000000f0 0x1200000034"])];
    assert_eq!(verdict(&rules, &[0x12_0000_0030]), ERRNO | 5);
    assert_eq!(verdict(&rules, &[0xffff_ff12_ffff_ff3f]), ERRNO | 5);
    assert_eq!(verdict(&rules, &[0x13_0000_0030]), ALLOW);
    assert_eq!(verdict(&rules, &[0x12_0000_0040]), ALLOW);
    // A mask of nothing is no condition.
    assert_eq!(
        verdict(&[munmap("ERRNO 5", &["0 MASKED_EQ 0 7"])], &[1]),
        ERRNO | 5
    );
}

#[test]
fn sockets_and_ipc_are_also_reached_through_their_multiplexers() {
    let rules = [
        rule("socket", "ERRNO 5", &["0 EQ 16", "2 EQ 9"]),
        rule("shmget", "ERRNO 6", &[]),
    ];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let compiled = Compiled::new(&profile("ALLOW", &["X86"], &rules), X86_64);
    assert_eq!(compiled.verdict("X86", "socket", &[16, 0, 9]), ERRNO | 5);
    assert_eq!(compiled.verdict("X86", "socket", &[17, 0, 9]), ALLOW);
    // The selector takes the place of the first argument's condition; the others stay.
    assert_eq!(compiled.verdict("X86", "socketcall", &[1, 0, 9]), ERRNO | 5);
    assert_eq!(compiled.verdict("X86", "socketcall", &[2, 0, 9]), ALLOW);
    assert_eq!(compiled.verdict("X86", "socketcall", &[1, 0, 8]), ALLOW);
    assert_eq!(compiled.verdict("X86", "ipc", &[23]), ERRNO | 6);
    assert_eq!(compiled.verdict("X86", "ipc", &[22]), ALLOW);
    assert_eq!(compiled.verdict("X86_64", "shmget", &[]), ERRNO | 6);
}
